"""Optimisers: the published rules, over several steps, against the formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from s2f_train.config import GanSettings, RunSettings
from s2f_train.fit.loop import _set_rate
from s2f_train.fit.optimisers import clip, make_optimiser

STEPS = 5
GRADIENTS = np.random.default_rng(0).normal(size=(STEPS, 3))


def trace(name: str, rate: float = 1e-2, **more: tuple[float, float]) -> NDArray[np.float64]:
    """Where a parameter that begins at 0 is after `STEPS` steps with known gradients."""
    parameter = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimiser = make_optimiser(name, [parameter], rate, **more)
    for gradient in GRADIENTS:
        parameter.grad = torch.from_numpy(gradient.copy())
        optimiser.step()
    return parameter.detach().numpy()


def test_rmsprop_is_the_thesis_s() -> None:
    """alpha 0.9, eps 1e-8, not centred, no momentum, no decay of weights."""
    x, square = np.zeros(3), np.zeros(3)
    for g in GRADIENTS:
        square = 0.9 * square + 0.1 * g**2
        x -= 1e-2 * g / (np.sqrt(square) + 1e-8)
    np.testing.assert_allclose(trace("rmsprop"), x, rtol=1e-12)


@pytest.mark.parametrize("betas", [(0.5, 0.999), (0.9, 0.99)])
def test_adam(betas: tuple[float, float]) -> None:
    x, mean, square = np.zeros(3), np.zeros(3), np.zeros(3)
    for n, g in enumerate(GRADIENTS, 1):
        mean = betas[0] * mean + (1 - betas[0]) * g
        square = betas[1] * square + (1 - betas[1]) * g**2
        x -= 1e-2 * mean / (1 - betas[0] ** n) / (np.sqrt(square / (1 - betas[1] ** n)) + 1e-8)
    np.testing.assert_allclose(trace("adam", betas=betas), x, rtol=1e-12)


def test_sgd_has_nesterov_s_momentum() -> None:
    x, speed = np.zeros(3), np.zeros(3)
    for g in GRADIENTS:
        speed = 0.9 * speed + g
        x -= 1e-2 * (g + 0.9 * speed)
    np.testing.assert_allclose(trace("sgd"), x, rtol=1e-12)


def test_an_unknown_one() -> None:
    with pytest.raises(ValueError, match="'adamw'; it must be adam, rmsprop or sgd"):
        make_optimiser("adamw", [nn.Parameter(torch.zeros(1))], 1e-3)


@pytest.mark.parametrize(("longest", "length"), [(0.0, 13.0), (20.0, 13.0), (2.6, 2.6)])
def test_the_gradient_of_all_parameters_together_is_shortened(longest: float, length: float) -> None:
    parameters = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(2))]
    parameters[0].grad, parameters[1].grad = torch.tensor([5.0]), torch.tensor([0.0, -12.0])
    clip(parameters, longest)
    found = torch.cat([p.grad for p in parameters if p.grad is not None])
    assert found.norm().item() == pytest.approx(length, rel=1e-5)
    torch.testing.assert_close(found / found.norm(), torch.tensor([5.0, 0.0, -12.0]) / 13)


@pytest.mark.parametrize(
    ("schedule", "step", "share"), [("constant", 0, 1), ("constant", 99, 1), ("cosine", 0, 1), ("cosine", 50, 0.5),
                                    ("cosine", 25, 0.5 + 0.5**1.5), ("cosine", 100, 0)]
)  # fmt: skip
def test_the_rate_over_the_steps(schedule: str, step: int, share: float) -> None:
    settings: RunSettings = GanSettings(steps=100, schedule=schedule)
    optimiser = make_optimiser("adam", [nn.Parameter(torch.zeros(1))], 3e-4)
    for _ in range(2):  # it does not shrink with every call
        _set_rate(optimiser, settings, step)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(3e-4 * share, abs=1e-12)
