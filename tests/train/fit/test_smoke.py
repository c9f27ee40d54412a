"""From data to a picture, by the commands that a user types, with the recipe `smoke`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from s2f_edge import Speech2Face
from s2f_train import checkpoint
from s2f_train.data.store import Store
from s2f_train.fit.run import newest_checkpoint
from s2f_train.fit.sample import embedding_of
from tests.train.made_tree import AVSPEECH, CLIPS, LIBRISPEECH, VALID, WEN, made_tree, prepare_options

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
MALE = ["gender=male", "view=photo", "identity_weight=1.0", "pixel_weight=0.0"]


def command(folder: Path, module: str, *words: object) -> str:
    """`python -m MODULE WORDS` in a folder; gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        cwd=folder, capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},  # networks this small gain nothing by more
    )  # fmt: skip
    assert done.returncode == 0, f"{module} {words}: {done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user has after preparing data, three fits and an export."""
    folder = tmp_path_factory.mktemp("smoke")
    tree = made_tree(folder / "tree")
    command(folder, "s2f_train", "prepare", "--out", "store", *prepare_options(tree))
    sounds = 'sources=["avspeech", "librispeech"]'  # Wen's data have log-mels alone, and augmentation needs sound
    command(folder, "s2f_train", "fit", "voice", "smoke", "store=store", sounds)
    gan = ["fit", "gan", "smoke", "store=store", "voice=runs/00000-voice"]
    command(folder, "s2f_train", *gan)
    start = "start=runs/00001-gan-general"
    command(folder, "s2f_train", *gan, start, *MALE, "steps=10")
    runs = ["runs/00001-gan-general", "runs/00002-gan-male"]
    command(folder, "export.to_onnx", "--checkpoint", *runs, "--out", "pack")
    return folder


def test_the_store(place: Path) -> None:
    store = Store.open(place / "store")
    assert store.facts["counts"]["skipped"] == 0
    assert len(store.voices) == CLIPS * (len(AVSPEECH) + len(LIBRISPEECH) + len(WEN))
    assert len(store.faces) == CLIPS * (2 * len(AVSPEECH) + len(WEN))
    assert {person.name for person in store.identities.values() if person.split == "valid"} == set(VALID)


def test_the_fits_learn(place: Path) -> None:
    rows = {}
    for run in sorted(path for path in (place / "runs").iterdir() if path.name != "cache"):
        lines = (run / "stats.jsonl").read_text().splitlines()
        rows[run.name] = [json.loads(line) for line in (lines[0], lines[-1])]
    assert list(rows) == ["00000-voice", "00001-gan-general", "00002-gan-male"]
    first, last = rows["00000-voice"]
    assert last["speaker"] < first["speaker"] / 2
    assert last["speaker_right"] > 0.6
    assert 0 <= last["valid_equal_error_rate"] <= 0.5
    first, last = rows["00001-gan-general"]
    assert last["pixel"] < first["pixel"] / 2
    facts = checkpoint.load(newest_checkpoint(place / "runs" / "00001-gan-general"))[1]
    assert facts["pairs"] == CLIPS * len(AVSPEECH)


def test_a_face_for_each_clip(place: Path, examples: Path) -> None:
    pixels = {}
    for gender in ("general", "male"):
        for clip in ("male", "female"):
            out = place / f"{clip}-{gender}.png"
            words = ["--pack", "pack", "--gender", gender, "--size", "64", "--out", out, "--overwrite"]
            command(place, "s2f_edge", "infer", examples / f"{clip}.wav", *words)
            with Image.open(out) as image:
                assert (image.size, image.mode) == ((64, 64), "RGB")
                pixels[gender, clip] = np.asarray(image).astype(float)
    for gender in ("general", "male"):
        assert np.abs(pixels[gender, "male"] - pixels[gender, "female"]).mean() > 1
    assert np.abs(pixels["general", "male"] - pixels["male", "male"]).mean() > 0.5


def test_the_pack_computes_what_torch_does(place: Path, examples: Path) -> None:
    model = Speech2Face(place / "pack", device="cpu")
    networks, _ = checkpoint.load(newest_checkpoint(place / "runs" / "00001-gan-general"))
    assert model.pack.manifest.generators.keys() == {"general", "male"}
    for clip in (examples / "male.wav", examples / "female.wav"):
        found = model.infer(clip, gender="general")
        wanted = embedding_of(clip, networks["voice"])
        assert float(torch.from_numpy(found.voice.embedding) @ wanted) > 0.9999
        with torch.inference_mode():
            face = networks["generator_general"](wanted[None])[0].permute(1, 2, 0).numpy()
        assert np.abs(found.face - (face * 127.5 + 127.5)).max() < 1.5


def test_a_sample_without_an_export(place: Path, examples: Path) -> None:
    clips = [examples / "male.wav", examples / "female.wav"]
    said = command(place, "s2f_train", "sample", "runs/00001-gan-general", *clips, "--out", "faces.png")
    assert said.strip() == "wrote faces.png"
    with Image.open(place / "faces.png") as image:
        assert image.size == (512, 256)
