"""How finely weights and activations are rounded to 8 bits, and what error that is expected to make."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 255  # of an activation
MOST = 127  # of two neighbouring weights of one sign: 255 x (127 + 1, by rounding) is within 16 bits


def steps_of(weights: NDArray[Any]) -> NDArray[np.float64]:
    """The step of each output channel's weights, (out, in, height, width), at which no sum of two saturates.

    Processors with AVX2 and no VNNI add the products of two neighbours in 16 bits. Which are neighbours depends on
    the order that a runtime lays weights out in: channels last, or as they are.
    """
    largest = np.zeros(len(weights))
    for ordered in (weights, weights.transpose(0, 2, 3, 1)):
        row = ordered.reshape(len(weights), -1)
        pairs = np.pad(row, ((0, 0), (0, row.shape[1] % 2))).reshape(len(weights), -1, 2)
        for sign in (1, -1):
            largest = np.maximum(largest, np.maximum(sign * pairs, 0).sum(2).max(1))
    return np.maximum(largest / MOST, 1e-12)


def expected_error(
    weights: NDArray[np.float64], factor: NDArray[np.float64], largest: NDArray[np.float64], root: NDArray[np.float64]
) -> float:
    """Expected square error of a convolution whose input is divided by a factor, against the square of its result.

    Args:
        weights: (out, in, height, width).
        factor: of each channel of the input; the weights are multiplied by it.
        largest: of each channel of the input.
        root: of its mean square.
    """
    scaled = weights * factor[:, None, None]
    by_input = np.square((largest / factor).max() / STEPS) * np.square(scaled).sum((1, 2, 3))
    taps = weights.shape[2] * weights.shape[3]
    by_weights = np.square(steps_of(scaled)) * taps * np.square(root / factor).sum()
    power = np.square(weights * root[:, None, None]).sum((1, 2, 3))
    return float(((by_input + by_weights) / np.maximum(power, 1e-12)).mean())
