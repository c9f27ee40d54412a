"""The voice side: how well embeddings tell speakers apart and voices their gender, and what a bad recording costs."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_edge import Speech2Face
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_train.evaluate.cache import VectorCache
from s2f_train.evaluate.conditions import CLEAN, CONDITIONS, Condition
from s2f_train.evaluate.error_rate import equal_error_rate
from s2f_train.evaluate.hearing import Heard, face_of, hear_all
from s2f_train.evaluate.intervals import Bootstrap, Floats, Ints
from s2f_train.evaluate.progress import each
from s2f_train.evaluate.tables import Figure, Picture, Section
from s2f_train.evaluate.voice_tables import voice_section

JudgeGender = Callable[[list[Picture]], NDArray[np.floating[Any]]]
FEW_SPEAKERS = 10  # with two clips; an equal error rate from fewer says little
JOINED_S = 15.0  # of a speaker's clips, which is enough for the longest duration


@dataclass(frozen=True)
class Clip:
    """A held-out recording.

    Attributes:
        name: unique, such as the key in a store.
        speaker, source: who, and of which data set. Speakers are compared within a data set.
        gender: "m", "f", or "" where it is not known.
        read: gives its speech, float32 (n,), 16 kHz; called when it is needed, perhaps again.
    """

    name: str
    speaker: str
    source: str
    gender: str
    read: Callable[[], Float32s]


@dataclass(frozen=True)
class Limits:
    """How much is heard: the cost grows with speakers, and that of the curves not at all.

    Attributes:
        clips_a_speaker: spread evenly over those there are.
        pairs_a_speaker: of the same speaker, and as many of two.
        curve_clips: for the conditions, spread evenly over speakers.
        curve_seconds: of each of these, from its beginning.
    """

    clips_a_speaker: int = 10
    pairs_a_speaker: int = 20
    curve_clips: int = 100
    curve_seconds: float = 10.0


@dataclass(frozen=True)
class VoiceTrial:
    """Two clips that were compared; `tested` was heard in `condition` ("" for the table, where both are whole)."""

    condition: str
    source: str
    enrolled: str
    tested: str
    same: bool
    score: float


@dataclass(frozen=True)
class VoiceSide:
    """What `voice_side` gives: the section's tables are "voices" and "conditions"."""

    section: Section
    trials: list[VoiceTrial]


class SpeakerBootstrap(Bootstrap):
    """Intervals over speakers for what is measured on pairs of clips."""

    def equal_error_rate(self, scores: Floats, same: NDArray[np.bool_], first: Ints, second: Ints) -> Figure:
        """Where as many pairs of one speaker are refused as pairs of two are taken.

        A pair counts as often as its speaker, or as both speakers together, are drawn.

        Args:
            scores: (pairs,), higher is more alike.
            same: (pairs,), whether the two are one speaker.
            first, second: (pairs,), number of the speaker of each clip.
        """
        if same.all() or not same.any():
            return Figure(float("nan"))
        order = np.argsort(-scores, kind="stable")  # once: a draw's own sort finds it done
        scores, same, first, second = scores[order], same[order], first[order], second[order]

        def rates(weights: Floats) -> Floats:
            counted = (np.where(same, mine[first], mine[first] * mine[second]) for mine in weights)
            return np.array([equal_error_rate(scores, same, one) for one in counted])

        return self._figure(rates, len(scores))


def voice_side(
    model: Speech2Face,
    clips: list[Clip],
    judge_gender: JudgeGender | None,
    cache: VectorCache,
    draws: int = 1000,
    seed: int = 0,
    limits: Limits = Limits(),
) -> VoiceSide:
    """Equal error rate, gender and refusals on held-out speakers, clean and in every condition.

    Of faces only those of the general generator are judged: in the others the gender is what was asked for.

    Args:
        judge_gender: pictures -> (n,) probability of male, NaN where it sees no face, which counts as wrong;
            None: faces are not judged. It is called once, for all conditions.
        draws, seed: of the bootstrap, the pairs, the clips and the noise.
    """
    clips = _some_of_each(clips, limits.clips_a_speaker)
    heard = hear_all(model, (clip.read() for clip in clips), cache, "voices", len(clips))
    crowd = _Crowd(clips, heard, draws, seed)
    table = _Point(None, dict(enumerate(heard)), crowd.pairs_of_all(limits.pairs_a_speaker))
    points = [table, *_curves(model, crowd, cache, seed, limits)]
    face_right = _faces_right(model, crowd, points, judge_gender)

    rows = [crowd.source_row(source, table, face_right[0]) for source in [*sorted({clip.source for clip in clips}), ""]]
    curve_rows = [crowd.curve_row(p, points[1], right) for p, right in zip(points[1:], face_right[1:], strict=True)]
    return VoiceSide(voice_section(rows, curve_rows), [trial for point in points for trial in crowd.trials(point)])


# -------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class _Point:
    """Clips as they are (condition None), or in a condition.

    Attributes:
        heard: number of a clip -> what was heard of it; those that were not tried are not there.
        pairs: (pairs, 2), the clip that is enrolled as it is, and the one that is tested in the condition.
    """

    condition: Condition | None
    heard: dict[int, Heard]
    pairs: Ints


