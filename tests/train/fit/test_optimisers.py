"""Optimisers: the published rules, clipping and the schedule."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from s2f_train.config import GanSettings, RunSettings
from s2f_train.fit.loop import _set_rate
from s2f_train.fit.optimisers import clip, make_optimiser


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("rmsprop", {}, {"alpha": 0.9, "eps": 1e-8, "centered": False, "momentum": 0, "weight_decay": 0}),
        ("adam", {"betas": (0.5, 0.999)}, {"betas": (0.5, 0.999), "eps": 1e-8, "weight_decay": 0}),
        ("sgd", {}, {"momentum": 0.9, "nesterov": True, "dampening": 0, "weight_decay": 0}),
    ],
)
def test_the_published_rules(name: str, given: dict[str, Any], wanted: dict[str, Any]) -> None:
    found = make_optimiser(name, [nn.Parameter(torch.zeros(3))], 1e-2, **given).defaults
    assert {key: found[key] for key in ("lr", *wanted)} == {"lr": 1e-2, **wanted}


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
