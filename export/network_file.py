"""A network as an ONNX file, compared with torch."""

from __future__ import annotations

import copy
import io
import warnings
from itertools import pairwise
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from export.blocked import blocked
from export.float16 import weights_as_float16
from export.verify import BATCHES, FLOAT16_TOLERANCE, TOLERANCE, verify
from s2f_edge.pack.roles import APPEARANCE, POSE
from s2f_train.models.animator import Animator
from s2f_train.models.appearance_generator import AppearanceGenerator
from s2f_train.models.motion import MotionNetwork
from s2f_train.models.renderer import INNER_SIDE, OUTER_SIDE, SIDE, Renderer
from s2f_train.models.traits import VoiceTraits

OPSET = 17


def network_file(
    key: str, network: nn.Module, size: int, facts: dict[str, str], float16: bool
) -> tuple[bytes, dict[str, Any]]:
    """A network as the bytes of its file, and how near they are to the module.

    Args:
        key: `voice`, `traits`, `renderer`, `animator` or `generator_...`.
        size: of the voice embedding.
        facts: see `facts_of`; they come to stand in the file.
        float16: keep the weights as float16, see `export.float16`.

    Raises:
        ParityError: the file is not the same function.
    """
    examples = _examples(key, network, size)
    data = _with_facts(to_onnx(network, examples[0]), {**facts, "s2f.network": key})
    if key == "voice" and str(network.kind).startswith("campplus"):
        data = blocked(data)
    # What reads gender and typicality is small, and its numbers are differences of near ones.
    halved = float16 and key != "traits"
    data = weights_as_float16(data) if halved else data
    return data, verify(network, data, examples, FLOAT16_TOLERANCE if halved else TOLERANCE)


def facts_of(name: str, version: str, licence: str, features: str) -> dict[str, str]:
    """The metadata stored in every ONNX file of a pack."""
    return {"s2f.pack": f"{name} {version}", "s2f.licence": licence, "s2f.features": features}


def _examples(key: str, network: nn.Module, size: int) -> list[dict[str, Tensor]]:
    """Seeded inputs of every batch size and, for a voice network, several lengths."""
    generator = torch.Generator().manual_seed(7)
    if isinstance(network, Renderer):
        return [_appearance(network, n, generator) for n in BATCHES]
    if isinstance(network, Animator):
        return [_moved_face(network, n, generator) for n in BATCHES]
    if isinstance(network, MotionNetwork):
        lengths = [sum(network.context) + 4 * frames for frames in (8, 1, 75)]
        return [
            {"features": torch.randn(n, t, 80, generator=generator).mul(4).add(12)} for n in BATCHES for t in lengths
        ]
    if key != "voice":
        rows = [torch.randn(n, size, generator=generator) for n in BATCHES]
        examples = [{"embedding": nn.functional.normalize(r)} for r in rows]
        if isinstance(network, AppearanceGenerator):
            latents = [torch.randn(n, network.settings["latent_size"], generator=generator) for n in BATCHES]
            latents[0].zero_()  # the face of a voice
            return [{**example, "latent": latent} for example, latent in zip(examples, latents, strict=True)]
        return examples
    if network.features == "logmel-64":
        return [
            {"features": torch.randn(n, 64, t, generator=generator)} for n in BATCHES for t in (1000, 1001, 1037, 3000)
        ]
    if network.features == "fbank-80":
        # What the runtime gives, whole segments of the network's context, and such that end inside one.
        return [
            {"features": torch.randn(n, t, 80, generator=generator).mul(3)}
            for n in BATCHES
            for t in (200, 137, 33, 500)
        ]
    if network.features == "stft-257":
        return [{"features": torch.randn(n, 2, 257, t, generator=generator)} for n in BATCHES for t in (598, 98, 201)]
    # melpower-40: power is positive and spread over decades
    return [
        {"features": torch.randn(n, t, 40, generator=generator).mul(2).sub(6).exp()}
        for n in BATCHES
        for t in (160, 80, 33)
    ]


