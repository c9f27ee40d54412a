"""Losses against the formulas of docs/spec.md, section 3, and a whole step of each fit against one made by hand."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from s2f_train.config import VoiceSettings
from s2f_train.data.faces import load_faces
from s2f_train.data.pairs import NONE
from s2f_train.data.store import Store
from s2f_train.fit import losses
from s2f_train.fit.loop import on_device
from s2f_train.fit.voice import VoiceTask
from s2f_train.recipes import build
from tests.train.fit.fit_tools import gan_task, heard_voice
from tests.train.made_store import Person, made_store

RNG = np.random.default_rng(0)
PEOPLE = [
    Person("Ann", "f", voices=3, photos=2, clips=2, frames=(90, 120)),
    Person("Ben", "m", voices=3, photos=3, clips=3, frames=(90, 120)),
    Person("Cid", "m", voices=2, photos=1, clips=0, frames=(90, 120)),
    Person("Dot", "f", voices=2, photos=1, clips=1, frames=(90, 120)),
    Person("Eve", "f", voices=3, photos=1, clips=1, frames=(90, 120), split="valid"),
    Person("Fay", "f", voices=3, photos=1, clips=1, frames=(90, 120), split="valid"),
]


def binary_cross_entropy(logits: NDArray[np.float64], real: bool) -> float:
    """-y log s - (1 - y) log (1 - s), s = sigmoid(logit)."""
    s = 1 / (1 + np.exp(-logits))
    return float(np.mean(-np.log(s) if real else -np.log(1 - s)))


def cross_entropy(logits: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return float(np.mean(-np.log(shares[np.arange(len(classes)), classes])))


# ------------------------------------------------------------------------------- alone


def test_losses_of_the_discriminator() -> None:
    logits = RNG.normal(0, 4, (9, 1))
    assert losses.real_loss(torch.from_numpy(logits)).item() == pytest.approx(binary_cross_entropy(logits, True))
    assert losses.fake_loss(torch.from_numpy(logits)).item() == pytest.approx(binary_cross_entropy(logits, False))


def test_losses_of_a_discriminator_that_is_sure() -> None:
    """float32's sigmoid of 200 is 1: the logarithm of 1 minus that is not finite."""
    far = torch.tensor([[200.0]])
    assert losses.fake_loss(far).item() == 200
    assert losses.real_loss(far).item() == 0
    assert losses.real_loss(-far).item() == 200


def test_loss_of_the_classifier() -> None:
    logits, classes = RNG.normal(0, 3, (7, 5)), RNG.integers(5, size=7)
    found = losses.identity_loss(torch.from_numpy(logits), torch.from_numpy(classes)).item()
    assert found == pytest.approx(cross_entropy(logits, classes))


def pictures(rows: int) -> NDArray[np.float64]:
    return RNG.uniform(-1, 1, (rows, 3, 6, 5))


def test_pictures_without_a_target_count_nothing() -> None:
    fake, target, has = pictures(4), pictures(4), np.array([1.0, 0.0, 1.0, 0.0])
    row = np.abs(fake - target).mean(axis=(1, 2, 3))
    arguments = [torch.from_numpy(x) for x in (fake, target, has)]
    assert losses.pixel_loss(*arguments).item() == pytest.approx((row[0] + row[2]) / 4)
    target[1] = 99.0
    assert losses.pixel_loss(torch.from_numpy(fake), torch.from_numpy(target), arguments[2]).item() == pytest.approx(
        (row[0] + row[2]) / 4
    )


def test_edges_are_differences_of_neighbours() -> None:
    fake, target, has = pictures(2), pictures(2), np.array([1.0, 1.0])
    error = fake - target
    rows = np.abs(error[:, :, 1:] - error[:, :, :-1]).mean()
    columns = np.abs(error[..., 1:] - error[..., :-1]).mean()
    arguments = [torch.from_numpy(x) for x in (fake, target, has)]
    assert losses.edge_loss(*arguments).item() == pytest.approx(rows + columns)
    brighter = torch.from_numpy(fake + 0.3)
    assert losses.edge_loss(brighter, arguments[0], arguments[2]).item() == pytest.approx(0, abs=1e-12)


