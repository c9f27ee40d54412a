"""`fit renderer` and `fit appearance` by the command, on a made store: what they leave, going on, and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from s2f_train import checkpoint
from s2f_train.config import RendererSettings
from s2f_train.data import portrait_attributes, textures
from s2f_train.data.faces import as_pixels
from s2f_train.data.pictures import read_face
from s2f_train.data.portrait_attributes import Attributes
from s2f_train.data.renderer_draws import RendererDrawer
from s2f_train.data.store import Store
from s2f_train.evaluate.user_networks import OnnxRecogniser
from s2f_train.fit import appearance
from s2f_train.fit.run import newest_checkpoint
from s2f_train.models.appearance_generator import AppearanceGenerator
from s2f_train.models.renderer import Renderer
from s2f_train.recipes import build
from tests.train.evaluate.test_user_networks import say, tiny_onnx
from tests.train.fit.fit_tools import assert_same_run, newest_run, one_thread, points_by_lightness, refused, s2f_train
from tests.train.made_store import crowd, made_store

pytestmark = pytest.mark.slow

RECIPE = """
store = "{folder}/store"
runs = "{folder}/runs"
accelerator = "cpu"
batch = 4
steps = 4
log_every = 1
sample_every = 2
save_every = 2
keep = 9

[voice]
channels = [64, 16, 16]
embedding_size = 8
min_frames = 40
max_frames = 60

[renderer]
half_steps = 2
down = [4, 4, 6, 6, 8]
up = [6, 6, 6, 4, 4, 2]
sketch = [4, 8, 3, 8, 4]
critic_width = 8

[appearance]
directions = 0
hidden = 16
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("renderer")
    made_store(folder / "store", crowd(8, 2, 2, voices=2, clips=2, photos=0, portraits=8), flac=True)
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder))
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setattr(textures, "find_landmarks", points_by_lightness)
        yield folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    result = s2f_train("fit", "renderer", place / "recipe.toml")
    assert result.exit_code == 0, result.output
    return newest_run(place / "runs")


def test_a_run_leaves_a_renderer_its_sketches_curves_and_sheets(run: Path) -> None:
    networks, facts = checkpoint.load(newest_checkpoint(run))
    assert isinstance(networks["renderer"], Renderer)
    assert facts["portraits"] == {"made": 64}
    assert facts["estimated"] == {"gender": 0, "age": 0}
    assert set(facts["outside_networks"]) == {"landmarks", "efficientnet"}
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert {"d_real", "d_drawn", "adversarial", "sketch", "outer", "pixel", "feature"} <= rows[0].keys()
    assert np.isfinite([row["kid"] for row in rows if "kid" in row]).all()
    assert "kid" in rows[1]
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["000002.png", "000004.png"]
    assert networks["renderer"].points.std() > 0.1  # the frame is set
    assert networks["renderer"].mask.max() > 0.9


def test_four_steps_are_two_and_two(run: Path, place: Path) -> None:
    first = s2f_train("fit", "renderer", place / "recipe.toml", "steps=2", f"runs={place}/halves")
    assert first.exit_code == 0, first.output
    half = newest_run(place / "halves")
    more = s2f_train("fit", "renderer", "--resume", half, "steps=4")
    assert more.exit_code == 0, more.output
    assert_same_run(run, half, 4)


def test_it_can_begin_with_another_run(run: Path, place: Path) -> None:
    result = s2f_train(
        "fit", "renderer", place / "recipe.toml", "steps=1", "rate=0", f"start={run}", f"runs={place}/more"
    )
    assert result.exit_code == 0, result.output
    ours, _ = checkpoint.load(newest_checkpoint(newest_run(place / "more")))
    theirs, _ = checkpoint.load(newest_checkpoint(run))
    before, after = (n["training_renderer"].state_dict()["first.0.weight"] for n in (theirs, ours))
    assert torch.equal(before, after)


