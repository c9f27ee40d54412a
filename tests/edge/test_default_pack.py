"""The default pack on synthetic clips and, with S2F_DATA, on real speech: the whole path."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from s2f_edge import FaceResult, Speech2Face
from s2f_edge.pack.network import Network
from s2f_edge.pack.pack import Pack, default_folder, every_variant

GENERATORS = ("general", "male", "female")


@pytest.fixture(scope="module")
def model() -> Speech2Face:
    return Speech2Face(device="cpu")


def test_every_file_is_as_the_manifest_says() -> None:
    pack = Pack.open()
    for name in pack.manifest.files:
        Network(pack, name, "cpu")
    assert set(pack.manifest.generators) == set(GENERATORS)


def test_the_pack_is_small_and_has_nothing_else() -> None:
    folder = default_folder()
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) <= 60e6
    pack, *inside = every_variant()
    folders = {each.folder.name for each in inside}
    assert {p.name for p in folder.iterdir()} == {"manifest.json", *pack.manifest.files, *folders}
    for each in inside:
        changed = {name for name in each.manifest.files if each.read(name) != pack.read(name)}
        assert {p.name for p in each.folder.iterdir()} == {"manifest.json", *changed}


def test_the_manifest_says_what_was_trained_and_that_export_is_exact() -> None:
    manifest = Pack.open().manifest
    assert "esearch only" in manifest.licence
    runs = manifest.training["runs"]
    assert {name.partition("-")[2] for name in runs} == {"renderer", "appearance"}
    drawn = next(run for name, run in runs.items() if name.endswith("renderer"))
    assert {source.removeprefix("portraits-") for source in drawn["portraits"]} == {
        "synth", "gan2", "gan2r", "congress", "members", "london"
    }  # fmt: skip
    assert sorted(run["step"] for run in runs.values()) == [3000, 4911]
    assert manifest.parity["voice.onnx"]["embedding_least_cosine"] > 0.9999
    for name in GENERATORS:
        for part in ("inner", "outer"):
            assert manifest.parity[f"generator_{name}.onnx"][f"{part}_least_psnr_db"] > 60
    assert manifest.parity["renderer.onnx"]["face_least_psnr_db"] > 60
    for name, parity in manifest.parity.items():
        # Of weights stored as float16; of a picture less than half a level of 255.
        assert parity["largest_difference"] < (2 / 255 / 2 if name == "renderer.onnx" else 2e-3), name


@pytest.mark.parametrize("gender", ["male", "female"])
def test_synthetic_voices_are_heard_right(model: Speech2Face, examples: Path, gender: str) -> None:
    result = model.infer(examples / f"{gender}.wav")
    assert result.gender == gender
    assert result.generator == gender
    assert result.face.std() > 20  # a picture, not a plain colour


def test_generators_make_different_faces(model: Speech2Face, examples: Path) -> None:
    voice = model.embed(examples / "male.wav")
    faces = [model.face(voice, gender=g).face.astype(int) for g in GENERATORS]
    assert np.abs(faces[1] - faces[2]).mean() > 8


@pytest.mark.slow
def test_candidates_vary_around_the_face(model: Speech2Face, examples: Path) -> None:
    voice = model.embed(examples / "female.wav")
    faces = model.face(voice, samples=8, seed=3).faces.astype(float)
    spread = np.abs(faces[1:] - faces[0]).mean(axis=(1, 2, 3))
    assert spread.min() > 0.5
    assert spread.max() < 60


# ---------------------------------------------------------------------------- real speech


@pytest.fixture(scope="module")
def speakers(s2f_data: Path, model: Speech2Face) -> list[tuple[bool, list[FaceResult]]]:
    """(male, results of two clips) of the ten speakers of LibriSpeech that have several clips."""
    folder = s2f_data / "data" / "librispeech"
    with (folder / "clips.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["subset"] == "test-other"]
    by_speaker: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_speaker.setdefault(row["speaker"], []).append(row)
    found = []
    with tarfile.open(folder / "librispeech.tar") as tar:
        for clips in by_speaker.values():
            results = []
            for row in clips[:2]:
                member = tar.extractfile(f"{row['clip']}.ogg")
                assert member is not None
                results.append(model.infer(member.read(), gender="general"))
            found.append((clips[0]["gender"] == "m", results))
    assert len(found) == 10
    return found


def test_real_voices_are_heard_right(speakers: list[tuple[bool, list[FaceResult]]]) -> None:
    right = [(r.male_probability > 0.5) == male for male, results in speakers for r in results]
    assert sum(right) >= 19  # of 20


def test_different_speakers_get_visibly_different_faces(speakers: list[tuple[bool, list[FaceResult]]]) -> None:
    """Two faces of one speaker differ less than faces of two speakers."""
    faces = np.stack([[r.face.astype(float) for r in results] for _, results in speakers])  # (10, 2, 64, 64, 3)

    def distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return float(np.abs(a - b).mean())

    same = [distance(pair[0], pair[1]) for pair in faces]
    other = [distance(faces[i, 0], faces[j, 1]) for i in range(10) for j in range(10) if i != j]
    assert np.mean(other) > 8
    assert np.mean(same) < 0.75 * np.mean(other)


def test_real_speech_survives_a_telephone_and_another_rate(
    s2f_data: Path, model: Speech2Face, speakers: list[tuple[bool, list[FaceResult]]]
) -> None:
    import soxr

    with tarfile.open(s2f_data / "data" / "librispeech" / "librispeech.tar") as tar:
        member = tar.extractfile("1688-142285-0000.ogg")
        assert member is not None
        samples, rate = soundfile.read(io.BytesIO(member.read()), dtype="float32")
    reference = model.embed(samples, rate).embedding
    assert float(reference @ model.embed(soxr.resample(samples, rate, 48_000), 48_000).embedding) > 0.99
    assert float(reference @ model.embed(soxr.resample(samples, rate, 8_000), 8_000).embedding) > 0.6
