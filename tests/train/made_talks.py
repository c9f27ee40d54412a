"""Small stores of made talking heads: lips open as far as the speech is loud, words are where it is."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from s2f_edge.hearing.features import SAMPLE_RATE
from s2f_edge.talk.motion import FRAME_RATE
from s2f_train.data.store import FORMAT, Store
from s2f_train.data.talks import LIPS, LOWER_LIP, MOTION, SOUND
from tests.train.made_store import Person, _write_lines, _write_shards, speech

CLOSED_GAP = 0.008  # between the lips of a neutral face


def made_talks(folder: Path, talks: dict[str, int], seconds: float = 1.6, seed: int = 0) -> Store:
    """Writes a store and opens it.

    Args:
        talks: of each speaker, how many; every other speaker is a woman, and has lips that move twice as much.
    """
    rng = np.random.default_rng(seed)
    people = [Person(name, "mf"[i % 2]) for i, name in enumerate(talks)]
    samples = []
    for i, (name, count) in enumerate(talks.items()):
        for number in range(count):
            sound, gaps, words = talk(rng, name, seconds)
            about = {
                "identity": name, "source": "talk", "clip": f"{name}-{number}", "view": "",
                "seconds": len(sound) / SAMPLE_RATE, "frames": 0,
            }  # fmt: skip
            members = {SOUND: _flac(sound), MOTION: _npy(points_of((1 + i % 2) * gaps, i))}
            samples.append((about | {"words": words}, members))
    shards = {"voices": _write_shards(folder, "voices", samples, people, 64), "faces": []}
    for shard in shards["voices"]:  # the index says nothing of words
        path = (folder / shard).with_suffix(".jsonl")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        _write_lines(path, [{key: value for key, value in row.items() if key != "words"} for row in rows])
    known = [{"name": p.name, "gender": p.gender, "age": None, "split": "train"} for p in people]
    _write_lines(folder / "identities.jsonl", known)
    facts = {"format": FORMAT, "made_by": "tests", "plan": f"talks-{seed}", "settings": {}, "shards": shards}
    (folder / "store.json").write_text(json.dumps(facts))
    return Store.open(folder)


def talk(
    rng: np.random.Generator, name: str, seconds: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[tuple[float, float, str]]]:
    """Sound, the gap of the lips in each frame, and the words: silence, "bin", silence, "map", silence."""
    count = round(seconds * SAMPLE_RATE)
    times = np.arange(count) / SAMPLE_RATE
    starts = rng.uniform([0.2, 0.55], [0.25, 0.6]) * seconds
    words = [("bin", a, a + 0.2 * seconds) for a in starts[:1]] + [("map", a, a + 0.2 * seconds) for a in starts[1:]]
    loud = sum(np.sin(np.pi * np.clip((times - a) / (b - a), 0, 1)) for _, a, b in words)
    sound = speech(rng, name, count) * loud + 1e-3 * rng.standard_normal(count)
    at = np.minimum(np.arange(int(seconds * FRAME_RATE)) * SAMPLE_RATE // FRAME_RATE, count - 1)
    said = [(float(a), float(b), word) for word, a, b in words]
    return sound.astype(np.float32), (0.15 * loud[at]).astype(np.float32), [(0.0, said[0][0], "sil"), *said]


def points_of(gaps: NDArray[np.float32], who: int) -> NDArray[np.float32]:
    """Points of a face, (frames, 68, 2), whose lower lip and jaw go down by the gaps."""
    own = np.random.default_rng([who, 7]).uniform(-0.5, 0.5, (68, 2))
    points = np.repeat(own[None], len(gaps), axis=0)
    points[:, LIPS, 1] = 0.8
    points[:, LOWER_LIP, 1] += CLOSED_GAP + gaps
    points[:, 5:12, 1] += 0.5 * gaps[:, None]
    return points.astype(np.float32)


def _flac(sound: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _npy(points: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, points)
    return file.getvalue()
