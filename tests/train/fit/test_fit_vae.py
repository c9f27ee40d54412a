"""`fit vae` by the command: what it leaves, going on, the VAE-GAN, and the pack that it becomes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from export.to_onnx import main as export
from s2f_edge import Speech2Face
from s2f_train import checkpoint
from s2f_train.data.embeddings import windows_of
from s2f_train.data.store import Store
from s2f_train.fit.run import checkpoints, newest_checkpoint
from s2f_train.fit.vae import distillation, kl, paired
from s2f_train.models.torch7 import Torch7Object
from s2f_train.models.traits import mean_embedding
from s2f_train.recipes import load
from tests.train.fit.fit_tools import assert_same_run, newest_run, one_thread, refused, s2f_train, tensors
from tests.train.made_store import crowd, made_store
from tests.train.models.test_speech2face import t7

RECIPE = """
store = "{folder}/store"
accelerator = "cpu"
batch = 6
steps = 8
rate = 1e-3
log_every = 1
sample_every = 4
save_every = 3
keep = 9

[vae]
decoder_steps = 4
channels = [2, 2, 2, 2, 2, 3, 3, 4, 4]
hidden = 12
embedding_size = 8
decoder_hidden = 16
decoder_base = 4
decoder_side = 4
decoder_channels = [4, 4, 3, 2]
face_channels = [2, 3, 4, 4, 6]
views = ["face", "s2f"]
min_frames = 98
max_frames = 120
edge_weight = 1.0
pixel_weight = 1.0
kl_steps = 4
"""
GAN = ["adversarial_weight=0.1", "identity_weight=0.1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("vae")
    made_store(folder / "store", crowd(4, 2, 0, voices=2, clips=1, photos=1), flac=True)
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder))
    with one_thread():
        yield folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    result = s2f_train("fit", "vae", place / "recipe.toml", f"runs={place}/runs")
    assert result.exit_code == 0, result.output
    return newest_run(place / "runs")


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_the_decoder_learns_first_and_then_the_encoder(run: Path) -> None:
    figures = rows(run)
    assert [row["step"] for row in figures] == list(range(1, 9))
    assert all("decoder_pixel" in row and "kl" not in row for row in figures[:4])
    for row in figures[4:]:
        assert {"kl", "activation", "feature", "distillation", "pixel", "spread"} <= set(row)
    before, after = (tensors(path) for path in checkpoints(run)[1:])  # steps 6 and 8
    for name, tensor in before.items():
        if name.split("/")[0] in ("generator_general", "face", "who"):
            assert torch.equal(tensor, after[name]), f"{name} is frozen while the encoder learns"
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("voice/"))
    assert (run / "samples" / "000008.png").exists()


def test_at_its_end_the_encoder_hears_genders(run: Path, place: Path) -> None:
    """From all voices of the split, by what is fitted to the encoder as it is then."""
    unfinished, finished = checkpoints(run)[1:]
    assert "traits" not in checkpoint.load(unfinished)[0]
    networks, facts = checkpoint.load(finished)
    store = Store.open(str(place / "store"))
    voices = store.of_split("train")
    means = torch.stack([mean_embedding(torch.from_numpy(windows_of(store, v, networks["voice"]))) for v in voices])
    with torch.no_grad():
        male, _ = networks["traits"](means)
    said = np.array([store.identities[voice.identity].gender == "m" for voice in voices])
    assert np.mean((male.numpy() > 0.5) == said) == pytest.approx(facts["traits"]["right"])


@pytest.mark.slow
def test_after_a_stop_it_goes_on_bit_for_bit(place: Path, run: Path) -> None:
    for steps in (3, 6):  # in either half
        runs = place / f"stopped{steps}"
        words = ["fit", "vae", place / "recipe.toml", f"runs={runs}"]
        assert s2f_train(*words, f"steps={max(steps, 5)}").exit_code == 0
        stopped = newest_run(runs)
        for path in checkpoints(stopped):
            if int(path.name.removeprefix("step-")) > steps:
                checkpoint.remove(path)
        assert s2f_train("fit", "vae", "--resume", stopped, "steps=8").exit_code == 0
        assert_same_run(stopped, run, 8)


@pytest.mark.slow
def test_a_vae_gan_teaches_the_decoder_too(place: Path) -> None:
    runs = place / "gans"
    result = s2f_train("fit", "vae", place / "recipe.toml", f"runs={runs}", *GAN)
    assert result.exit_code == 0, result.output
    figures = rows(newest_run(runs))
    assert {"d_real", "d_fake", "c_real", "g_real", "g_identity"} <= set(figures[-1])
    before, after = (tensors(path) for path in checkpoints(newest_run(runs))[1:])
    for part in ("generator_general", "critic", "discriminator", "classifier", "voice"):
        assert any(not torch.equal(before[n], after[n]) for n in before if n.startswith(f"{part}/")), part
    assert all(torch.equal(before[n], after[n]) for n in before if n.startswith("face/"))


@pytest.mark.slow
def test_the_pack_makes_the_faces_that_torch_makes(run: Path, examples: Path, tmp_path: Path) -> None:
    assert export(["--checkpoint", str(run), "--out", str(tmp_path / "pack"), "--float16"]) == 0
    model = Speech2Face(tmp_path / "pack")
    manifest = model.pack.manifest
    networks, facts = checkpoint.load(newest_checkpoint(run))
    assert (manifest.voice.features, manifest.noise) == ("stft-257", facts["noise"])
    assert facts["noise"] > 0
    result = model.infer(examples / "male.wav", samples=3, seed=1)
    assert result.faces.shape == (3, 64, 64, 3)
    assert result.voice.male_probability is not None
    assert manifest.traits
    assert facts["traits"]["surprise_p99"] == manifest.traits.strange
    with torch.inference_mode():
        wanted = networks["generator_general"](torch.from_numpy(result.voice.embedding[None]))
    levels = (wanted[0].permute(1, 2, 0).numpy() * 127.5 + 127.5).round()
    assert np.abs(levels - result.faces[0]).max() <= 1
    assert s2f_train("sample", run, examples / "male.wav", "--out", tmp_path / "sample.png").exit_code == 0


@pytest.mark.slow
def test_face_features_of_vgg_face(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with a network of the published kind, brought as a .t7 file; small, so that it is quick."""
    from s2f_train.fit import vae
    from s2f_train.models import vgg_face

    small = {"widths": ((2,), (2,), (2,), (2,), (2,)), "hidden": 8, "people": 5, "side": 64}
    network = vgg_face.VggFace(**small)  # type: ignore[arg-type]
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    modules = {
        number: Torch7Object("nn.M", {"weight": m.weight.detach().numpy(), "bias": m.bias.detach().numpy()})  # type: ignore[union-attr]
        for number, m in enumerate(layers, 1)
    }
    (tmp_path / "VGG_FACE.t7").write_bytes(t7(Torch7Object("nn.Sequential", {"modules": modules})))
    monkeypatch.setattr(vae, "SIDE", 64)
    monkeypatch.setattr(vae, "FEATURE", 8)
    monkeypatch.setattr(
        vae, "load_vgg_face", lambda path: vgg_face.load_vgg_face(path, vgg_face.VggFace(**small))  # type: ignore[arg-type]
    )  # fmt: skip
    weights = f"face_weights={tmp_path / 'VGG_FACE.t7'}"
    result = s2f_train("fit", "vae", place / "recipe.toml", f"runs={tmp_path}/runs", weights)
    assert result.exit_code == 0, result.output
    networks, facts = checkpoint.load(newest_checkpoint(newest_run(tmp_path / "runs")))
    torch.testing.assert_close(networks["face"].state_dict(), network.state_dict())
    assert facts["face_features"] == "VGG-Face"
    assert list(facts["outside_networks"]) == ["face"]


