"""A decoder's process, asked directly."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2f_edge.errors import (
    DeadlineError,
    DecoderFailedError,
    ProvenanceError,
    TooLongError,
    UnreadableAudioError,
)
from s2f_edge.hearing import audio
from s2f_edge.service.decoder import Decoder, DecoderPool


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    made = Decoder(256)
    yield made
    made.close()


def whole(decoder: Decoder, data: bytes, max_seconds: float = 600.0, time_s: float = 20.0) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *decoder.whole(data, max_seconds, time_s)])


def test_it_decodes_as_the_library_does_and_again(decoder: Decoder, male: bytes, female: bytes) -> None:
    for data in (male, female, male):
        np.testing.assert_array_equal(whole(decoder, data), np.concatenate(list(audio.stream(data))))


def test_what_it_cannot_read_is_an_error_of_ours_and_it_goes_on(decoder: Decoder, male: bytes) -> None:
    for wrong in (b"", b"no sound", male[:20], bytes(1000)):
        with pytest.raises(UnreadableAudioError):
            whole(decoder, wrong)
    with pytest.raises(TooLongError, match="longer than 2 s"):
        whole(decoder, male, max_seconds=2.0)
    with pytest.raises(ProvenanceError):
        decoder.picture(male, 20.0)
    assert decoder.usable
    assert len(whole(decoder, male))


@pytest.mark.slow
def test_memory_beyond_its_share_is_refused(male: bytes) -> None:
    pool = DecoderPool(1, 256)
    try:
        with pytest.raises(DecoderFailedError, match="needs too much memory"):
            list(pool.blocks(bytes(400 << 20), 600.0, 30.0))
        assert sum(map(len, pool.blocks(male, 600.0, 20.0)))
    finally:
        pool.close()


@pytest.mark.slow
def test_a_picture_that_would_be_huge(decoder: Decoder) -> None:
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    assert len(file.getvalue()) < 1 << 20
    with pytest.raises(ProvenanceError, match="pixels"):
        decoder.picture(file.getvalue(), 20.0)


def test_time_ends_it(decoder: Decoder, male: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineError):
        whole(decoder, male, time_s=0.0)
    assert time.monotonic() - began < 5.0
    assert not decoder.usable


def test_closing_ends_those_that_are_busy(male: bytes) -> None:
    pool = DecoderPool(1, 256)
    blocks = pool.blocks(male, 600.0, 60.0)
    assert len(next(blocks))
    (decoder,) = pool._busy
    pool.close()
    blocks.close()  # type: ignore[attr-defined]
    assert not decoder.usable
    assert pool._idle.empty(), "no other one has taken its place"


def test_it_may_write_no_file(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c",
         "import sys; from s2f_edge.service.decoder import _confine; _confine(256); "
         "open(sys.argv[1], 'wb', 0).write(b'sound')", str(tmp_path / "file")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode != 0
    assert (tmp_path / "file").stat().st_size == 0
