"""Pictures of people -> faces that lie on each other: eyes and nose at the same place, one size."""

from __future__ import annotations

import importlib.util
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]

PACKAGES = "pip install dlib-bin face-recognition-models"
LANDMARKS = "shape_predictor_5_face_landmarks.dat"  # public domain; the 68 points beside it are not for commercial use
LANDMARKS_68 = "shape_predictor_68_face_landmarks.dat"
# Other formats of Pillow start programs (EPS) or are no photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000")
MAX_PIXELS = 50_000_000

# Where the faces that Oh et al. (2019) normalised have these points, in units of the side: their mean, made
# symmetric. First the eye on the right of the picture, outer and inner corner, then the eye on the left, then the base
# of the nose.
TEMPLATE = np.array([[0.6784, 0.4717], [0.5812, 0.4749], [0.3356, 0.4717], [0.4328, 0.4749], [0.5070, 0.6483]])
ZOOM_CENTRE = np.array([0.507, 0.77])  # low, so that a face zoomed to 1.5 keeps its chin


class PictureError(ValueError):
    """The bytes are no picture that can be used."""


@dataclass(frozen=True)
class AlignedFace:
    """A face at its place.

    Attributes:
        pixels: uint8 (size, size, 3), RGB.
        landmarks: float32 (5, 2), x and y in pixels of the original picture, whose outer top left
            corner is (0, 0); in the order of `TEMPLATE`.
    """

    pixels: Picture
    landmarks: NDArray[np.float32]


class Aligner:
    """Finds the face of a picture, turns it upright and cuts it out.

    dlib's HOG detector and five landmarks (King 2009; Kazemi & Sullivan 2014), then the similarity that brings the
    landmarks nearest to `TEMPLATE`. Of several faces it takes the largest, area weighted by nearness to the centre.
    Not for several threads at once; make one for each.

    Args:
        size: side of the aligned face in pixels.
        zoom: how much larger than in `TEMPLATE` the face is. 1 frames the head as Oh et al. do, hair and
            neck included; 1.5 frames the face alone, for pictures that show no more (UTKFace).

    Raises:
        ModuleNotFoundError: dlib or the landmarks are missing.
        ValueError: zoom is below 1.
    """

    # (longer side in pixels, threshold of the detector), tried in turn. It finds faces of 80 pixels and
    # more; beards, turbans and half profiles score below its usual 0.
    LOOKS = ((224, 0.0), (448, 0.0), (960, 0.0), (224, -0.3), (448, -0.3))

    def __init__(self, size: int = 64, zoom: float = 1.0):
        _check_zoom(zoom)
        try:
            import dlib
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"Aligning faces needs dlib: {PACKAGES}") from error
        self.size = size
        self._template = (ZOOM_CENTRE + zoom * (TEMPLATE - ZOOM_CENTRE)) * size
        self._detector = dlib.get_frontal_face_detector()
        self._landmarks = dlib.shape_predictor(str(model_file(LANDMARKS)))

    def __call__(self, picture: Picture) -> AlignedFace | None:
        """The face in `picture`, uint8 (h, w, 3) RGB; None where none is found."""
        found = self.find(picture)
        if found is None:
            return None
        seen, box = found
        points = points_of(self._landmarks, seen, box) * (np.array(picture.shape[1::-1]) / seen.shape[1::-1])
        matrix = similarity(self._template, points)
        return AlignedFace(warp(picture, matrix, self.size), points.astype(np.float32))

    def find(self, picture: Picture) -> tuple[Picture, Any] | None:
        """(`picture` at the size at which a face was found, the dlib.rectangle of the largest there) or None."""
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise ValueError(f"A picture is uint8 (h, w, 3); got {picture.dtype} {picture.shape}.")
        height, width = picture.shape[:2]
        for side, threshold in self.LOOKS:
            scale = side / max(height, width)
            if scale > 2 and side > 448:
                continue  # enlarging further shows nothing new
            seen = _resized(picture, max(1, round(width * scale)), max(1, round(height * scale)))
            boxes, _, _ = self._detector.run(seen, 0, threshold)
            if boxes:
                return seen, max(boxes, key=lambda box: _weight(box, seen))
        return None


def points_of(predictor: Any, picture: Picture, box: Any) -> Points:
    """The landmarks of a face, (n, 2), in pixels of `picture`, whose outer top left corner is (0, 0).

    Args:
        predictor: a dlib.shape_predictor.
        box: dlib.rectangle of the face.
    """
    return np.array([(point.x + 0.5, point.y + 0.5) for point in predictor(picture, box).parts()])


