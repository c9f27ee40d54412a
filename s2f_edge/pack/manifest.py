"""What a model pack's manifest.json says, checked when it is read.

`parse_manifest` understands a manifest or refuses it with a `ManifestError`; nothing that
it gives can point outside the pack's folder, or to a network that does not fit its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from s2f_edge.errors import ManifestError
from s2f_edge.hearing.frontend import FRONT_ENDS
from s2f_edge.pack.roles import TensorInfo, check_roles
from s2f_edge.terms import GENERATORS, VARIANTS

SCHEMA = 1  # of a pack whose generators make pictures
RENDERER_SCHEMA = 2  # of one whose generators make appearances, which a renderer draws
MANIFEST = "manifest.json"
SHAPE_POINTS = 68  # of a face: chin, brows, nose, eyes and lips, as 300-W numbers them

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class NetworkFile:
    """An ONNX file of the pack: size in bytes, sha256 in hex, and what goes in and out."""

    name: str
    bytes: int
    sha256: str
    opset: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


@dataclass(frozen=True)
class VoiceInfo:
    """The voice network: its file, its front end, and the length of its embedding.

    `windows` is the most that it hears of a recording; None for all. Where the front end normalises over the whole
    recording (`logmel-64`, `melpower-40`), all are heard.
    """

    file: str
    network: str
    features: str
    embedding_size: int
    windows: int | None = None


@dataclass(frozen=True)
class TraitsInfo:
    """The network that reads gender and typicality from an embedding.

    `unusual` is the surprise that 95 %, `strange` the one that 99 % of the training
    speakers stay under.
    """

    file: str
    unusual: float
    strange: float


@dataclass(frozen=True)
class AnimatorInfo:
    """The network that moves a face which the renderer has drawn.

    Attributes:
        mean_shape: (68, 2), on which the renderer draws what is moved, x and y in units of the side.
    """

    file: str
    mean_shape: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class MotionInfo:
    """The network that moves a face by filter banks (`fbank-80`), 25 times a second.

    `before` and `after` are the feature frames that it needs beside the four of a video frame.
    """

    file: str
    before: int
    after: int


@dataclass(frozen=True)
class VariantInfo:
    """A variant compared with its pack, on recordings that were not used to make it.

    Attributes:
        of: sha256 of the pack's manifest.
        calibrated: recordings it was made with.
        judged: recordings it was compared on.
        cosine: of the embeddings, least and median.
        psnr_db: of the faces, least and median.
        same_gender: for how many of the recordings both say the same; None without traits.
        bytes: of all files, the variant's and the pack's.
        ms: of one window of speech, the variant's and the pack's, by the number of threads.
        machine: on which that took so long.
    """

    of: str
    calibrated: int
    judged: int
    cosine: tuple[float, float]
    psnr_db: tuple[float, float]
    same_gender: int | None
    bytes: tuple[int, int]
    ms: Mapping[str, tuple[float, float]]
    machine: str


@dataclass(frozen=True)
class Manifest:
    """The manifest of a pack.

    `weights` is one of VARIANTS; `variant` is there if the pack was made of another one. `renderer` is the file of
    the network that draws the appearances which the generators make; None where they make pictures themselves. With
    an `animator`, and `motion`, faces can speak.
    """

    name: str
    version: str
    licence: str
    voice: VoiceInfo
    traits: TraitsInfo | None
    generators: Mapping[str, str]
    noise: float
    files: Mapping[str, NetworkFile]
    training: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    weights: str = "float32"
    variant: VariantInfo | None = None
    renderer: str | None = None
    animator: AnimatorInfo | None = None
    motion: MotionInfo | None = None

    @property
    def latent_size(self) -> int | None:
        """How many numbers the generators take that the voice does not say; None where they take the voice alone."""
        if self.renderer is None:
            return None
        return self.files[next(iter(self.generators.values()))].inputs[1].shape[1]

    @property
    def speaks(self) -> bool:
        """Whether the pack has what lets its faces speak."""
        return self.motion is not None and self.animator is not None

    @property
    def noise_size(self) -> int:
        """How many normal numbers another candidate is drawn with: latent ones, or as many as the embedding has."""
        return self.latent_size or self.voice.embedding_size

    @property
    def face_size(self) -> int:
        """Width and height of the faces, in pixels; 0 where the pack does not say."""
        return self.files[self.renderer or next(iter(self.generators.values()))].outputs[0].shape[-1] or 0


def parse_manifest(data: bytes, where: str = MANIFEST) -> Manifest:
    """The manifest in `data`, checked for types, ranges and names that point nowhere.

    Raises:
        ManifestError: says what was found and what is needed.
    """
    try:
        root = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{where} is no JSON ({error}).") from None
    reader = _Reader(where, root)
    schema = reader.get("schema", int)
    if schema not in (SCHEMA, RENDERER_SCHEMA):
        raise ManifestError(
            f"{where} has schema {schema}; this version reads schema {SCHEMA} and {RENDERER_SCHEMA}. Install a version "
            "of s2f-edge that fits."
        )
    renderer = reader.at("renderer").get("file", str) if root.get("renderer") is not None else None
    if (renderer is not None) != (schema == RENDERER_SCHEMA):
        has = "no renderer" if renderer is None else "a renderer"
        raise ManifestError(
            f"{where} has schema {schema} and {has}; a pack with a renderer has schema {RENDERER_SCHEMA}, one without "
            f"{SCHEMA}."
        )
    files = {name: _network_file(name, reader.at("files", name)) for name in reader.get("files", dict)}
    voice = reader.at("voice")
    traits = reader.at("traits") if root.get("traits") is not None else None
    motion = reader.at("motion") if root.get("motion") is not None else None
    noise = reader.number("noise")
    manifest = Manifest(
        name=reader.get("name", str),
        version=reader.get("version", str),
        licence=reader.get("licence", str),
        voice=VoiceInfo(
            voice.get("file", str),
            voice.get("network", str),
            voice.get("features", str),
            voice.get("embedding_size", int),
            voice.get("windows", int) if voice.value.get("windows") is not None else None,
        ),
        traits=TraitsInfo(traits.get("file", str), traits.number("unusual"), traits.number("strange"))
        if traits
        else None,
        generators={gender: reader.at("generators").get(gender, str) for gender in reader.get("generators", dict)},
        noise=noise,
        files=files,
        training=reader.get("training", dict) if "training" in root else {},
        parity=reader.get("parity", dict) if "parity" in root else {},
        weights=reader.get("weights", str) if "weights" in root else "float32",
        variant=_variant(reader.at("variant")) if "variant" in root else None,
        renderer=renderer,
        animator=_animator(reader.at("animator")) if root.get("animator") is not None else None,
        motion=MotionInfo(motion.get("file", str), motion.get("before", int), motion.get("after", int))
        if motion
        else None,
    )
    _check(manifest, where)
    return manifest


def _check(manifest: Manifest, where: str) -> None:
    if manifest.voice.features not in FRONT_ENDS:
        raise ManifestError(
            f"{where}: voice.features is {manifest.voice.features!r}; this version has {', '.join(FRONT_ENDS)}."
        )
    if not 1 <= manifest.voice.embedding_size <= 65536:
        raise ManifestError(f"{where}: voice.embedding_size is {manifest.voice.embedding_size}; it must be 1 to 65536.")
    if manifest.voice.windows is not None and not 1 <= manifest.voice.windows <= 65536:
        raise ManifestError(f"{where}: voice.windows is {manifest.voice.windows}; it must be 1 to 65536.")
    if not 0.0 <= manifest.noise <= 10.0:
        raise ManifestError(f"{where}: noise is {manifest.noise}; it must be from 0 to 10.")
    if manifest.weights not in VARIANTS:
        raise ManifestError(f"{where}: weights is {manifest.weights!r}; it must be one of {', '.join(VARIANTS)}.")
    if manifest.motion and not (0 <= manifest.motion.before <= 1000 and 0 <= manifest.motion.after <= 1000):
        raise ManifestError(
            f"{where}: motion has {manifest.motion.before} frames before and {manifest.motion.after} after; both must "
            "be from 0 to 1000."
        )
    unknown = [gender for gender in manifest.generators if gender not in GENERATORS]
    if unknown or not manifest.generators:
        raise ManifestError(f"{where}: generators has {unknown or 'nothing'}; it may have {', '.join(GENERATORS)}.")
    used = [manifest.voice.file, *manifest.generators.values()]
    used += [manifest.traits.file] if manifest.traits else []
    used += [manifest.renderer] if manifest.renderer else []
    used += [manifest.animator.file] if manifest.animator else []
    used += [manifest.motion.file] if manifest.motion else []
    for name in used:
        if name not in manifest.files:
            raise ManifestError(f"{where}: {name} is used but does not stand under files.")
    check_roles(manifest, where)


class _Reader:
    """One JSON object of the manifest, with messages that say where a value stands."""

    def __init__(self, where: str, value: Any):
        if not isinstance(value, dict):
            raise ManifestError(f"{where}: found {type(value).__name__}; an object is needed.")
        self.where, self.value = where, value

    def get(self, key: str, kind: type) -> Any:
        if key not in self.value:
            raise ManifestError(f"{self.where}: {key} is missing.")
        value = self.value[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ManifestError(f"{self.where}: {key} is {type(value).__name__}; {kind.__name__} is needed.")
        if isinstance(value, str) and not value.isprintable():
            raise ManifestError(f"{self.where}: {key} has characters that cannot be shown.")
        return value

    def number(self, key: str) -> float:
        value = self.value.get(key)
        if value is None or not _finite(value):
            raise ManifestError(f"{self.where}: {key} is {value!r}; a finite number is needed.")
        return float(value)

    def at(self, *keys: str) -> _Reader:
        reader = self
        for key in keys:
            reader = _Reader(f"{reader.where}: {key}", reader.get(key, dict))
        return reader


def _network_file(name: str, reader: _Reader) -> NetworkFile:
    if not _PLAIN_NAME.fullmatch(name):
        raise ManifestError(f"{reader.where}: the file name must be of letters, digits, '.', '_' and '-'.")
    sha256 = reader.get("sha256", str)
    if not _SHA256.fullmatch(sha256):
        raise ManifestError(f"{reader.where}: sha256 must be 64 hexadecimal digits.")
    size = reader.get("bytes", int)
    if not 0 < size <= 1 << 32:
        raise ManifestError(f"{reader.where}: bytes is {size}; it must be from 1 to 4294967296.")
    tensors = {side: tuple(_tensor(t, f"{reader.where}: {side}") for t in reader.get(side, list)) for side in _SIDES}
    return NetworkFile(name, size, sha256, reader.get("opset", int), tensors["inputs"], tensors["outputs"])


_SIDES = ("inputs", "outputs")


def _variant(reader: _Reader) -> VariantInfo:
    of = reader.get("of", str)
    if not _SHA256.fullmatch(of):
        raise ManifestError(f"{reader.where}: of must be 64 hexadecimal digits.")
    info = VariantInfo(
        of=of,
        calibrated=reader.at("recordings").get("calibrated", int),
        judged=reader.at("recordings").get("judged", int),
        cosine=_both(reader.at("embedding_cosine"), "least", "median"),
        psnr_db=_both(reader.at("face_psnr_db"), "least", "median"),
        same_gender=reader.get("same_gender", int) if reader.value.get("same_gender") is not None else None,
        bytes=(reader.at("bytes").get("variant", int), reader.at("bytes").get("pack", int)),
        ms={threads: _both(reader.at("ms", threads), "variant", "pack") for threads in reader.get("ms", dict)},
        machine=reader.get("machine", str),
    )
    if min(info.bytes) <= 0 or any(min(both) <= 0.0 for both in info.ms.values()):
        raise ManifestError(f"{reader.where}: bytes and ms must be above 0.")
    return info


def _animator(reader: _Reader) -> AnimatorInfo:
    points = reader.get("mean_shape", list)
    if len(points) != SHAPE_POINTS or not all(
        isinstance(p, list) and len(p) == 2 and all(map(_finite, p)) for p in points
    ):
        raise ManifestError(f"{reader.where}: mean_shape must be {SHAPE_POINTS} pairs of numbers.")
    return AnimatorInfo(reader.get("file", str), tuple((float(x), float(y)) for x, y in points))


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _both(reader: _Reader, one: str, other: str) -> tuple[float, float]:
    return reader.number(one), reader.number(other)


def _tensor(value: Any, where: str) -> TensorInfo:
    reader = _Reader(where, value)
    shape = reader.get("shape", list)
    for length in shape:
        if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 1):
            raise ManifestError(f"{where}: shape has {length!r}; a positive integer or null is needed.")
    return TensorInfo(reader.get("name", str), reader.get("dtype", str), tuple(shape))
