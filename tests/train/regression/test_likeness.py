"""Faces moved until a recogniser sees in them what is wanted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s2f_train.regression import likeness
from s2f_train.regression.likeness import Likeness
from s2f_train.regression.photographs import Photographs

TOLD, BESIDE, SEEN = 5, 2, 12
# Photographs whose numbers are independent, with a standard deviation of 1.
USUAL = Photographs(torch.zeros(2, TOLD), torch.eye(TOLD), torch.zeros(TOLD), torch.zeros(TOLD))


@pytest.fixture(scope="module")
def world() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A recogniser that is linear but for noise: its slope, and numbers of 600 drawn faces with what it sees."""
    random = torch.Generator().manual_seed(0)
    slope = torch.randn(TOLD + BESIDE, SEEN, generator=random)
    slope[1] = 0  # a number that it does not see
    numbers = 0.3 + torch.randn(600, TOLD, generator=random)
    beside = torch.randn(600, BESIDE, generator=random)
    seen = 2 + torch.cat([numbers, beside], dim=1) @ slope + 0.1 * torch.randn(600, SEEN, generator=random)
    return slope, numbers, beside, seen


def test_faces_come_near_to_what_is_wanted(world: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    slope, numbers, beside, seen = world
    fitted = Likeness.fit(numbers, beside, seen)
    random = torch.Generator().manual_seed(1)
    there, own = torch.randn(50, TOLD, generator=random), torch.randn(50, BESIDE, generator=random)
    wanted = 2 + torch.cat([there, own], dim=1) @ slope
    given = torch.zeros(50, TOLD)
    made = fitted(given, own, wanted - seen.mean(dim=0), USUAL, given)

    def distance(numbers: Tensor) -> Tensor:
        return (2 + torch.cat([numbers, own], dim=1) @ slope - wanted).norm(dim=1)

    assert (distance(made) < 0.75 * distance(given)).all()
    assert made[:, 1].abs().max() < 0.1  # nothing asks for a number that is not seen


def test_what_is_given_is_kept_the_more_the_more_it_weighs(
    world: tuple[Tensor, Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, numbers, beside, seen = world
    fitted = Likeness.fit(numbers, beside, seen)
    given, own, wanted = torch.ones(3, TOLD), torch.zeros(3, BESIDE), 2.0 - seen.mean(dim=0).expand(3, -1)

    def moved() -> float:
        return float((fitted(given, own, wanted, USUAL, given * 0) - given).norm())

    before = moved()
    monkeypatch.setattr(likeness, "KEPT", 100.0)
    assert moved() < 0.1 * before
    monkeypatch.setattr(likeness, "KEPT", 1e-6)
    monkeypatch.setattr(likeness, "PLAIN", 1e-6)
    exact = fitted(given, own, wanted, USUAL, given * 0)
    exact = exact[:, [0, 2, 3, 4]]
    assert exact.abs().max() < 0.1  # what shows the wanted: no number but the mean


def test_numbers_that_photographs_have_together_move_together(world: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    slope, numbers, beside, seen = world
    fitted = Likeness.fit(numbers, beside, seen)
    given, own = torch.zeros(1, TOLD), torch.zeros(1, BESIDE)
    wanted = slope[:1]  # more of the first number
    covariance = torch.eye(TOLD)
    covariance[0, 1] = covariance[1, 0] = 0.9  # the second, which is not seen, goes with it
    together = Photographs(USUAL.means, torch.linalg.inv(covariance), USUAL.years, USUAL.older)
    apart, joined = (fitted(given, own, wanted, usual, given)[0] for usual in (USUAL, together))
    assert joined[1] - apart[1] > 0.1
    assert together.rarity(joined[None]) < together.rarity(apart[None])
