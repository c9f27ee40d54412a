"""Fits the speech gate: the few weights by which `s2f_edge.hearing.speech_gate` tells speech from other sound.

    python -m s2f_train.gate.fit --speech DIR --cache DIR --soundfont FILE.sf2 [--out FILE.json]

Speech is read from ogg files in three folders of `--speech` (unpack the tars of S2F_DATA there): `avspeech` (named
VIDEO_START-END.ogg), `librispeech` (SPEAKER-CHAPTER-N.ogg) and `voices`
(CORPUS-SPEAKER-N.ogg). Everything else is made (`s2f_train.gate.sounds`), so no other
sound is needed; `fluidsynth` plays the music (a Debian package, as timgm6mb-soundfont, with which the weights were
fitted).

Half of the speakers and videos, a fifth of the General MIDI programs and some of the
generators (`HELD_GENERATORS`) are kept from the fit; the report at the end is on those.
One process; about eight minutes on one core. The weights are a small JSON file that
ships with the package `s2f_edge`.
"""

# numpy's own stubs give Any for most arithmetic below.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch.nn import functional

from s2f_edge.hearing.fbank import fbank
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.speech_gate import CLASSES, WEIGHTS_FILE, SpeechGate, Windows, speech_odds, window_statistics
from s2f_edge.hearing.vad import find_speech
from s2f_train.data.degrade import CONDITIONS, degrade, recorded
from s2f_train.gate.music import Songs, play_songs
from s2f_train.gate.sounds import GENERATORS, HELD_GENERATORS, Sound

LOG = logging.getLogger(__name__)
QUICK = 20  # --quick takes one in so many

# ---------------------------------------------------------------------------------- clips


class _Collector(Windows):
    """Cuts as the runtime does, but keeps the statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.statistics: list[Float32s] = []

    def judge(self, windows: Float32s) -> None:
        self.statistics.append(window_statistics(windows))


class Clip(NamedTuple):
    group: str  # corpus or generator
    condition: str
    target: int  # index in CLASSES
    held: bool
    speech_s: float
    windows: Float32s  # (n, k)


def measure(group: str, condition: str, target: int, held: bool, x: Sound) -> Clip | None:
    """The clip, or None where the detector keeps less than 1 s of it."""
    voiced = find_speech(x.astype(np.float32)).samples
    if len(voiced) < SAMPLE_RATE:
        return None
    collector = _Collector()
    collector.push(fbank(voiced))
    collector.finish()
    return Clip(group, condition, target, held, len(voiced) / SAMPLE_RATE, np.concatenate(collector.statistics))


def _half(name: str) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 1


def speech_files(root: Path) -> Iterator[tuple[str, bool, Path]]:
    """(corpus, held out, file); half of the speakers or videos are held out."""
    for path in sorted(root.glob("*/*.ogg")):
        folder, parts = path.parent.name, path.stem.split("-")
        if folder == "voices":
            yield parts[0], _half("-".join(parts[:2])), path
        elif folder == "librispeech":
            yield folder, _half(parts[0]), path
        elif folder == "avspeech":
            yield folder, _half(path.stem[:11]), path


def speech_clips(root: Path, backing: list[Sound], every: int = 1) -> Iterator[Clip | None]:
    """Every file, or one in `every`, as it is and in some conditions at random."""
    for index, (corpus, held, path) in islice(enumerate(speech_files(root)), 0, None, every):
        rng = np.random.default_rng(index)
        x = soundfile.read(path)[0]
        start = int(rng.integers(max(1, len(x) - int(1.8 * SAMPLE_RATE))))
        music = np.resize(backing[rng.integers(len(backing))], len(x))
        names = ["clean", *map(str, rng.choice(CONDITIONS, 4 if held else 2, replace=False))]
        if corpus in ("baved", "dspspeech") and index % 3:
            names = ["clean"]  # thousands of short words: a third is enough for the degraded ones
        elif not held and "music-10dB" not in names and index % 2:
            names.append("music-10dB")  # must not be taken for music
        for name in names:
            yield measure(corpus, name, 0, held, degrade(name, rng, x, music, start))


def other_clips(songs: Songs, held_songs: Songs, each: int) -> Iterator[Clip | None]:
    """Noise, tones and music; the generators that are not held out make test clips too, from other seeds."""
    for number, (name, maker) in enumerate(GENERATORS.items()):
        for i in range(each + each // 3):
            held = name in HELD_GENERATORS or i >= each
            rng = np.random.default_rng([7, number, i])
            x = recorded(rng, maker(rng, int(rng.integers(55, 90)) * SAMPLE_RATE // 10))
            yield measure(name, "new" if name in HELD_GENERATORS else "seen", _target(name), held, x)
    for held, some in ((False, songs), (True, held_songs)):
        for i, (setting, sound) in enumerate(some):
            rng = np.random.default_rng([8, held, i])
            if np.abs(sound).max() > 1e-4:
                yield measure(setting, "new", 3, held, recorded(rng, sound))


def _target(name: str) -> int:
    return CLASSES.index(name.split("-")[0])


# -------------------------------------------------------------------------------- the fit


def fit(clips: list[Clip], hidden: int = 48, epochs: int = 40, members: int = 3) -> SpeechGate:
    """Fits the network on windows, each class with the same weight, speech with twice that.

    `members` networks from different starts are averaged before the softmax, which makes
    one network with as many times the hidden units.
    """
    torch.set_num_threads(1)
    x = np.concatenate([clip.windows for clip in clips])
    y = np.concatenate([np.full(len(clip.windows), clip.target) for clip in clips])
    # Each group the same within its class, so that the largest corpus does not decide; softened by a root.
    groups = np.concatenate([np.full(len(clip.windows), clip.group) for clip in clips])
    weight = np.zeros(len(y))
    for group in np.unique(groups):
        weight[groups == group] = (groups == group).sum() ** -0.5
    for target in range(len(CLASSES)):
        weight[y == target] /= weight[y == target].sum()
    weight[y == 0] *= 2.0
    weight *= len(y) / weight.sum()
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-3
    inputs = torch.tensor(np.clip((x - mean) / scale, -4, 4), dtype=torch.float32)
    targets, weights = torch.tensor(y), torch.tensor(weight, dtype=torch.float32)
    nets = [_train(inputs, targets, weights, hidden, epochs, seed) for seed in range(members)]
    first, last = [_layer(net, 0) for net in nets], [_layer(net, 3) for net in nets]
    layers = (
        (np.concatenate([w for w, _ in first], axis=1), np.concatenate([b for _, b in first])),
        (
            np.asarray(np.concatenate([w for w, _ in last]) / members, np.float32),
            np.asarray(np.mean([b for _, b in last], axis=0), np.float32),
        ),
    )
    return SpeechGate(mean, scale, layers, 0.0)


def _layer(net: torch.nn.Sequential, index: int) -> tuple[Float32s, Float32s]:
    """Weight (in, out) and bias (out,)."""
    state = net.state_dict()
    return state[f"{index}.weight"].numpy().T, state[f"{index}.bias"].numpy()


def _train(
    inputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, hidden: int, epochs: int, seed: int
) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Linear(inputs.shape[1], hidden), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(hidden, 4)
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
    batches = -(-len(targets) // 512)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=epochs * batches + 1)
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(len(targets)), 512):
            noisy = inputs[chosen] + 0.15 * torch.randn(len(chosen), inputs.shape[1])
            loss = functional.cross_entropy(net(noisy), targets[chosen], reduction="none", label_smoothing=0.01)
            optimiser.zero_grad()
            torch.autograd.backward((loss * weights[chosen]).mean())
            optimiser.step()
            schedule.step()
    return net


def scores(gate: SpeechGate, clips: list[Clip]) -> NDArray[np.float64]:
    """Mean log odds of speech of each clip, before the offset."""
    return np.array([speech_odds(gate.log_probabilities(clip.windows)).mean() for clip in clips])


def report(gate: SpeechGate, clips: list[Clip]) -> list[str]:
    """For each group and condition of the held-out clips: how many, and the share that is taken for speech."""
    held = [clip for clip in clips if clip.held]
    passed: dict[tuple[str, str, str], list[bool]] = {
        key: [] for key in sorted({key for clip in held for key in _keys(clip)})
    }
    for clip, score in zip(held, scores(gate, held), strict=True):
        for key in _keys(clip):
            passed[key].append(bool(score >= gate.offset))
    return [
        f"{kind:7} {group:16} {condition:16} {len(mine):5} clips, {100 * np.mean(mine):6.2f} % pass"
        for (kind, group, condition), mine in passed.items()
    ]


def _keys(clip: Clip) -> list[tuple[str, str, str]]:
    """The rows of the report that a clip counts in."""
    return [(CLASSES[clip.target], clip.group, clip.condition), (CLASSES[clip.target], "ALL", clip.condition)]


def write(gate: SpeechGate, path: Path) -> None:
    """The weights as JSON."""
    data: dict[str, Any] = {
        "what": "Weights of s2f_edge.hearing.speech_gate.SpeechGate, fitted by s2f_train.gate.fit.",
        "classes": list(CLASSES),
        "offset": round(gate.offset, 3),
        "mean": _short(gate.mean, 5),
        "scale": _short(gate.scale, 5),
        "layers": [[_short(weight), _short(bias)] for weight, bias in gate.layers],
    }
    path.write_text(json.dumps(data, separators=(",", ":")) + "\n", "utf-8")


def _short(values: NDArray[Any], digits: int = 3) -> list[Any]:
    return np.vectorize(lambda v: round(float(v), digits))(values).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="folder with avspeech/, librispeech/, voices/")
    parser.add_argument("--cache", type=Path, required=True, help="folder for rendered music")
    parser.add_argument("--soundfont", type=Path, required=True, help="General MIDI sound font, .sf2")
    parser.add_argument("--out", type=Path, default=WEIGHTS_FILE)
    parser.add_argument("--offset", type=float, default=0.45, help="log odds at which a clip is speech")
    parser.add_argument(
        "--quick", action="store_true", help=f"one in {QUICK} of the sounds: to see that all runs, not for use"
    )
    arguments = parser.parse_args()
    if arguments.quick and arguments.out == WEIGHTS_FILE:
        parser.error("--quick makes weights that are not for use; give them another --out.")
    every = QUICK if arguments.quick else 1
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments.cache.mkdir(parents=True, exist_ok=True)
    songs = play_songs(arguments.cache, arguments.soundfont, False, 1400 // every)
    held_songs = play_songs(arguments.cache, arguments.soundfont, True, 600 // every)
    backing = [sound for _, sound in songs[:200] if np.abs(sound).max() > 1e-3]
    clips = [clip for clip in other_clips(songs, held_songs, 60 // every) if clip is not None]
    LOG.info("%d clips of other sound of which the detector keeps 1 s or more", len(clips))
    clips += [clip for clip in speech_clips(arguments.speech, backing, every) if clip is not None]
    LOG.info("%d clips in all", len(clips))
    gate = fit([clip for clip in clips if not clip.held])
    gate = SpeechGate(gate.mean, gate.scale, gate.layers, arguments.offset)
    write(gate, arguments.out)
    LOG.info("%s", "\n".join(report(gate, clips)))


if __name__ == "__main__":
    main()
