"""478 points of a face in every frame of a video, by MediaPipe's face landmarker (face_landmarker.task)."""

import math
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2f_train.data.items import SourceError

Floats = NDArray[np.float32]

MESH_POINTS = 478
DETECTOR_SIDE = 128
MESH_SIDE = 256
SCORE = 0.5  # of the detector and of the mesh, below which there is no face
MARGIN = 1.5  # side of the crop over the face's box
FOLLOW = 0.3  # share of the newest frame in the crop's size and turn, which steadies the points
RIGHT_EYE, LEFT_EYE = 33, 263  # outer corners, right and left of the person
# 68 points of iBUG in the mesh: jaw, brows, nose, eyes, outer and inner lips
IBUG68 = (
    *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)


PACKAGES = "pip install ai-edge-litert"


class FaceMesh:
    """The landmarker.

    Args:
        path: face_landmarker.task, which MediaPipe publishes (Apache-2.0).

    Raises:
        ModuleNotFoundError: the package that runs it is missing.
        SourceError: the file is another.
    """

    def __init__(self, path: Path) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"The points of talking heads need ai-edge-litert: {PACKAGES}") from error
        detector, mesh = networks_of(path)
        self._detector = _Network(Interpreter, detector)
        self._mesh = _Network(Interpreter, mesh)
        self._anchors = np.array(
            [
                ((column + 0.5) / side, (row + 0.5) / side)
                for side, count in ((16, 2), (8, 6))
                for row in range(side)
                for column in range(side)
                for _ in range(count)
            ],
            np.float32,
        )

    def follow(self, frames: Iterable[Image.Image]) -> Iterator[tuple[Floats, float] | None]:
        """For each RGB frame its points, (478, 3) in pixels of the frame with depth in the same unit, and the score of
        the face's presence in 0..1, or None where no face is found. The largest face is followed from frame to frame.
        """
        box: tuple[float, float, float, float] | None = None
        for frame in frames:
            fresh = box is None
            if box is None:
                box = self._detect(frame)
            found = None if box is None else self._points(frame, box)
            if found is None and not fresh:
                box = self._detect(frame)
                found = None if box is None else self._points(frame, box)
            if found is None:
                box = None
            else:
                new = _box(found[0])
                if box is None or fresh:
                    found = self._points(frame, new) or found
                    box = _box(found[0])
                else:
                    side = box[2] + FOLLOW * (new[2] - box[2])
                    box = (new[0], new[1], side, box[3] + FOLLOW * (new[3] - box[3]))
            yield found

    def _detect(self, frame: Image.Image) -> tuple[float, float, float, float] | None:
        width, height = frame.size
        side = max(width, height)
        x0, y0 = (width - side) / 2, (height - side) / 2
        scale = side / DETECTOR_SIDE
        small = frame.transform(
            (DETECTOR_SIDE, DETECTOR_SIDE),
            Image.Transform.AFFINE,
            (scale, 0, x0, 0, scale, y0),
            Image.Resampling.BILINEAR,
        )
        outputs = self._detector(np.asarray(small, np.float32) / np.float32(127.5) - 1)
        boxes, scores = (outputs[name][0] for name in ("regressors", "classificators"))
        best = np.flatnonzero(scores[:, 0] > math.log(SCORE / (1 - SCORE)))
        if not len(best):
            return None
        sizes = boxes[best, 2]
        chosen = best[np.argmax(sizes * (sizes > 0.9 * sizes.max()) + scores[best, 0] / 1e3)]
        values = boxes[chosen].reshape(-1, 2) / DETECTOR_SIDE
        values[[0, *range(2, 8)]] += self._anchors[chosen]
        points = values * side + np.array([x0, y0], np.float32)
        turn = math.atan2(*(points[3] - points[2])[::-1])
        return float(points[0, 0]), float(points[0, 1]), MARGIN * side * float(values[1].max()), turn

    def _points(self, frame: Image.Image, box: tuple[float, float, float, float]) -> tuple[Floats, float] | None:
        x, y, side, turn = box
        scale = side / MESH_SIDE
        across = np.array([math.cos(turn), math.sin(turn)]) * scale
        down = np.array([-across[1], across[0]])
        corner = np.array([x, y]) - (across + down) * MESH_SIDE / 2
        crop = frame.transform(
            (MESH_SIDE, MESH_SIDE),
            Image.Transform.AFFINE,
            (across[0], down[0], corner[0], across[1], down[1], corner[1]),
            Image.Resampling.BILINEAR,
        )
        outputs = self._mesh(np.asarray(crop, np.float32) / np.float32(255))
        score = 1 / (1 + math.exp(-float(outputs["Identity_1"].ravel()[0])))
        if score < SCORE:
            return None
        points = outputs["Identity"].reshape(MESH_POINTS, 3)
        flat = points[:, :1] * across + points[:, 1:2] * down + corner
        return np.concatenate([flat, points[:, 2:] * scale], 1).astype(np.float32), score


def networks_of(path: Path) -> tuple[bytes, bytes]:
    """The detector and the network of the points, as TFLite.

    Raises:
        SourceError: the file cannot be read, or is another.
    """
    try:
        with zipfile.ZipFile(path) as bundle:
            return bundle.read("face_detector.tflite"), bundle.read("face_landmarks_detector.tflite")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise SourceError(
            f"{path} is no face landmarker ({error}). Needed is face_landmarker.task of MediaPipe, a zip of networks."
        ) from None


class _Network:
    def __init__(self, interpreter: Any, content: bytes) -> None:
        self._net = interpreter(model_content=content, num_threads=1)
        self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]["index"]
        self._outputs = {each["name"]: each["index"] for each in self._net.get_output_details()}

    def __call__(self, picture: Floats) -> dict[str, Floats]:
        self._net.set_tensor(self._input, picture[None])
        self._net.invoke()
        return {name: self._net.get_tensor(index) for name, index in self._outputs.items()}


def _box(points: Floats) -> tuple[float, float, float, float]:
    """The square around the points, turned with the eyes: centre, side, turn in radians."""
    eyes = points[LEFT_EYE, :2] - points[RIGHT_EYE, :2]
    turn = math.atan2(float(eyes[1]), float(eyes[0]))
    axes = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    turned = points[:, :2] @ axes.T
    low, high = turned.min(0), turned.max(0)
    x, y = ((low + high) / 2) @ axes
    return float(x), float(y), MARGIN * float((high - low).max()), turn
