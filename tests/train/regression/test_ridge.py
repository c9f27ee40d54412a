"""The kernel ridge regression against its formula, and what it says near its pairs and far from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from s2f_train.regression.ridge import MANY_PAIRS, Ridge, some


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("width", [None, 3.0])
def test_it_is_the_closed_form(width: float | None) -> None:
    known, values, new = drawn(9, 4), 2 + drawn(9, 3, seed=1), drawn(5, 4, seed=2)
    ridge = Ridge.fit(known, values, 0.3, width)

    def squares(a: Tensor, b: Tensor) -> np.ndarray:
        return ((a.numpy()[:, None] - b.numpy()[None]) ** 2).sum(axis=2)

    if width is None:
        width = np.sort(squares(known, known), axis=None)[40]  # of 81 the one in the middle
    kernel = np.exp(-squares(known, known) / width)
    mean = values.numpy().mean(axis=0)
    weights = np.linalg.inv(kernel + 0.3 * np.eye(9)) @ (values.numpy() - mean)
    expected = np.exp(-squares(new, known) / width) @ weights + mean
    assert ridge.width == pytest.approx(width)
    np.testing.assert_allclose(ridge(new).numpy(), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ridge.stretched(new, 2.5).numpy(), mean + 2.5 * (expected - mean), rtol=1e-9, atol=1e-12)
    assert torch.equal(ridge.stretched(new, 1.0), ridge(new))
    torch.testing.assert_close(ridge.stretched(new, 0.0), torch.from_numpy(mean).expand(5, 3))


def test_between_its_pairs_it_knows_what_they_have_in_common() -> None:
    angles = torch.linspace(0, 1.5, 40)
    known = torch.stack([angles.cos(), angles.sin()], dim=1)
    noisy = torch.stack([angles, 5 - angles**2], dim=1) + 0.05 * drawn(40, 2).float()
    new = torch.tensor([0.31, 0.77, 1.23])
    told = Ridge.fit(known, noisy, 0.1)(torch.stack([new.cos(), new.sin()], dim=1))
    assert told.dtype == torch.float32
    assert (told - torch.stack([new, 5 - new**2], dim=1)).abs().max() < 0.05


def test_of_what_it_is_not_sure_it_says_the_mean() -> None:
    known, values = drawn(6, 4), drawn(6, 2, seed=1)
    mean = values.mean(dim=0)
    torch.testing.assert_close(Ridge.fit(known, values, 0.1)(100 + known), mean.expand(6, 2))
    off = [(Ridge.fit(known, values, shrinkage)(known) - mean).norm() for shrinkage in (1e-6, 0.1, 1.0, 1e6)]
    assert off == sorted(off, reverse=True)
    assert off[-1] < 1e-5
    torch.testing.assert_close(Ridge.fit(known, values, 1e-6)(known), values, rtol=1e-3, atol=1e-3)


def test_pairs_of_one_voice() -> None:
    """The same embedding several times, with other pictures: their mean, not a singular system."""
    same = torch.ones(4, 3)
    values = torch.tensor([[0.0], [1.0], [2.0], [5.0]])
    torch.testing.assert_close(Ridge.fit(same, values, 1e-6)(same), torch.full((4, 1), 2.0))
    known = torch.cat([same, -same])
    told = Ridge.fit(known, torch.cat([values, values + 10]), 1e-4)(torch.tensor([[1.0, 1, 1], [-1, -1, -1]]))
    torch.testing.assert_close(told, torch.tensor([[2.0], [12.0]]), rtol=1e-3, atol=1e-3)


def test_in_another_precision_it_is_the_same() -> None:
    known, values, new = drawn(30, 8).float(), drawn(30, 5, seed=1).float(), drawn(7, 8, seed=2).float()
    ridge = Ridge.fit(known, values, 0.1)
    assert ridge(new.double()).dtype == torch.float32  # that of the values, whatever is asked
    torch.testing.assert_close(
        Ridge.fit(known.double(), values.double(), 0.1)(new).float(), ridge(new), rtol=1e-4, atol=1e-4
    )


def test_some_of_many() -> None:
    assert some(0, 1).tolist() == []
    assert some(MANY_PAIRS, 1).tolist() == list(range(MANY_PAIRS))
    found = some(MANY_PAIRS + 500, 1)
    assert len(found) == MANY_PAIRS
    assert (found.diff() > 0).all()
    assert found[0] >= 0
    assert found[-1] > MANY_PAIRS - 1  # not the first ones
    assert torch.equal(found, some(MANY_PAIRS + 500, 1))
    assert not torch.equal(found, some(MANY_PAIRS + 500, 2))