def test_the_mean_over_shares_is_that_of_the_whole() -> None:
    """Two processes with a half each, of which one has no targets at all."""
    fake, target = torch.from_numpy(pictures(4)), torch.from_numpy(pictures(4))
    has = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    for loss in (losses.pixel_loss, losses.edge_loss):
        halves = [loss(fake[i : i + 2], target[i : i + 2], has[i : i + 2]) for i in (0, 2)]
        assert torch.stack(halves).mean().item() == pytest.approx(loss(fake, target, has).item())


def test_half_precision_is_widened() -> None:
    assert losses.wide(torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.float32
    assert losses.wide(torch.zeros(2, dtype=torch.float64)).dtype == torch.float64


# ------------------------------------------------------------------------------- a step of the GAN


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_store(tmp_path_factory.mktemp("stores") / "made", PEOPLE)


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small voice network whose norms have heard something."""
    return heard_voice(tmp_path_factory.mktemp("voices") / "voice")


@pytest.fixture
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1, precision="64-true")


def adam(values: Tensor, gradient: Tensor, rate: float) -> Tensor:
    """The first step: both means, corrected for their beginning, are the gradient and its square."""
    return values - rate * gradient / (gradient.abs() + 1e-8)


def rmsprop(values: Tensor, gradient: Tensor, rate: float) -> Tensor:
    """The first step, alpha 0.9: the mean square is a tenth of the gradient's."""
    return values - rate * gradient / ((0.1 * gradient**2).sqrt() + 1e-8)


def descend(modules: list[nn.Module], loss: Tensor, rule: Any, rate: float) -> None:
    parameters = [p for module in modules for p in module.parameters()]
    gradients = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for p, gradient in zip(parameters, gradients, strict=True):
            p.copy_(rule(p, gradient, rate))


def assert_same(found: nn.Module, expected: nn.Module) -> None:
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor, rtol=1e-6, atol=1e-6, msg=lambda m, n=name: n + m)


@pytest.mark.parametrize(
    ("variant", "optimiser", "rule"), [("wen2019", "adam", adam), ("thesis2023", "rmsprop", rmsprop)]
)
def test_a_step_is_the_one_of_the_paper(
    store: Store, voice: Path, fabric: Fabric, tmp_path: Path, variant: str, optimiser: str, rule: Any
) -> None:
    task = gan_task(store, voice, fabric, tmp_path, variant=variant, optimiser=optimiser, rate=1e-3)
    by_hand = copy.deepcopy(task.networks)
    generator, face = by_hand["generator_general"], by_hand["face"]
    real_or_not, who = by_hand["discriminator"], by_hand["classifier"]
    batch = on_device(fabric, task.drawer.draw(0))
    figures = task.step(batch, 0)

    with torch.no_grad():
        embedding = by_hand["voice"](batch["voices"].double())
    noisy = embedding + batch["noise"].double()
    fake = generator(noisy / noisy.norm(dim=1, keepdim=True))
    pixels = load_faces(store, [f for f in store.of_split("train", "faces") if f.view == "photo"])[batch["real"]]
    real = (pixels.permute(0, 3, 1, 2).double() - 127.5) / 127.5
    real = torch.stack([x.flip(2) if m else x for x, m in zip(real, batch["mirrored"], strict=True)])

    seen, made = face(real), face(fake.detach())
    d_real = torch.log1p(torch.exp(-real_or_not(seen))).mean()
    d_fake = torch.log1p(torch.exp(real_or_not(made))).mean()
    c_real = -who(seen).log_softmax(dim=1)[range(6), batch["real_classes"]].mean()
    descend([face, real_or_not, who], d_real + d_fake + c_real, rule, 1e-3)

    made = face(fake)
    g_real = torch.log1p(torch.exp(-real_or_not(made))).mean()
    g_identity = -who(made).log_softmax(dim=1)[range(6), batch["classes"]].mean()
    descend([generator], g_real + g_identity, rule, 1e-3)

    expected = {"d_real": d_real, "d_fake": d_fake, "c_real": c_real, "g_real": g_real, "g_identity": g_identity}
    assert set(figures) == set(expected)
    for name, value in expected.items():
        assert figures[name].item() == pytest.approx(value.item(), rel=1e-7), name
    for name in ("generator_general", "face", "discriminator", "classifier", "voice"):
        assert_same(task.networks[name], by_hand[name])


