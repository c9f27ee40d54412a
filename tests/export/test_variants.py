"""Variants of packs: made whole or not at all, and as near to the pack as their manifests say."""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from export import int8, to_onnx, variants
from export.int8_rounding import steps_of
from export.pack import export_pack, is_pack
from export.verify import open_session
from s2f_edge import Speech2Face
from s2f_edge.errors import PackNotFoundError
from s2f_edge.pack.pack import Pack
from s2f_edge.pack.pack import variants as variants_of
from s2f_train import checkpoint
from s2f_train.models import campplus
from s2f_train.models.generator import Generator
from s2f_train.models.voice import GE2EEncoder
from tests.tiny_packs import make_pack

pytestmark = pytest.mark.slow

CLIPS = 12


@pytest.fixture(scope="module")
def clips(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings that differ, and one that is no speech."""
    folder = tmp_path_factory.mktemp("clips")
    for i in range(CLIPS):
        samples, rate = soundfile.read(examples / ("male.wav", "female.wav")[i % 2])
        soundfile.write(folder / f"{i}.wav", samples[i * 2500 :], rate)
    soundfile.write(folder / "silence.wav", np.zeros(32_000), 16_000)
    return folder


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack with a CAM++ of few layers, whose norms have heard something, with float16 weights."""
    folder = tmp_path_factory.mktemp("narrow") / "pack"
    torch.manual_seed(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(campplus, "BLOCKS", ((2, 1), (2, 2), (1, 2)))
        network = campplus.CamPlusPlus(24)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.momentum = 1.0
                nn.init.uniform_(layer.weight, -0.2, 1.0)  # some are negative, as after training
        with torch.no_grad():
            network.train()(3 * torch.randn(8, 200, 80))
        networks = {"voice": network.eval(), "generator_general": Generator(24, (16, 16, 8, 8, 8)).eval()}
        export_pack(networks, {"noise": 0.05}, folder, "narrow", "1", "none", float16=True)
    return folder


def copied(pack: Path, folder: Path) -> Path:
    return Path(shutil.copytree(pack, folder / "pack"))


def make(pack: Path, clips: Path, *names: str) -> int:
    return variants.main(["--pack", str(pack), "--variant", *names, "--speech", str(clips)])


def facts(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check(pack: Path, variant: str, clips: Path, calibrated: bool) -> dict[str, Any]:
    """A variant's files, and what its manifest says of it, found once more; gives the latter."""
    opened = Pack.open(pack, variant)
    for name in opened.manifest.files:
        opened.read(name)
    said = facts(pack / variant)["variant"]
    assert said["of"] == hashlib.sha256((pack / "manifest.json").read_bytes()).hexdigest()
    sizes = [sum(file.bytes for file in each.manifest.files.values()) for each in (opened, Pack.open(pack))]
    assert said["bytes"] == {"variant": sizes[0], "pack": sizes[1]}
    assert list(said["ms"]) == ["1 thread", "2 threads"]
    assert "onnxruntime" in said["machine"]

    paths = sorted(clips.glob("[0-9]*.wav"), key=lambda path: hashlib.sha256(str(path).encode()).digest())
    judged = paths[CLIPS // 2 :] if calibrated else paths
    assert said["recordings"] == {"calibrated": CLIPS - len(judged), "judged": len(judged)}
    models = [Speech2Face(pack, "cpu", variant=name) for name in (None, variant)]
    cosines, same = [], 0
    for path in judged:
        ours, theirs = (model.embed(path) for model in models)
        cosines.append(float(ours.embedding @ theirs.embedding))
        same += ours.gender == theirs.gender
    assert said["embedding_cosine"]["least"] == pytest.approx(min(cosines), abs=1e-5)
    assert said["embedding_cosine"]["median"] == pytest.approx(statistics.median(cosines), abs=1e-5)
    assert said["same_gender"] == (same if models[0].pack.manifest.traits else None)
    return dict(said)


def test_float16_of_float32_and_back(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = make_pack(tmp_path / "pack")
    assert make(pack, clips, "float16") == 0
    assert "cosine at least 1.0000" in capsys.readouterr().out
    said = check(pack, "float16", clips, calibrated=False)
    assert said["bytes"]["variant"] < 0.6 * said["bytes"]["pack"]
    assert said["face_psnr_db"]["least"] > 50
    assert not (pack / "float16" / "traits.onnx").exists()
    assert Pack.open(pack, "float16").read("traits.onnx") == (pack / "traits.onnx").read_bytes()

    # the half as a pack of its own
    half = tmp_path / "half"
    shutil.copytree(pack, half, ignore=shutil.ignore_patterns("float16", "manifest.json"))
    shutil.copytree(pack / "float16", half, dirs_exist_ok=True)
    manifest = facts(half)
    del manifest["variant"]
    (half / "manifest.json").write_text(json.dumps(manifest))
    assert make(half, clips, "float32") == 0
    check(half, "float32", clips, calibrated=False)
    embeddings = np.random.default_rng(3).normal(size=(4, 8)).astype(np.float32)
    for name in manifest["generators"].values():
        a, b = (open_session(each.read_bytes()) for each in (half / name, half / "float32" / name))
        assert (a.run(None, {"embedding": embeddings})[0] == b.run(None, {"embedding": embeddings})[0]).all()
        weights = onnx.load(half / "float32" / name).graph.initializer
        assert onnx.TensorProto.FLOAT16 not in {tensor.data_type for tensor in weights}


def test_float32_of_campplus_is_the_same(narrow: Path, clips: Path, tmp_path: Path) -> None:
    pack = copied(narrow, tmp_path)
    assert make(pack, clips, "float32") == 0
    said = check(pack, "float32", clips, calibrated=False)
    assert said["embedding_cosine"]["least"] > 1 - 1e-6
    assert said["face_psnr_db"]["median"] > 80
    assert facts(pack / "float32")["weights"] == "float32"


@pytest.fixture(scope="module")
def with_int8(narrow: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pack = copied(narrow, tmp_path_factory.mktemp("made"))
    assert make(pack, clips, "int8") == 0
    return pack


def test_int8_is_near_and_says_how_near(with_int8: Path, clips: Path) -> None:
    said = check(with_int8, "int8", clips, calibrated=True)
    assert said["embedding_cosine"]["least"] > 0.98
    assert said["bytes"]["variant"] < said["bytes"]["pack"]
    model = onnx.load(with_int8 / "int8" / "voice.onnx")
    stored = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4]
    assert len(stored) == 11 + 5  # of the 2-D network, and of the layers
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["QLinearConv"] == len(stored), "loading has nothing to fuse"
    assert {each.domain for each in model.opset_import} == {"", "com.microsoft"}
    assert sorted(path.name for path in with_int8.iterdir() if path.is_dir()) == ["int8"]
    assert not list(with_int8.glob(".*"))
    for name in ("generator_general.onnx",):
        assert not (with_int8 / "int8" / name).exists()
        assert Pack.open(with_int8, "int8").read(name) == (with_int8 / name).read_bytes()


def test_in_float32_the_rearranged_network_is_the_same(narrow: Path) -> None:
    """Norms taken out and channels equalised: rounding apart, nothing changes."""
    data = (narrow / "voice.onnx").read_bytes()
    windows = (3 * np.random.default_rng(1).normal(size=(6, 200, 80))).astype(np.float32)
    network = int8._Network(data)
    network.take_norms_out()
    network.choose()
    network.equalise(windows)
    for features in (windows, windows[:1, :137]):
        old, new = (
            open_session(each).run(["embedding"], {"features": features})[0]
            for each in (data, network.model(rounded=False).SerializeToString())
        )
        assert np.abs(old - new).max() < 1e-5


def test_biases_take_back_what_rounding_moves(narrow: Path) -> None:
    windows = (3 * np.random.default_rng(2).normal(size=(8, 200, 80))).astype(np.float32)
    network = int8._Network((narrow / "voice.onnx").read_bytes())
    network.take_norms_out()
    network.choose()
    network.equalise(windows)
    names = list(network.chosen)
    wanted = network._means(network.model(rounded=False), names, windows)

    def moved() -> float:
        found = network._means(network.model(rounded=True), names, windows)
        return float(np.mean([np.abs(found[name] - wanted[name]).mean() for name in names]))

    before = moved()
    network.correct(windows)
    assert moved() < before / 4


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3)),
        elements=st.floats(-100, 100),
    )
)
def test_fuzz_no_two_neighbours_saturate(weights: np.ndarray) -> None:
    """Full activations times two neighbouring weights are within 16 bits, however they are laid out."""
    steps = steps_of(weights)
    rounded = np.rint(weights / steps[:, None, None, None])
    assert np.abs(rounded).max() <= 127
    for ordered in (rounded, rounded.transpose(0, 2, 3, 1)):
        row = ordered.reshape(len(weights), -1)
        row = np.pad(row, ((0, 0), (0, row.shape[1] % 2)))
        for first in (0, 255):
            for second in (0, 255):
                assert np.abs(first * row[:, ::2] + second * row[:, 1::2]).max() < 2**15


def test_a_pack_with_variants_is_replaced_and_nothing_else(
    with_int8: Path, narrow: Path, tmp_path: Path, clips: Path
) -> None:
    pack = copied(with_int8, tmp_path)
    assert is_pack(pack)
    for stray in ("notes.txt", "int8/notes.txt", "int8/float32/manifest.json", "float16/weights.bin", "other/a.txt"):
        path = pack / stray
        made = [each for each in path.parents if not each.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        assert not is_pack(pack), stray
        path.unlink()
        for each in made:
            each.rmdir()
    assert is_pack(pack)
    (pack / "float32").symlink_to(pack / "int8")
    assert not is_pack(pack)
    (pack / "float32").unlink()

    # another kind of pack in the place of a variant
    shutil.copytree(narrow, pack / "float32")
    assert not is_pack(pack)
    shutil.rmtree(pack / "float32")

    # what is in the way of a variant stays
    (pack / "int8" / "notes.txt").write_text("mine")
    before = everything(pack)
    assert make(pack, clips, "int8") == 1
    assert everything(pack) == before


def test_an_export_over_a_pack_says_which_variants_went_with_it(
    with_int8: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = copied(with_int8, tmp_path)
    networks = {"voice": GE2EEncoder(16, 8, 1).eval(), "generator_general": Generator(8, (16, 16, 8, 8, 8)).eval()}
    checkpoint.save(tmp_path / "run", networks, {"noise": 0.05})
    words = ["--checkpoint", str(tmp_path / "run"), "--out", str(pack)]
    assert to_onnx.main(words) == 0
    assert "had the variants int8, which were deleted" in capsys.readouterr().err
    assert not (pack / "int8").exists()
    assert to_onnx.main(words) == 0
    assert not capsys.readouterr().err


def test_a_failure_leaves_the_variant_that_was_there(
    with_int8: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = copied(with_int8, tmp_path)
    before = everything(pack)

    def fails(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(variants, "in_turn", fails)
    assert make(pack, clips, "float32") == 1
    assert "error: the disk is full" in capsys.readouterr().err
    assert everything(pack) == before
    assert not (pack / "float32").exists()


@pytest.mark.parametrize(
    ("variant", "words"),
    [("float32", "is float32 itself"), ("int8", "not CAM\\+\\+")],
)
def test_what_a_pack_cannot_have(
    clips: Path, tmp_path: Path, variant: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = make_pack(tmp_path / "pack")
    before = everything(pack)
    assert make(pack, clips, variant) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert words.replace("\\", "") in said
    assert everything(pack) == before


def test_a_variant_has_none_and_speech_is_needed(
    with_int8: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(with_int8 / "int8", clips, "float32") == 1
    assert "is a variant; give the pack" in capsys.readouterr().err
    assert variants.main(
        ["--pack", str(with_int8), "--variant", "int8", "--speech", *map(str, sorted(clips.glob("[0-3].wav")))]
    )
    assert "Of the recordings 4 have speech; at least 8 are needed" in capsys.readouterr().err
    with pytest.raises(PackNotFoundError, match="it has float16, int8"):
        Speech2Face(with_int8, variant="float32")


def test_one_recording_of_each_speaker(s2f_data: Path) -> None:
    found = variants.librispeech(s2f_data)
    assert len(found) == variants.CALIBRATED + variants.JUDGED
    assert len({name.split("-")[0] for name in found}) == len(found)
    assert all(sound[:4] == b"OggS" for sound in found.values())


def test_the_default_packs_variants_are_near(examples: Path) -> None:
    """Those that are there; that they were made of it is checked when they are opened."""
    for variant in variants_of():
        models = [Speech2Face(device="cpu", variant=name) for name in (None, variant)]
        for clip in ("male.wav", "female.wav"):
            ours, theirs = (model.infer(examples / clip, seed=1) for model in models)
            # Another network says nearly the same of a voice; other numbers of one network much more so.
            near = 0.7 if variant == "light" else 0.98
            assert float(ours.voice.embedding @ theirs.voice.embedding) > near
            assert ours.generator == theirs.generator