class _Crowd:
    """The clips by number, and what is measured on some of them."""

    def __init__(self, clips: list[Clip], heard: list[Heard], draws: int, seed: int):
        names = {name: number for number, name in enumerate(sorted({clip.speaker for clip in clips}))}
        self.clips = clips
        self.enrolled = [one.embedding for one in heard]
        self.speaker = np.array([names[clip.speaker] for clip in clips], np.int64)
        self.source = np.array([clip.source for clip in clips], np.str_)
        self.gender = np.array([clip.gender for clip in clips], np.str_)
        self.draw = SpeakerBootstrap(len(names), draws, seed)
        self.seed = seed
        # Those that were not refused, by source and by speaker within it.
        self.of_source: dict[str, list[int]] = {}
        self.alike: dict[tuple[str, int], list[int]] = {}
        for i, one in enumerate(heard):
            if not one.refused:
                self.of_source.setdefault(clips[i].source, []).append(i)
                self.alike.setdefault((clips[i].source, int(self.speaker[i])), []).append(i)

    def same_speaker(self, clip: int) -> list[int]:
        """All usable clips of its speaker and source, itself too."""
        return self.alike[(self.clips[clip].source, int(self.speaker[clip]))]

    def pairs_of_all(self, most: int) -> Ints:
        """About `most` pairs of clips of every speaker, and as many pairs with other speakers."""
        accepted = [i for mine in self.alike.values() for i in mine]
        each_of = [-(-most // len(self.same_speaker(i))) for i in accepted]
        pairs = self.pairs(accepted, each_of, each_of)
        _, first = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)  # a pair that was drawn from both ends
        return pairs[np.sort(first)]

    def pairs(self, tested: list[int], same: list[int], different: list[int]) -> Ints:
        """Draws, for each clip, so many others of its speaker and so many of other speakers of its source.

        Returns:
            (pairs, 2): clip enrolled, clip tested.
        """
        rng = np.random.default_rng([self.seed, 21])
        found: list[tuple[int, int]] = []
        for clip, few, many in zip(tested, same, different, strict=True):
            own = [i for i in self.same_speaker(clip) if i != clip]
            others = self.of_source[self.clips[clip].source]
            drawn = [own[i] for i in rng.permutation(len(own))[:few]]
            # Own clips that come up are left out, and more are drawn: listing all others of each would be quadratic.
            strangers = dict.fromkeys(others[i] for i in rng.integers(len(others), size=3 * many))
            drawn += [i for i in strangers if self.speaker[i] != self.speaker[clip]][:many]
            found += [(other, clip) for other in drawn]
        return np.array(found, np.int64).reshape(-1, 2)

    def scored(self, point: _Point, source: str = "") -> tuple[Ints, Floats]:
        """The pairs of a point, of one source or of all, whose tested clip was not refused, and their cosines."""
        kept, scores = [], []
        for enrolled, tested in point.pairs.tolist():
            one, other = self.enrolled[enrolled], point.heard.get(tested)
            if source in ("", self.clips[tested].source) and one is not None and other and other.embedding is not None:
                kept.append((enrolled, tested))
                scores.append(float(one @ other.embedding))
        return np.array(kept, np.int64).reshape(-1, 2), np.array(scores, np.float64)

    def trials(self, point: _Point) -> list[VoiceTrial]:
        pairs, scores = self.scored(point)
        name = point.condition.name if point.condition else ""
        return [
            VoiceTrial(
                name, self.clips[b].source, self.clips[a].name, self.clips[b].name,
                bool(self.speaker[a] == self.speaker[b]), score,
            )
            for (a, b), score in zip(pairs.tolist(), scores.tolist(), strict=True)
        ]  # fmt: skip

    def row(self, point: _Point, face_right: Floats, source: str = "") -> dict[str, Any]:
        """What both tables have."""
        tried = np.array([i for i in point.heard if source in ("", self.clips[i].source)], np.int64)
        heard = [point.heard[i] for i in tried.tolist()]
        person, gender = self.speaker[tried], self.gender[tried]
        male = np.array([np.nan if one.male is None else one.male for one in heard])
        right = np.where((gender == "") | np.isnan(male), np.nan, (male > 0.5) == (gender == "m"))
        unsure = np.where(np.isnan(male), np.nan, [one.gender == "unsure" for one in heard])
        pairs, scores = self.scored(point, source)
        first, second = self.speaker[pairs].T
        measured = {
            "refused": self.draw.mean(np.array([bool(one.refused) for one in heard]), person),
            "error": self.draw.equal_error_rate(scores, first == second, first, second),
            "gender": self.draw.mean(right, person),
            "balanced": self.draw.balanced(right, gender, person),
            "abstained": self.draw.mean(unsure, person),
            "face": self.draw.mean(face_right[tried], person),
            "face_balanced": self.draw.balanced(face_right[tried], gender, person),
        }
        same = int((first == second).sum())
        counts = {"clips": len(tried), "same": same, "different": len(pairs) - same}
        return counts | {name: figure if figure.n else None for name, figure in measured.items()}

    def source_row(self, source: str, point: _Point, face_right: Floats) -> dict[str, Any]:
        """A row of the table of sources; "" is all of them."""
        mine = self.speaker[self.source == source] if source else self.speaker
        several = sum(len(alike) > 1 for (of, _), alike in self.alike.items() if source in ("", of))
        row = {"source": source or "all", "speakers": len(set(mine.tolist())), "several": several}
        if 0 < several < FEW_SPEAKERS:
            row["_note"] = f"Speakers with two clips: {several}, few for an equal error rate."
        return row | self.row(point, face_right, source)

    def curve_row(self, point: _Point, clean: _Point, face_right: Floats) -> dict[str, Any]:
        """A row of the table of conditions."""
        assert point.condition
        # The beginning of a clip may be refused where the whole is not.
        accepted = [(i, one) for i, one in point.heard.items() if not one.refused and not clean.heard[i].refused]
        cosines = [float(one.voice.embedding @ clean.heard[i].voice.embedding) for i, one in accepted]
        cosine = self.draw.mean(np.array(cosines), self.speaker[[i for i, _ in accepted]])
        found = {"seconds": float(np.mean([one.speech_s for _, one in accepted])) if accepted else None}
        names = {"group": point.condition.group, "condition": point.condition.name}
        return names | found | self.row(point, face_right) | {"cosine": cosine if accepted else None}


def _some_of_each(clips: list[Clip], most: int) -> list[Clip]:
    """At most so many clips of each speaker of each source, evenly from those there are."""
    taken: dict[tuple[str, str], list[Clip]] = {}
    for clip in clips:
        taken.setdefault((clip.source, clip.speaker), []).append(clip)
    few = (np.linspace(0, len(mine) - 1, min(most, len(mine))).round().astype(int) for mine in taken.values())
    return [mine[i] for mine, places in zip(taken.values(), few, strict=True) for i in places]


# -------------------------------------------------------------------------- conditions, faces


def _curves(model: Speech2Face, crowd: _Crowd, cache: VectorCache, seed: int, limits: Limits) -> list[_Point]:
    """Some usable clips, clean and in every condition."""
    tested = _for_curves(crowd, limits.curve_clips)
    pairs = crowd.pairs(tested, [1] * len(tested), [limits.pairs_a_speaker] * len(tested))
    enrolled = {(int(a), int(b)) for a, b in pairs}
    samples, joined = {}, {}
    for clip in tested:
        sound = crowd.clips[clip].read()
        samples[clip] = sound[: round(limits.curve_seconds * SAMPLE_RATE)]
        # What a clip is compared with is not in it.
        more = [i for i in crowd.same_speaker(clip) if i != clip and (i, clip) not in enrolled]
        joined[clip] = _joined([sound], (crowd.clips[i].read() for i in more))
    points = []
    for condition in [CLEAN, *CONDITIONS]:
        sounds = joined if condition.seconds else samples
        made = {
            clip: condition.change(sounds[clip], zlib.crc32(f"{seed} {crowd.clips[clip].name}".encode()))
            for clip in tested
        }
        there = {clip: sound for clip, sound in made.items() if sound is not None}
        heard = hear_all(model, there.values(), cache, f"voices: {condition.name}")
        points.append(_Point(condition, dict(zip(there, heard, strict=True)), pairs))
    return points


def _for_curves(crowd: _Crowd, most: int) -> list[int]:
    """A first clip of each speaker, then second ones; speakers who have two come first, since only they give pairs."""
    rng = np.random.default_rng([crowd.seed, 22])
    ranked = [(turn, len(mine) < 2, rng.random(), i) for mine in crowd.alike.values() for turn, i in enumerate(mine)]
    return sorted(i for *_, i in sorted(ranked)[:most])


def _joined(sounds: list[Float32s], more: Iterator[Float32s]) -> Float32s:
    while sum(map(len, sounds)) < JOINED_S * SAMPLE_RATE and (sound := next(more, None)) is not None:
        sounds.append(sound)
    return np.concatenate(sounds)[: round(JOINED_S * SAMPLE_RATE)]


def _faces_right(
    model: Speech2Face, crowd: _Crowd, points: list[_Point], judge_gender: JudgeGender | None
) -> list[Floats]:
    """Of each point, by number of the clip: whether the general face is of the speaker's gender, 1 or 0, else NaN."""
    right = [np.full(len(crowd.clips), np.nan) for _ in points]
    if judge_gender is None or "general" not in model.pack.manifest.generators:
        return right
    asked = [(p, i) for p, point in enumerate(points) for i, one in point.heard.items() if not one.refused]
    asked = [(p, i) for p, i in asked if crowd.clips[i].gender]
    faces = [face_of(model, points[p].heard[i], "general") for p, i in each(asked, "faces of voices", len(asked))]
    for (p, i), male in zip(asked, judge_gender(faces) if faces else [], strict=True):
        right[p][i] = np.isfinite(male) and (male > 0.5) == (crowd.clips[i].gender == "m")
    return right
