"""The general generator's sketches of a store's held-out voices, enlarged and on their shape: faces without a renderer.

python benchmarks/sketches.py STORE OUT [--pack FOLDER] [--split test]
python -m s2f_train evaluate --store STORE --pictures "no renderer=OUT" ...
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from s2f_edge import Appearance, Speech2Face
from s2f_train.data.faces import as_pixels
from s2f_train.data.inner_face import inner_mask
from s2f_train.data.store import Store
from s2f_train.data.textures import mean_shape
from s2f_train.evaluate.cache import VectorCache
from s2f_train.evaluate.hearing import hear_all, speech_of
from s2f_train.models.renderer import SIDE, Renderer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("out", type=Path)
    parser.add_argument("--pack", type=Path, help="default: the one inside")
    parser.add_argument("--split", default="test")
    arguments = parser.parse_args()
    cache = VectorCache(Path("runs/cache/evaluate.sqlite"))
    store, model = Store.open(arguments.store, Path("runs/cache")), Speech2Face(arguments.pack, device="cpu")
    faces = {face.clip for face in store.of_split(arguments.split, "faces") if face.clip}
    voices = [voice for voice in store.of_split(arguments.split) if voice.clip in faces]
    heard = hear_all(model, (speech_of(store, voice) for voice in voices), cache, "voices", len(voices))
    renderer = Renderer()
    renderer.set_frame(mean_shape(), inner_mask())
    arguments.out.mkdir(parents=True, exist_ok=True)
    for voice, said in zip(voices, heard, strict=True):
        if not said.refused:
            face = drawn(model.appearance(said.voice, gender="general", seed=0), renderer)
            Image.fromarray(face).save(arguments.out / f"{voice.clip}.png")


@torch.inference_mode()
def drawn(appearance: Appearance, renderer: Renderer) -> NDArray[np.uint8]:
    """The inner sketch over the outer one, moved to the shape, (256, 256, 3)."""
    inner, outer, shape = (torch.from_numpy(part) for part in (appearance.inner, appearance.outer, appearance.shape))
    whole = _enlarged(inner) + (1 - _enlarged(renderer.mask)) * _enlarged(outer)
    moved: Tensor = renderer.moved(whole, shape)
    face: NDArray[np.uint8] = as_pixels(moved.clamp(-1.0, 1.0))[0]
    return face


def _enlarged(sketch: Tensor) -> Tensor:
    return interpolate(sketch, size=(SIDE, SIDE), mode="bicubic", align_corners=False)


if __name__ == "__main__":
    main()
