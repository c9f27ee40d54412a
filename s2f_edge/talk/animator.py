"""The face of an appearance, drawn once and then moved for every frame."""

from __future__ import annotations

import numpy as np

from s2f_edge import faces
from s2f_edge.hearing.features import Float32s
from s2f_edge.pack.network import Network
from s2f_edge.picture import Pixels
from s2f_edge.results import Appearance


class Animator:
    """Gives frames of one face.

    Args:
        animator, renderer: the networks of a pack.
        mean_shape: float32 (68, 2), on which the renderer draws what the animator moves; the manifest has it.
        appearance: of one face.
    """

    def __init__(self, animator: Network, renderer: Network, mean_shape: Float32s, appearance: Appearance) -> None:
        self._network = animator
        drawn = {"inner": appearance.inner[:1], "outer": appearance.outer[:1], "shape": mean_shape[None]}
        self._given = {"texture": renderer.run(drawn)["face"], "shape": np.asarray(appearance.shape[:1], np.float32)}

    def frame(self, offsets: Float32s, pose: Float32s) -> Pixels:
        """A frame, uint8 (256, 256, 3), RGB.

        Args:
            offsets: float32 (68, 2), how far the points are from a face with closed lips, in units of the distance of
                the eyes, as `Motion` gives them.
            pose: float32 (8,), as `Gestures` gives it.
        """
        drawn = self._network.run({**self._given, "offsets": offsets[None], "pose": pose[None]})["face"]
        return np.asarray(faces.pixels(drawn)[0])