@pytest.mark.slow
def test_what_cannot_be_fitted_is_said(place: Path, tmp_path: Path) -> None:
    recipe = place / "recipe.toml"
    assert "leave some to the encoder" in refused("fit", "vae", recipe, "decoder_steps=8")
    assert "views" in refused("fit", "vae", recipe, 'views=["profile"]')
    assert "channels" in refused("fit", "vae", recipe, "channels=[2, 2]")
    assert "64 pixels" in refused("fit", "vae", recipe, "decoder_side=14")
    assert "none.t7" in refused("fit", "vae", recipe, f"face_weights={tmp_path}/none.t7", "decoder_side=14")


@pytest.mark.parametrize("name", ["oh2019", "thesis2023_vae", "vae_small", "vae_gan_small"])
def test_the_recipes_are_read(name: str) -> None:
    from s2f_train.recipes import RECIPES

    settings = load("vae", RECIPES / f"{name}.toml", [])
    assert settings.steps > settings.decoder_steps  # type: ignore[attr-defined]


def test_a_voice_goes_with_the_pictures_of_its_clip_or_person(place: Path) -> None:
    store = Store.open(place / "store")
    settings = load("vae", place / "recipe.toml", [])
    voices, faces, pictures, classes = paired(store, settings)  # type: ignore[arg-type]
    assert len(voices) == len(pictures) == len(classes)
    for voice, found in zip(voices, pictures, strict=True):
        assert {faces[i].identity for i in found} == {voice.identity}
        if any(face.clip == voice.clip for face in faces):
            assert {faces[i].clip for i in found} == {voice.clip}
    assert {face.view for face in faces} == {"face", "s2f"}


# -------------------------------------------------------------------------------- losses


def test_divergence_of_a_normal_distribution() -> None:
    figures: dict[str, torch.Tensor] = {}
    assert kl(torch.zeros(2, 5), torch.zeros(2, 5), figures) == 0
    mean, log_variance = torch.randn(3, 4), torch.randn(3, 4)
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    wanted = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(kl(mean, log_variance, figures), wanted)
    assert figures["kl"] > 0


def test_distillation_is_least_where_both_are_the_same() -> None:
    wanted = torch.randn(4, 6)
    least = distillation(wanted, wanted)
    assert all(distillation(wanted + torch.randn(4, 6), wanted) > least for _ in range(20))
    by_hand = -(torch.softmax(wanted / 2, 1) * torch.log_softmax(wanted / 2, 1)).sum(1).mean()
    torch.testing.assert_close(least, by_hand)


def test_a_fit_begins_with_the_networks_of_another(place: Path, run: Path) -> None:
    arguments = ["fit", "vae", place / "recipe.toml", f"start={run}", "decoder_steps=0", "steps=1", "rate=1e-12", *GAN]
    result = s2f_train(*arguments, f"runs={place}/started")
    assert result.exit_code == 0, result.output
    ours, _ = checkpoint.load(newest_checkpoint(newest_run(place / "started")))
    given, _ = checkpoint.load(newest_checkpoint(run))
    for name in ("generator_general", "face", "who"):
        both = zip(ours[name].parameters(), given[name].parameters(), strict=True)
        assert all(torch.allclose(a, b, atol=1e-9) for a, b in both)


def test_a_start_of_another_shape_and_no_start_at_all_are_refused(place: Path, run: Path) -> None:
    said = refused("fit", "vae", place / "recipe.toml", f"start={run}", "decoder_hidden=8", f"runs={place}/no")
    assert "start: generator_general shall be" in said
    assert "or a run to start from" in refused("fit", "vae", place / "recipe.toml", "decoder_steps=0")
