"""Small stores of made voices and faces, written directly: no source, no preparing, a few milliseconds a voice."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from s2f_edge.hearing.features import HOP, SAMPLE_RATE, logmel, normalise_logmel
from s2f_train.data.frame import MEAN_SHAPE, POINTS_MEMBER, VIEW
from s2f_train.data.frame import SIDE as FRAME
from s2f_train.data.mouths import BOX, MOUTHS, as_member
from s2f_train.data.store import BINS, FORMAT, KINDS, Store

SIDE = 64


@dataclass(frozen=True)
class Person:
    """Someone in a made store.

    Attributes:
        voices: how many recordings.
        photos: how many pictures of view "photo", which belong to no recording.
        clips: how many of the recordings have pictures beside them.
        views: of these pictures, one of each.
        frames: shortest and longest recording, in frames of 10 ms.
        portraits: how many pictures of view "portrait", 256 pixels with 68 points.
        mouths: how many open mouths each portrait has.
    """

    name: str
    gender: str = "m"
    age: float | None = None
    split: str = "train"
    voices: int = 3
    photos: int = 2
    clips: int = 0
    views: tuple[str, ...] = ("face", "s2f")
    source: str = "made"
    frames: tuple[int, int] = (320, 420)
    portraits: int = 0
    mouths: int = 0


def crowd(train: int = 6, valid: int = 2, test: int = 2, **each: Any) -> list[Person]:
    """People P00, P01, ... of genders m and f in turn and of ages 20, 23, ...; `each` is as in `Person`."""
    splits = ["train"] * train + ["valid"] * valid + ["test"] * test
    return [
        Person(f"P{i:02}", gender="mf"[i % 2], age=20.0 + 3 * i, split=split, **each) for i, split in enumerate(splits)
    ]


def made_store(
    folder: Path,
    people: Sequence[Person] | None = None,
    *,
    flac: bool = False,
    logmels: bool = True,
    jpg: bool = False,
    shard_items: int = 16,
    seed: int = 0,
) -> Store:
    """Writes a store and opens it.

    Args:
        people: None: `crowd()`.
        flac: with sounds, whose features the log-mels then are; else the log-mels are noise of the
            speaker's own colour, which is faster.
        logmels: False is a store of sounds alone.
        jpg: faces as JPEG and not PNG.
        shard_items: samples a shard.
    """
    people = crowd() if people is None else list(people)
    rng = np.random.default_rng(seed)
    samples: dict[str, list[tuple[dict[str, Any], dict[str, bytes]]]] = {kind: [] for kind in KINDS}
    for person in people:
        for i in range(person.voices):
            clip = f"{person.name}-{i}" if i < person.clips else ""
            frames = int(rng.integers(person.frames[0], person.frames[1] + 1))
            members: dict[str, bytes] = {}
            if flac:
                sound = speech(rng, person.name, (frames - 1) * HOP)
                members["flac"] = _flac(sound)
                features = normalise_logmel(logmel(_read(members["flac"])))
            else:
                features = coloured(rng, person.name, frames)
            if logmels:
                members["logmel.npy"] = _npy(features.astype(np.float16))
            about = _row(person, clip=clip, seconds=frames * HOP / SAMPLE_RATE, frames=frames if logmels else 0)
            samples["voices"].append((about, members))
            for view in person.views if clip else ():
                samples["faces"].append((_row(person, clip=clip, view=view), _picture(rng, person.name, jpg)))
        samples["faces"] += [
            (_row(person, view="photo"), _picture(rng, person.name, jpg)) for _ in range(person.photos)
        ]
        samples["faces"] += [
            (_row(person, view=VIEW), portrait(rng, person.name, jpg) | _mouths(rng, person))
            for _ in range(person.portraits)
        ]
    shards = {kind: _write_shards(folder, kind, samples[kind], people, shard_items) for kind in KINDS}
    counts = {kind: Counter(about["identity"] for about, _ in samples[kind]) for kind in KINDS}
    _write_lines(
        folder / "identities.jsonl",
        (
            {"name": p.name, "gender": p.gender, "age": p.age, "split": p.split}
            | {kind: counts[kind][p.name] for kind in KINDS}
            for p in people
        ),
    )
    _write_lines(folder / "skipped.jsonl", ())
    facts = {"format": FORMAT, "made_by": "tests", "plan": f"made-{seed}", "settings": {}, "shards": shards}
    (folder / "store.json").write_text(json.dumps(facts))
    return Store.open(folder)


def speech(rng: np.random.Generator, name: str, count: int) -> NDArray[np.float32]:
    """A hum of the speaker's pitch and colour in syllables, float32 (count,), peak 0.5."""
    own = _own(name)
    pitch, weights = own.uniform(90, 250), own.uniform(0, 1, 24) ** 2
    t = np.arange(count) / SAMPLE_RATE
    phase = 2 * np.pi * pitch * (t + 0.002 * np.sin(2 * np.pi * rng.uniform(3, 6) * t))
    hum = sum(weight * np.sin(k * phase) for k, weight in enumerate(weights, 1))
    loud = 0.15 + np.sin(np.pi * rng.uniform(3, 5) * t + rng.uniform(0, 6)) ** 2
    sound = hum * loud + 0.02 * rng.standard_normal(count)
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def coloured(rng: np.random.Generator, name: str, frames: int) -> NDArray[np.float32]:
    """Log-mels whose bins go together as the speaker has it: float32 (frames, 64), mean 0 and deviation 1 each bin."""
    mixing = _own(name).standard_normal((4, BINS))
    raw = rng.standard_normal((frames, 4)) @ mixing + 0.3 * rng.standard_normal((frames, BINS))
    return ((raw - raw.mean(axis=0)) / raw.std(axis=0)).astype(np.float32)


