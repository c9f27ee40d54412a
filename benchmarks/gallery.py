"""What do the faces look like? The first voices of a data set that no training heard, women above and men below.

    python benchmarks/gallery.py STORE [--pack PACK] [--source librispeech] [--each 8] [--generators] --out faces.jpg

Nothing is chosen: it takes the first clip of the first speakers of the store's test split, in the order of their names.
With --generators each voice stands in three rows: general, male and female.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from s2f_edge import AudioError, Speech2Face
from s2f_edge.terms import GENERATORS
from s2f_train.data.store import Sample, Store

LEAST = 128  # pixels of a face: smaller ones are enlarged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--pack", type=Path, help="default: the one inside")
    parser.add_argument("--source", default="librispeech")
    parser.add_argument("--each", type=int, default=8, help="women, and men")
    parser.add_argument("--generators", action="store_true", help="a row for each generator")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    store, model = Store.open(arguments.store), Speech2Face(arguments.pack, device="cpu")
    rows = []
    for gender in ("f", "m"):
        voices = first_voices(store, arguments.source, gender)[: arguments.each]
        if len(voices) < arguments.each:
            parser.error(
                f"{arguments.source} has {len(voices)} speakers of gender {gender} in its test split; --each N"
            )
        for generator in GENERATORS if arguments.generators else ("general",):
            faces = [face_of(model, store, voice, generator) for voice in voices]
            rows.append(np.concatenate(faces, axis=1))
    picture = Image.fromarray(np.concatenate(rows))
    times = max(1, LEAST // model.face_size)
    larger = picture.resize((picture.width * times, picture.height * times), Image.Resampling.BICUBIC)
    larger.save(arguments.out, quality=90)  # of a JPEG
    print(f"wrote {arguments.out}")


def face_of(model: Speech2Face, store: Store, voice: Sample, generator: str) -> np.ndarray:
    try:
        return model.infer(store.read(voice, "flac"), gender=generator).face
    except AudioError as error:
        raise SystemExit(f"{voice.key}: {error}") from None


def first_voices(store: Store, source: str, gender: str) -> list[Sample]:
    """One recording, the first, of every speaker of the test split."""
    of_speaker: dict[str, Sample] = {}
    for voice in sorted(store.of_split("test", sources=(source,)), key=lambda voice: voice.key):
        if store.identities[voice.identity].gender == gender:
            of_speaker.setdefault(voice.identity, voice)
    return [of_speaker[name] for name in sorted(of_speaker)]


if __name__ == "__main__":
    main()
