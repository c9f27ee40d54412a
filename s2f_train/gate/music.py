"""Music for the speech gate: random MIDI pieces, played by fluidsynth with a General MIDI soundfont."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from s2f_edge.hearing.features import SAMPLE_RATE
from s2f_train.gate.sounds import SCALES, Rng, Sound

Songs = list[tuple[str, Sound]]

SONG_S = 8.0  # music per song; each has a slot of 10 s in its MIDI file
HELD_PROGRAM = 2  # General MIDI programs p with p % 5 == 2 are held out (52, Choir Aahs, among them)

Event = tuple[int, bytes]  # time in milliseconds, MIDI message


def _notes(rng: Rng, channel: int, start: int, style: str, scale: list[int], beat: float) -> Iterator[Event]:
    """Notes of one part: `style` is melody, chords, arpeggio, pad or bass."""
    low = {"bass": 28, "pad": 48, "chords": 45}.get(style, int(rng.integers(45, 72)))
    span = {"bass": 14, "pad": 24}.get(style, int(rng.integers(7, 24)))
    pitches = [p for p in scale if low <= p <= low + span]
    choices: dict[str, list[float]] = {"pad": [4, 8], "chords": [1, 2, 4], "arpeggio": [0.25, 0.5], "bass": [0.5, 1]}
    lengths = choices.get(style, [0.25, 0.5, 1, 2])
    legato, at, loud = rng.uniform(0.3, 1.1), 0.0, rng.uniform(50, 120)
    where = int(rng.integers(len(pitches)))
    while at < SONG_S - 0.1:
        length = float(rng.choice(lengths)) * beat
        if rng.random() < 0.1 and style != "pad":
            at += length
            continue
        where = int(np.clip(where + rng.integers(-3, 4), 0, len(pitches) - 1))
        chosen = [pitches[(where + 2 * i) % len(pitches)] for i in range(3 + (rng.random() < 0.3))]
        if style not in ("chords", "pad"):
            chosen = chosen[:1]
        for pitch in chosen:
            on = start + int(1000 * at + rng.integers(0, 12))
            off = start + int(1000 * min(SONG_S, at + max(0.06, legato * length)))
            yield on, bytes([0x90 | channel, pitch, int(np.clip(loud + rng.normal(0, 10), 20, 127))])
            yield max(off, on + 40), bytes([0x80 | channel, pitch, 0])
        at += length


def _drums(rng: Rng, start: int, beat: float) -> Iterator[Event]:
    kit = [36, 38, 42, *rng.choice(np.arange(35, 82), 3)]
    hits = rng.random((len(kit), 16)) < np.array([0.3, 0.2, 0.6, 0.15, 0.15, 0.1])[:, None]
    at, step = 0.0, 0
    while at < SONG_S - 0.1:
        for note, row in zip(kit, hits, strict=True):
            if row[step % 16]:
                yield start + int(1000 * at), bytes([0x99, int(note), int(rng.integers(50, 127))])
                yield start + int(1000 * at) + 60, bytes([0x89, int(note), 0])
        at, step = at + beat / 4, step + 1


def song(rng: Rng, programs: list[int], start: int) -> tuple[list[Event], str]:
    """One random piece that begins at `start` ms: its MIDI events and its kind of setting."""
    setting = str(rng.choice(["solo", "solo", "chords", "duet", "band", "band", "drums", "orchestra"]))
    beat = 60.0 / rng.uniform(50, 190)
    key, steps = int(rng.integers(12)), SCALES[rng.integers(len(SCALES))]
    scale = [p for p in range(128) if (p - key) % 12 in steps]
    parts = {
        "solo": [str(rng.choice(["melody", "arpeggio"]))],
        "chords": ["chords"],
        "duet": ["melody", str(rng.choice(["chords", "bass", "arpeggio"]))],
        "band": ["melody", "chords", "bass"],
        "drums": [],
        "orchestra": ["melody", "melody", "pad", "pad", "bass"],
    }[setting]
    events: list[Event] = []
    for channel, style in enumerate(parts):
        events.append((start, bytes([0xC0 | channel, int(rng.choice(programs))])))
        events.append((start, bytes([0xB0 | channel, 1, int(rng.choice([0, 0, 40, 100]))])))  # vibrato
        events.append((start, bytes([0xB0 | channel, 11, 127])))
        events.append((start, bytes([0xE0 | channel, 0, 64])))
        events += _notes(rng, channel, start, style, scale, beat)
        if rng.random() < 0.15:  # swells
            for i in range(0, int(SONG_S * 1000), 100):
                level = int(80 + 45 * np.sin(i / 1000 * 2 * np.pi / (4 * beat)))
                events.append((start + i, bytes([0xB0 | channel, 11, level])))
        if rng.random() < 0.15:  # glides
            for i in range(0, int(SONG_S * 1000), 40):
                bend = int(8192 + 8000 * np.sin(i / 1000 * 2 * np.pi / (3 * beat)) * rng.uniform(0.6, 1.0))
                events.append((start + i, bytes([0xE0 | channel, bend & 127, bend >> 7])))
    if setting in ("drums", "band"):
        events += _drums(rng, start, beat)
    events += [(start + int(SONG_S * 1000) + 1, bytes([0xB0 | channel, 123, 0])) for channel in range(16)]
    return events, setting


def midi_file(events: list[Event]) -> bytes:
    """A format-0 MIDI file with one tick per millisecond."""
    track, now = bytearray(), 0
    for at, message in sorted(events, key=lambda event: event[0]):
        delta, digits = at - now, [(at - now) & 127]
        while delta := delta >> 7:
            digits.append(delta & 127 | 128)
        track += bytes(reversed(digits)) + message
        now = at
    track += b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 500) + b"MTrk" + struct.pack(">I", len(track)) + bytes(track)


def play_songs(cache: Path, soundfont: Path, held: bool, count: int) -> Songs:
    """`count` songs as (setting, samples of 8 s); rendered once, then read from `cache`."""
    name = "held" if held else "fit"
    rng = np.random.default_rng(2 if held else 1)
    programs = [p for p in range(120) if (p % 5 == HELD_PROGRAM) == held]
    out: Songs = []
    for part in range(0, count, 100):
        pieces = [song(rng, programs, 10_000 * i) for i in range(100)]
        wav, midi = cache / f"{name}-{part}.wav", cache / f"{name}-{part}.mid"
        if not wav.exists():
            midi.write_bytes(midi_file([event for events, _ in pieces for event in events]))
            room = str(int(rng.integers(2))) if part else "1"
            command = ["fluidsynth", "-ni", "-q", "-R", room, "-C", room, "-g", "0.6", "-r", str(SAMPLE_RATE), "-F"]
            subprocess.run([*command, str(wav), str(soundfont), str(midi)], check=True, stdout=subprocess.DEVNULL)
        else:
            rng.integers(2) if part else None
        sound = soundfile.read(wav, always_2d=True)[0].mean(axis=1)
        for i, (_, setting) in enumerate(pieces):
            out.append((f"midi-{setting}", sound[10 * SAMPLE_RATE * i :][: int(SONG_S * SAMPLE_RATE)]))
    return out
