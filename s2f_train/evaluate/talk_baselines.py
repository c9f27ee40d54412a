"""Baselines of motion: a still face, the mean motion, the loudness, and a ridge regression from MFCCs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.mfcc import mfcc
from s2f_edge.talk.motion import FRAME_RATE, PER_FRAME
from s2f_train.data.store import Sample, Store
from s2f_train.data.talks import Speaker, read_talk
from s2f_train.evaluate.systems import EvaluateError

RIDGE_SECONDS = 72.0
CONTEXT = range(-24, 25, 3)  # frames of 10 ms around that of the picture
SHRINKAGES = (1.0, 10.0, 100.0, 1000.0, 10_000.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Baselines:
    """What needs no network, learnt from `RIDGE_SECONDS` of the speaker with the most talks."""

    mean: Floats
    ridge: tuple[Floats, Floats, Floats]  # mean of the input, weights, mean of the motion
    loudness: tuple[Floats, Floats, Floats]

    @classmethod
    def of(cls, store: Store, learnt: list[Sample], speakers: dict[str, Speaker], seed: int) -> Baselines:
        names = [sample.identity for sample in learnt]
        first = max(sorted(set(names)), key=names.count)
        some = [sample for sample in learnt if sample.identity == first]
        some = [some[i] for i in np.random.default_rng(seed).permutation(len(some))]
        seconds = np.cumsum([sample.seconds for sample in some])
        some = some[: max(2, int((seconds < RIDGE_SECONDS).sum()))]
        if len(some) < 2:
            raise EvaluateError(f"{first} has one talk to learn from; the baselines need two at least.")
        talks = [read_talk(store, sample, speakers[first]) for sample in some]
        motion = [talk.offsets.reshape(len(talk.offsets), -1).astype(np.float64) for talk in talks]
        inputs = [_mfccs(talk.samples, len(talk.offsets)) for talk in talks]
        loud = [_loudness(talk.samples, len(talk.offsets)) for talk in talks]
        kept = len(talks) - max(1, len(talks) // 5)  # the others choose the shrinkage

        def error(shrinkage: float) -> float:
            model = _fit(np.concatenate(inputs[:kept]), np.concatenate(motion[:kept]), shrinkage)
            return float(np.square(_said(model, np.concatenate(inputs[kept:])) - np.concatenate(motion[kept:])).sum())

        best = min(SHRINKAGES, key=error)
        whole = np.concatenate(motion)
        return cls(
            whole.mean(axis=0), _fit(np.concatenate(inputs), whole, best), _fit(np.concatenate(loud), whole, 1.0)
        )

    def movers(self) -> dict[str, Callable[[Float32s], Float32s]]:
        """By name, from sound to offsets."""

        def of(make: Callable[[Float32s, int], Floats]) -> Callable[[Float32s], Float32s]:
            def move(samples: Float32s) -> Float32s:
                count = -(-len(samples) * FRAME_RATE // SAMPLE_RATE)
                return np.asarray(make(samples, count).reshape(count, -1, 2), np.float32)

            return move

        return {
            "still": of(lambda samples, count: np.zeros((count, len(self.mean)))),
            "mean motion": of(lambda samples, count: np.tile(self.mean, (count, 1))),
            "loudness": of(lambda samples, count: _said(self.loudness, _loudness(samples, count))),
            "ridge on MFCCs": of(lambda samples, count: _said(self.ridge, _mfccs(samples, count))),
        }


def _mfccs(samples: Float32s, count: int) -> Floats:
    """MFCCs around each picture, (count, n), less their mean over the clip."""
    found = mfcc(samples).astype(np.float64)
    found -= found.mean(axis=0)
    at = PER_FRAME * np.arange(count)[:, None] - 1 + np.array(CONTEXT)
    return np.asarray(found[np.clip(at, 0, len(found) - 1)].reshape(count, -1))


def _loudness(samples: Float32s, count: int) -> Floats:
    """Level around each picture in decibels, (count, 1), less that of the clip's loudest frame."""
    step = SAMPLE_RATE // FRAME_RATE
    padded = np.zeros((count + 1) * step)
    padded[step // 2 : step // 2 + len(samples)] = samples[: len(padded) - step // 2]
    level = 10 * np.log10(np.square(padded[: count * step].reshape(count, step)).mean(axis=1) + 1e-8)
    return np.asarray((level - level.max())[:, None])


def _fit(inputs: Floats, motion: Floats, shrinkage: float) -> tuple[Floats, Floats, Floats]:
    spread = inputs.std(axis=0) + 1e-9
    middle, mean = inputs.mean(axis=0), motion.mean(axis=0)
    x = (inputs - middle) / spread
    weights = np.linalg.solve(x.T @ x + shrinkage * np.eye(x.shape[1]), x.T @ (motion - mean))
    return middle, weights / spread[:, None], mean


def _said(model: tuple[Floats, Floats, Floats], inputs: Floats) -> Floats:
    middle, weights, mean = model
    return np.asarray((inputs - middle) @ weights + mean)
