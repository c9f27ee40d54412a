"""Points of a head in every frame -> the same without the head's motion: upright, frontal, in units of the eyes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2f_train.prepare.face_mesh import IBUG68

Points = NDArray[np.float64]

# Points of the mesh that speech does not move: corners of the eyes, temples and rim of the forehead (right, then the
# same of the left side), and the line from the forehead to the tip of the nose.
_RIGHT = (33, 133, 127, 162, 21, 54, 103, 67, 109)
_LEFT = (263, 362, 356, 389, 251, 284, 332, 297, 338)
STILL = np.array([*_RIGHT, *_LEFT, 10, 151, 9, 8, 168, 6, 197, 195, 5, 4])
_SIDE = len(_RIGHT)
_MIRRORED = np.array([*range(_SIDE, 2 * _SIDE), *range(_SIDE), *range(2 * _SIDE, len(STILL))])
ROUNDS = 3


def without_pose(mesh: Points) -> tuple[Points, float, float]:
    """Aligns every frame by the still points to their mean over the clip, which is turned to the front.

    Args:
        mesh: (frames, 478, 3), x to the right, y down, and depth in the same unit.

    Returns:
        (frames, 68, 2) in units of the distance between the centres of the eyes, x to the right and y down, from the
        upper end of the nose's ridge; that distance in the mesh's unit; and how far the head is turned to the side, in
        degrees, both in the clip's mean.
    """
    mean = mesh[0]
    for _ in range(ROUNDS):
        aligned = _aligned(mesh, mean[STILL])
        mean = aligned.mean(axis=0)
    axes = _front(mean[STILL])
    points = (aligned[:, list(IBUG68)] @ axes)[..., :2]
    middle = points.mean(axis=0)
    apart = eyes_apart(middle)
    return (points - middle[27]) / apart, apart, float(np.degrees(np.arctan2(abs(axes[2, 0]), axes[0, 0])))


def eyes_apart(points: Points) -> float:
    """Between the centres of the eyes; points are (68, 2)."""
    return float(np.linalg.norm(points[42:48].mean(axis=0) - points[36:42].mean(axis=0)))


def _similarity(source: Points, target: Points) -> tuple[Points, Points, Points]:
    """Turn and scale (..., 3, 3) and both centres, of least squares from (..., n, 3) to (n, 3) (Umeyama 1991)."""
    from_, to = source.mean(axis=-2, keepdims=True), target.mean(axis=-2, keepdims=True)
    moved = source - from_
    u, s, vt = np.linalg.svd(np.swapaxes(moved, -1, -2) @ (target - to))
    signs = np.ones_like(s)
    signs[..., -1] = np.sign(np.linalg.det(u @ vt))
    scale = (s * signs).sum(axis=-1) / np.square(moved).sum(axis=(-1, -2))
    return (u * signs[..., None, :]) @ vt * scale[..., None, None], from_, to


def _aligned(mesh: Points, still: Points) -> Points:
    turn, from_, to = _similarity(mesh[:, STILL], still)
    return np.asarray((mesh - from_) @ turn + to)


def _front(still: Points) -> Points:
    """Axes of the head, (3, 3), as columns: x is normal to the plane of its symmetry, y stays upright; then depth."""
    mirror = still[_MIRRORED] * np.array([-1.0, 1.0, 1.0])
    turn, from_, to = _similarity(mirror, still)
    even = (still + (mirror - from_) @ turn + to) / 2
    x = (even[_SIDE : 2 * _SIDE] - even[:_SIDE]).sum(axis=0)
    x /= np.linalg.norm(x)
    y = np.array([0.0, 1.0, 0.0])
    y -= x * (x @ y)
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)
