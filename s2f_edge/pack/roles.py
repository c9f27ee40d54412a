"""What each network of a pack must take and give, so that the pipeline can hand it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s2f_edge.errors import ManifestError
from s2f_edge.hearing.frontend import INPUT_SHAPES

if TYPE_CHECKING:
    from s2f_edge.pack.manifest import Manifest

Shape = tuple[int | None, ...]

# What generators hand to a renderer: sketches of the inner face and of the whole picture, and the points of the shape.
APPEARANCE: Mapping[str, Shape] = {
    "inner": (None, 3, None, None),
    "outer": (None, 3, None, None),
    "shape": (None, None, 2),
}
# What the animator takes: a face on the mean shape, its shape, and how points and head are moved.
POSE = ("yaw", "pitch", "roll", "right", "down", "lids", "brows", "speaking")
FRAME: Mapping[str, Shape] = {
    "texture": (None, 3, None, None),
    "shape": (None, None, 2),
    "offsets": (None, None, 2),
    "pose": (None, len(POSE)),
}


@dataclass(frozen=True)
class TensorInfo:
    """A named input or output; None in the shape stands for any length."""

    name: str
    dtype: str
    shape: Shape


def check_roles(manifest: Manifest, where: str) -> None:
    """Each network must take and give what the pipeline hands on.

    Raises:
        ManifestError: says which does not.
    """
    size = manifest.voice.embedding_size
    features = _any_of("features", INPUT_SHAPES[manifest.voice.features])
    embedding = _any_of("embedding", (None, size))
    face = _any_of("face", (None, 3, None, None))
    roles: list[tuple[str, tuple[TensorInfo, ...], tuple[TensorInfo, ...]]]
    roles = [(manifest.voice.file, (features,), (embedding,))]
    if manifest.renderer:
        drawn = tuple(_any_of(name, shape) for name, shape in APPEARANCE.items())
        roles.append((manifest.renderer, drawn, (face,)))
        # It draws for all: what each generator gives has the shapes that the renderer takes.
        taken = manifest.files[manifest.renderer].inputs
        latent = _any_of("latent", (None, None))
        roles += [(name, (embedding, latent), taken) for name in manifest.generators.values()]
    else:
        roles += [(name, (embedding,), (face,)) for name in manifest.generators.values()]
    if manifest.traits:
        roles.append((manifest.traits.file, (embedding,), (_any_of("male", (None,)), _any_of("surprise", (None,)))))
    if manifest.animator:
        if not manifest.renderer:
            raise ManifestError(f"{where} has an animator and no renderer, whose faces it moves.")
        moved = tuple(_any_of(name, shape) for name, shape in FRAME.items())
        roles.append((manifest.animator.file, moved, manifest.files[manifest.renderer].outputs))
    if manifest.motion:
        heard = _any_of("features", INPUT_SHAPES["fbank-80"])
        roles.append((manifest.motion.file, (heard,), (_any_of("offsets", (None, None, 68, 2)),)))
    for name, inputs, outputs in roles:
        file = manifest.files[name]
        for side, found, wanted in (("inputs", file.inputs, inputs), ("outputs", file.outputs, outputs)):
            if len(found) != len(wanted) or not all(map(_fits, found, wanted)):
                raise ManifestError(
                    f"{where}: {name} has {side} {listed(found)}; in its place {listed(wanted)} is needed."
                )
    if manifest.renderer:
        _check_renderer(manifest, manifest.renderer, where)


def _check_renderer(manifest: Manifest, renderer: str, where: str) -> None:
    """Lengths that must be said, and be the same, since all generators share one renderer and one latent."""
    file = manifest.files[renderer]
    for tensor in (*file.inputs, *file.outputs):
        if None in tensor.shape[1:]:
            raise ManifestError(f"{where}: {renderer} has {listed((tensor,))}; all but the first length must be fixed.")
    height, width = file.outputs[0].shape[2:]
    if height != width:
        raise ManifestError(f"{where}: {renderer} draws faces of {width} x {height} pixels; they must be square.")
    latents = {name: manifest.files[name].inputs[1].shape[1] for name in manifest.generators.values()}
    if None in latents.values() or len(set(latents.values())) != 1:
        found = ", ".join(f"{name} {'any' if length is None else length}" for name, length in latents.items())
        raise ManifestError(f"{where}: the latent has the lengths {found}; one fixed number for all is needed.")
    if manifest.noise:
        raise ManifestError(
            f"{where}: noise is {manifest.noise}; with a renderer it must be 0, as candidates differ by their latent."
        )


def _any_of(name: str, shape: Shape) -> TensorInfo:
    return TensorInfo(name, "float32", shape)


def _fits(found: TensorInfo, wanted: TensorInfo) -> bool:
    """Whether name, type and lengths agree; None among the wanted lengths accepts any."""
    return (
        (found.name, found.dtype, len(found.shape)) == (wanted.name, wanted.dtype, len(wanted.shape))
        and found.shape[0] is None  # the batch
        and all(b is None or a == b for a, b in zip(found.shape, wanted.shape, strict=True))
    )


def listed(tensors: tuple[TensorInfo, ...]) -> str:
    """Tensors in words, for messages."""
    return ", ".join(f"{t.name} {t.dtype} {['any' if n is None else n for n in t.shape]}" for t in tensors) or "none"
