"""The words that options, requests, manifests and pictures have in common, and their limits. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal, get_args

Generator = Literal["general", "male", "female"]
Gender = Literal["auto", Generator]  # which generator: auto goes by the voice
Device = Literal["auto", "cpu", "cuda"]
Weights = Literal["float32", "float16", "int8", "light"]  # light: a smaller voice network, its weights float16
Variant = Literal["auto", Weights]  # of a pack: auto goes by the processor
Engine = Literal["local", "ray"]  # where processes work: on this machine, or on a Ray cluster
PictureFormat = Literal["png", "webp", "jpeg"]
VideoFormat = Literal["mp4", "webm", "gif", "webp"]

# Watermarks, sealed addresses and single files have generators as numbers: places in these.
GENERATORS: tuple[Generator, ...] = get_args(Generator)
GENDERS: tuple[Gender, ...] = get_args(Gender)
DEVICES: tuple[Device, ...] = get_args(Device)
VARIANTS: tuple[Weights, ...] = get_args(Weights)

MAX_SAMPLES = 64
MIN_SIZE, MAX_SIZE = 16, 4096  # width and height of a face, in pixels
MAX_TALK_SIZE = 1024  # of one that talks
MIN_FPS, MAX_FPS = 1, 60
MAX_STRENGTH = 2  # of head, blinks and brows
VIDEOS = {"mp4": (".mp4",), "webm": (".webm",), "gif": (".gif",), "webp": (".webp",)}  # formats and their suffixes


def either(words: tuple[str, ...]) -> str:
    """`a, b or c`."""
    return f"{', '.join(words[:-1])} or {words[-1]}"
