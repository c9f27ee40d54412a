"""Older faces for the voices that sound oldest."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s2f_train.regression.older import Older

STRETCH = 2.5


@pytest.fixture(scope="module")
def faces() -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of 400 faces, of which the second is the age, their ages, and what is told of 300 voices."""
    random = torch.Generator().manual_seed(0)
    numbers = torch.randn(400, 5, generator=random)
    told = 0.6 * torch.randn(300, 5, generator=random)
    return numbers, 40 + 10 * numbers[:, 1], told - told.mean(dim=0)


def test_only_who_sounds_oldest_gets_an_older_face(faces: tuple[Tensor, Tensor, Tensor]) -> None:
    numbers, ages, told = faces
    older = Older.fit(numbers, ages, told, STRETCH)
    assert older.years == pytest.approx(torch.tensor([0.0, 10.0, 0.0, 0.0, 0.0]).numpy(), abs=0.2)
    assert older.start == pytest.approx(6.0, rel=0.1)
    made = older(told)
    moved = told @ older.years > older.start
    assert 0.1 < moved.float().mean() < 0.25
    assert torch.equal(made[~moved], told[~moved])
    before, after = (x[moved] @ older.years - older.start for x in (told, made))
    assert torch.allclose(after, STRETCH * before, rtol=1e-3)
    others = [0, 2, 3, 4]  # what does not tell the age hardly changes
    assert (made - told)[:, others].abs().max() < 0.05 * (made - told)[:, 1].abs().max()


def test_unknown_ages_are_left_out(faces: tuple[Tensor, Tensor, Tensor]) -> None:
    numbers, ages, told = faces
    some = torch.where(torch.arange(len(ages)) < 200, ages, float("nan"))
    expected = Older.fit(numbers[:200], ages[:200], told, STRETCH)
    found = Older.fit(numbers, some, told, STRETCH)
    assert torch.equal(found.years, expected.years)
    assert torch.equal(found(told), expected(told))


@pytest.mark.parametrize(("known", "stretch"), [(29, STRETCH), (400, 1.0)])
def test_faces_stay_without_ages_or_without_a_stretch(
    faces: tuple[Tensor, Tensor, Tensor], known: int, stretch: float
) -> None:
    numbers, ages, told = faces
    some = torch.where(torch.arange(len(ages)) < known, ages, float("nan"))
    assert torch.equal(Older.fit(numbers, some, told, stretch)(told), told)


def test_further_numbers_stay(faces: tuple[Tensor, Tensor, Tensor]) -> None:
    numbers, ages, told = faces
    older = Older.fit(numbers, ages, told, STRETCH)
    more = torch.cat([told, torch.ones(len(told), 3)], dim=1)
    made = older.widened(8)(more)
    assert torch.allclose(made[:, :5], older(told))
    assert torch.equal(made[:, 5:], more[:, 5:])
