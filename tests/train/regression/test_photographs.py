"""Which numbers faces on photographs have."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s2f_train.regression.photographs import Photographs

SIZE = 4


@pytest.fixture(scope="module")
def world() -> tuple[Photographs, Tensor]:
    """Photographs whose second number is a man's or a woman's, and whose third and fourth show age; and ages."""
    random = torch.Generator().manual_seed(0)
    male = torch.randint(2, (4000,), generator=random) * 2.0 - 1
    ages = 40 + 10 * torch.randn(4000, generator=random)
    numbers = 0.5 * torch.randn(4000, SIZE, generator=random)
    numbers[:, 1] += 0.3 + 2 * male
    numbers[:, 2] += (ages - 40) / 10
    numbers[:, 3] -= (ages - 40) / 20
    return Photographs.fit(numbers, male, ages), ages


def test_means_are_those_of_the_genders(world: tuple[Photographs, Tensor]) -> None:
    usual, _ = world
    men, women, between = usual.mean(torch.tensor([[1.0], [-1.0], [0.0]]))
    assert men.tolist() == pytest.approx([0, 2.3, 0, 0], abs=0.06)
    assert women.tolist() == pytest.approx([0, -1.7, 0, 0], abs=0.06)
    assert torch.allclose(between, (men + women) / 2, atol=1e-6)


def test_what_goes_together_is_less_rare(world: tuple[Photographs, Tensor]) -> None:
    usual, _ = world
    older, odd, none = usual.rarity(torch.tensor([[0.0, 0.0, 1.0, -0.5], [0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.0]]))
    assert older < 0.7 * odd
    assert none < 1e-5


def test_faces_become_as_old_as_they_should(world: tuple[Photographs, Tensor]) -> None:
    usual, _ = world
    young = torch.zeros(1, SIZE)
    older = usual.aged(young, torch.tensor([[20.0]]), 1.0)
    assert older[0, :2].abs().max() < 0.1
    assert older[0, 2] > 1.9
    assert float(older[0, 3]) == pytest.approx(-float(older[0, 2]) / 2, abs=0.15)
    assert float(older @ usual.years) == pytest.approx(20.0, rel=1e-3)
    half = usual.aged(older, torch.tensor([[0.0]]), 0.5)
    assert float(half @ usual.years) == pytest.approx(10.0, rel=1e-3)


def test_faces_show_as_much_of_a_gender_as_they_should(world: tuple[Photographs, Tensor]) -> None:
    usual, _ = world
    numbers = torch.stack([usual.mean(torch.tensor([[gender]]))[0] for gender in (0.5, 3.0, -0.5)])
    numbers[:, 0] = 1.0  # which has nothing to do with it
    made = usual.gendered(numbers, torch.tensor([[2.0], [2.0], [-2.0]]))
    expected = usual.mean(torch.tensor([[2.0], [3.0], [-2.0]]))
    assert made[:, 1].tolist() == pytest.approx(expected[:, 1].tolist(), abs=0.1)
    assert torch.equal(made[1], numbers[1])  # enough already
    assert torch.allclose(made[:, 0], numbers[:, 0], atol=0.1)
