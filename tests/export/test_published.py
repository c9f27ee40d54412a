"""The published checkpoint layout of Wen et al., made here with random weights."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from export import to_onnx
from export.published import PublishedError, load_published
from s2f_edge import Speech2Face


def published_voice() -> dict[str, torch.Tensor]:
    """State dict as docs/spec.md, section 6, describes it, written down from that text and not from our module."""
    state, widths = {}, (64, 256, 384, 576, 864)
    for i, (narrow, wide) in enumerate(itertools.pairwise(widths)):
        state[f"model.{3 * i}.weight"] = torch.randn(wide, narrow, 3) / (3 * narrow) ** 0.5
        state[f"model.{3 * i + 1}.weight"] = torch.rand(wide) + 0.5
        state[f"model.{3 * i + 1}.bias"] = torch.randn(wide) * 0.1
        state[f"model.{3 * i + 1}.running_mean"] = torch.randn(wide) * 0.1
        state[f"model.{3 * i + 1}.running_var"] = torch.rand(wide) + 0.5
        state[f"model.{3 * i + 1}.num_batches_tracked"] = torch.tensor(100)
    state["model.12.weight"] = torch.randn(64, 864, 3) / (3 * 864) ** 0.5
    state["model.12.bias"] = torch.randn(64) * 0.1
    return state


def published_generator() -> dict[str, torch.Tensor]:
    state, widths = {}, (64, 1024, 512, 256, 128, 64)
    for i, (narrow, wide) in enumerate(itertools.pairwise(widths)):
        state[f"model.{2 * i}.weight"] = torch.randn(narrow, wide, 4, 4) / (4 * narrow) ** 0.5
        state[f"model.{2 * i}.bias"] = torch.randn(wide) * 0.1
    state["model.10.weight"] = torch.randn(64, 3, 1, 1) / 8
    state["model.10.bias"] = torch.randn(3) * 0.1
    return state


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("published")
    torch.save(published_voice(), folder / "voice_embedding.pth")
    torch.save(published_generator(), folder / "generator.pth")
    return folder / "voice_embedding.pth", folder / "generator.pth"


@pytest.mark.slow
def test_published_weights_become_a_pack(files: tuple[Path, Path], tmp_path: Path, examples: Path) -> None:
    assert to_onnx.main(["--published", *map(str, files), "--out", str(tmp_path / "wen")]) == 0
    model = Speech2Face(tmp_path / "wen", device="cpu")
    result = model.infer(examples / "male.wav")
    assert result.generator == "general"
    assert model.pack.manifest.voice.features == "logmel-64"
    # the same by plain functions on the published tensors
    state = torch.load(files[1], weights_only=True)
    x = torch.from_numpy(result.voice.embedding)[None, :, None, None]
    for i, (stride, padding) in enumerate([(1, 0), (2, 1), (2, 1), (2, 1), (2, 1), (1, 0)]):
        x = nn.functional.conv_transpose2d(
            x, state[f"model.{2 * i}.weight"], state[f"model.{2 * i}.bias"], stride, padding
        )
        x = x.relu() if i < 5 else x.clamp(-1, 1)
    wanted = np.rint(x[0].numpy() * 127.5 + 127.5).transpose(1, 2, 0)
    assert np.abs(result.face - wanted).max() <= 1


@pytest.mark.slow
def test_the_thesis_server_ends_with_tanh(files: tuple[Path, Path]) -> None:
    x = nn.functional.normalize(torch.randn(2, 64))
    plain, tanh = load_published(*files)["generator_general"], load_published(*files, tanh=True)["generator_general"]
    with torch.no_grad():
        raw = plain.model(x[:, :, None, None])
        assert torch.allclose(tanh(x), raw.tanh())
        assert torch.allclose(plain(x), raw.clamp(-1, 1))


def test_old_files_without_the_counter_of_batches(files: tuple[Path, Path], tmp_path: Path) -> None:
    state = {k: v for k, v in torch.load(files[0], weights_only=True).items() if "num_batches" not in k}
    torch.save(state, tmp_path / "voice.pth")
    load_published(tmp_path / "voice.pth", files[1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("model.12.bias"), r"missing model\.12\.bias"),
        (lambda s: s.update({"model.99.weight": torch.zeros(1)}), r"unknown model\.99\.weight"),
        (lambda s: s.update({"model.12.bias": torch.zeros(65)}), r"model\.12\.bias is \(65,\)"),
        (lambda s: s.update({"model.12.bias": "text"}), r"model\.12\.bias is str"),
        (lambda s: s.update({"model.12.bias": torch.full((64,), float("nan"))}), "NaN"),
        (lambda s: s.clear(), "missing"),
    ],
)
def test_what_does_not_fit_is_named(files: tuple[Path, Path], tmp_path: Path, change, words: str) -> None:
    state = torch.load(files[0], weights_only=True)
    change(state)
    torch.save(state, tmp_path / "voice.pth")
    with pytest.raises(PublishedError, match=words):
        load_published(tmp_path / "voice.pth", files[1])


def test_swapped_files_are_refused(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert to_onnx.main(["--published", str(files[1]), str(files[0]), "--out", str(tmp_path / "pack")]) == 1
    assert "does not fit the published" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


class _Evil:
    def __reduce__(self):  # type: ignore[no-untyped-def]
        return (Path.touch, (Path(self.target),))

    def __init__(self, target: Path) -> None:
        self.target = str(target)


def test_code_in_a_file_is_not_run(files: tuple[Path, Path], tmp_path: Path) -> None:
    mark = tmp_path / "owned"
    torch.save({"model.0.weight": _Evil(mark)}, tmp_path / "evil.pth")
    with pytest.raises(PublishedError, match="could run code"):
        load_published(tmp_path / "evil.pth", files[1])
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(_Evil(mark)))
    with pytest.raises(PublishedError):
        load_published(tmp_path / "plain.pth", files[1])
    assert not mark.exists()


@pytest.mark.parametrize("data", [b"", b"not torch at all", b"PK\x03\x04 broken zip"])
def test_files_that_are_no_torch(files: tuple[Path, Path], tmp_path: Path, data: bytes) -> None:
    (tmp_path / "voice.pth").write_bytes(data)
    with pytest.raises(PublishedError):
        load_published(tmp_path / "voice.pth", files[1])
    with pytest.raises(PublishedError, match="does not exist"):
        load_published(tmp_path / "missing.pth", files[1])
