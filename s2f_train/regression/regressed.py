"""What the pairs of voice and face say of any voice: the picture that a regression gives it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from s2f_edge.hearing.features import Float32s
from s2f_train.config import GanSettings
from s2f_train.data.faces import as_network_input, load_faces
from s2f_train.data.landmarks import find_landmarks, outline
from s2f_train.data.pairs import Pairs
from s2f_train.data.shape_and_texture import TEXTURE_SIDE, ShapeAndTexture
from s2f_train.data.store import Sample, Store, StoreError
from s2f_train.models.traits import VoiceTraits, mean_embedding
from s2f_train.regression.gender_apart import GenderApart
from s2f_train.regression.ridge import Ridge, some

log = logging.getLogger(__name__)

TEXTURE = 3 * TEXTURE_SIDE**2  # numbers of a texture; those of a shape follow


@dataclass(frozen=True)
class Regressed:
    """A regression from a voice's embedding to its picture; `regressed` makes it.

    Attributes:
        pictures: to pixels, (3 * 64 * 64,) in [-1, 1], or with `appearance` to a texture and a shape.
        stretch: (k,): how many times as far from the mean as the regression says each number is taken.
        appearance: puts texture and shape together; None: pixels.
        gender: what the regression leaves out; None: nothing.
    """

    pictures: Ridge
    stretch: Tensor
    appearance: ShapeAndTexture | None
    gender: GenderApart | None

    @property
    def pairs(self) -> int:
        """How many voices with a picture it rests on."""
        return len(self.pictures.known)

    def targets(self, embeddings: Tensor) -> Tensor:
        """The picture for each voice, (batch, 3, 64, 64) in [-1, 1]."""
        rest = self.gender.rest_of_voices(embeddings) if self.gender else embeddings
        values = self.pictures.stretched(rest, self.stretch)
        if self.gender:
            values = values + self.gender.mean_faces(embeddings)
        if self.appearance is None:
            return values.clamp(-1.0, 1.0).reshape(-1, 3, 64, 64)
        textures, shapes = values[:, :TEXTURE].clamp(-1.0, 1.0), values[:, TEXTURE:]
        sides = 3, TEXTURE_SIDE, TEXTURE_SIDE
        return self.appearance.together(textures.reshape(-1, *sides), shapes.reshape(len(shapes), -1, 2))

    def to(self, device: torch.device, dtype: torch.dtype) -> Regressed:
        appearance = self.appearance.to(device, dtype) if self.appearance else None
        gender = self.gender.to(device, dtype) if self.gender else None
        return Regressed(self.pictures.to(device, dtype), self.stretch.to(device, dtype), appearance, gender)


def regressed(
    store: Store, pairs: Pairs, windows: list[Float32s], settings: GanSettings, traits: VoiceTraits | None
) -> Regressed:
    """Fits the regression on the pairs of the training split.

    Args:
        windows: embeddings of the windows of each voice of `pairs`.
        traits: of the same embeddings, for `gender_apart`.

    Raises:
        StoreError: fewer than three voices have the pictures, or with `gender_apart` no gender is known.
        ModuleNotFoundError: `shaped` needs dlib.
    """
    # With gender apart, voices and faces of the other gender tell just as much, if they take part (every_voice).
    of_gender = {face.identity for face in pairs.faces}
    clips = {
        voice.clip: i
        for i, voice in enumerate(pairs.voices)
        if voice.clip and (settings.gender_apart or voice.identity in of_gender)
    }
    by_view: dict[str, dict[str, Sample]] = {view: {} for view in settings.ridge_views}
    for face in store.of_split("train", "faces", settings.sources):
        if face.view in by_view and face.clip in clips:
            by_view[face.view][face.clip] = face
    known = sorted(set.intersection(*(set(of_clip) for of_clip in by_view.values())))
    _require_pairs(store, settings, len(known))
    known = [known[i] for i in some(len(known), settings.seed).tolist()]
    voices = torch.stack([mean_embedding(torch.from_numpy(windows[clips[clip]])) for clip in known])
    pixels = [load_faces(store, [by_view[view][clip] for clip in known]) for view in settings.ridge_views]
    appearance, gender = None, None
    if settings.shaped:
        marks, found = _landmarks(pixels)
        _require_pairs(store, settings, int(found.sum()))
        appearance, values = _taken_apart([faces[found] for faces in pixels], [points[found] for points in marks])
        voices = voices[found]
        stretch = torch.full(values.shape[1:], settings.stretch)
        stretch[TEXTURE:] = settings.shape_stretch
    else:
        values = torch.stack([as_network_input(faces) for faces in pixels]).mean(dim=0).flatten(1)
        stretch = torch.full(values.shape[1:], settings.stretch)
    if settings.gender_apart:
        if traits is None:
            raise StoreError(f"{store.folder} does not know who is male and who is female (setting: gender_apart).")
        asked = {"male": 1.0, "female": -1.0}.get(settings.gender, 0.0)
        gender = GenderApart.fit(voices, values, traits, asked, settings.gender_apart)
        values, voices = gender.rest_of_faces(values, voices), gender.rest_of_voices(voices)
    return Regressed(Ridge.fit(voices, values, settings.shrinkage), stretch, appearance, gender)


def _require_pairs(store: Store, settings: GanSettings, count: int) -> None:
    if count < 3:  # the median of the distances between two, each to itself too, is 0
        raise StoreError(
            f"{store.folder} has {count} voices with pictures of the same clip in the views "
            f"{', '.join(settings.ridge_views)}{' in which a face is found' if settings.shaped else ''}; a regression "
            "needs 3 (settings: ridge_views, sources)."
        )


def _landmarks(views: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The points of each view's pictures, and whether a face was found in all views of a clip, (clips,)."""
    marks = [find_landmarks(pixels) for pixels in views]
    found = torch.stack([there for _, there in marks]).all(dim=0)
    log.info("a face is found in the pictures of %d of %d pairs", int(found.sum()), len(found))
    return [points for points, _ in marks], found


def _taken_apart(views: list[Tensor], marks: list[Tensor]) -> tuple[ShapeAndTexture, Tensor]:
    """What puts faces together; and texture and shape of each clip, mean over its views, (clips, numbers)."""
    pictures = [as_network_input(pixels) for pixels in views]
    shapes = [torch.cat([points, outline(faces)], dim=1) for points, faces in zip(marks, pictures, strict=True)]
    appearance, textures, symmetric = ShapeAndTexture.apart(torch.cat(pictures), torch.cat(shapes))
    values = torch.cat([textures.flatten(1), symmetric.flatten(1)], dim=1)
    return appearance, torch.stack(torch.split(values, len(views[0]))).mean(dim=0)
