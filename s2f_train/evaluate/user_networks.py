"""Networks that a user brings, as ONNX or TorchScript: features for a Fréchet distance, or a face recogniser.

Beside a network FILE may lie FILE.json, which says what the network's own file cannot:

    {
      "name": "ArcFace R50",      what it is, for the report
      "size": 112,                side of its input in pixels; an ONNX file with a fixed size says it itself
      "range": "-1..1",           of its input: "uint8" (0 to 255; TorchScript gets bytes), "0..1", "-1..1", or
                                  "imagenet" (0..1, less the mean and by the deviation of ImageNet's pixels)
      "channels": "RGB",          or "BGR"
      "output": "embedding",      which of several outputs of an ONNX file; the first, if this is missing
      "eyes": [[0.656, 0.461], [0.342, 0.461]]
                                  where it expects the middle of the eye on the right and on the left of the picture,
                                  x and y in units of the side; if this is missing, it is shown the whole picture
    }
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2f_edge.pack.network import onnxruntime
from s2f_train.evaluate.cache import Vector
from s2f_train.evaluate.judging import JudgeError
from s2f_train.evaluate.tables import Picture
from s2f_train.prepare.align import TEMPLATE, similarity, warp

RANGES = ("uint8", "0..1", "-1..1", "imagenet")
IMAGENET = np.array([[[0.485, 0.456, 0.406]], [[0.229, 0.224, 0.225]]], np.float32)  # mean, deviation
EYES = TEMPLATE[:4].reshape(2, 2, 2).mean(axis=1)
ONNX_TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}

Batch = NDArray[Any]  # (1, 3, h, w)


@dataclass(frozen=True)
class Facts:
    """What is known of a network's input; see the module. Without a size, pictures are shown as large as they are."""

    name: str = ""
    size: int | None = None
    range: str = ""
    channels: str = "RGB"
    output: str | None = None
    eyes: list[list[float]] | None = None


@dataclass(frozen=True)
class _Network:
    """A file that was opened: how it is run, the sides and the type of its input where the file says them."""

    run: Callable[[Batch], Any]
    sides: tuple[int, ...] = ()
    takes: type | None = None


# SHA-256 -> facts and label. The digest is the one that k-diffusion pins for NVIDIA's file, and others measured.
# It enlarges pictures itself, as published figures had it done, and takes bytes.
INCEPTIONS = {
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4": (
        Facts("Inception v3 of 2015-12-05 (StyleGAN2-ADA's file)", None, "uint8"),
        "FID (Inception v3 of 2015-12-05, 2048-d, as in StyleGAN2-ADA)",
    )
}


class FeatureNetwork:
    """A network whose output for one picture is one vector of features. It looks for no face: each counts as found.

    NVIDIA's inception-2015-12-05.pt, which gives figures that can be compared with published FIDs, is
    known by its digest and needs no FILE.json; with one, its distance is not called FID. A float input needs
    the range in FILE.json, as a wrong guess would go unseen. Pictures are resized by bicubic interpolation.

    TorchScript can run any code when it is opened: the file must be the user's own, or of someone trusted.

    Args:
        path: FILE.onnx, or FILE.pt, .pth or .ts of TorchScript. Input: (N, 3, h, w), uint8 or float.

    Attributes:
        name, sha256, weights: see `Judge`; FILE.json counts, where it is there.
        label: what a Fréchet distance between the features is called.

    Raises:
        JudgeError: a file is missing or broken, or the network takes or gives something else.
    """

    SUFFIXES: ClassVar[tuple[str, ...]] = (".onnx", ".pt", ".pth", ".ts")

    same_person: float | None = None

    def __init__(self, path: Path):
        if path.suffix not in self.SUFFIXES:
            raise JudgeError(f"{path} must be a network whose name ends in {' or '.join(self.SUFFIXES)}.")
        self._path, data = path, _bytes(path)
        said = _bytes(_sidecar(path)) if _sidecar(path).exists() else None
        digest = hashlib.sha256(data).hexdigest()
        self.weights: tuple[str, ...] = (digest,)
        self.sha256 = joined_digest(data, said) if said is not None else digest
        published = INCEPTIONS.get(digest) if said is None else None
        facts = published[0] if published else _facts(said, _sidecar(path))
        self.name = f"{facts.name or path.name} (sha256 {digest[:12]})"
        self.label = published[1] if published else f"Fréchet distance in the features of {self.name}"
        network = _onnx(path, data, facts) if path.suffix == ".onnx" else _torch(path, data, facts)
        self._run, self._facts = network.run, facts if published else _complete(path, facts, network)
        self._type = network.takes or (np.uint8 if facts.range == "uint8" else np.float32)
        self.look(np.full((64, 64, 3), 127, np.uint8))  # so that what does not fit is told now

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path,)

    def look(self, picture: Picture) -> Vector:
        """See `Judge`."""
        try:
            output = np.asarray(self._run(self._input(picture)), np.float32)
        except Exception as error:  # onnxruntime and torch have no class of their own for what can be wrong
            raise JudgeError(f"{self._path} cannot look at a picture: {_first_line(error)}") from None
        if output.size != max(output.shape, default=0):
            raise JudgeError(f"{self._path} gives an output of shape {output.shape} for a picture; (1, k) is needed.")
        return np.append(output.ravel(), np.float32(1))

    def _input(self, picture: Picture) -> Batch:
        size, facts = self._facts.size, self._facts
        if size and facts.eyes:
            matrix = similarity(np.array(facts.eyes) * size, EYES * (picture.shape[1], picture.shape[0]))
            picture = warp(picture, matrix, size)
        elif size and picture.shape[:2] != (size, size):
            picture = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC))
        pixels = picture.astype(np.float32)
        if facts.range == "-1..1":
            pixels = pixels / 127.5 - 1
        elif facts.range != "uint8":
            pixels /= 255
        if facts.range == "imagenet":
            pixels = (pixels - IMAGENET[0]) / IMAGENET[1]
        if facts.channels == "BGR":
            pixels = pixels[..., ::-1]
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], self._type)


