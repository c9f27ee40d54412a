"""What the pairs of voice and face say of any voice: the picture and the likeness that a regression gives it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from s2f_edge.features import Float32s
from s2f_train.appearance import TEXTURE_SIDE, Appearance
from s2f_train.config import GanSettings, SettingsError
from s2f_train.data.faces import as_network_input, load_faces
from s2f_train.data.landmarks import find_landmarks, outline
from s2f_train.data.pairs import Pairs
from s2f_train.data.store import Sample, Store, StoreError
from s2f_train.models.face_recogniser import FaceRecogniser
from s2f_train.models.traits import VoiceTraits, mean_embedding
from s2f_train.ridge import Ridge, some

AT_ONCE = 64  # faces that the recogniser looks at together
TEXTURE = 3 * TEXTURE_SIDE**2  # numbers of a texture; those of a shape follow


@dataclass(frozen=True)
class GenderApart:
    """What lies between women's and men's voices, and between their faces.

    Both are taken out before the regression: so a voice can be given a face of either gender, and what it says
    beside the gender stays.

    Attributes:
        traits: tells from a voice how probably it is a man's.
        voices, faces: (2, d) and (2, k): the middle, and what a man's differs from it. A woman's differs by as
            much the other way.
        asked: 1 for male faces, -1 for female ones, 0: as the voice is.
        stretch: how many times as far from the middle the mean faces are taken.
    """

    traits: VoiceTraits
    voices: Tensor
    faces: Tensor
    asked: float
    stretch: float

    @classmethod
    def fit(cls, embeddings: Tensor, values: Tensor, traits: VoiceTraits, settings: GanSettings) -> GenderApart:
        """Least squares: the voices' gender to embeddings (n, d) and to what is known of their faces (n, k)."""
        with torch.no_grad():
            heard = 2 * traits(embeddings)[0] - 1
        terms = torch.stack([torch.ones_like(heard), heard], dim=1).double()
        voices, faces = (torch.linalg.lstsq(terms, y.double()).solution.to(y.dtype) for y in (embeddings, values))
        asked = {"male": 1.0, "female": -1.0}.get(settings.gender, 0.0)
        return cls(traits, voices, faces, asked, settings.gender_apart)

    def heard(self, embeddings: Tensor) -> Tensor:
        """(n, 1): from -1, surely a woman, to 1, surely a man."""
        with torch.no_grad():
            male: Tensor = self.traits(embeddings)[0][:, None]
        return 2 * male.to(embeddings.dtype) - 1

    def rest_of_voices(self, embeddings: Tensor) -> Tensor:
        """(n, d): the embeddings without what is gender."""
        return embeddings - self.voices[0] - self.heard(embeddings) * self.voices[1]

    def rest_of_faces(self, values: Tensor, embeddings: Tensor) -> Tensor:
        """(n, k): the same of what is known of the faces of these voices."""
        return values - self.faces[0] - self.heard(embeddings) * self.faces[1]

    def mean_faces(self, embeddings: Tensor) -> Tensor:
        """(n, k): of the gender that is asked for, or that of the voices."""
        wanted = torch.full_like(embeddings[:, :1], self.asked) if self.asked else self.heard(embeddings)
        return self.faces[0] + self.stretch * wanted * self.faces[1]

    def to(self, device: torch.device, dtype: torch.dtype) -> GenderApart:
        traits = copy.deepcopy(self.traits).to(device=device, dtype=dtype)  # a module would move itself
        return replace(self, traits=traits, voices=self.voices.to(device, dtype), faces=self.faces.to(device, dtype))


