"""A small data tree for `prepare`, in three layouts: voices from the two synthetic clips, painted faces.

    avspeech/NAME_0.wav with NAME_0.face.jpg and NAME_0.s2f.jpg       paired, gender unknown
    LibriSpeech/dev-clean/14/1/14-1-0000.flac with SPEAKERS.TXT       voices alone, gender known
    wen/fbank/id10001/0.npy, wen/faces/NAME/0.jpg, vox1_meta.csv      log-mels and faces, gender known

All faces are aligned, so preparing needs no face detector.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from s2f_edge.hearing.features import SAMPLE_RATE, logmel, normalise_logmel

Colour = tuple[int, int, int]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PIECE_S = 2.3
CLIPS = 2  # of each speaker
# The darkest and the lightest.
HAIR = (25, 15, 10), (225, 190, 120)
SKIN = (75, 45, 30), (245, 220, 195)
MOUTH = (110, 40, 40), (230, 120, 120)

# Name -> (gender, how much slower and lower than the example). By their hash all are of the training split ...
AVSPEECH = {"ann": ("f", 0.9), "bea": ("f", 1.1), "dan": ("m", 0.9), "kai": ("m", 1.15)}
LIBRISPEECH = {14: ("f", 0.85), 15: ("m", 0.85), 16: ("f", 1.0), 17: ("m", 1.0), 4: ("f", 1.2), 12: ("m", 1.2)}
WEN = {"Joe": ("m", 0.95), "Mia": ("f", 0.95), "Ron": ("m", 1.05), "Sue": ("f", 1.05)}
VALID = ("librispeech-4", "librispeech-12")  # ... but these


def made_tree(folder: Path) -> Path:
    """Writes the tree into a folder, and gives it."""
    for name, (gender, slower) in AVSPEECH.items():
        for clip in range(CLIPS):
            _write_sound(folder / "avspeech" / f"{name}_{clip}.wav", voice(gender, slower, clip))
            for view, size in (("face", 96), ("s2f", 64)):
                face(name, clip, size).save(folder / "avspeech" / f"{name}_{clip}.{view}.jpg")
    for number, (gender, slower) in LIBRISPEECH.items():
        for clip in range(CLIPS):
            path = folder / "LibriSpeech" / "dev-clean" / str(number) / "1" / f"{number}-1-000{clip}.flac"
            _write_sound(path, voice(gender, slower, clip))
    rows = [f"{number} | {gender.upper()} | dev-clean | 1.0 | Nobody\n" for number, (gender, _) in LIBRISPEECH.items()]
    (folder / "LibriSpeech" / "SPEAKERS.TXT").write_text("".join([";ID |SEX| SUBSET |MINUTES| NAME\n", *rows]))
    rows = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\n"]
    for number, (name, (gender, slower)) in enumerate(WEN.items(), 10_001):
        rows.append(f"id{number}\t{name}\t{gender}\n")
        for clip in range(CLIPS):
            path = folder / "wen" / "fbank" / f"id{number}" / f"{clip}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, normalise_logmel(logmel(voice(gender, slower, clip))))
            path = folder / "wen" / "faces" / name / f"{clip}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            face(name, clip, 64).save(path)
    (folder / "wen" / "vox1_meta.csv").write_text("".join(rows))
    return folder


def prepare_options(tree: Path) -> list[str]:
    """What names the tree to `prepare`."""
    wen = tree / "wen"
    return [
        "--avspeech", str(tree / "avspeech"), "--librispeech", str(tree / "LibriSpeech"),
        "--wen-fbank", str(wen / "fbank"), "--wen-faces", str(wen / "faces"), "--vox1-meta", str(wen / "vox1_meta.csv"),
    ]  # fmt: skip


def voice(gender: str, slower: float, clip: int) -> NDArray[np.float32]:
    """A piece of an example, played slower and so lower: float32 (n,), 16 kHz."""
    samples, rate = soundfile.read(EXAMPLES / f"{'male' if gender == 'm' else 'female'}.wav", dtype="float32")
    begin = int(clip * PIECE_S * rate)
    piece: NDArray[np.float32] = samples[begin : begin + int(PIECE_S * rate)]
    return soxr.resample(piece, rate, SAMPLE_RATE * slower)


def face(name: str, clip: int, size: int) -> Image.Image:
    """A painted face in the colours of a person, moved a little from clip to clip."""
    own = np.random.default_rng(list(name.encode()))
    back = tuple(own.integers(40, 230, 3).tolist())
    hair, skin, mouth = (_between(own, *colours) for colours in (HAIR, SKIN, MOUTH))
    image = Image.new("RGB", (64, 64), back)
    draw = ImageDraw.Draw(image)
    x, y = 32 + clip, 34 - clip
    draw.ellipse((x - 24, y - 30, x + 24, y + 18), fill=hair)
    draw.ellipse((x - 18, y - 22, x + 18, y + 26), fill=skin)
    for side in (-8, 8):
        draw.ellipse((x + side - 3, y - 6, x + side + 3, y - 2), fill=(20, 20, 20))
    draw.ellipse((x - 7, y + 10, x + 7, y + 14), fill=mouth)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def _between(rng: np.random.Generator, dark: Colour, light: Colour) -> Colour:
    share = rng.random()
    red, green, blue = (round(low + share * (high - low)) for low, high in zip(dark, light, strict=True))
    return red, green, blue


def _write_sound(path: Path, samples: NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, SAMPLE_RATE)
