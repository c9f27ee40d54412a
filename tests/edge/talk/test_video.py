"""Video files and moving pictures: what is in them, how long they last, and what is left when it fails."""

from __future__ import annotations

import io
import sys
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from s2f_edge.errors import OutputError, RuntimeSetupError, UsageError
from s2f_edge.files import replacing
from s2f_edge.marks.provenance import read_metadata
from s2f_edge.picture import Pixels, Provenance
from s2f_edge.talk import animation, video

ORIGIN = Provenance("s2f-edge 9.9", "a pack", "ab" * 32, "male")
SIDE = 64
TEXTS = animation.text_facts(ORIGIN)


def moving(count: int, side: int = SIDE) -> Iterator[Pixels]:
    """A ground that stays, and a disc that moves over it."""
    y, x = np.mgrid[0:side, 0:side] / side
    ground = np.stack([90 + 100 * x, 80 + 90 * y, 120 + 40 * x * y], axis=-1)
    for index in range(count):
        inside = np.hypot(x - 0.5 - 0.1 * np.sin(index / 4), y - 0.6) < 0.15
        yield np.where(inside[..., None], [200, 120, 100], ground).astype(np.uint8)


def tone(seconds: float, rate: int, channels: int) -> Any:
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def written(
    target: Any, form: str, seconds: float = 1.0, rate: int = 16_000, channels: int = 1, fps: Fraction = Fraction(25),
    side: int = SIDE,
) -> None:  # fmt: skip
    sound = video.Sound()
    sound.push(tone(seconds, rate, channels), rate)
    video.write(target, form, moving(int(-(-seconds * fps // 1)), side), fps, sound, TEXTS, "<xmp/>")


class Unseekable(io.RawIOBase):
    """A pipe, with what went through it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.pieces.append(bytes(data))
        return len(data)


def boxes(data: bytes) -> list[str]:
    found, at = [], 0
    while at < len(data):
        found.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    return found


def pictures(source: Any) -> list[Pixels]:
    with av.open(source) as media:
        return [frame.to_ndarray(format="rgb24") for frame in media.decode(video=0)]


def psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def test_an_mp4_is_what_players_play(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    written(path, "mp4", 2.0, 44_100, 2)
    found = boxes(path.read_bytes())
    assert found[0] == "ftyp"
    assert found.index("moov") < found.index("mdat")
    assert found[-1] == "uuid"
    with av.open(str(path)) as media:
        picture, sound = media.streams.video[0], media.streams.audio[0]
        context = picture.codec_context
        assert (context.name, context.profile, context.pix_fmt) == ("h264", "High", "yuv420p")
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
        assert (context.width, context.height, picture.average_rate, picture.frames) == (SIDE, SIDE, 25, 50)
        assert (sound.codec_context.name, sound.codec_context.profile) == ("aac", "LC")
        assert (sound.codec_context.sample_rate, sound.codec_context.layout.name) == (44_100, "stereo")
        assert media.metadata["comment"] == TEXTS["comment"]
    assert min(map(psnr, pictures(str(path)), moving(50))) > 33  # colour is halved at the disc's edge
    assert read_metadata(path)["pack_sha256"] == "ab" * 32


def test_a_webm_has_vp9_and_opus(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    written(path, "webm")
    with av.open(str(path)) as media:
        names = [stream.codec_context.name for stream in media.streams]
        assert names == ["vp9", "opus"]
        assert media.streams.video[0].codec_context.colorspace == 1
    shown = pictures(str(path))
    assert len(shown) == 25
    assert min(map(psnr, shown, moving(25))) > 30
    assert read_metadata(path)["generator"] == "male"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["mp4", "webm"])
def test_a_pipe_gets_pieces_as_they_are_made(form: str) -> None:
    pipe = Unseekable()
    seen: list[int] = []

    def watched() -> Iterator[Pixels]:
        for index, pixels in enumerate(moving(250)):
            seen.append(sum(map(len, pipe.pieces)) if index in (0, 150) else 0)
            yield pixels

    sound = video.Sound()
    sound.push(tone(10.0, 16_000, 1), 16_000)
    video.write(pipe, form, watched(), Fraction(25), sound, TEXTS, "<xmp/>")  # type: ignore[arg-type]
    data = b"".join(pipe.pieces)
    assert seen[0] == 0
    assert 10_000 < seen[150] < len(data)
    if form == "mp4":
        assert boxes(data)[:2] == ["ftyp", "moov"]
        assert boxes(data).count("moof") >= 5
    assert len(pictures(io.BytesIO(data))) == 250
    starts = _first_times(data)
    assert abs(starts["video"] - starts["audio"]) < 0.03  # encoders run in before the first sample


def _first_times(data: bytes) -> dict[str, float]:
    found: dict[str, float] = {}
    with av.open(io.BytesIO(data)) as media:
        for frame in media.decode():
            found.setdefault("video" if isinstance(frame, av.VideoFrame) else "audio", float(frame.time or 0.0))
    return found


@pytest.mark.parametrize(
    ("rate", "channels", "there"),
    [
        (8_000, 1, (16_000, "mono")),
        (11_025, 2, (16_000, "stereo")),
        (22_050, 1, (22_050, "mono")),
        (48_000, 2, (48_000, "stereo")),
        (96_000, 1, (48_000, "mono")),
        (44_100, 6, (44_100, "mono")),
    ],
)
@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30_000, 1001), Fraction(7)])
def test_sound_and_picture_end_together(
    tmp_path: Path, rate: int, channels: int, there: tuple[int, str], fps: Fraction
) -> None:
    path = tmp_path / "a.mp4"
    written(path, "mp4", 1.93, rate, channels, fps, 16)
    with av.open(str(path)) as media:
        picture, sound = media.streams.video[0], media.streams.audio[0]
        assert (sound.codec_context.sample_rate, sound.codec_context.layout.name) == there
        ends = [float(stream.duration * stream.time_base) for stream in (picture, sound)]
    assert ends[1] == pytest.approx(1.93, abs=0.001)
    assert 0 <= ends[0] - ends[1] < 1 / fps + 0.001
    assert len(pictures(str(path))) == round(ends[0] * fps)


@pytest.mark.slow
def test_it_does_not_drift(tmp_path: Path) -> None:
    """Ten minutes at an odd rate, in blocks as decoders give them; clicks in the sound stay where the frames are."""
    path, fps, rate = tmp_path / "a.mp4", Fraction(7, 3), 22_050
    sound = video.Sound()

    def frames() -> Iterator[Pixels]:
        for index in range(1400):
            if index % 70 == 0:
                block = np.zeros((30 * rate, 1), np.float32)
                block[:200] = 0.5
                sound.push(block, rate)
            yield np.full((16, 16, 3), 255 * (index % 70 == 0), np.uint8)

    video.write(path, "mp4", frames(), fps, sound, TEXTS, "<xmp/>")
    flashes, clicks = [], []
    with av.open(str(path)) as media:
        light = (frame for frame in media.decode(video=0) if frame.to_ndarray(format="gray").mean() > 128)
        flashes += (float(frame.time or 0.0) for frame in light)
    with av.open(str(path)) as media:
        for heard in media.decode(audio=0):
            loud = np.flatnonzero(np.abs(heard.to_ndarray()[0]) > 0.2)
            at = float(heard.time or 0.0) + (loud[0] / rate if len(loud) else 0.0)
            if len(loud) and (not clicks or at - clicks[-1] > 1.0):
                clicks.append(at)
    assert len(flashes) == len(clicks) == 20
    assert np.abs(np.subtract(flashes, clicks)).max() < 0.03


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    """Frames are let go of as they are written."""
    for form, most in (("mp4", 3), ("gif", 55), ("webp", 3)):
        largest = 0

        def counted() -> Iterator[Pixels]:
            nonlocal largest
            given: list[weakref.ref[Pixels]] = []
            for pixels in moving(120, 16):
                given.append(weakref.ref(pixels))
                largest = max(largest, sum(each() is not None for each in given))
                yield pixels

        path = tmp_path / f"a.{form}"
        if form == "mp4":
            video.write(path, form, counted(), Fraction(25), video.Sound(), TEXTS, "")
        else:
            with path.open("wb") as file:
                if form == "gif":
                    animation.write_gif(file, counted(), Fraction(25), ORIGIN)
                else:
                    animation.write_webp(file, counted(), 120, Fraction(25), ORIGIN)
        assert largest <= most, form


def test_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="even"):
        written(tmp_path / "odd.mp4", "mp4", side=63)
    with pytest.raises(OutputError, match="cannot be written"):
        written(tmp_path / "no folder" / "a.mp4", "mp4")
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OutputError, match="No space left"):
        written(full, "mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(RuntimeSetupError, match=r"s2f-edge\[media\].*gif and webp"):
        written(tmp_path / "b.mp4", "mp4")


def test_nothing_is_left_half_written(tmp_path: Path) -> None:
    def broken() -> Iterator[Pixels]:
        yield from moving(30)
        raise UsageError("no more")

    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")
    with pytest.raises(UsageError, match="no more"), replacing(path) as temporary:
        video.write(temporary, "mp4", broken(), Fraction(25), video.Sound(), TEXTS, "")
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]
    assert path.read_bytes() == b"before"


# ---------------------------------------------------------------------------- moving pictures


def shown(path: Path) -> tuple[list[Pixels], list[int]]:
    frames, times = [], []
    with Image.open(path) as image:
        for index in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(index)
            frames.append(np.array(image.convert("RGB")))
            times.append(image.info["duration"])
    return frames, times


def test_a_gif_does_not_flicker(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    with path.open("wb") as file:
        animation.write_gif(file, moving(75), Fraction(30), ORIGIN)
    frames, times = shown(path)
    assert len(frames) == 75
    assert sum(times) == 2500
    assert set(times) == {30, 40}
    assert min(map(psnr, frames, moving(75))) > 32
    still = np.stack(frames)[:, :16]  # above the disc
    assert (still == still[0]).all()
    assert read_metadata(path)["tool"] == "s2f-edge 9.9"


def test_a_gif_of_a_picture_that_stays_keeps_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    with path.open("wb") as file:
        animation.write_gif(file, [next(moving(1))] * 5, Fraction(25), ORIGIN)
    assert b"NETSCAPE2.0" in path.read_bytes()
    assert path.read_bytes().count(b"\x21\xf9\x04") == 5
    with Image.open(path) as image:
        assert psnr(np.array(image.convert("RGB")), next(moving(1))) > 32


def test_a_webp(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    with path.open("wb") as file:
        animation.write_webp(file, moving(30), 30, Fraction(30), ORIGIN)
    frames, times = shown(path)
    assert sum(times) == 1000
    assert min(map(psnr, frames, moving(30))) > 30
    assert read_metadata(path)["pack"] == "a pack"


def test_limits_of_moving_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="at most 50"):
        animation.write_gif(io.BytesIO(), moving(2), Fraction(60), ORIGIN)
    monkeypatch.setattr(animation, "MAX_WEBP_FRAMES", 20)
    with pytest.raises(UsageError, match=r"20 frames.*mp4"):
        animation.write_webp(io.BytesIO(), moving(21), 21, Fraction(25), ORIGIN)
