"""The equal error rate of telling speakers apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def equal_error_rate(
    scores: NDArray[Any], same: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> float:
    """Where as many pairs of one speaker are refused as pairs of two are taken; NaN without both kinds.

    Args:
        scores: (pairs,), higher is more alike.
        same: (pairs,), whether the two are one speaker.
        weights: (pairs,), how often each counts; None: once.
    """
    if same.all() or not same.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    counted = (np.ones(len(scores)) if weights is None else weights)[order]
    of_one, of_two = same[order] * counted, ~same[order] * counted
    # No threshold parts pairs of the same score.
    ends = np.append(np.diff(scores[order]) != 0, True)
    refused = (1 - np.cumsum(of_one) / of_one.sum())[ends]
    taken = (np.cumsum(of_two) / of_two.sum())[ends]
    at = int(np.argmin(np.abs(refused - taken)))
    return float((refused[at] + taken[at]) / 2)