def face_pixels(rng: np.random.Generator, name: str) -> NDArray[np.uint8]:
    """An ellipse of the person's colours with two dots, moved a little: uint8 (64, 64, 3)."""
    own = _own(name)
    skin, back = own.uniform(60, 240, 3), own.uniform(0, 255, 3)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2 - rng.uniform(-3, 3, 2)[:, None, None]
    inside = (x / own.uniform(16, 26)) ** 2 + (y / own.uniform(22, 30)) ** 2 < 1
    eyes = ((np.abs(x) - 9) ** 2 + (y + 6) ** 2) < own.uniform(4, 16)
    pixels = np.where(inside[..., None], skin, back)
    pixels = np.where((inside & eyes)[..., None], 20, pixels) + rng.normal(0, 4, (SIDE, SIDE, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def portrait(rng: np.random.Generator, name: str, jpg: bool) -> dict[str, bytes]:
    """A face of the person's colours, 256 pixels, and points a little off the mean shape."""
    pixels = Image.fromarray(face_pixels(rng, name)).resize((FRAME, FRAME), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    pixels.save(file, "JPEG" if jpg else "PNG", quality=95, compress_level=1)
    points = MEAN_SHAPE + rng.normal(0, 0.004, MEAN_SHAPE.shape)
    return {"jpg" if jpg else "png": file.getvalue(), POINTS_MEMBER: _npy(points.astype(np.float16))}


def _own(name: str) -> np.random.Generator:
    """What is the same each time that a person is made."""
    return np.random.default_rng(list(name.encode()))


def _row(person: Person, clip: str = "", view: str = "", seconds: float = 0.0, frames: int = 0) -> dict[str, Any]:
    return {
        "identity": person.name, "source": person.source, "clip": clip, "view": view,
        "seconds": seconds, "frames": frames,
    }  # fmt: skip


def _picture(rng: np.random.Generator, name: str, jpg: bool) -> dict[str, bytes]:
    file = io.BytesIO()
    Image.fromarray(face_pixels(rng, name)).save(file, "JPEG" if jpg else "PNG", quality=95, compress_level=1)
    return {"jpg" if jpg else "png": file.getvalue()}


def _flac(sound: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _mouths(rng: np.random.Generator, person: Person) -> dict[str, bytes]:
    return {MOUTHS: as_member([mouth(rng, person.name) for _ in range(person.mouths)])} if person.mouths else {}


def mouth(rng: np.random.Generator, name: str) -> Image.Image:
    """Lips and skin of the person's colours, with teeth above dark between them: 112x96 RGBA."""
    own = _own(name)
    width, height = BOX[2:]
    y, x = np.mgrid[:height, :width] - np.array([height, width])[:, None, None] / 2
    wide, high = rng.uniform(16, 26), rng.uniform(4, 10)
    inside = (x / wide) ** 2 + (y / high) ** 2 < 1
    lips = (x / (wide + 8)) ** 2 + (y / (high + 8)) ** 2 < 1
    pixels = np.where(lips[..., None], own.uniform(60, 240, 3), own.uniform(60, 240, 3))
    pixels = np.where((inside & (y < -high / 3))[..., None], 230.0, np.where(inside[..., None], 30.0, pixels))
    return Image.fromarray(np.dstack([pixels, 255.0 * inside]).astype(np.uint8), "RGBA")


def _read(flac: bytes) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = soundfile.read(io.BytesIO(flac), dtype="float32")[0]
    return samples


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _write_shards(
    folder: Path,
    kind: str,
    samples: list[tuple[dict[str, Any], dict[str, bytes]]],
    people: Sequence[Person],
    shard_items: int,
) -> list[str]:
    who = {person.name: person for person in people}
    names = []
    for number, start in enumerate(range(0, len(samples), shard_items)):
        name = f"{kind}/{number:06}.tar"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = []
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for i, (about, members) in enumerate(samples[start : start + shard_items], start):
                key = f"{kind[0]}{i:05}"
                person = who[about["identity"]]
                facts = about | {"gender": person.gender, "age": person.age, "split": person.split}
                for extension, data in {**members, "json": json.dumps(facts).encode()}.items():
                    member = tarfile.TarInfo(f"{key}.{extension}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                rows.append({"key": key, **about})
        places: dict[str, dict[str, tuple[int, int]]] = {}
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, extension = member.name.split(".", 1)
                places.setdefault(key, {})[extension] = (member.offset_data, member.size)
        head = {"unit": "made", "bytes": path.stat().st_size, "samples": len(rows), "skipped": 0, "cut": 0}
        _write_lines(path.with_suffix(".jsonl"), [head, *(row | {"members": places[row["key"]]} for row in rows)])
        names.append(name)
    return names


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