def test_the_numbers_of_voices_and_faces_are_those_of_one_classifier(
    store: Store, voice: Path, fabric: Fabric, tmp_path: Path
) -> None:
    """A number of the classifier is one person, whether it comes from a face or from a voice."""
    task = gan_task(store, voice, fabric, tmp_path)
    pairs = task.drawer.pairs
    person = {}
    for sample, number in zip(pairs.voices, pairs.classes.tolist(), strict=True):
        person.setdefault(number, set()).add(sample.identity)
    for index, number in pairs.real.tolist():
        person[number].add(pairs.faces[index].identity)
    assert sorted(map(len, person.values())) == [1] * 4
    assert task.networks["classifier"].settings["identities"] == 4


def test_paired_losses_are_of_the_picture_of_the_clip(
    store: Store, voice: Path, fabric: Fabric, tmp_path: Path
) -> None:
    task = gan_task(store, voice, fabric, tmp_path, view="s2f", identity_weight=0.0, noise=0.0, pixel_weight=3.0)
    generator, face = copy.deepcopy(task.generator), copy.deepcopy(task.face)
    drawn = task.drawer.draw(0)
    figures = task.step(on_device(fabric, drawn), 0)
    assert set(figures) == {"d_real", "d_fake", "g_real", "pixel"}

    with torch.no_grad():
        fake = generator(task.voice(torch.from_numpy(drawn["voices"]).double()))
    faces = [f for f in store.of_split("train", "faces") if f.view == "s2f"]
    has = drawn["targets"] != NONE
    assert 0 < has.sum() < len(has)
    wanted = (load_faces(store, faces)[drawn["targets"]].permute(0, 3, 1, 2).double() - 127.5) / 127.5
    expected = ((fake - wanted).abs().mean(dim=(1, 2, 3)) * torch.from_numpy(has)).mean()
    assert figures["pixel"].item() == pytest.approx(expected.item())
    assert not torch.equal(face.state_dict()["model.0.weight"], task.face.state_dict()["model.0.weight"])


def test_only_the_weights_that_should_learn_do(store: Store, voice: Path, fabric: Fabric, tmp_path: Path) -> None:
    task = gan_task(store, voice, fabric, tmp_path, variant="thesis2023", pixel_weight=1.0, view="s2f")
    for group in task.optimisers["critics"].param_groups:
        group["lr"] = 0.0
    before = copy.deepcopy(task.networks)
    for step in range(2):
        task.step(on_device(fabric, task.drawer.draw(step)), step)
    for name in ("face", "discriminator", "classifier", "voice"):
        for (key, found), was in zip(task.networks[name].named_parameters(), before[name].parameters(), strict=True):
            assert torch.equal(found, was), f"{name}: {key}"
    assert not torch.equal(
        task.networks["generator_general"].state_dict()["model.0.weight"],
        before["generator_general"].state_dict()["model.0.weight"],
    )
    for key, tensor in before["voice"].state_dict().items():
        assert torch.equal(task.voice.state_dict()[key], tensor), key
    assert all(p.requires_grad for p in task.judged_by)


