"""The losses of the GAN branch (Wen et al. 2019, section 3.2; docs/spec.md, section 3), and the additions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def wide(values: Tensor) -> Tensor:
    """Half precision as float32: sums of losses need it."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def real_loss(logits: Tensor) -> Tensor:
    """Binary cross entropy of D for "real": -log sigmoid(logit), mean over the batch."""
    return functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


def fake_loss(logits: Tensor) -> Tensor:
    """Binary cross entropy of D for "made": -log(1 - sigmoid(logit)), mean over the batch."""
    return functional.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))


def identity_loss(logits: Tensor, identities: Tensor) -> Tensor:
    """Cross entropy of C over the identities, mean over the batch."""
    return functional.cross_entropy(logits, identities)


def pixel_loss(fake: Tensor, target: Tensor, has_target: Tensor) -> Tensor:
    """L1 between pictures, (batch, 3, h, w) in [-1, 1]; rows where `has_target` is 0 count nothing."""
    return _mean_of_rows((fake - target).abs(), has_target)


def edge_loss(fake: Tensor, target: Tensor, has_target: Tensor) -> Tensor:
    """L1 between differences of neighbouring pixels: eyes and mouths are small, and L1 alone leaves them blurred."""
    rows = (fake.diff(dim=2) - target.diff(dim=2)).abs()
    columns = (fake.diff(dim=3) - target.diff(dim=3)).abs()
    return _mean_of_rows(rows, has_target) + _mean_of_rows(columns, has_target)


def _mean_of_rows(values: Tensor, weights: Tensor) -> Tensor:
    # Divided by the whole batch, not by the rows that count: so the mean over processes is that of one with all rows.
    return (values.flatten(1).mean(dim=1) * weights).mean()