@dataclass(frozen=True)
class Regressed:
    """Regressions from a voice's embedding; `regressed` makes them.

    Attributes:
        pictures: to pixels, (3 * 64 * 64,) in [-1, 1], or with `appearance` to a texture and a shape; None: not wanted.
        stretch: (k,): how many times as far from the mean as the regression says each number is taken.
        appearance: puts texture and shape together; None: pixels.
        gender: what the regression leaves out; None: nothing.
        likeness: to the features of a face recogniser, as differences from those of the mean face; None: not wanted.
        centre: (features,), of pictures like those that are made.
        pairs: how many voices with a picture they rest on.
    """

    pictures: Ridge | None
    stretch: Tensor | None
    appearance: Appearance | None
    gender: GenderApart | None
    likeness: Ridge | None
    centre: Tensor | None
    pairs: int

    def targets(self, embeddings: Tensor) -> Tensor:
        """The picture for each voice, (batch, 3, 64, 64) in [-1, 1]."""
        assert self.pictures is not None
        assert self.stretch is not None
        rest = self.gender.rest_of_voices(embeddings) if self.gender else embeddings
        values = self.pictures.stretched(rest, self.stretch)
        if self.gender:
            values = values + self.gender.mean_faces(embeddings)
        if self.appearance is None:
            return values.clamp(-1.0, 1.0).reshape(-1, 3, 64, 64)
        textures, shapes = values[:, :TEXTURE].clamp(-1.0, 1.0), values[:, TEXTURE:]
        sides = 3, TEXTURE_SIDE, TEXTURE_SIDE
        return self.appearance.together(textures.reshape(-1, *sides), shapes.reshape(len(shapes), -1, 2))

    def unlikeness(self, features: Tensor, embeddings: Tensor) -> Tensor:
        """1 - cosine between what sets made faces apart from the mean face and what should, mean over the batch.

        Both are taken as differences from the mean, because faces on one frame are all alike to a recogniser.
        """
        assert self.likeness is not None
        assert self.centre is not None
        wanted = self.likeness(embeddings)
        return 1.0 - functional.cosine_similarity(features - self.centre, wanted).mean()

    def to(self, device: torch.device, dtype: torch.dtype) -> Regressed:
        parts = {name: getattr(self, name) for name in ("pictures", "appearance", "gender", "likeness")}
        tensors = {name: getattr(self, name) for name in ("stretch", "centre")}
        moved = {name: part if part is None else part.to(device, dtype) for name, part in (parts | tensors).items()}
        return replace(self, **moved)  # type: ignore[arg-type]


def regressed(
    store: Store,
    pairs: Pairs,
    windows: list[Float32s],
    settings: GanSettings,
    recogniser: FaceRecogniser | None,
    traits: VoiceTraits | None,
) -> Regressed:
    """Fits the regressions on the pairs of the training split.

    Args:
        windows: embeddings of the windows of each voice of `pairs`.
        recogniser: for the likeness; None: without.
        traits: of the same embeddings, for `gender_apart`.

    Raises:
        StoreError: fewer than three voices have the pictures, or none has one of a view of the likeness; or with
            `gender_apart` no gender is known.
        SettingsError: `shaped` needs dlib.
    """
    # With gender apart, voices and faces of the other gender tell just as much.
    of_gender = {face.identity for face in pairs.faces}
    clips = {
        voice.clip: i
        for i, voice in enumerate(pairs.voices)
        if voice.clip and (settings.gender_apart or voice.identity in of_gender)
    }
    views = {*settings.ridge_views, *(settings.likeness_views if recogniser else ())}
    by_view: dict[str, dict[str, Sample]] = {view: {} for view in views}
    for face in store.of_split("train", "faces", settings.sources):
        if face.view in by_view and face.clip in clips:
            by_view[face.view][face.clip] = face
    known = sorted(set.intersection(*(set(by_view[view]) for view in settings.ridge_views)))
    if settings.seen_gender and recogniser and known:
        shown = [load_faces(store, [by_view[view][clip] for clip in known]) for view in settings.ridge_views]
        known = [
            clip for clip, as_said in zip(known, _seen_as(settings.gender, recogniser, shown), strict=True) if as_said
        ]
    _require_pairs(store, settings, len(known))
    known = [known[i] for i in some(len(known), settings.seed).tolist()]
    embeddings = torch.stack([mean_embedding(torch.from_numpy(windows[clips[clip]])) for clip in known])
    pixels = {
        view: load_faces(store, [of_clip[clip] for clip in known if clip in of_clip])
        for view, of_clip in by_view.items()
    }
    pictures = {view: as_network_input(faces) for view, faces in pixels.items()}
    for view, faces in pictures.items():
        if not len(faces):
            raise StoreError(
                f"{store.folder} has no {view!r} picture of the clips that have {' and '.join(settings.ridge_views)} "
                "(setting: likeness_views)."
            )
    has = {view: torch.tensor([clip in of_clip for clip in known]) for view, of_clip in by_view.items()}
    to_pictures, stretch, appearance, gender = None, None, None, None
    if settings.ridge_pairs:
        voices = embeddings
        if settings.shaped:
            appearance, values, found = _taken_apart([pixels[view] for view in settings.ridge_views])
            _require_pairs(store, settings, int(found.sum()))
            voices, values = voices[found], values[found]
        else:
            values = torch.stack([pictures[view] for view in settings.ridge_views]).mean(dim=0).flatten(1)
        stretch = torch.full(values.shape[1:], settings.stretch)
        if settings.shaped:
            stretch[TEXTURE:] = settings.shape_stretch
        if settings.gender_apart:
            if traits is None:
                raise StoreError(f"{store.folder} does not know who is male and who is female (setting: gender_apart).")
            gender = GenderApart.fit(voices, values, traits, settings)
            values, voices = gender.rest_of_faces(values, voices), gender.rest_of_voices(voices)
        to_pictures = Ridge.fit(voices, values, settings.shrinkage)
    count = len(to_pictures.known) if to_pictures else len(known)
    if recogniser is None:
        return Regressed(to_pictures, stretch, appearance, gender, None, None, count)
    features = {view: _features(recogniser, faces) for view, faces in pictures.items()}
    # The features of a view are compared with their own mean: photographs and drawn faces differ as such.
    apart = torch.zeros(len(known), features[settings.ridge_views[0]].shape[1])
    counted = torch.zeros(len(known), 1)
    for view in settings.likeness_views:
        apart[has[view]] += features[view] - features[view].mean(dim=0)
        counted[has[view]] += 1
    centre = torch.stack([features[view].mean(dim=0) for view in settings.ridge_views]).mean(dim=0)
    seen = counted[:, 0] > 0
    to_likeness = Ridge.fit(embeddings[seen], apart[seen] / counted[seen], 2 * settings.shrinkage)
    return Regressed(to_pictures, stretch, appearance, gender, to_likeness, centre, count)


