"""Windows of speech and what the voice network of a pack says of each, made once for all steps of a fit.

The windows are of many more voices than the store has: sound that is played faster or slower is of another throat and
another pitch, and the pack's network says what it hears there. So are noise, rooms and telephones.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from s2f_edge.hearing import audio
from s2f_edge.hearing.fbank import FBANK_BINS, fbank
from s2f_edge.hearing.features import HOP, SAMPLE_RATE, WINDOW, Float32s, repeat_to
from s2f_edge.hearing.frontend import Fbank80FrontEnd
from s2f_edge.pack.network import Network
from s2f_edge.pack.pack import Pack
from s2f_edge.processes import at_most
from s2f_train.config import LightSettings
from s2f_train.data.augment import augment
from s2f_train.data.store import Sample, Store
from s2f_train.folders import written_whole
from s2f_train.workers import Workers, call

log = logging.getLogger(__name__)

FRAMES = (Fbank80FrontEnd.WINDOW_FRAMES, 100)  # whole windows, and such as the preview of a stream has
SHORT_SHARE = 1 / 8
PIECE = 256  # windows that a process makes at a time
FEW = 1000  # processes take longer to start


@dataclass(frozen=True)
class HeardWindows:
    """The windows of a fit by their length: `features`, float16 (n, frames, 80), and `embeddings`, float32 (n, d)."""

    features: dict[int, NDArray[np.float16]]
    embeddings: dict[int, Float32s]

    @classmethod
    def read(cls, folder: Path) -> HeardWindows:
        return cls(
            {frames: np.load(folder / f"features-{frames}.npy", mmap_mode="r") for frames in FRAMES},
            {frames: np.load(folder / f"embeddings-{frames}.npy") for frames in FRAMES},
        )

    @classmethod
    def made_up(cls, embedding_size: int) -> HeardWindows:
        """One of each length, of zeros, for a step whose cost is to be told."""
        return cls(
            {frames: np.zeros((1, frames, FBANK_BINS), np.float16) for frames in FRAMES},
            {frames: np.zeros((1, embedding_size), np.float32) for frames in FRAMES},
        )


def heard_windows(store: Store, voices: list[Sample], pack: Pack, settings: LightSettings) -> HeardWindows:
    """Makes the windows, on all cores, or takes them from an earlier fit with the same voices, pack and settings."""
    facts = {name: value for name, value in asdict(settings).items() if name in _MATTERS}
    digest = hashlib.sha256(json.dumps([store.facts, [s.key for s in voices], pack.sha256, facts]).encode())
    folder = settings.cache / f"heard-{digest.hexdigest()[:20]}"
    if not folder.exists():
        log.info("hearing %d windows by the voice network of %s", settings.windows, pack.folder)
        _make(folder, _Maker(store, voices, pack, settings))
    return HeardWindows.read(folder)


_MATTERS = {
    "seed", "windows", "speed_share", "speed", "noise_share", "noise_db", "gain_share", "telephone_share", "room_share",
    "codec_share",
}  # fmt: skip


class _Maker:
    """Makes any window by its number, whichever process it is in."""

    def __init__(self, store: Store, voices: list[Sample], pack: Pack, settings: LightSettings) -> None:
        self.store, self.pack, self.settings = store, pack, settings
        of_speaker: dict[str, list[Sample]] = {}
        for voice in voices:
            of_speaker.setdefault(voice.identity, []).append(voice)
        self.speakers = list(of_speaker.values())

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "network"}

    def piece(self, first: int, count: int, frames: int) -> tuple[NDArray[np.float16], Float32s]:
        """Windows `first` to `first + count - 1` of a length, and their embeddings."""
        if "network" not in self.__dict__:
            self.network = Network(self.pack, self.pack.manifest.voice.file, "cpu", 1)
        features = np.stack([self._window(i, frames) for i in range(first, first + count)]).astype(np.float16)
        wide = features.astype(np.float32)  # the embedding is of what the other network will see
        return features, np.concatenate([self.network.run({"features": each[None]})["embedding"] for each in wide])

    def _window(self, number: int, frames: int) -> Float32s:
        s = self.settings
        rng = np.random.default_rng([s.seed, frames, number])
        clips = self.speakers[rng.integers(len(self.speakers))]
        sound = audio.read(self.store.read(clips[rng.integers(len(clips))], "flac")).samples
        if rng.random() < s.speed_share:
            speed = float(np.exp(rng.uniform(*np.log(s.speed))))
            sound = soxr.resample(sound, SAMPLE_RATE * speed, SAMPLE_RATE, "MQ")
        wanted = (frames - 1) * HOP + WINDOW
        begin = int(rng.integers(max(1, len(sound) - wanted + 1)))
        features = repeat_to(fbank(augment(rng, sound[begin : begin + wanted], s)), frames)
        return np.asarray(features - features.mean(axis=0), np.float32)


def _make(folder: Path, maker: _Maker) -> None:
    windows = maker.settings.windows
    short = max(1, int(windows * SHORT_SHARE))
    counts = dict(zip(FRAMES, (windows - short, short), strict=True))
    done, size = 0, maker.pack.manifest.voice.embedding_size
    in_order: Callable[..., Iterable[Any]] = map
    work: Callable[..., Any] = maker.piece
    with written_whole(folder, lambda _: False) as made, ExitStack() as stack:
        if windows > FEW:
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each process has a core
            in_order, work = stack.enter_context(Workers(at_most(None), work)).map, call
        for frames, count in counts.items():
            features = np.lib.format.open_memmap(
                made / f"features-{frames}.npy", "w+", np.float16, (count, frames, FBANK_BINS)
            )
            embeddings = np.empty((count, size), np.float32)
            firsts = range(0, count, PIECE)
            sizes = [min(PIECE, count - first) for first in firsts]
            pieces = in_order(work, firsts, sizes, [frames] * len(sizes))
            for first, (part, said) in zip(firsts, pieces, strict=True):
                features[first : first + len(part)], embeddings[first : first + len(part)] = part, said
                done += len(part)
                if first // PIECE % 16 == 15:
                    log.info("%d of %d windows heard", done, sum(counts.values()))
            features.flush()
            np.save(made / f"embeddings-{frames}.npy", embeddings)
