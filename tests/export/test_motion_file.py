"""Motion with its front end, as browsers run it: the runtime's motion, and the same in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from s2f_edge.talk.motion import PER_FRAME

pytest.importorskip("torch", reason="torch is not installed; it is in the extra train.")

from export.motion_file import judge_motion, motion_file
from export.verify import ParityError, open_session
from s2f_edge.hearing.features import HOP, WINDOW
from s2f_edge.pack.pack import Pack
from s2f_edge.talk.motion import MotionNetwork, motion_of


@pytest.fixture(scope="module")
def pack() -> Pack:
    return Pack.open()


@pytest.fixture(scope="module")
def file(pack: Pack) -> bytes:
    return motion_file(pack)


def offsets(session: Any, waveform: Any, at: int, frames: int) -> Any:
    given = {"waveform": waveform, "at": np.array([at]), "frames": np.array([frames])}
    return session.run(None, given)[0]


def test_it_is_the_runtimes_motion(pack: Pack, file: bytes, examples: Path) -> None:
    clips = [soundfile.read(examples / name, dtype="float32")[0] for name in ("male.wav", "female.wav")]
    short = [clips[0][:length] for length in (1, 399, 400, 641, 16_000)]
    assert judge_motion(file, pack, [*clips, *short]) < 1e-4
    with pytest.raises(ParityError, match="differs by"):
        judge_motion(file, pack, [np.concatenate([clips[0], np.full(160, np.nan, np.float32)])])


def test_pieces_give_what_the_whole_gives(pack: Pack, file: bytes, examples: Path) -> None:
    samples, _ = soundfile.read(examples / "male.wav", dtype="float32")
    network, session = MotionNetwork(pack), open_session(file)
    wanted = motion_of(network, samples)
    assert np.abs(wanted[1:] - wanted[:-1]).max() > 0.01, "it moves"
    found = []
    for begin in range(0, len(wanted), 60):
        frames = min(60, len(wanted) - begin)
        first = max(0, begin * PER_FRAME - network.before)
        last = (begin + frames) * PER_FRAME + network.after
        piece = samples[first * HOP : last * HOP + WINDOW - HOP]
        found.append(offsets(session, piece, begin * PER_FRAME - first, frames))
    np.testing.assert_allclose(np.concatenate(found), wanted, atol=1e-4)