def _appearance(network: Renderer, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Sketches that are smooth, as real ones are, with detail in them, and shapes near the mean one."""
    parts = {}
    for name, side in (("inner", INNER_SIDE), ("outer", OUTER_SIDE)):
        coarse = nn.functional.interpolate(
            torch.rand(count, 3, 6, 6, generator=generator) * 2 - 1, side, mode="bilinear"
        )
        parts[name] = (coarse + 0.1 * torch.randn(coarse.shape, generator=generator)).clamp(-1.0, 1.0)
    points = network.points
    return {**parts, "shape": points + 0.02 * torch.randn(count, *points.shape, generator=generator)}


def _moved_face(network: Animator, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """A smooth texture, a shape near the mean one, an opened mouth, and every part of a pose."""
    coarse = torch.rand(count, 3, 24, 24, generator=generator) * 2 - 1
    points = network.points
    offsets = 0.01 * torch.randn(count, *points.shape, generator=generator)
    offsets[:, 55:60, 1] += 0.2 * torch.rand(count, 1, generator=generator)
    offsets[:, 65:68, 1] += offsets[:, 57:58, 1]
    pose = torch.rand(count, len(POSE), generator=generator)
    pose[:, :5] = 0.02 * pose[:, :5] - 0.01
    return {
        "texture": nn.functional.interpolate(coarse, SIDE, mode="bilinear"),
        "shape": points + 0.005 * torch.randn(count, *points.shape, generator=generator),
        "offsets": offsets,
        "pose": pose,
    }


def to_onnx(module: nn.Module, example: dict[str, Tensor]) -> bytes:
    """One module as ONNX with dynamic batch and frames."""
    if isinstance(module, VoiceTraits):
        outputs = ["male", "surprise"]
    elif isinstance(module, AppearanceGenerator):
        outputs = list(APPEARANCE)
    elif isinstance(module, MotionNetwork):
        outputs = ["offsets"]
    else:
        outputs = ["embedding"] if "features" in example else ["face"]
    axes = {name: {0: "batch"} for name in (*example, *outputs)}
    if "offsets" in outputs:
        axes["offsets"][1] = "frames_of_video"
    if "features" in example:
        axes["features"][{"logmel-64": 2, "stft-257": 3}.get(str(module.features), 1)] = "frames"
    drawn = isinstance(module, Renderer | Animator)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The TorchScript-based exporter is marked as old; its graphs of these networks are plain and checked below.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _folded(module.eval()) if drawn else module.eval(),
            tuple(example.values()),
            buffer,  # type: ignore[arg-type]
            input_names=list(example),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            # Folded, the noise of every block would stand there for each of its maps; a runtime folds it when it loads.
            do_constant_folding=not drawn,
            dynamo=False,
        )
    if drawn:
        return _with_lengths(buffer.getvalue(), module, example)
    return buffer.getvalue()


def _folded(module: nn.Module) -> nn.Module:
    """A copy whose batch norms are inside the convolutions before them, which the exporter does with all or nothing."""
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for (before, convolution), (name, norm) in pairwise(parent.named_children()):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, before, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, name, nn.Identity())
    return module


def _with_lengths(data: bytes, module: nn.Module, example: dict[str, Tensor]) -> bytes:
    """The lengths of the picture, which the exporter loses at GridSample."""
    with torch.inference_mode():
        face = module(**example)
    model = onnx.load_from_string(data)
    for dimension, length in zip(model.graph.output[0].type.tensor_type.shape.dim[1:], face.shape[1:], strict=True):
        dimension.dim_value = length
    said: bytes = model.SerializeToString()
    return said


def _with_facts(data: bytes, facts: dict[str, str]) -> bytes:
    """The essentials of the manifest inside the ONNX file, where other tools look for them."""
    model = onnx.load_from_string(data)
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised
