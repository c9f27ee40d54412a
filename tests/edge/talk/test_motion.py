"""Motion from sound: frames on the clock of the recording, however it is cut, in memory that does not grow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2f_edge.errors import ManifestError
from s2f_edge.hearing import audio
from s2f_edge.hearing.fbank import fbank
from s2f_edge.hearing.features import Float32s
from s2f_edge.pack.manifest import parse_manifest
from s2f_edge.pack.network import Network
from s2f_edge.pack.pack import Pack
from s2f_edge.talk.motion import Motion, MotionNetwork, motion_of
from tests.tiny_packs import AFTER, BEFORE, make_pack, put

LOWER, UPPER = 66, 62


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pack(tmp_path_factory.mktemp("motion") / "pack", motion=True)


@pytest.fixture(scope="module")
def network(pack: Path) -> MotionNetwork:
    return MotionNetwork(Pack.open(pack))


@pytest.fixture(scope="module")
def moving() -> MotionNetwork:
    """Of the default pack."""
    return MotionNetwork(Pack.open())


@pytest.fixture(scope="module")
def speech() -> Float32s:
    return audio.read(Path(__file__).resolve().parents[3] / "examples" / "female.wav").samples


def opening(offsets: Float32s) -> Float32s:
    return offsets[:, LOWER, 1] - offsets[:, UPPER, 1]


def in_pieces(network: MotionNetwork, samples: Float32s, seed: int, most: int) -> list[Float32s]:
    rng, motion, start, moved = np.random.default_rng(seed), Motion(network), 0, []
    while start < len(samples):
        count = int(rng.integers(0, most))
        moved.append(motion.push(samples[start : start + count]))
        start += count
    return [*moved, motion.finish()]


@pytest.mark.parametrize("most", [50, 700, 9000, 60_000])
def test_pieces_give_what_the_whole_gives(network: MotionNetwork, speech: Float32s, most: int) -> None:
    samples = speech[: most * 30]
    whole = motion_of(network, samples)
    assert np.ptp(opening(whole)) > 0
    assert np.array_equal(np.concatenate(in_pieces(network, samples, most, most)), whole)


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 640, 641, 3200, 3201, 16_000])
def test_as_many_frames_as_begin_inside(network: MotionNetwork, speech: Float32s, samples: int) -> None:
    assert motion_of(network, speech[:samples]).shape == (-(-samples // 640), 68, 2)


def test_a_frame_sees_the_features_around_it(network: MotionNetwork, pack: Path, speech: Float32s) -> None:
    """Frame k from `BEFORE` ahead of feature frame 4 k on; beyond the ends they are repeated."""
    samples = speech[:20_000]
    moved, features = motion_of(network, samples), fbank(samples)
    direct = Network(Pack.open(pack), "motion.onnx", "cpu", 1)
    for k in (0, 1, 13, len(moved) - 1):
        around = np.clip(np.arange(4 * k - BEFORE, 4 * k + 4 + AFTER), 0, len(features) - 1)
        wanted = direct.run({"features": features[around][None]})["offsets"][0, 0]
        assert np.abs(moved[k] - wanted).max() < 1e-5


def test_frames_come_as_soon_as_is_said(network: MotionNetwork, speech: Float32s) -> None:
    motion, shown = Motion(network), 0
    for start in range(0, 48_000, 160):
        shown += len(motion.push(speech[start : start + 160]))
        heard_s = (start + 160) / 16_000
        assert shown >= (heard_s - motion.delay_s) * 25 - 1
        assert shown <= heard_s * 25


def test_what_is_held_does_not_grow(network: MotionNetwork, speech: Float32s) -> None:
    motion, sizes = Motion(network), []
    for _ in range(12):
        motion.push(speech[:50_000])
        sizes.append(sum(value.nbytes for value in vars(motion).values() if isinstance(value, np.ndarray)))
    assert max(sizes) < 80_000


def test_a_gain_makes_a_quiet_recording_loud(network: MotionNetwork, speech: Float32s) -> None:
    samples = speech[:16_000]
    assert np.allclose(motion_of(network, samples / 64, gain=64.0), motion_of(network, samples), atol=1e-6)


def test_a_pack_without_motion_still_loads_and_says_so(tiny_pack: Path) -> None:
    pack = Pack.open(tiny_pack)
    assert pack.manifest.motion is None
    with pytest.raises(ManifestError, match="no motion network"):
        MotionNetwork(pack)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("motion", "file"), "other.onnx", "does not stand under files"),
        (("motion", "file"), "voice.onnx", "in its place"),
        (("motion", "before"), -1, "from 0 to 1000"),
        (("motion", "after"), 1001, "from 0 to 1000"),
        (("motion", "after"), "6", "int is needed"),
        (("motion",), 3, "dict is needed"),
        (("motion",), {"file": "motion.onnx"}, "before is missing"),
    ],
)
def test_a_manifest_with_wrong_motion_is_refused(pack: Path, path: tuple[str, ...], value: Any, words: str) -> None:
    manifest = json.loads((pack / "manifest.json").read_text())
    put(manifest, path, value)
    with pytest.raises(ManifestError, match=words):
        parse_manifest(json.dumps(manifest).encode())


def test_lips_of_the_default_pack_stay_closed_in_silence(moving: MotionNetwork) -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(size=48_000).astype(np.float32)
    for samples in (0 * noise, 1e-4 * noise, 1e-3 * noise, 1e-2 * noise):
        assert np.abs(opening(motion_of(moving, samples))).max() < 0.025


def test_lips_of_the_default_pack_open_and_close_with_speech(moving: MotionNetwork, speech: Float32s) -> None:
    gaps = opening(motion_of(moving, speech))
    level = np.sqrt([np.square(speech[640 * k : 640 * (k + 1)]).mean() for k in range(len(gaps))])
    assert gaps.max() > 0.12
    assert (gaps < 0.03).any()
    assert np.corrcoef(gaps, level)[0, 1] > 0.2
    quiet = np.concatenate([speech[:32_000], np.zeros(32_000, np.float32)])
    assert np.abs(opening(motion_of(moving, quiet))[60:]).max() < 0.03


def test_the_default_pack_moves_alike_in_pieces(moving: MotionNetwork, speech: Float32s) -> None:
    samples = speech[:30_000]
    assert np.array_equal(np.concatenate(in_pieces(moving, samples, 1, 3000)), motion_of(moving, samples))


def test_eyes_do_not_move_with_sound(moving: MotionNetwork, speech: Float32s) -> None:
    assert np.abs(motion_of(moving, speech[:16_000])[:, 36:48]).max() < 1e-6
