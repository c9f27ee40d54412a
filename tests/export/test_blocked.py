"""CAM++ rewritten: the same numbers as torch and as the graph it was made from."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from export import network_file
from export.blocked import NotCamPlusPlus, blocked
from export.float16 import weights_as_float16
from export.verify import open_session
from s2f_train.models.campplus import CamPlusPlus
from s2f_train.models.generator import Generator
from s2f_train.models.voice import VoiceEmbeddingNetwork


@pytest.fixture(scope="module")
def network() -> CamPlusPlus:
    """CAM++ with norms as after training, some of whose scales are negative, and some as they begin: those are
    equal, and torch's export stores one of them.
    """
    random = torch.Generator().manual_seed(5)
    network = CamPlusPlus(32)
    for name, layer in network.named_modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and "tdnnd7" not in name:
            layer.running_mean = torch.randn(layer.num_features, generator=random)
            layer.running_var = torch.rand(layer.num_features, generator=random) + 0.5
            with torch.no_grad():
                layer.weight.copy_(torch.rand(layer.num_features, generator=random) - 0.1)
                layer.bias.copy_(torch.randn(layer.num_features, generator=random) / 2)
    return network.eval()


@pytest.fixture(scope="module")
def exported(network: CamPlusPlus) -> bytes:
    return network_file.to_onnx(network, {"features": torch.randn(2, 200, 80)})


def differences(a: bytes, b: bytes) -> list[float]:
    random, sessions, found = np.random.default_rng(2), (open_session(a), open_session(b)), []
    for batch in (1, 3):
        for frames in (200, 401, 137, 33, 5, 1):
            features = random.normal(size=(batch, frames, 80)).astype(np.float32) * 3
            one, other = (session.run(None, {"features": features})[0] for session in sessions)
            assert one.shape == other.shape
            found.append(float(np.abs(one - other).max()))
    return found


@pytest.mark.slow
def test_it_is_the_same_function_at_any_length_and_batch(exported: bytes) -> None:
    assert max(differences(exported, blocked(exported))) < 1e-4


@pytest.mark.slow
def test_float16_weights_stay_as_they_are(exported: bytes) -> None:
    half = weights_as_float16(exported)
    rewritten = blocked(half)
    assert max(differences(half, rewritten)) < 1e-4  # far below what float16 itself changes

    def halves(data: bytes) -> Counter[bytes]:
        tensors = [onnx.numpy_helper.to_array(t) for t in onnx.load_from_string(data).graph.initializer]
        return Counter(np.sort(t.ravel() + np.float16(0)).tobytes() for t in tensors if t.dtype == np.float16)

    assert halves(rewritten) == halves(half)


def test_every_convolution_is_over_pictures_and_no_norm_is_left(exported: bytes) -> None:
    nodes = onnx.load_from_string(blocked(exported)).graph.node
    kinds = Counter(node.op_type for node in nodes)
    assert kinds["BatchNormalization"] == 0
    assert kinds["Max"] == 52 + 3
    assert kinds["Min"] > 0
    shapes = [onnx.helper.get_attribute_value(a) for n in nodes for a in n.attribute if a.name == "kernel_shape"]
    assert {len(shape) for shape in shapes} == {2}


@pytest.mark.parametrize("other", ["generator", "wen", "twice"])
def test_other_graphs_are_refused(exported: bytes, other: str) -> None:
    if other == "generator":
        data = network_file.to_onnx(Generator(24, (16, 16, 8, 8, 8)), {"embedding": torch.randn(1, 24)})
    elif other == "wen":
        network = VoiceEmbeddingNetwork(embedding_size=24)
        data = network_file.to_onnx(network, {"features": torch.randn(1, 64, 1000)})
    else:
        data = blocked(exported)
    with pytest.raises(NotCamPlusPlus, match=r"no other (graph )?can be rewritten"):
        blocked(data)
