"""Draws what `s2f_edge.inspection` found: waveform, voice detector, log-mel, numbers, as one PNG."""

from __future__ import annotations

import io
import json
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from s2f_edge._version import __version__
from s2f_edge.errors import UsageError
from s2f_edge.hearing.features import HOP, LOGMEL_BINS, LOGMEL_HIGH_HZ, LOGMEL_LOW_HZ, SAMPLE_RATE, Float32s, mel_htk
from s2f_edge.inspection import Inspection
from s2f_edge.picture import Pixels

Rgb = tuple[int, int, int]

MIN_WIDTH, MAX_WIDTH = 480, 4096
INK, FAINT, PAPER, RULE = (28, 32, 40), (98, 104, 116), (252, 252, 253), (214, 218, 226)
KEPT, KEPT_PAPER, LEFT_OUT, LEFT_OUT_PAPER = (18, 98, 200), (228, 239, 253), (160, 165, 174), (244, 245, 247)
RED, AMBER, GREEN = (184, 28, 36), (222, 142, 12), (22, 128, 70)
# From dark to bright, in even steps of CIE lightness (`_palette` places the stops by it).
STOPS: tuple[Rgb, ...] = (
    (6, 8, 28), (30, 24, 84), (82, 26, 120), (142, 36, 122), (198, 56, 98),
    (236, 98, 64), (250, 158, 48), (250, 212, 92), (254, 250, 200),
)  # fmt: skip

LEFT, RIGHT, TOP = 76, 28, 26  # margins in pixels
WAVE_HEIGHT, MEL_HEIGHT, CELL_HEIGHT, CELL_WIDTH = 180, 256, 54, 180
TICK_GAP = 84  # pixels from one label of the time axis to the next, at least
TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
MEL_RANGE = 13.8  # nepers of power: 60 dB from dark to bright
QUIET_MEL = 6.0  # a recording that stays below (white noise of -85 dBFS) stays dark
LABELS_HZ = {100: "100 Hz", 500: "500 Hz", 1000: "1 kHz", 2000: "2 kHz", 4000: "4 kHz", 7000: "7 kHz"}


def draw_inspection(inspection: Inspection, width: int = 1200) -> bytes:
    """PNG of what was found, `width` pixels wide (480 to 4096), as high as its text needs.

    Raises:
        UsageError: the width is out of its range.
    """
    if not MIN_WIDTH <= width <= MAX_WIDTH:
        raise UsageError(f"The width is {width} pixels; it must be from {MIN_WIDTH} to {MAX_WIDTH}.")
    page = _Page(width, max(0.01, inspection.quality.heard_s))
    page.text(_title(inspection), 26, INK)
    page.y += 4
    refusal = inspection.refusal
    page.text(f"Refused: {refusal}" if refusal else "Accepted as speech.", 16, RED if refusal else GREEN)
    page.waveform(inspection)
    page.spectrum(inspection)
    page.axis()
    page.cells(_cells(inspection))
    for warning in inspection.voice.warnings if inspection.voice else ():
        page.note(warning.message)
    page.y += 4
    page.text(f"Model pack: {inspection.pack}", 13, FAINT)
    return page.png()