def _require_pairs(store: Store, settings: GanSettings, count: int) -> None:
    if count < 3:  # the median of the distances between two, each to itself too, is 0
        raise StoreError(
            f"{store.folder} has {count} voices with pictures of the same clip in the views "
            f"{', '.join(settings.ridge_views)}{' in which a face is found' if settings.shaped else ''}; a regression "
            "needs 3 (settings: ridge_views, sources)."
        )


def _taken_apart(views: list[Tensor]) -> tuple[Appearance, Tensor, Tensor]:
    """Texture and shape of each clip, mean over its views.

    Returns:
        What puts them together; (clips, texture and shape); and whether a face was found in all views, (clips,).
    """
    try:
        marks = [find_landmarks(pixels) for pixels in views]
    except ModuleNotFoundError as error:
        raise SettingsError(f"shaped=true: {error}") from None
    found = torch.stack([there for _, there in marks]).all(dim=0)
    if not found.any():
        return Appearance(torch.zeros(0, 2)), torch.zeros(len(found), 0), found
    pictures = [as_network_input(pixels[found]) for pixels in views]
    shapes = [torch.cat([points[found], outline(p)], dim=1) for (points, _), p in zip(marks, pictures, strict=True)]
    appearance, textures, symmetric = Appearance.apart(torch.cat(pictures), torch.cat(shapes))
    each = torch.cat([textures.flatten(1), symmetric.flatten(1)], dim=1).reshape(len(views), int(found.sum()), -1)
    values = torch.zeros(len(found), each.shape[2])
    values[found] = each.mean(dim=0)
    return appearance, values, found


def _seen_as(gender: str, recogniser: FaceRecogniser, views: list[Tensor]) -> list[bool]:
    """Of each clip whether all its pictures look like the gender: labels are wrong now and then.

    The wrong ones are of voices near to the other gender's, so they would be what that gender's voices get.
    """
    with torch.inference_mode():
        male = [torch.cat([recogniser(part).male for part in torch.split(as_network_input(v), AT_ONCE)]) for v in views]
    right: list[bool] = torch.stack([(m > 0.5) == (gender == "male") for m in male]).all(dim=0).tolist()
    return right


def _features(recogniser: FaceRecogniser, pictures: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([recogniser(part).features for part in torch.split(pictures, AT_ONCE)]).clone()