class OnnxRecogniser(FeatureNetwork):
    """A face recogniser such as ArcFace as ONNX: faces of one person lie near each other. See `FeatureNetwork`.

    Give "eyes" in FILE.json if it was trained on faces that are cut in another way than ours.
    """

    SUFFIXES = (".onnx",)


def open_onnx(data: bytes, what: object) -> Any:
    """An onnxruntime session of one thread, so that its results are the same on every machine of a kind.

    Raises:
        JudgeError: `data`, which is called `what`, is no ONNX.
    """
    options = onnxruntime().SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime().InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no class of its own for a broken file
        raise JudgeError(f"{what} is no ONNX network that can be run: {_first_line(error)}") from None


def joined_digest(*files: bytes) -> str:
    """The SHA-256 of the files' digests, joined as text."""
    return hashlib.sha256("".join(hashlib.sha256(data).hexdigest() for data in files).encode()).hexdigest()


def _onnx(path: Path, data: bytes, facts: Facts) -> _Network:
    session = open_onnx(data, path)
    inputs, outputs = session.get_inputs(), [output.name for output in session.get_outputs()]
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3) or inputs[0].type not in ONNX_TYPES:
        found = " and ".join(f"{one.name}, {one.type} {one.shape}" for one in inputs)
        raise JudgeError(f"{path} takes {found}; one input (N, 3, h, w) of uint8 or float is needed.")
    if facts.output and facts.output not in outputs:
        raise JudgeError(f"{path} has no output {facts.output!r}; choose one of {', '.join(outputs)}.")
    name, output = inputs[0].name, facts.output or outputs[0]
    sides = tuple(side for side in shape[2:] if isinstance(side, int))
    return _Network(lambda batch: session.run([output], {name: batch})[0], sides, ONNX_TYPES[inputs[0].type])


def _torch(path: Path, data: bytes, facts: Facts) -> _Network:
    import torch

    try:
        network = torch.jit.load(io.BytesIO(data), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        arguments = [argument.name for argument in network.forward.schema.arguments]
    except Exception as error:  # torch has no class of its own for a broken file
        raise JudgeError(
            f"{path} is no TorchScript ({_first_line(error)}). A file of weights alone holds no network: "
            "export it by torch.jit.script, or as ONNX."
        ) from None
    if facts.output:
        raise JudgeError(f"{_sidecar(path)} names an output, which only an ONNX file has; remove that.")
    # NVIDIA's Inception gives class probabilities unless it is told.
    options = {"return_features": True} if "return_features" in arguments else {}

    def run(batch: Batch) -> Any:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the same sums here and in one process of many
        try:
            with torch.inference_mode():
                output = network(torch.from_numpy(batch), **options)
        finally:
            torch.set_num_threads(threads)
        return (output[0] if isinstance(output, tuple) else output).numpy()

    return _Network(run)


def _complete(path: Path, facts: Facts, network: _Network) -> Facts:
    """The facts with what the network's own file says, if they agree and nothing is missing."""
    sides, takes_bytes = network.sides, network.takes is np.uint8
    size = facts.size or (sides[0] if sides else None)
    if size is None:
        raise JudgeError(f'{path} does not say how large its input is; write {_sidecar(path)} with {{"size": ...}}.')
    if any(side != size for side in sides):
        needed = f"the size of {_sidecar(path)}, {facts.size}, is another" if facts.size else "a square is needed"
        raise JudgeError(f"{path} takes pictures of {'x'.join(map(str, sides))}; {needed}.")
    if takes_bytes and facts.range not in ("", "uint8"):
        raise JudgeError(f'{path} takes uint8, and {_sidecar(path)} says "range": "{facts.range}"; remove that.')
    if not takes_bytes and not facts.range:
        raise JudgeError(
            f'{path} does not say what its input ranges over; write {_sidecar(path)} with {{"range": ...}}, '
            f"one of {', '.join(RANGES)}."
        )
    return replace(facts, size=size, range=facts.range or "uint8")


def _facts(said: bytes | None, path: Path) -> Facts:
    if said is None:
        return Facts()
    try:
        given = json.loads(said)
    except ValueError as error:
        raise JudgeError(f"{path} is no JSON: {error}") from None
    names = [field.name for field in fields(Facts)]
    if not isinstance(given, dict) or not set(given) <= set(names):
        raise JudgeError(f"{path} must be a JSON object with some of {', '.join(names)}.")
    try:
        eyes_fit = "eyes" not in given or np.array(given["eyes"], np.float64).shape == (2, 2)
    except (TypeError, ValueError):
        eyes_fit = False
    fits = {
        "name": isinstance(given.get("name", ""), str),
        "size": type(given.get("size", 1)) is int and 1 <= given.get("size", 1) <= 4096,
        "range": given.get("range", "uint8") in RANGES,
        "channels": given.get("channels", "RGB") in ("RGB", "BGR"),
        "output": isinstance(given.get("output", ""), str),
        "eyes": eyes_fit,
    }
    wrong = [name for name, fit in fits.items() if not fit]
    if wrong:
        raise JudgeError(f"{path} has {wrong[0]}: {json.dumps(given[wrong[0]])}; see {__name__} for what it may be.")
    return Facts(**given)


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise JudgeError(f"{path} cannot be read: {error.strerror or error}. Give the path of a network.") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
