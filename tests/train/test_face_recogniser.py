"""The face network from elsewhere: its weights out of npm's package, its crop, TensorFlow's padding, gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_recogniser import Arrays, made_arrays, packed, written
from numpy.typing import NDArray
from torch import nn

from s2f_train.models.face_recogniser import (
    EYES_APART,
    EYES_AT,
    MEANS_BGR,
    FaceRecogniser,
    SamePad,
    crop_box,
    load_face_recogniser,
)
from s2f_train.prepare.align import TEMPLATE


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return made_arrays()


@pytest.fixture(scope="module")
def folder(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("faceres"), arrays).parent


def by_definition(arrays: Arrays, pixels: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, float]:
    """The network on one picture (h, w, 3), written out in numpy."""
    w = {name: array.astype(np.float64) for name, array in arrays.items()}

    def windows(x: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
        side = x.shape[0]
        total = max((-(-side // stride) - 1) * stride + 3 - side, 0)
        edges = (total // 2, total - total // 2)
        x = np.pad(x, (edges, edges, (0, 0)))
        return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::stride, ::stride]

    def relu6(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        return np.clip(x + w[f"{name}_bn/batchnorm_1/sub"], 0, 6)

    x = relu6(np.einsum("yxcij,ijco->yxo", windows(pixels, 2), w["conv1/convolution/merged_input"]), "conv1")
    for i in range(1, 14):
        name = f"conv_dw_{i}"
        x = np.einsum(
            "yxcij,ijc->yxc", windows(x, 2 if i in (2, 4, 6, 12) else 1), w[f"{name}/depthwise_kernel"][..., 0]
        )
        x = relu6(x * w[f"{name}_bn/batchnorm_1/mul"], name)
        x = relu6(x @ w[f"conv_pw_{i}/convolution/merged_input"][0, 0], f"conv_pw_{i}")
    features = x.mean(axis=(0, 1))
    common = np.maximum(features @ w["feats/kernel"] + w["feats/bias"], 0)
    male = 1 / (1 + np.exp(-(common @ w["gender_pred/kernel"] + w["gender_pred/bias"])))
    ages = np.exp(common @ w["age_pred/kernel"] + w["age_pred/bias"])
    return features, float(male[0]), float((ages / ages.sum()) @ np.arange(100))


@pytest.mark.parametrize("side", [64, 70])  # 70: halved, it becomes odd
def test_the_weights_come_to_their_places(arrays: Arrays, folder: Path, side: int) -> None:
    network = load_face_recogniser(folder / "faceres.json")
    pixels = np.random.default_rng(0).uniform(-120, 150, (side, side, 3))
    features, male, age = by_definition(arrays, pixels)
    found = network.look(torch.from_numpy(pixels).float().permute(2, 0, 1)[None])
    assert features.std() > 0.05
    assert np.abs(found.features[0].numpy() - features).max() < 1e-3
    assert float(found.male[0]) == pytest.approx(male, abs=1e-4)
    assert float(found.age[0]) == pytest.approx(age, abs=1e-2)


def test_the_package_and_its_files_are_the_same(folder: Path, tmp_path: Path) -> None:
    files = {"blazeface.bin": b"1", **{p.name: p.read_bytes() for p in folder.iterdir()}}
    package = load_face_recogniser(packed(tmp_path / "human-models-3.0.4.tgz", files), size=96)
    assert package.settings == {"size": 96}
    loose = load_face_recogniser(folder / "faceres.json")
    for name, tensor in loose.state_dict().items():
        assert torch.equal(package.state_dict()[name], tensor), name


def test_it_stays_frozen_and_lets_gradients_through(folder: Path) -> None:
    network = load_face_recogniser(folder / "faceres.json", size=64)
    nn.ModuleList([network]).train()
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    faces = (torch.rand(2, 3, 64, 64) * 2 - 1).requires_grad_()
    seen = network(faces)
    assert (seen.features.shape, seen.male.shape, seen.age.shape) == ((2, 1024), (2,), (2,))
    for part in seen:
        (gradient,) = torch.autograd.grad(part.sum(), faces, retain_graph=True)
        assert gradient[0].abs().max() > 0
        assert gradient[1].abs().max() > 0


def test_colours_are_as_it_was_trained() -> None:
    """A picture of the means is nothing to it, and what is red comes last."""
    network = FaceRecogniser(size=32)
    seen: list[torch.Tensor] = []
    network.look = seen.append  # type: ignore[method-assign, assignment]
    grey = torch.tensor(MEANS_BGR).flip(0) / 127.5 - 1
    network(grey[None, :, None, None].expand(1, 3, 64, 64))
    assert seen[0].abs().max() < 1e-4
    red = torch.tensor([1.0, -1.0, -1.0])
    network(red[None, :, None, None].expand(1, 3, 64, 64))
    assert torch.allclose(seen[1][0, :, 0, 0], torch.tensor([0.0, 0.0, 255.0]) - torch.tensor(MEANS_BGR), atol=1e-3)


@pytest.mark.parametrize("size", [112, 128])
def test_the_eyes_come_to_where_the_crop_has_them(size: int) -> None:
    right, left = TEMPLATE[:2].mean(axis=0), TEMPLATE[2:4].mean(axis=0)
    rows, columns = (np.indices((256, 256)) + 0.5) / 256
    face = np.zeros((1, 3, 256, 256), np.float32)
    for channel, (x, y) in enumerate((right, left)):
        face[0, channel] = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 0.015**2))
    crop = FaceRecogniser(size).crop(torch.from_numpy(face))[0].numpy()
    rows, columns = (np.indices((size, size)) + 0.5) / size
    found = np.array([[(c * columns).sum(), (c * rows).sum()] / c.sum() for c in crop[:2]])
    assert found.mean(axis=0) == pytest.approx(EYES_AT, abs=2e-3)
    assert found[0, 0] - found[1, 0] == pytest.approx(EYES_APART, abs=2e-3)
    assert crop_box() == pytest.approx((0.1174, 0.1137, 0.7806), abs=1e-3)


def test_same_padding_is_tensorflows() -> None:
    """By hand: with stride 2, an even side gets its zero at the end, an odd one gets one on both sides."""
    ones = torch.ones(1, 1, 1, 3)
    row = torch.tensor([[[[1.0, 2.0, 4.0, 8.0]]]])
    even = nn.functional.conv2d(SamePad(3, 2)(row)[:, :, :1], ones, stride=2)
    assert even.tolist() == [[[[0.0, 0.0]]]]  # a side of 1 is odd, so the first row is of zeros
    even = nn.functional.conv2d(SamePad(3, 2)(row)[:, :, 1:2], ones, stride=2)
    assert even.tolist() == [[[[7.0, 12.0]]]]  # 1 + 2 + 4, 4 + 8 + 0
    odd = nn.functional.conv2d(SamePad(3, 2)(row[..., :3])[:, :, 1:2], ones, stride=2)
    assert odd.tolist() == [[[[3.0, 6.0]]]]  # 0 + 1 + 2, 2 + 4 + 0
    assert SamePad(3, 1)(row).shape == (1, 1, 3, 6)


def test_broken_files_are_refused_in_a_sentence(arrays: Arrays, folder: Path, tmp_path: Path) -> None:
    good = {p.name: p.read_bytes() for p in folder.iterdir()}
    (tmp_path / "text.tgz").write_text("no package")
    whole = packed(tmp_path / "whole.tgz", good).read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "faceres.json").write_bytes(good["faceres.json"])
    fewer = {name: array for name, array in arrays.items() if name != "conv_dw_7/depthwise_kernel"}
    other = {**arrays, "feats/bias": np.zeros(255, np.float16)}
    short = written(tmp_path / "short", arrays)
    short.with_suffix(".bin").write_bytes(good["faceres.bin"][:-2])
    long = written(tmp_path / "long", arrays)
    long.with_suffix(".bin").write_bytes(good["faceres.bin"] + b"00")
    listed = written(tmp_path / "listed", arrays)
    listed.write_text("[]")
    nothing = written(tmp_path / "nothing", arrays)
    nothing.write_text("no JSON")
    for path in (
        *(tmp_path / "missing.tgz", tmp_path / "text.tgz", tmp_path / "cut.tgz", tmp_path / "alone" / "faceres.json"),
        *(packed(tmp_path / "other.tgz", {"blazeface.json": b"{}"}), tmp_path),
        *(written(tmp_path / "fewer", fewer), written(tmp_path / "other", other), short, long, listed, nothing),
    ):
        with pytest.raises(ValueError, match="human-models") as raised:
            load_face_recogniser(path)
        assert str(path) in str(raised.value)
        assert len(str(raised.value)) < 500