class _Page:
    """A picture that is filled from top to bottom; `y` is where the next thing goes."""

    def __init__(self, width: int, seconds: float) -> None:
        self.image = Image.new("RGB", (width, 2400), PAPER)  # cut to what is used
        self.pen = ImageDraw.Draw(self.image)
        self.inner = width - LEFT - RIGHT
        self.seconds = seconds
        self.step = next((s for s in TICKS_S if s * self.inner >= TICK_GAP * seconds), TICKS_S[-1])
        self.y = TOP

    def text(self, words: str, size: int, colour: Rgb, left: int = LEFT) -> None:
        """Lines of text, broken where the page ends."""
        for line in _wrapped(words, size, self.image.width - left - RIGHT):
            self.pen.text((left, self.y), line, fill=colour, font=_font(size))
            self.y += size * 4 // 3

    def note(self, words: str) -> None:
        self.pen.ellipse((LEFT, self.y + 5, LEFT + 9, self.y + 14), fill=AMBER)
        self.text(words, 15, INK, LEFT + 20)
        self.y += 6

    def waveform(self, found: Inspection) -> None:
        envelope = found.envelope if len(found.envelope) else np.zeros((1, 2), np.float32)
        peak = float(np.abs(envelope).max())
        halvings = int(np.clip(np.floor(-np.log2(max(peak, 1e-9))), 0, 10))  # quiet sound is drawn larger
        self._caption("Waveform", ((KEPT, "kept by the voice detector"), (LEFT_OUT, "left out")))
        share = _kept(found.segments, len(envelope), self._edges())[:, None]
        low, high = _columns_of(envelope * 2.0**halvings, self._edges()).T
        ink = _blend(LEFT_OUT, KEPT, share)
        paper = np.repeat(_blend(LEFT_OUT_PAPER, KEPT_PAPER, share)[None], WAVE_HEIGHT, axis=0)
        paper[:, self._ticks()[0]] = RULE
        middle, scale = WAVE_HEIGHT / 2, WAVE_HEIGHT / 2 - 3
        top, bottom = middle - scale * high - 0.6, middle - scale * low + 0.6
        rows = np.arange(WAVE_HEIGHT)[:, None]
        # The share of each pixel that lies inside: smooth edges.
        cover = np.clip(np.minimum(bottom, rows + 1) - np.maximum(top, rows), 0.0, 1.0)[:, :, None]
        self._label(self.y + 10, f"{-6 * halvings} dBFS")
        self._paste(paper * (1.0 - cover) + ink * cover)
        self.y += 10

    def spectrum(self, found: Inspection) -> None:
        mel = found.logmel.astype(np.float32) if len(found.logmel) else np.full((1, LOGMEL_BINS), QUIET_MEL - MEL_RANGE)
        loud = max(float(np.percentile(mel, 99.8)), QUIET_MEL)
        self._caption(f"Log-mel, {LOGMEL_BINS} bands (dark to bright: 60 dB)")
        grey = Image.fromarray(np.clip((mel.T[::-1] - loud) / MEL_RANGE + 1.0, 0.0, 1.0).astype(np.float32))
        used = min(float(grey.width), self.seconds / found.column_s)  # frames run past the end
        size = (self.inner, MEL_HEIGHT)
        grey = grey.resize(size, Image.Resampling.BILINEAR, box=(0.0, 0.0, max(used, 0.01), float(LOGMEL_BINS)))
        for hz, label in LABELS_HZ.items():
            y = self.y + round(MEL_HEIGHT * (1.0 - _height(hz)))
            self.pen.line((LEFT - 5, y, LEFT, y), fill=FAINT)
            self._label(min(max(y, self.y + 6), self.y + MEL_HEIGHT - 6), label)
        self._paste(_palette()[np.rint(np.clip(np.asarray(grey), 0.0, 1.0) * 255).astype(np.intp)])

    def axis(self) -> None:
        right = 0.0
        for x, label in zip(*self._ticks(), strict=True):
            half = _font(13).getlength(label) / 2
            self.pen.line((LEFT + x, self.y, LEFT + x, self.y + 5), fill=FAINT)
            centre = min(LEFT + x, self.image.width - half - 4)
            if centre - half > right + 8 or not right:
                self.pen.text((centre, self.y + 8), label, fill=FAINT, font=_font(13), anchor="ma")
                right = centre + half
        self.y += 44

    def cells(self, facts: list[tuple[str, str]]) -> None:
        count = min(4, self.inner // CELL_WIDTH)
        for i, (name, value) in enumerate(facts):
            x, y = LEFT + i % count * (self.inner // count), self.y + i // count * CELL_HEIGHT
            self.pen.text((x, y), name, fill=FAINT, font=_font(13))
            self.pen.text((x, y + 18), value, fill=INK, font=_font(18))
        self.y += -(-len(facts) // count) * CELL_HEIGHT + 6

    def png(self) -> bytes:
        tool = f"s2f-edge {__version__}"
        info = PngImagePlugin.PngInfo()
        info.add_text("Software", tool)
        # The chunk that pictures of faces have: by it the command knows its own files.
        info.add_itxt("s2f-provenance", json.dumps({"tool": tool, "kind": "inspection"}))
        buffer = io.BytesIO()
        self.image.crop((0, 0, self.image.width, self.y + 14)).save(buffer, "PNG", pnginfo=info)
        return buffer.getvalue()

    def _caption(self, title: str, legend: tuple[tuple[Rgb, str], ...] = ()) -> None:
        self.y += 10
        self.pen.text((LEFT, self.y), title, fill=FAINT, font=_font(14))
        x = float(self.image.width - RIGHT)
        for colour, name in reversed(legend):
            x -= _font(14).getlength(name)
            self.pen.text((x, self.y), name, fill=FAINT, font=_font(14))
            self.pen.rectangle((x - 18, self.y + 3, x - 7, self.y + 14), fill=colour)
            x -= 38
        self.y += 24

    def _label(self, y: float, words: str) -> None:
        self.pen.text((LEFT - 9, y), words, fill=FAINT, font=_font(13), anchor="rm")

    def _paste(self, pixels: NDArray[Any]) -> None:
        """(height, inner, 3), 0 to 255, at the left margin."""
        panel = Image.fromarray(np.rint(pixels).astype(np.uint8))
        self.image.paste(panel, (LEFT, self.y))
        self.y += panel.height

    def _edges(self) -> NDArray[np.float64]:
        """(inner + 1,): where each pixel column begins and ends, in units of 10 ms."""
        return np.linspace(0.0, self.seconds * SAMPLE_RATE / HOP, self.inner + 1)

    def _ticks(self) -> tuple[list[int], list[str]]:
        """Pixel columns of the time axis's labels, and the labels."""
        times = [i * self.step for i in range(int(self.seconds / self.step * 1.000001) + 1)]
        return [round(t / self.seconds * (self.inner - 1)) for t in times], [_clock(t, self.seconds) for t in times]


def _title(found: Inspection) -> str:
    heard, kept = found.quality.heard_s, found.quality.speech_s
    what = "of speech kept" if found.quality.kind == "speech" else "kept by the voice detector"
    return f"{_duration(heard)} heard, {_duration(kept)} {what}"


def _cells(found: Inspection) -> list[tuple[str, str]]:
    """Names and values of the panel of numbers."""
    measured, voice, parts = found.quality, found.voice, len(found.segments)
    gender, surprise = "not estimated", voice.surprise if voice else None
    if voice and voice.male_probability is not None:
        likely = "male" if voice.male_probability > 0.5 else "female"
        gender = f"{likely} ({max(voice.male_probability, 1.0 - voice.male_probability):.0%})"
        gender = f"unsure: {gender}" if voice.gender == "unsure" else gender
    return [
        ("Kind of sound", measured.kind),
        ("Speech probability", f"{measured.speech_probability:.2f}"),
        ("Kept by the voice detector", f"{found.kept_share:.0%} in {parts} segment{'' if parts == 1 else 's'}"),
        ("Level", f"{measured.level_dbfs:.1f} dBFS"),
        ("Above the background", "not measured" if measured.snr_db is None else f"{measured.snr_db:.0f} dB"),
        ("Samples at full scale", f"{measured.clipped_share:.2%}"),
        ("The voice sounds", gender),
        ("Distance from usual voices", "not measured" if surprise is None else f"{surprise:.2f}"),
    ]


# ------------------------------------------------------------------------------- helpers


def _columns_of(envelope: Float32s, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Envelope (n, 2) to (pixels, 2), for pixel columns between `edges`, in units of 10 ms."""
    if len(envelope) < len(edges) - 1:
        centres, at = (edges[1:] + edges[:-1]) / 2, np.arange(len(envelope)) + 0.5
        smooth = [np.interp(centres, at, envelope[:, side]) for side in (0, 1)]
        return np.clip(np.stack(smooth, axis=1), -1.0, 1.0)
    starts = np.minimum(edges[:-1].astype(np.intp), len(envelope) - 1)
    low, high = np.minimum.reduceat(envelope[:, 0], starts), np.maximum.reduceat(envelope[:, 1], starts)
    return np.clip(np.stack([low, high], axis=1).astype(np.float64), -1.0, 1.0)


def _kept(segments: NDArray[np.int64], count: int, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """(pixels,): share of each pixel column that lies in segments; `count` is the length in units of 10 ms."""
    inside = np.zeros(count + 1)
    for start, end in segments // HOP:  # segments are of whole 20 ms
        inside[start + 1 : end + 1] = 1.0
    seconds = np.interp(edges, np.arange(count + 1), np.cumsum(inside))
    return np.clip(np.diff(seconds) / np.diff(edges), 0.0, 1.0)


def _blend(low: Rgb, high: Rgb, share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(low) * (1.0 - share) + np.asarray(high) * share


def _height(hz: float) -> float:
    """Where a frequency lies between the bottom (0) and the top (1) of the log-mel panel."""
    low, high = mel_htk(LOGMEL_LOW_HZ), mel_htk(LOGMEL_HIGH_HZ)
    # Band i has its centre at edge i + 1 of 66, and is drawn from i / 64 to (i + 1) / 64.
    return float(((mel_htk(hz) - low) / (high - low) * (LOGMEL_BINS + 1) - 0.5) / LOGMEL_BINS)


@lru_cache(maxsize=1)
def _palette() -> Pixels:
    """uint8, (256, 3): the stops, interpolated, each at the place of its CIE lightness."""
    stops = np.array(STOPS) / 255.0
    linear = np.where(stops <= 0.04045, stops / 12.92, ((stops + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    lightness = np.where(luminance > 0.008856, np.cbrt(luminance), 7.787 * luminance + 16.0 / 116.0)
    at = np.linspace(lightness[0], lightness[-1], 256)
    return np.stack([np.rint(np.interp(at, lightness, stops[:, i]) * 255.0) for i in range(3)], axis=1).astype(np.uint8)


@lru_cache(maxsize=8)
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)  # its letters are those of Latin; no dashes but the hyphen


def _wrapped(words: str, size: int, width: float) -> list[str]:
    """Lines of at most `width` pixels; a word that is longer is cut."""
    font, lines = _font(size), [""]
    for word in words.split():
        line = f"{lines[-1]} {word}".strip()
        if font.getlength(line) <= width:
            lines[-1] = line
            continue
        lines.append("")
        for letter in word:
            if font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line] or [""]


def _clock(seconds: float, longest: float) -> str:
    """A label of the time axis: 0.5 s, 1:30, 1:00:00."""
    if longest < 60.0:
        return f"{seconds:.6g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if longest >= 3600.0 else f"{minutes}:{rest:02d}"


def _duration(seconds: float) -> str:
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    return f"{_clock(seconds, seconds)} {'h' if seconds >= 3600.0 else 'min'}"