def resize_aligned(picture: Picture, size: int, zoom: float = 1.0) -> Picture:
    """A picture whose face lies on `TEMPLATE` already, cut and resized as `Aligner(size, zoom)` would.

    Args:
        picture: uint8 (h, w, 3).

    Returns:
        uint8 (size, size, 3).

    Raises:
        ValueError: zoom is below 1.
    """
    _check_zoom(zoom)
    sides = np.array([picture.shape[1], picture.shape[0]])
    start = ZOOM_CENTRE * (1 - 1 / zoom) * sides
    box = tuple(np.concatenate([start, start + sides / zoom]).tolist())
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS, box, reducing_gap=3.0))


def similarity(source: Points, target: Points) -> Points:
    """The rotation, scale and shift, (2, 3), that bring `source` nearest to `target`, both (n, 2).

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns" (1991), equations 34 to 43.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - source_mean
    u, d, vt = np.linalg.svd((target - target_mean).T @ centred / len(source))
    signs = np.array([1.0, np.sign(np.linalg.det(u @ vt))])  # no mirror
    rotation = (u * signs) @ vt
    scale = (d @ signs) / centred.var(axis=0).sum()
    matrix = scale * rotation
    return np.column_stack([matrix, target_mean - matrix @ source_mean])


def warp(picture: Picture, matrix: Points, size: int) -> Picture:
    """The square that `matrix`, (2, 3), maps into `picture`, as uint8 (size, size, 3).

    Pixels outside of the picture repeat its edge. Where the picture is finer than the square, it
    is drawn at a multiple of the size and then shrunk, so that nothing aliases.
    """
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))  # pixels of the picture for one of the square
    corners = matrix @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]], float)
    margin = 4 * max(1, math.ceil(scale))
    left, top = np.floor(corners.min(axis=1)).astype(int) - margin
    right, bottom = np.ceil(corners.max(axis=1)).astype(int) + margin
    rows = np.clip(np.arange(top, bottom), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(left, right), 0, picture.shape[1] - 1)
    image = Image.fromarray(picture[rows[0] : rows[-1] + 1].take(rows - rows[0], axis=0).take(columns, axis=1))
    shrink = max(1, int(scale / 3))
    image = image.reduce(shrink) if shrink > 1 else image
    finer = max(1, math.ceil(scale / shrink))
    to_source = np.column_stack([matrix[:, :2] / finer, matrix[:, 2] - (left, top)]) / shrink
    drawn = image.transform(
        (size * finer, size * finer), Image.Transform.AFFINE, to_source.ravel().tolist(), Image.Resampling.BICUBIC
    )
    return np.asarray(drawn.resize((size, size), Image.Resampling.LANCZOS))


def read_picture(data: bytes) -> Picture:
    """The pixels of a picture file, uint8 (h, w, 3) RGB: upright (EXIF), transparent parts white.

    Raises:
        PictureError: it can't be decoded, is cut short, or has more than `MAX_PIXELS` pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise PictureError(
                    f"The picture is {image.width}x{image.height}; at most {MAX_PIXELS:,} pixels are read."
                )
            return np.asarray(_rgb(ImageOps.exif_transpose(image)))  # the first picture where there are several
    except PictureError:
        raise
    except Exception as error:  # each of the decoders fails in its own way on bytes that are no picture
        raise PictureError(f"The {len(data):,} bytes are no picture that can be read: {error}") from error


def model_file(name: str) -> Path:
    """A file of PyPI's face-recognition-models.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    # Importing the package itself would need setuptools' pkg_resources.
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    raise ModuleNotFoundError(f"Aligning faces needs {name} of face-recognition-models: {PACKAGES}")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; convert() would cut off at 255
        return Image.fromarray((np.clip(np.asarray(image), 0, 65535) / 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise PictureError("The picture has floating-point pixels of an unknown range; save it with 8 or 16 bits.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _check_zoom(zoom: float) -> None:
    if not zoom >= 1:
        raise ValueError(f"The zoom is {zoom}; it must be 1 or more.")


def _resized(picture: Picture, width: int, height: int) -> Picture:
    if (height, width) == picture.shape[:2]:
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0))


def _weight(box: Any, seen: Picture) -> float:
    height, width = seen.shape[:2]
    centre = box.center()
    distance = math.hypot(centre.x - width / 2, centre.y - height / 2)
    return float(box.area() * (1 - distance / math.hypot(width, height)))
