"""The optimisers of the recipes, and a step of one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from s2f_train.fit.processes import average_gradients


def make_optimiser(
    name: str, parameters: list[nn.Parameter], rate: float, betas: Sequence[float] = (0.9, 0.999)
) -> Optimizer:
    """An optimiser whose rate the loop sets from its `initial_lr`.

    rmsprop is the thesis's: alpha 0.9, eps 1e-8, not centred, neither momentum nor weight decay.
    """
    optimiser: Optimizer
    if name == "adam":
        optimiser = torch.optim.Adam(parameters, rate, betas=(betas[0], betas[1]))
    elif name == "rmsprop":
        optimiser = torch.optim.RMSprop(parameters, rate, alpha=0.9, eps=1e-8)
    elif name == "sgd":
        optimiser = torch.optim.SGD(parameters, rate, momentum=0.9, nesterov=True)
    else:
        raise ValueError(f"The optimiser is {name!r}; it must be adam, rmsprop or sgd.")
    for group in optimiser.param_groups:
        group["initial_lr"] = rate
    return optimiser


def descend(fabric: Fabric, optimiser: Optimizer, loss: Tensor, parameters: list[nn.Parameter], longest: float) -> None:
    """A step down a loss: its gradient, averaged over the processes and clipped to `longest`, then the optimiser."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    average_gradients(fabric, parameters)
    clip(parameters, longest)
    optimiser.step()


@torch.no_grad()
def average_weights(average: nn.Module, network: nn.Module, longest: float, step: int) -> None:
    """Moves an average of a network's weights on by a step; its decay is at most `longest`."""
    decay = min(longest, (1 + step) / (10 + step))  # short at first: the beginning is forgotten
    for slow, fast in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        slow.lerp_(fast, 1 - decay) if slow.is_floating_point() else slow.copy_(fast)


def clip(parameters: list[nn.Parameter], longest: float) -> None:
    """Shortens the gradient of all parameters together to `longest`; 0 leaves it."""
    if longest:
        nn.utils.clip_grad_norm_(parameters, longest)
