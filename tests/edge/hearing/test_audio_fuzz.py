"""Hostile bytes into `s2f_edge.hearing.audio`: sound, or one of the errors that are raised on purpose.

A crash of a decoder ends the test run, so it cannot pass unseen either.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from s2f_edge.errors import S2FError
from s2f_edge.hearing import audio

SoundFile = Callable[[str], bytes]

FORMATS = ["wav-16", "wav-float", "flac", "ogg", "opus", "mp3", "m4a", "aac", "webm", "amr"]
MAGIC = [
    b"RIFF\x24\0\0\0WAVEfmt ",
    b"fLaC",
    b"OggS\0\x02",
    b"ID3\x04\0\0",
    b"\xff\xfb\x90\x44",
    b"\0\0\0\x20ftypM4A ",
    b"\xff\xf1\x50\x80",
    b"\x1a\x45\xdf\xa3",
    b"#!AMR\n",
    b"FORM\0\0\0\0AIFF",
    b"caff\0\x01",
    b".snd",
]

# A file may claim a length of hours in a few bytes; no more than this is taken from it.
MAX_SECONDS = 120


def drain(data: bytes) -> int:
    """Decodes; gives the number of samples, or -1 for an error raised on purpose."""
    samples = 0
    try:
        for block in audio.stream(data):
            assert block.dtype == np.float32
            assert block.ndim == 1
            assert np.isfinite(block).all()
            samples += len(block)
            if samples > MAX_SECONDS * 16_000:
                break
    except S2FError:
        return -1
    return samples


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=2000))
@example(b"")
@example(b"\0")
@example(b"RIFF")
def test_random_bytes(data: bytes) -> None:
    drain(data)


@settings(max_examples=200, deadline=None)
@given(magic=st.sampled_from(MAGIC), data=st.binary(max_size=600))
def test_random_bytes_after_a_real_beginning(magic: bytes, data: bytes) -> None:
    drain(magic + data)


def mutated(data: bytes, edits: list[tuple[float, int, bytes]], end: float) -> bytes:
    """`data` with edits at relative places: overwrite, insert or delete; then cut at `end`."""
    out = bytearray(data)
    for place, kind, new in edits:
        at = int(place * len(out))
        if kind == 0:
            out[at : at + len(new)] = new
        elif kind == 1:
            out[at:at] = new
        else:
            del out[at : at + 8 * len(new)]
    return bytes(out[: round(end * len(out))])


# Half of the edits in the first hundredth, where headers are; lengths that are all ones
# are what decoders most often trust wrongly.
PLACES = st.one_of(st.floats(0.0, 0.01), st.floats(0.0, 1.0))
NEW = st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 4]))
EDITS = st.lists(st.tuples(PLACES, st.integers(0, 2), NEW), max_size=8)
ENDS = st.one_of(st.just(1.0), st.floats(0.0, 1.0))


@pytest.mark.parametrize("name", FORMATS)
def test_files_are_whole_before_they_are_mutated(sound_file: SoundFile, name: str) -> None:
    assert drain(mutated(sound_file(name), [], 1.0)) > 15_000


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS, end=ENDS)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.slow
def test_mutated_files(sound_file: SoundFile, name: str, edits: list[tuple[float, int, bytes]], end: float) -> None:
    drain(mutated(sound_file(name), edits, end))


@pytest.mark.parametrize("place", range(60))
def test_every_byte_of_a_wav_header_may_be_anything(sound_file: SoundFile, place: int) -> None:
    for value in (0, 1, 0x7F, 0x80, 0xFF):
        data = bytearray(sound_file("wav-16"))
        data[place] = value
        drain(bytes(data))
