"""What the pairs of voice and face say of any voice: the picture and the likeness that a regression gives it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from s2f_edge.features import Float32s
from s2f_train.config import GanSettings
from s2f_train.data.faces import as_network_input, load_faces
from s2f_train.data.pairs import Pairs
from s2f_train.data.store import Sample, Store, StoreError
from s2f_train.models.face_recogniser import FaceRecogniser
from s2f_train.models.traits import mean_embedding
from s2f_train.ridge import Ridge, some

AT_ONCE = 64  # faces that the recogniser looks at together


@dataclass(frozen=True)
class Regressed:
    """Regressions from a voice's embedding; `regressed` makes them.

    Attributes:
        pictures: to pixels, (3 * 64 * 64,) in [-1, 1]; None: not wanted.
        likeness: to the features of a face recogniser, as differences from those of the mean face; None: not wanted.
        centre: (features,), of pictures like those that are made.
        pairs: how many voices with a picture they rest on.
    """

    pictures: Ridge | None
    likeness: Ridge | None
    centre: Tensor | None
    pairs: int

    def targets(self, embeddings: Tensor, stretch: float) -> Tensor:
        """The picture for each voice, (batch, 3, 64, 64) in [-1, 1]."""
        assert self.pictures is not None
        return self.pictures.stretched(embeddings, stretch).clamp(-1.0, 1.0).reshape(-1, 3, 64, 64)

    def unlikeness(self, features: Tensor, embeddings: Tensor) -> Tensor:
        """1 - cosine between what sets made faces apart from the mean face and what should, mean over the batch.

        Both are taken as differences from the mean, because faces on one frame are all alike to a recogniser.
        """
        assert self.likeness is not None
        assert self.centre is not None
        wanted = self.likeness(embeddings)
        return 1.0 - functional.cosine_similarity(features - self.centre, wanted).mean()

    def to(self, device: torch.device, dtype: torch.dtype) -> Regressed:
        pictures, likeness = (ridge.to(device, dtype) if ridge else None for ridge in (self.pictures, self.likeness))
        centre = None if self.centre is None else self.centre.to(device, dtype)
        return replace(self, pictures=pictures, likeness=likeness, centre=centre)


def regressed(
    store: Store, pairs: Pairs, windows: list[Float32s], settings: GanSettings, recogniser: FaceRecogniser | None
) -> Regressed:
    """Fits the regressions on the pairs of the training split.

    Args:
        windows: embeddings of the windows of each voice of `pairs`.
        recogniser: for the likeness; None: without.

    Raises:
        StoreError: fewer than three voices have the pictures, or none has one of a view of the likeness.
    """
    of_gender = {face.identity for face in pairs.faces}
    clips = {voice.clip: i for i, voice in enumerate(pairs.voices) if voice.clip and voice.identity in of_gender}
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
    if len(known) < 3:  # the median of the distances between two, each to itself too, is 0
        raise StoreError(
            f"{store.folder} has {len(known)} voices with pictures of the same clip in the views "
            f"{', '.join(settings.ridge_views)}; a regression needs 3 (settings: ridge_views, sources)."
        )
    known = [known[i] for i in some(len(known), settings.seed).tolist()]
    embeddings = torch.stack([mean_embedding(torch.from_numpy(windows[clips[clip]])) for clip in known])
    pictures = {
        view: as_network_input(load_faces(store, [of_clip[clip] for clip in known if clip in of_clip]))
        for view, of_clip in by_view.items()
    }
    for view, faces in pictures.items():
        if not len(faces):
            raise StoreError(
                f"{store.folder} has no {view!r} picture of the clips that have {' and '.join(settings.ridge_views)} "
                "(setting: likeness_views)."
            )
    has = {view: torch.tensor([clip in of_clip for clip in known]) for view, of_clip in by_view.items()}
    made = torch.stack([pictures[view] for view in settings.ridge_views]).mean(dim=0)
    to_pixels = Ridge.fit(embeddings, made.flatten(1), settings.shrinkage) if settings.ridge_pairs else None
    if recogniser is None:
        return Regressed(to_pixels, None, None, len(known))
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
    return Regressed(to_pixels, to_likeness, centre, len(known))


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