def test_the_plan_is_told_without_training(place: Path) -> None:
    result = s2f_train("fit", "renderer", place / "recipe.toml", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "GFLOP" in result.output
    assert "critics" in result.output


def test_a_store_without_portraits_is_refused(place: Path, tmp_path: Path) -> None:
    made_store(tmp_path / "store", crowd(4, 0, 0, voices=1, photos=1))
    said = refused("fit", "renderer", place / "recipe.toml", f"store={tmp_path}/store")
    assert "no portraits in its training split" in said
    assert "--portraits" in said


def test_an_appearance_is_fitted_for_all_generators(run: Path, place: Path) -> None:
    assert s2f_train("fit", "voice", place / "recipe.toml", f"runs={place}/voices", "steps=2").exit_code == 0
    voice = newest_run(place / "voices")
    result = s2f_train(
        "fit", "appearance", place / "recipe.toml", f"runs={place}/faces", f"voice={voice}", f"renderer={run}",
        "steps=1000", "batch=32", "rate=5e-3", "save_every=500", "sample_every=1000",
        "mix_share=0", "noise=0", "hidden=64",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    fitted = newest_run(place / "faces")
    networks, facts = checkpoint.load(newest_checkpoint(fitted))
    names = {"voice", "traits", "generator_general", "generator_male", "generator_female"}
    assert set(networks) == {*names, "renderer"}
    assert all(isinstance(networks[n], AppearanceGenerator) for n in names if n.startswith("generator_"))
    assert facts["noise"] == 0
    assert {"landmarks", "efficientnet"} <= facts["outside_networks"].keys()
    rows = [json.loads(line) for line in (fitted / "stats.jsonl").read_text().splitlines()]
    for gender in ("general", "male", "female"):
        assert np.mean([r[gender] for r in rows[-5:]]) < 0.5 * np.mean([r[gender] for r in rows[:5]])
    store = Store.open(place / "store")
    heard = torch.from_numpy(np.stack([store.logmel(v)[:300].astype(np.float32).T for v in store.voices[:8]]))
    voices = torch.nn.functional.normalize(networks["voice"](heard))
    for gender, asked in (("female", -1), ("male", 1)):  # the last of the numbers
        told = networks[f"generator_{gender}"].told(voices)[:, -1]
        assert told.mean().item() == pytest.approx(asked, abs=0.4)


def test_faces_can_be_seen_before_any_export(run: Path, place: Path, examples: Path) -> None:
    fitted = max((place / "faces").glob("*-appearance"))
    result = s2f_train("sample", fitted, examples / "male.wav", examples / "female.wav", "--out", place / "sample.png")
    assert result.exit_code == 0, result.output
    with Image.open(place / "sample.png") as picture:
        assert picture.size == (2 * 256, 3 * 256)
        faces = np.asarray(picture)
    assert (faces[:256, :256] != faces[:256, 256:]).any()


def test_a_recogniser_brings_faces_nearer_to_photographs_of_the_speakers(
    run: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appearance, "DRAWN", 96)
    recogniser = say(tiny_onnx(place / "means.onnx"), range="0..1")  # it sees the mean colour
    store, voice = Store.open(place / "store"), newest_run(place / "voices")
    looks = OnnxRecogniser(recogniser).look
    clips = {face.clip: face for face in store.of_split("train", "faces") if face.view == "face"}
    voices = [v for v in store.of_split("train", "voices") if v.clip in clips]
    wanted = unit(np.stack([looks(np.asarray(read_face(store, clips[v.clip])))[:-1] for v in voices]))
    alike = []
    for given in ([], [f"recogniser={recogniser}", "photographs=face", "likeness_stretch=30"]):
        result = s2f_train(
            "fit", "appearance", place / "recipe.toml", f"runs={place}/likened", f"voice={voice}", f"renderer={run}",
            "steps=400", "batch=32", "rate=5e-3", "save_every=400", "sample_every=400", "mix_share=0", "noise=0",
            "hidden=64", *given,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        networks, facts = checkpoint.load(newest_checkpoint(newest_run(place / "likened")))
        assert ("recogniser" in facts["outside_networks"]) == bool(given)
        heard = torch.from_numpy(np.stack([store.logmel(v)[:300].astype(np.float32).T for v in voices]))
        generator = networks["generator_general"]
        with torch.no_grad():
            embeddings = torch.nn.functional.normalize(networks["voice"](heard))
            noise = torch.zeros(len(voices), generator.settings["latent_size"])
            faces = as_pixels(networks["renderer"](*generator(embeddings, noise)))
        seen = unit(np.stack([looks(face)[:-1] for face in faces]))
        ours, theirs = seen - seen.mean(axis=0), wanted - wanted.mean(axis=0)
        alike.append((ours * theirs).sum() / (np.linalg.norm(ours) * np.linalg.norm(theirs)))
    assert alike[1] > alike[0] + 0.1, alike


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["recogniser={place}/none.onnx"], "none.onnx"),
        (["recogniser={place}/means.onnx", "photographs=portraits"], "0 pictures of view 'portraits'"),
    ],
)
def test_what_a_recogniser_lacks_is_told(run: Path, place: Path, settings: list[str], told: str) -> None:
    say(tiny_onnx(place / "means.onnx"), range="0..1")
    given = [setting.format(place=place) for setting in settings]
    common = [f"runs={place}/likened", f"voice={newest_run(place / 'voices')}", f"renderer={run}"]
    assert told in refused("fit", "appearance", place / "recipe.toml", *common, *given)


