"""Export: the same function as torch, or nothing at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import torch
from torch import nn

from export import network_file, to_onnx
from export.verify import ParityError, verify
from s2f_edge import Speech2Face
from s2f_train import checkpoint
from s2f_train.fit.sample import embedding_of
from s2f_train.models.campplus import CamPlusPlus
from s2f_train.models.generator import Generator
from s2f_train.models.projected import ProjectedEncoder
from s2f_train.models.traits import VoiceTraits
from s2f_train.models.voice import GE2EEncoder, VoiceEmbeddingNetwork


def used(network: nn.Module) -> nn.Module:
    """Batch norms as after training: their statistics are not the ones they begin with."""
    generator = torch.Generator().manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean = torch.randn(layer.num_features, generator=generator)
            layer.running_var = torch.rand(layer.num_features, generator=generator) + 0.5
    return network.eval()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of each kind of voice network, with small generators."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("runs")
    traits = VoiceTraits(24, 8)
    traits.fit(nn.functional.normalize(torch.randn(64, 24)), (torch.arange(64) % 2).float())
    facts = {"noise": 0.05, "licence": "none", "traits": {"surprise_p95": 2.0, "surprise_p99": 3.0}}
    generators = {f"generator_{g}": used(Generator(24, (16, 16, 8, 8, 8))) for g in ("general", "male", "female")}
    checkpoint.save(folder / "ge2e", {"voice": GE2EEncoder(32, 24, 2), "traits": traits, **generators}, facts)
    wen = {
        "voice": used(VoiceEmbeddingNetwork(embedding_size=24)),
        "generator_general": generators["generator_general"],
    }
    checkpoint.save(folder / "wen", wen, {"noise": 0.05})
    campplus = {**wen, "voice": used(CamPlusPlus(24))}
    checkpoint.save(folder / "campplus", campplus, {"noise": 0.05})
    projected = ProjectedEncoder.fit(used(CamPlusPlus(32)), nn.functional.normalize(torch.randn(48, 32) + 1), 24)
    checkpoint.save(folder / "projected", {**wen, "voice": projected}, {"noise": 0.05})
    return {kind: folder / kind for kind in ("ge2e", "wen", "campplus", "projected")}


@pytest.mark.parametrize("kind", ["ge2e", "wen", "campplus", "projected"])
@pytest.mark.slow
def test_a_checkpoint_becomes_a_pack_that_runs(
    runs: dict[str, Path], tmp_path: Path, examples: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert to_onnx.main(["--checkpoint", str(runs[kind]), "--out", str(tmp_path / "pack")]) == 0
    assert "largest difference from torch" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "pack" / "manifest.json").read_text())
    for name, parity in manifest["parity"].items():
        assert parity["largest_difference"] < 1e-4, name
        assert parity["examples"] >= 3
    assert manifest["parity"]["voice.onnx"]["embedding_least_cosine"] > 0.99999
    assert manifest["parity"]["generator_general.onnx"]["face_least_psnr_db"] > 80
    props = {p.key: p.value for p in onnx.load(tmp_path / "pack" / "voice.onnx").metadata_props}
    assert props["s2f.features"] == manifest["voice"]["features"]
    assert [p.name for p in tmp_path.iterdir()] == ["pack"]

    # the pack, run as a user would, against torch on the same features
    model = Speech2Face(tmp_path / "pack", device="cpu")
    result = model.infer(examples / "male.wav", gender="general")
    networks, _ = checkpoint.load(runs[kind])
    assert manifest["voice"]["network"] == networks["voice"].kind
    heard = embedding_of(examples / "male.wav", networks["voice"]).numpy()
    np.testing.assert_allclose(result.voice.embedding, heard, rtol=0, atol=1e-4)
    with torch.inference_mode():
        face = networks["generator_general"](torch.from_numpy(result.voice.embedding)[None])[0]
    wanted = np.rint(face.numpy() * 127.5 + 127.5).transpose(1, 2, 0)
    assert np.abs(result.face - wanted).max() <= 1  # one step of 8 bits: rounding


@pytest.mark.slow
def test_the_embedding_of_a_clip_equals_torch(runs: dict[str, Path], tmp_path: Path, examples: Path) -> None:
    from s2f_edge.hearing.features import logmel, normalise_logmel, repeat_to
    from s2f_edge.hearing.vad import find_speech

    assert to_onnx.main(["--checkpoint", str(runs["wen"]), "--out", str(tmp_path / "pack")]) == 0
    samples, rate = soundfile.read(examples / "female.wav", dtype="float32")
    found = Speech2Face(tmp_path / "pack", device="cpu").embed(samples, rate).embedding
    features = repeat_to(normalise_logmel(logmel(find_speech(samples).samples)), 1000)
    networks, _ = checkpoint.load(runs["wen"])
    with torch.inference_mode():
        wanted = networks["voice"](torch.from_numpy(features.T.copy())[None])[0].numpy()
    assert np.abs(found - wanted).max() < 1e-5


@pytest.mark.slow
def test_weights_kept_as_float16_are_half_the_size_and_nearly_the_same(
    runs: dict[str, Path], tmp_path: Path, examples: Path
) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    assert to_onnx.main(["--checkpoint", str(runs["campplus"]), "--out", str(whole)]) == 0
    assert to_onnx.main(["--checkpoint", str(runs["campplus"]), "--out", str(half), "--float16"]) == 0
    assert json.loads((whole / "manifest.json").read_text())["weights"] == "float32"
    manifest = json.loads((half / "manifest.json").read_text())
    assert manifest["weights"] == "float16"
    assert 0 < manifest["parity"]["voice.onnx"]["largest_difference"] < 5e-3
    assert manifest["parity"]["voice.onnx"]["embedding_least_cosine"] > 0.9999
    assert (half / "voice.onnx").stat().st_size < 0.6 * (whole / "voice.onnx").stat().st_size
    a, b = (Speech2Face(folder, device="cpu").infer(examples / "male.wav").face for folder in (whole, half))
    assert np.abs(a.astype(int) - b).max() <= 2


def test_a_weight_that_float16_cannot_hold_is_refused(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    networks, facts = checkpoint.load(runs["wen"])
    with torch.no_grad():
        networks["voice"].model[0].weight[0, 0, 0] = 1e5  # type: ignore[index, union-attr]
    checkpoint.save(tmp_path / "run", networks, facts)
    assert to_onnx.main(["--checkpoint", str(tmp_path / "run"), "--out", str(tmp_path / "pack"), "--float16"]) == 1
    assert "float16 cannot hold; export without --float16" in capsys.readouterr().err
    assert not (tmp_path / "pack").exists()


@pytest.mark.slow
def test_a_file_that_differs_is_not_written(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = network_file.to_onnx

    def other(module: nn.Module, example: dict[str, Any]) -> bytes:
        if isinstance(module, Generator):
            with torch.no_grad():
                module.model[-1].bias += 0.01  # what is exported is not what is compared
            data = real(module, example)
            with torch.no_grad():
                module.model[-1].bias -= 0.01
            return data
        return real(module, example)

    monkeypatch.setattr(network_file, "to_onnx", other)
    assert to_onnx.main(["--checkpoint", str(runs["wen"]), "--out", str(tmp_path / "pack")]) == 1
    assert "differs from torch" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_failed_export_leaves_the_old_pack(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "pack"
    assert to_onnx.main(["--checkpoint", str(runs["wen"]), "--out", str(out)]) == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def fails(*_: object) -> dict[str, Any]:
        raise ParityError("no")

    monkeypatch.setattr(network_file, "verify", fails)
    assert to_onnx.main(["--checkpoint", str(runs["wen"]), "--out", str(out)]) == 1
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["pack"]


def test_a_foreign_folder_is_not_replaced(runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    assert to_onnx.main(["--checkpoint", str(runs["wen"]), "--out", str(tmp_path / "thesis")]) == 1
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"


def test_nan_never_passes() -> None:
    generator = used(Generator(8, (8, 8, 8, 8, 8)))
    example = {"embedding": torch.randn(1, 8)}
    data = network_file.to_onnx(generator, example)
    with torch.no_grad():
        generator.model[-1].bias.fill_(float("nan"))
    with pytest.raises(ParityError):
        verify(generator, data, [example])


def test_without_arguments_it_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert to_onnx.main([]) == 0
    text = capsys.readouterr().out
    assert "--checkpoint" in text
    assert "--published" in text


def test_no_checkpoint_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_onnx.main(["--checkpoint", str(tmp_path), "--out", str(tmp_path / "pack")]) == 1
    assert "neither a checkpoint nor a run" in capsys.readouterr().err


def test_a_folder_with_some_manifest_is_not_replaced(runs: dict[str, Path], tmp_path: Path) -> None:
    """A web extension has a manifest.json too."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "manifest.json").write_text('{"manifest_version": 3}')
    (tmp_path / "web" / "source.js").write_text("1")
    assert to_onnx.main(["--checkpoint", str(runs["wen"]), "--out", str(tmp_path / "web")]) == 1
    assert (tmp_path / "web" / "source.js").read_text() == "1"


def test_a_checkpoint_without_a_voice_network(runs: dict[str, Path], tmp_path: Path, capsys) -> None:
    networks, _ = checkpoint.load(runs["wen"])
    checkpoint.save(tmp_path / "run", {"generator_general": networks["generator_general"]}, {})
    assert to_onnx.main(["--checkpoint", str(tmp_path / "run"), "--out", str(tmp_path / "pack")]) == 1
    assert "needs a voice network" in capsys.readouterr().err
