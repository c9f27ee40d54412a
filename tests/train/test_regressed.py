"""What the pairs of a store say of any voice: whose pictures the regression rests on, and what it makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fit_tools import points_by_lightness
from made_store import Person, made_store
from numpy.typing import NDArray
from torch import Tensor

from s2f_train.config import GanSettings
from s2f_train.data.faces import load_faces
from s2f_train.data.landmarks import outline
from s2f_train.data.pairs import pair
from s2f_train.data.shape_and_texture import ShapeAndTexture
from s2f_train.data.store import Store, StoreError
from s2f_train.models.traits import VoiceTraits, mean_embedding
from s2f_train.models.voice import unit
from s2f_train.regression.regressed import Regressed, regressed
from s2f_train.regression.ridge import Ridge

ALL = ("s2f", "face", "photo")
SHORT = {"photos": 1, "frames": (20, 22)}
PEOPLE = [
    Person("Ann", "f", voices=3, clips=2, views=ALL, **SHORT),
    Person("Ben", "m", voices=2, clips=2, views=ALL, **SHORT),
    Person("Cid", "m", voices=2, clips=1, views=("s2f", "face"), **SHORT),
    Person("Dot", "f", voices=2, clips=1, views=("s2f",), **SHORT),
    Person("Eve", "f", voices=2, clips=2, views=ALL, source="other", **SHORT),
    Person("Fay", "f", voices=2, clips=2, views=ALL, split="valid", **SHORT),
    Person("Gus", "m", voices=2, clips=2, views=ALL, split="test", **SHORT),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_store(tmp_path_factory.mktemp("stores") / "made", PEOPLE)


def windows_of(clips: list[str]) -> list[NDArray[np.float32]]:
    """1 to 3 windows for each clip, always the same."""
    found = []
    for clip in clips:
        rng = np.random.default_rng(list(clip.encode()))
        found.append(unit(torch.from_numpy(rng.normal(size=(1 + len(found) % 3, 6)).astype(np.float32))).numpy())
    return found


def fitted(store: Store, traits: VoiceTraits | None = None, **values: Any) -> tuple[Regressed, dict[str, Tensor]]:
    """The regression, and the embedding of every voice that has a clip."""
    given = {"view": "s2f", "identity_weight": 0.0, "pixel_weight": 1.0, "ridge_pairs": True} | values
    settings = GanSettings(**given)
    pairs = pair(store, settings)
    clips = [voice.clip for voice in pairs.voices]
    windows = windows_of(clips)
    embeddings = [mean_embedding(torch.from_numpy(w)) for w in windows]
    found = regressed(store, pairs, windows, settings, traits)
    return found, {clip: row for clip, row in zip(clips, embeddings, strict=True) if clip}


def of_clips(store: Store, view: str, clips: list[str]) -> Tensor:
    """Pictures of a view, (clips, 3, 64, 64) in [-1, 1]."""
    faces = {face.clip: face for face in store.of_split("train", "faces") if face.view == view}
    return load_faces(store, [faces[clip] for clip in clips]).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.mark.parametrize(
    ("values", "clips"),
    [
        ({}, ["Ann-0", "Ann-1", "Ben-0", "Ben-1", "Cid-0", "Eve-0", "Eve-1"]),
        ({"ridge_views": ("s2f",)}, ["Ann-0", "Ann-1", "Ben-0", "Ben-1", "Cid-0", "Dot-0", "Eve-0", "Eve-1"]),
        ({"ridge_views": ("photo", "s2f")}, ["Ann-0", "Ann-1", "Ben-0", "Ben-1", "Eve-0", "Eve-1"]),
        ({"gender": "male"}, ["Ben-0", "Ben-1", "Cid-0"]),
        ({"gender": "female", "every_voice": True}, ["Ann-0", "Ann-1", "Eve-0", "Eve-1"]),
        ({"sources": ("made",)}, ["Ann-0", "Ann-1", "Ben-0", "Ben-1", "Cid-0"]),
    ],
)
def test_the_picture_is_the_mean_of_the_views_of_the_clip(
    store: Store, values: dict[str, Any], clips: list[str]
) -> None:
    """Of clips of the training split that have them all, and of the gender alone, whoever is heard."""
    found, embeddings = fitted(store, shrinkage=0.2, **values)
    further, _ = fitted(store, shrinkage=0.2, stretch=1.6, **values)
    assert found.pairs == len(clips)
    views = values.get("ridge_views", ("s2f", "face"))
    pictures = torch.stack([of_clips(store, view, clips) for view in views]).mean(dim=0)
    by_hand = Ridge.fit(torch.stack([embeddings[clip] for clip in clips]), pictures.flatten(1), 0.2)
    heard = torch.stack(list(embeddings.values()))
    for regression, stretch in ((found, 1.0), (further, 1.6)):
        expected = by_hand.stretched(heard, stretch).reshape(-1, 3, 64, 64).clamp(-1, 1)
        torch.testing.assert_close(regression.targets(heard), expected, rtol=1e-4, atol=1e-4)


def test_pictures_stay_within_their_range(store: Store) -> None:
    found, embeddings = fitted(store, stretch=50.0)
    far = found.targets(torch.stack(list(embeddings.values())))
    assert (far.min(), far.max()) == (-1, 1)


def test_in_another_precision_it_is_the_same(store: Store) -> None:
    found, embeddings = fitted(store, stretch=1.5)
    wide = found.to(torch.device("cpu"), torch.float64)
    heard = torch.stack(list(embeddings.values()))
    assert wide.targets(heard.double()).dtype == torch.float64
    torch.testing.assert_close(wide.targets(heard.double()).float(), found.targets(heard))


def test_too_few_pairs(store: Store, tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"made has 0 voices with pictures .* in the views drawing; .* needs 3 \(settings: ridge_views"
    ):
        fitted(store, ridge_views=("drawing",))
    two, three = (made_store(tmp_path / f"{n}", [Person("Ann", "f", voices=4, clips=n, **SHORT)]) for n in (2, 3))
    with pytest.raises(StoreError, match="2 has 2 voices with pictures of the same clip in the views s2f, face"):
        fitted(two)
    found, _ = fitted(three)
    assert found.pictures.width > 1e-3


# ------------------------------------------------------------------------------- gender apart


def traits_of(embeddings: dict[str, Tensor]) -> VoiceTraits:
    """Tells by the first number of an embedding, more or less surely."""
    traits = VoiceTraits(len(next(iter(embeddings.values()))), 2)
    with torch.no_grad():
        traits.gender.weight.zero_()[0, 0] = 3.0
        traits.gender.bias.fill_(0.2)
    return traits


@pytest.mark.parametrize(("gender", "asked"), [("general", None), ("male", 1.0), ("female", -1.0)])
def test_gender_apart_is_a_line_and_a_regression_of_what_is_left(
    store: Store, gender: str, asked: float | None
) -> None:
    _, every = fitted(store)
    traits = traits_of(every)
    found, embeddings = fitted(
        store, traits, gender=gender, every_voice=True, gender_apart=1.8, stretch=1.5, shrinkage=0.2
    )
    clips = ["Ann-0", "Ann-1", "Ben-0", "Ben-1", "Cid-0", "Eve-0", "Eve-1"]
    assert found.pairs == len(clips)  # those of the other gender too
    voices = torch.stack([embeddings[clip] for clip in clips]).double()
    faces = torch.stack([of_clips(store, view, clips) for view in ("s2f", "face")]).mean(dim=0).flatten(1).double()

    def heard(e: Tensor) -> Tensor:
        return torch.tanh((3 * e[:, :1] + 0.2) / 2)  # 2 sigmoid(x) - 1

    terms = torch.cat([torch.ones(len(clips), 1), heard(voices)], dim=1)
    of_voices, of_faces = (torch.linalg.pinv(terms) @ y for y in (voices, faces))
    ridge = Ridge.fit((voices - terms @ of_voices), faces - terms @ of_faces, 0.2)
    new = torch.stack(list(embeddings.values())).double()
    rest = new - of_voices[0] - heard(new) * of_voices[1]
    wanted = heard(new) if asked is None else torch.full((len(new), 1), asked, dtype=torch.float64)
    expected = of_faces[0] + 1.8 * wanted * of_faces[1] + ridge.stretched(rest, 1.5)
    torch.testing.assert_close(
        found.targets(new.float()).flatten(1), expected.clamp(-1, 1).float(), rtol=1e-3, atol=1e-3
    )
    wide = found.to(torch.device("cpu"), torch.float64)
    torch.testing.assert_close(wide.targets(new).float(), found.targets(new.float()), rtol=1e-3, atol=1e-3)


def test_gender_apart_needs_genders(store: Store) -> None:
    with pytest.raises(StoreError, match=r"does not know who is male and who is female \(setting: gender_apart\)"):
        fitted(store, gender_apart=1.5)


# ------------------------------------------------------------------------------- shape and texture


def test_shape_and_texture_are_regressed_each_by_its_stretch(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2f_train.regression.regressed.find_landmarks", points_by_lightness)
    plain, embeddings = fitted(store, shaped=True)
    far, _ = fitted(store, shaped=True, stretch=2.0, shape_stretch=3.0)
    heard = torch.stack(list(embeddings.values()))
    assert plain.targets(heard).shape == (len(heard), 3, 64, 64)
    assert plain.appearance is not None
    values = plain.pictures.mean + (plain.pictures(heard) - plain.pictures.mean) * far.stretch
    textures, shapes = values[:, : 3 * 96 * 96].clamp(-1, 1).reshape(-1, 3, 96, 96), values[:, 3 * 96 * 96 :]
    expected = plain.appearance.together(textures, shapes.reshape(len(heard), -1, 2))
    torch.testing.assert_close(far.targets(heard), expected, rtol=1e-4, atol=1e-4)
    assert far.stretch.unique().tolist() == [2.0, 3.0]
    assert far.stretch[: 3 * 96 * 96].unique().tolist() == [2.0]


def test_each_voice_has_the_face_of_its_clip_and_clips_without_a_face_are_left_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = iter([1, 4])  # another clip in each view

    def but_one(pictures: Tensor) -> tuple[Tensor, Tensor]:
        points, found = points_by_lightness(pictures)
        found[next(missing)] = False
        return points, found

    monkeypatch.setattr("s2f_train.regression.regressed.find_landmarks", but_one)
    found, embeddings = fitted(store, shaped=True, shrinkage=0.2)
    every = {"Ann-0", "Ann-1", "Ben-0", "Ben-1", "Cid-0", "Eve-0", "Eve-1"}
    order = [clip for clip in embeddings if clip in every]
    known = [
        torch.stack([embeddings[c] for c in order]).sub(e).norm(dim=1).argmin().item() for e in found.pictures.known
    ]
    assert len(known) == 5
    clips = [order[int(i)] for i in known]
    assert len(set(clips)) == 5
    pictures = [of_clips(store, view, clips) for view in ("s2f", "face")]
    points = [points_by_lightness((p.permute(0, 2, 3, 1) * 127.5 + 127.5).round().byte())[0] for p in pictures]
    shapes = [torch.cat([at, outline(p)], dim=1) for at, p in zip(points, pictures, strict=True)]
    _, textures, symmetric = ShapeAndTexture.apart(torch.cat(pictures), torch.cat(shapes))
    each = torch.cat([textures.flatten(1), symmetric.flatten(1)], dim=1)
    values = (each[:5] + each[5:]) / 2  # the mean of the two views of each clip
    by_hand = Ridge.fit(torch.stack([embeddings[clip] for clip in clips]), values, 0.2)
    torch.testing.assert_close(found.pictures.weights, by_hand.weights, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.pictures.mean, by_hand.mean, rtol=1e-4, atol=1e-4)


def test_with_too_few_faces_there_is_no_shape(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (0, 2):

        def few(pictures: Tensor, there: int = there) -> tuple[Tensor, Tensor]:
            return points_by_lightness(pictures)[0], torch.arange(len(pictures)) < there

        monkeypatch.setattr("s2f_train.regression.regressed.find_landmarks", few)
        with pytest.raises(
            StoreError, match=f"has {there} voices with pictures .* in which a face is found; .* needs 3"
        ):
            fitted(store, shaped=True)
