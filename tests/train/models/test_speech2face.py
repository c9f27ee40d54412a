"""Networks of the VAE branch: shapes and parameters, layer by layer, of the thesis's figures 4.3, 4.4 and 4.6."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from s2f_train.models.speech2face import FaceDecoder, SpeechEncoder
from s2f_train.models.torch7 import Torch7Error, Torch7Object, read_t7
from s2f_train.models.vgg_face import VggFace, load_vgg_face

TINY = {"widths": ((4, 4), (6,)), "hidden": 8, "people": 5, "side": 16}


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# ------------------------------------------------------------------------- voice encoder


def test_the_voice_encoder_has_the_layers_of_figure_4_3() -> None:
    with torch.device("meta"):
        encoder = SpeechEncoder()
        x = torch.empty(1, 2, 257, 598)
        shapes = []
        for layer in encoder.convolutions:
            x = layer(x)
            if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
                shapes.append(tuple(x.shape[1:]))
    assert shapes == [
        (64, 257, 598), (64, 257, 598), (128, 257, 598), (128, 128, 598), (128, 128, 598), (128, 64, 598),
        (128, 64, 598), (128, 32, 598), (256, 32, 598), (256, 16, 598), (512, 16, 598), (512, 8, 299), (512, 4, 149),
    ]  # fmt: skip
    widths = [2, 64, 64, 128, 128, 128, 256, 512, 512, 512]
    convolutions = [n * m * 16 + m for n, m in itertools.pairwise(widths)]
    found = [parameters(m) for m in encoder.convolutions if isinstance(m, nn.Conv2d)]
    assert found == convolutions
    norms = sum(2 * m for m in widths[1:])
    linear = (4 * 512 * 4096 + 4096) + 2 * (4096 * 4096 + 4096)
    assert parameters(encoder) == sum(convolutions) + norms + linear


@pytest.mark.parametrize("frames", [98, 99, 200, 598])
def test_the_voice_encoder_takes_any_length_from_a_second(frames: int) -> None:
    encoder = SpeechEncoder((2, 2, 2, 2, 2, 2, 3, 3, 3), hidden=7, embedding_size=5).eval()
    with torch.no_grad():
        features = torch.randn(2, 2, 257, frames)
        mean, log_variance = encoder.posterior(features)
        embedding = encoder(features)
    assert mean.shape == log_variance.shape == embedding.shape == (2, 5)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(2))
    assert torch.allclose(embedding, nn.functional.normalize(mean))


def test_an_encoder_of_other_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="nine convolutions"):
        SpeechEncoder((1, 2))


# -------------------------------------------------------------------------- face decoder


@pytest.mark.slow
def test_the_face_decoder_is_figure_4_6() -> None:
    decoder = FaceDecoder()
    by_hand = (4096 * 1000 + 1000) + (1000 * 50176 + 50176)
    by_hand += sum(n * m * 36 + m for n, m in ((256, 128), (128, 64), (64, 32), (32, 32))) + 32 * 3 + 3
    assert parameters(decoder) == by_hand
    sides = []
    with torch.no_grad():
        x = decoder.mlp(torch.randn(1, 4096)).unflatten(1, (256, 14, 14))
        for layer in decoder.texture_gen:
            x = layer(x)
            if isinstance(layer, nn.ConvTranspose2d):
                sides.append(tuple(x.shape[1:]))
        picture = decoder(torch.randn(2, 4096))
    assert sides == [(128, 28, 28), (64, 56, 56), (32, 112, 112), (32, 224, 224)]
    assert picture.shape == (2, 3, 224, 224)
    assert picture.min() >= -1
    assert picture.max() <= 1
    assert decoder.activations(torch.randn(2, 4096)).shape == (2, 1000)


# ------------------------------------------------------------------------------ VGG-Face


def test_vgg_face_is_vgg_16() -> None:
    with torch.device("meta"):
        network = VggFace()
        feature = network(torch.empty(1, 3, 224, 224))
    convolutions = sum(
        n * m * 9 + m
        for n, m in (
            (3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512), (512, 512),
            (512, 512), (512, 512), (512, 512), (512, 512),
        )
    )  # fmt: skip
    assert parameters(network) == convolutions + 25088 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 2622 + 2622
    assert parameters(network) == 145_002_878
    assert feature.shape == (1, 4096)
    assert network.people(feature).shape == (1, 2622)


class Writer:
    """Writes what torch7 would."""

    def __init__(self) -> None:
        self.data, self.index = b"", 0

    def next(self) -> int:
        self.index += 1
        return self.index

    def text(self, text: str) -> None:
        self.data += struct.pack("<i", len(text)) + text.encode()

    def write(self, thing: Any) -> None:
        if thing is None:
            self.data += struct.pack("<i", 0)
        elif isinstance(thing, bool):
            self.data += struct.pack("<ii", 5, thing)
        elif isinstance(thing, (int, float)):
            self.data += struct.pack("<id", 1, thing)
        elif isinstance(thing, str):
            self.data += struct.pack("<i", 2)
            self.text(thing)
        elif isinstance(thing, dict):
            self.data += struct.pack("<iii", 3, self.next(), len(thing))
            for key, value in thing.items():
                self.write(key)
                self.write(value)
        elif isinstance(thing, Torch7Object):
            self.data += struct.pack("<ii", 4, self.next())
            self.text("V 1")
            self.text(thing.name)
            self.write(thing.content)
        else:
            self.tensor(np.asarray(thing, np.float32))

    def tensor(self, array: np.ndarray) -> None:
        self.data += struct.pack("<ii", 4, self.next())
        self.text("V 1")
        self.text("torch.FloatTensor")
        strides = [step // 4 for step in array.strides]
        self.data += struct.pack(f"<i{2 * array.ndim + 1}q", array.ndim, *array.shape, *strides, 1)
        self.data += struct.pack("<ii", 4, self.next())
        self.text("V 1")
        self.text("torch.FloatStorage")
        self.data += struct.pack("<q", array.size) + array.tobytes()


def t7(thing: Any) -> bytes:
    writer = Writer()
    writer.write(thing)
    return writer.data


@pytest.fixture
def tiny() -> VggFace:
    torch.manual_seed(0)
    return VggFace(**TINY)  # type: ignore[arg-type]


@pytest.fixture
def as_t7(tiny: VggFace) -> Any:
    """The tiny network as torch7 has it: a Sequential of modules, some without weights, one inside another."""

    def module(name: str, layer: nn.Module | None = None) -> Torch7Object:
        if layer is None:
            return Torch7Object(f"nn.{name}", {"train": False})
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()  # type: ignore[union-attr, operator]
        return Torch7Object(f"nn.{name}", {"weight": weight.reshape(len(weight), -1), "bias": bias, "kW": 3.0})

    first, second, third = (m for m in tiny.convolutions if isinstance(m, nn.Conv2d))
    inner = Torch7Object("nn.Sequential", {"modules": {1: module("SpatialConvolutionMM", second), 2: module("ReLU")}})
    modules = [
        module("SpatialConvolutionMM", first), module("ReLU"), inner, module("SpatialMaxPooling"),
        module("SpatialConvolutionMM", third), module("Linear", tiny.fc6), module("Dropout"),
        module("Linear", tiny.fc7), module("Linear", tiny.fc8),
    ]  # fmt: skip
    return Torch7Object("nn.Sequential", {"modules": dict(enumerate(modules, 1)), "train": False})


def test_weights_come_from_both_kinds_of_files(tiny: VggFace, as_t7: Any, tmp_path: Path) -> None:
    (tmp_path / "vgg.t7").write_bytes(t7(as_t7))
    save_file(tiny.state_dict(), tmp_path / "vgg.safetensors")
    faces = torch.rand(2, 3, 16, 16) * 2 - 1
    for file in ("vgg.t7", "vgg.safetensors"):
        loaded = load_vgg_face(tmp_path / file, VggFace(**TINY))  # type: ignore[arg-type]
        torch.testing.assert_close(loaded(faces), tiny(faces))
        torch.testing.assert_close(loaded.people(loaded(faces)), tiny.people(tiny(faces)))
        assert not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.slow
def test_weights_of_other_shapes_are_refused(tiny: VggFace, as_t7: Any, tmp_path: Path) -> None:
    (tmp_path / "vgg.t7").write_bytes(t7(as_t7))
    save_file(tiny.state_dict(), tmp_path / "vgg.safetensors")
    other = {**TINY, "hidden": 9}
    for file in ("vgg.t7", "vgg.safetensors"):
        with pytest.raises(ValueError, match=r"layer 4 has weights|other|sizes"):
            load_vgg_face(tmp_path / file, VggFace(**other))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has 6 layers with weights; VGG-16 has 7"):
        load_vgg_face(tmp_path / "vgg.t7", VggFace(**{**TINY, "widths": ((4, 4), (6, 6))}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"none\.t7"):
        load_vgg_face(tmp_path / "none.t7")


def test_t7_files_hold_what_was_written(tmp_path: Path) -> None:
    thing = {"a": 1.5, 2: "text", "yes": True, "none": None, "t": np.arange(6).reshape(2, 3), "in": {1: {}}}
    (tmp_path / "file").write_bytes(t7(thing))
    found = read_t7(tmp_path / "file")
    np.testing.assert_array_equal(found.pop("t"), thing.pop("t"))
    assert found == thing


def hostile(data: bytes) -> dict[str, bytes]:
    deep = b"".join(struct.pack("<iii", 3, n, 1) + struct.pack("<id", 1, 1.0) for n in range(1, 400))
    reaching = bytearray(t7(np.arange(6.0).reshape(2, 3)))
    at = reaching.index(struct.pack("<q", 2))
    reaching[at : at + 8] = struct.pack("<q", 2_000_000)
    huge = struct.pack("<ii", 4, 1) + struct.pack("<i", 3) + b"V 1" + struct.pack("<i", 18) + b"torch.FloatStorage"
    return {
        "empty": b"",
        "text": b"these are words",
        "cut": data[: len(data) // 2],
        "code": struct.pack("<i", 8) + data,
        "deep": deep,
        "reaching": bytes(reaching),
        "huge": huge + struct.pack("<q", 1 << 60),
        "negative": struct.pack("<ii", 2, -5),
        "table as a key": struct.pack("<iii", 3, 1, 1) + struct.pack("<iii", 3, 2, 0) + struct.pack("<i", 0),
    }


@pytest.mark.parametrize("name", list(hostile(b"")))
def test_hostile_t7_files_are_errors_of_ours(name: str, as_t7: Any, tmp_path: Path) -> None:
    (tmp_path / "file.t7").write_bytes(hostile(t7(as_t7))[name])
    with pytest.raises(Torch7Error, match=r"file\.t7"):
        read_t7(tmp_path / "file.t7")


def test_every_cut_of_a_t7_file_is_an_error_of_ours(as_t7: Any, tmp_path: Path) -> None:
    data = t7(as_t7)
    for length in range(0, len(data), 97):
        (tmp_path / "cut.t7").write_bytes(data[:length])
        with pytest.raises(Torch7Error):
            read_t7(tmp_path / "cut.t7")