def test_the_moving_average(store: Store, voice: Path, fabric: Fabric, tmp_path: Path) -> None:
    """As long as the fit is young the average is short: decay (1 + step) / (10 + step)."""
    task = gan_task(store, voice, fabric, tmp_path, variant="thesis2023", ema=0.15)
    assert task.networks["generator_general"] is task.average
    assert task.networks["training_generator"] is task.generator
    slow = {key: tensor.clone() for key, tensor in task.generator.state_dict().items()}
    for step in range(3):
        task.step(on_device(fabric, task.drawer.draw(step)), step)
        decay = [1 / 10, 0.15, 0.15][step]
        for key, fast in task.generator.state_dict().items():
            slow[key] = decay * slow[key] + (1 - decay) * fast if fast.is_floating_point() else fast.clone()
            torch.testing.assert_close(task.average.state_dict()[key], slow[key], rtol=1e-9, atol=1e-12)


def test_sheets_do_not_change_what_is_learnt(store: Store, voice: Path, fabric: Fabric, tmp_path: Path) -> None:
    """A sheet is made in evaluation mode; the next step is one of training again."""
    tasks = [gan_task(store, voice, fabric, tmp_path, variant="thesis2023") for _ in range(2)]
    for step in range(2):
        for task in tasks:
            task.step(on_device(fabric, task.drawer.draw(step)), step)
        assert tasks[0].sheet().shape == (2 * 64, 4 * 64, 3)
    for key, tensor in tasks[0].generator.state_dict().items():
        assert torch.equal(tasks[1].generator.state_dict()[key], tensor), key


# ------------------------------------------------------------------------------- a step of the voice network


def voice_task(store: Store, fabric: Fabric, runs: Path, **values: Any) -> VoiceTask:
    settings: dict[str, Any] = {
        "store": str(store.folder), "runs": str(runs), "precision": "64-true", "accelerator": "cpu",
        "channels": [64, 10, 10], "embedding_size": 8, "batch": 5, "min_frames": 40, "max_frames": 80,
    }  # fmt: skip
    return VoiceTask(build(VoiceSettings, settings | values), fabric)


def test_a_step_of_the_voice_network(store: Store, fabric: Fabric, tmp_path: Path) -> None:
    task = voice_task(store, fabric, tmp_path, rate=1e-3)
    by_hand = copy.deepcopy(task.networks)
    batch = on_device(fabric, task.drawer.draw(0))
    figures = task.step(batch, 0)
    logits = by_hand["speaker_head"](by_hand["voice"].model(batch["voices"].double()).mean(dim=2))
    loss = -logits.log_softmax(dim=1)[range(5), batch["classes"]].mean()
    assert figures["speaker"].item() == pytest.approx(loss.item())
    right = np.mean(logits.detach().numpy().argmax(axis=1) == batch["classes"].numpy())
    assert figures["speaker_right"].item() == pytest.approx(right)
    descend([by_hand["voice"], by_hand["speaker_head"]], loss, adam, 1e-3)
    for name, network in by_hand.items():
        assert_same(task.networks[name], network)


def test_gradients_are_clipped_together(store: Store, fabric: Fabric, tmp_path: Path) -> None:
    loose, tight = (voice_task(store, fabric, tmp_path, optimiser="sgd", clip_gradient=c) for c in (0.0, 1e-3))
    for task in (loose, tight):
        task.step(on_device(fabric, task.drawer.draw(0)), 0)
    norms = [torch.cat([p.grad.flatten() for p in t.parameters if p.grad is not None]).norm() for t in (loose, tight)]
    assert norms[0] > 1e-2
    assert norms[1].item() == pytest.approx(1e-3, rel=1e-2)


def test_what_is_compiled_is_what_runs(
    store: Store, voice: Path, fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def compiled(call: Any, **_: Any) -> Any:
        def run(*arguments: Any) -> Any:
            ran.append(type(call.__self__).__name__)
            return call(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    for task in (
        voice_task(store, fabric, tmp_path, compile=True),
        gan_task(store, voice, fabric, tmp_path, compile=True),
    ):
        ran.clear()
        task.step(on_device(fabric, task.drawer.draw(0)), 0)
        assert set(ran) >= (
            {"Sequential"}
            if isinstance(task, VoiceTask)
            else {"Generator", "FaceEmbeddingNetwork", "VoiceEmbeddingNetwork"}
        )