def test_what_portraits_need_is_told_before_voices_are_embedded(
    run: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("EfficientNet's weights are missing.")

    def never(*_: object) -> None:
        raise AssertionError("voices were embedded")

    monkeypatch.setattr(appearance.SpeakerVoices, "of", never)
    recogniser = say(tiny_onnx(place / "means.onnx"), range="0..1")
    given = [f"runs={place}/likened", f"voice={newest_run(place / 'voices')}", f"renderer={run}"]
    given += [f"recogniser={recogniser}", "photographs=face"]
    monkeypatch.setattr(appearance, "ProjectedFeatures", missing)
    assert "weights are missing" in refused("fit", "appearance", place / "recipe.toml", *given)
    monkeypatch.setattr(appearance, "VIEW", "nothing")
    assert "has no portraits in its training split" in refused("fit", "appearance", place / "recipe.toml", *given)


def test_an_appearance_needs_a_renderer(place: Path) -> None:
    assert "renderer is not set" in refused("fit", "appearance", place / "recipe.toml", "voice=none")


def test_batches_follow_from_the_step_and_share_between_processes() -> None:
    settings = build(
        RendererSettings, {"batch": 8, "sketch": [4, 8, 3, 8, 4], "cut_share": 0.5, "imagined_share": 0.25}
    )
    weights = np.array([0.0, 0.5, 0.5])
    whole = RendererDrawer(weights, 10, 4, (8, 3, 8, 4), settings).draw(3)
    parts = [RendererDrawer(weights, 10, 4, (8, 3, 8, 4), settings, rank, 2).draw(3) for rank in (0, 1)]
    for name, array in whole.items():
        assert np.array_equal(np.concatenate([part[name] for part in parts]), array), name
    many = [RendererDrawer(weights, 10, 4, (8, 3, 8, 4), settings).draw(step) for step in range(50)]
    rows = np.concatenate([batch["rows"] for batch in many])
    assert set(rows) == {1, 2}
    first, second = (np.concatenate([batch[name] for batch in many]) for name in ("first", "second"))
    assert np.array_equal(first < 4, second < 4)  # of one gender
    kept = np.concatenate([batch["kept"] for batch in many])
    assert kept.min() >= 4
    assert 0.3 < (kept == 8).mean() < 0.8


def test_weights_bring_women_and_men_young_and_old_alike() -> None:
    male = torch.tensor([1.0] * 60 + [-1.0] * 20)
    age = torch.tensor(([25.0] * 30 + [70.0] * 30) + ([25.0] * 10 + [70.0] * 10))
    weights = Attributes(male, age, {}).weights()
    assert weights[:60].sum() == pytest.approx(float(weights[60:].sum()), rel=1e-5)
    shares = portrait_attributes.AGE_SHARES
    assert weights[:30].sum() / weights[30:60].sum() == pytest.approx(shares[0] / shares[3], rel=1e-5)
    rare = Attributes(torch.tensor([1.0] * 99 + [-1.0]), torch.full((100,), 25.0), {}).weights()
    assert rare[99] / rare[0] == pytest.approx(portrait_attributes.MOST_OFTEN)
