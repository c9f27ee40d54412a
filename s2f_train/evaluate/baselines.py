"""What faces score that know nothing of the voice, or all of it: they stand in every table."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from s2f_edge import Speech2Face
from s2f_edge.hearing.features import SAMPLE_RATE
from s2f_train.data.pictures import SIDE, resized
from s2f_train.data.store import Sample, Store
from s2f_train.evaluate.hearing import face_of, hear_raw
from s2f_train.evaluate.progress import each
from s2f_train.evaluate.subjects import StoredPictures, Subjects
from s2f_train.evaluate.systems import System, main_generator
from s2f_train.evaluate.tables import Picture

SECONDS = 6.0


def baselines(
    store: Store,
    subjects: Subjects,
    gender: NDArray[np.str_],
    systems: list[System],
    models: dict[str, Speech2Face],
    seed: int,
    side: int = SIDE,
) -> list[System]:
    """Random face, mean face, mean face of the gender, shuffled voices, silence, noise, oracle.

    Args:
        gender: of each person, "m", "f" or "" where nobody knows.
        systems: of these, the first that no gender was asked of is shuffled.
        models: name -> pack; silence and noise are put into each.
        side: of the mean faces, in pixels.
    """
    rng = np.random.default_rng([seed, 13])
    count = len(subjects.voices)
    # Without people of other splits the faces of this one must do; a random face is another person's either way.
    pool, whose = subjects.others, np.full(len(subjects.others), -1)
    if not pool:
        pool, whose = subjects.faces, subjects.face_person
    stored = StoredPictures(store, pool)
    found = [System("random face", "baseline", [stored[i] for i in _of_another(rng, subjects.voice_person, whose)])]
    means = _means(store, pool, stored, side)
    found.append(System("mean face", "baseline", [means[""]] * count))
    of_gender = [means.get(gender[person], means[""]) for person in subjects.voice_person]
    found.append(System("mean face of the gender", "baseline", list(of_gender)))
    free = [system for system in systems if not system.asked]
    if free:
        found.append(_shuffled(rng, subjects.voice_person, free[0]))
    trained_with = {system.name: system.trained_with for system in systems}
    for name, model in models.items():
        prefix = f"{name}: " if len(models) > 1 else ""
        used = trained_with.get(f"{name}: {main_generator(model)}", frozenset())
        length = int(SECONDS * SAMPLE_RATE)
        noise = (0.05 * rng.standard_normal(length)).astype(np.float32)
        for what, sound in (("silence", np.zeros(length, np.float32)), ("noise", noise)):
            face = face_of(model, hear_raw(model, sound), main_generator(model))
            found.append(System(f"{prefix}{what} as input", "baseline", [face] * count, trained_with=used))
    kept = StoredPictures(store, subjects.oracle)
    other = [kept[i] if i >= 0 else None for i in subjects.oracle_of[subjects.voice_person]]
    if any(picture is not None for picture in other):
        found.append(System(_oracle_name(subjects), "ceiling", other))
    return found


def _oracle_name(subjects: Subjects) -> str:
    """What the oracle's pictures are: a picture of another view is most often the same moment, so it says that."""
    views = Counter(face.view for face in subjects.oracle)
    photographs = views.pop(subjects.faces[0].view, 0)
    instead = " and ".join(f"view {view} ({count})" for view, count in views.items())
    if not instead:
        return "oracle: another photograph"
    return f"oracle: {instead}" + (f", another photograph ({photographs})" if photographs else "")


def _of_another(rng: np.random.Generator, person: NDArray[np.int64], whose: NDArray[np.int64]) -> list[int]:
    """Of each person a number of a face that is not theirs; `whose` is in order."""
    begin, end = (np.searchsorted(whose, person, side) for side in ("left", "right"))
    drawn = (rng.random(len(person)) * (len(whose) - (end - begin))).astype(np.int64)
    return [int(i) for i in drawn + (end - begin) * (drawn >= begin)]


def _means(store: Store, pool: list[Sample], stored: StoredPictures, side: int) -> dict[str, Picture]:
    """The mean picture of all faces (""), and of those whose person is known to be a man ("m") or a woman ("f")."""
    sums = {name: np.zeros((side, side, 3)) for name in ("", "m", "f")}
    counts = dict.fromkeys(sums, 0)
    for i in each(range(len(pool)), "mean face", len(pool)):
        picture = resized(stored[i], side)
        for name in {"", store.identities[pool[i].identity].gender}:
            sums[name] += picture
            counts[name] += 1
    return {name: np.rint(sums[name] / counts[name]).astype(np.uint8) for name in sums if counts[name]}


def _shuffled(rng: np.random.Generator, person: NDArray[np.int64], system: System) -> System:
    """Each person's voices get the pictures of another's."""
    people = rng.permutation(np.unique(person))
    after = {int(a): int(b) for a, b in zip(people, np.roll(people, -1), strict=True)}
    voices_of = {int(p): np.flatnonzero(person == p) for p in people}
    turn = dict.fromkeys(voices_of, 0)
    pictures = []
    for own in person:
        mine = voices_of[after[int(own)]]
        pictures.append(system.pictures[mine[turn[int(own)] % len(mine)]])
        turn[int(own)] += 1
    return System(f"shuffled voices ({system.name})", "baseline", pictures, trained_with=system.trained_with)
