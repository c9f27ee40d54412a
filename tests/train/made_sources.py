"""Small data sets made of the two synthetic clips and of painted pictures."""

from __future__ import annotations

import io
import os
import signal
import time
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from s2f_train.data.items import Identity, Item, Place, Source
from s2f_train.data.store import Store
from s2f_train.prepare.build import missing, prepare
from s2f_train.prepare.engines import local
from s2f_train.prepare.plan import Choice, Plan

RATE = 16_000
SMALL = Choice(shard_items=5)
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PEOPLE = {
    "Ann": Identity("Ann", "f", 31.0),
    "Carl": Identity("Carl", "m"),
    "Yan": Identity("Yan", "m", 64.0),
    "Zoe": Identity("Zoe", "f"),
    "<Kim & co>": Identity("<Kim & co>"),
}


def speech(gender: str) -> NDArray[np.float32]:
    samples, _ = soundfile.read(EXAMPLES / f"{'male' if gender == 'm' else 'female'}.wav", dtype="float32")
    return samples


def picture(number: int, size: int = 80) -> Image.Image:
    y, x = np.mgrid[:size, :size].astype(np.float64) / size
    colours = np.stack([x, y, 0.5 + 0.5 * np.sin(0.7 * number + 9 * x * y)], axis=2)
    return Image.fromarray((255 * colours).astype(np.uint8))


def voice(
    path: Path, identity: str = "Yan", source: str = "made", name: str = "", clip: str = "", **place: float
) -> Item:
    return Item("voice", source, identity, name or path.stem, Place(str(path), **place), "sound", clip=clip)


def face(
    path: Path, identity: str = "Yan", source: str = "made", name: str = "", view: str = "photo", clip: str = ""
) -> Item:
    return Item("face", source, identity, name or path.stem, Place(str(path)), "aligned", view, clip)


def made_source(folder: Path, voices: int = 12, faces: int = 15, name: str = "made") -> Source:
    """Voices of 2 s and pictures of 80 pixels, of all of `PEOPLE` in turn; views photo, face and s2f."""
    folder.mkdir(parents=True, exist_ok=True)
    people = list(PEOPLE.values())
    items = []
    for i in range(voices):
        who = people[i % len(people)]
        samples = speech(who.gender)
        start = (i * RATE // 3) % (len(samples) - 2 * RATE)
        path = folder / f"v{i:03d}.wav"
        soundfile.write(path, samples[start : start + 2 * RATE], RATE)
        items.append(voice(path, who.name, name, clip=f"clip{i}"))
    for i in range(faces):
        path = folder / f"f{i:03d}.png"
        picture(i).save(path)
        view = ("photo", "face", "s2f")[i % 3]
        items.append(face(path, people[i % len(people)].name, name, view=view, clip=f"clip{i}"))
    return Source(name, PEOPLE, items, ("3 rows without files: <a>, b & c.",))


def npy(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


class DeadlyPlace(Place):
    """Reading it ends the process, as a decoder may that crashes."""

    def read(self) -> bytes:
        os._exit(3)


class KilledPlace(Place):
    """Reading it ends the process, as the system does when memory runs out."""

    def read(self) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class EndlessPlace(Place):
    """Reading it never ends."""

    def read(self) -> bytes:
        while True:
            time.sleep(1.0)


def prepared(planned: Plan, folder: Path, replace: bool = False, jobs: int = 1) -> Store:
    """The store of a plan, made on this machine."""
    todo = missing(planned, folder, replace)
    return prepare(planned, folder, lambda units: local(units, folder, planned.settings, jobs, lambda *_: None), todo)
