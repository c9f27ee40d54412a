"""What do the faces look like? The first voices of a data set that no training heard, women above and men below.

    python benchmarks/gallery.py STORE [--pack PACK] [--source NAME] [--each 8] [--generators | --talk] --out faces.jpg

Nothing is chosen: it takes the first clip of the first speakers of the store's test split, in the order of their names.
With --generators each voice stands in three rows: general, male and female. With --talk each has a row
of frames of the face that says it, under the waveform.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from s2f_edge import AudioError, Speech2Face
from s2f_edge.hearing import audio
from s2f_edge.picture import resized
from s2f_edge.terms import GENERATORS
from s2f_train.data.store import Sample, Store
from s2f_train.evaluate.talk_pictures import sheet

LEAST = 128  # pixels of a face: smaller ones are enlarged
FRAMES, EVERY, FIRST = 12, 3, 25  # of a face that speaks: how many, each so many after the other, from which on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--pack", type=Path, help="default: the one inside")
    parser.add_argument("--source", default="librispeech")
    parser.add_argument("--each", type=int, default=8, help="women, and men")
    parser.add_argument("--generators", action="store_true", help="a row for each generator")
    parser.add_argument("--talk", action="store_true", help="frames of the face that says it")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    store, model = Store.open(arguments.store), Speech2Face(arguments.pack, device="cpu", variant=None)
    rows = []
    for gender in ("f", "m"):
        voices = first_voices(store, arguments.source, gender)[: arguments.each]
        if len(voices) < arguments.each:
            parser.error(
                f"{arguments.source} has {len(voices)} speakers of gender {gender} in its test split; --each N"
            )
        if arguments.talk:
            rows += [spoken(model, store, voice) for voice in voices]
            continue
        for generator in GENERATORS if arguments.generators else ("general",):
            faces = [face_of(model, store, voice, generator) for voice in voices]
            rows.append(np.concatenate(faces, axis=1))
    picture = Image.fromarray(np.concatenate(rows))
    times = 1 if arguments.talk else max(1, LEAST // model.face_size)
    larger = picture.resize((picture.width * times, picture.height * times), Image.Resampling.BICUBIC)
    larger.save(arguments.out, quality=90)  # of a JPEG
    print(f"wrote {arguments.out}")


def face_of(model: Speech2Face, store: Store, voice: Sample, generator: str) -> np.ndarray:
    try:
        return model.infer(store.read(voice, "flac"), gender=generator).face
    except AudioError as error:
        raise SystemExit(f"{voice.key}: {error}") from None


def spoken(model: Speech2Face, store: Store, voice: Sample) -> np.ndarray:
    """Frames of the voice's face, half as wide, under the waveform of their sound."""
    sound, last = store.read(voice, "flac"), FIRST + FRAMES * EVERY
    with model.talk(sound) as talk:
        frames = [frame.pixels for frame in islice(talk, last)][FIRST::EVERY]
    rate = audio.SAMPLE_RATE // 25
    heard = audio.read(sound).samples[FIRST * rate : last * rate]
    return sheet([[resized(frame, LEAST) for frame in frames]], [heard], LEAST // 5)


def first_voices(store: Store, source: str, gender: str) -> list[Sample]:
    """One recording, the first, of every speaker of the test split."""
    of_speaker: dict[str, Sample] = {}
    for voice in sorted(store.of_split("test", sources=(source,)), key=lambda voice: voice.key):
        if store.identities[voice.identity].gender == gender:
            of_speaker.setdefault(voice.identity, voice)
    return [of_speaker[name] for name in sorted(of_speaker)]


if __name__ == "__main__":
    main()
