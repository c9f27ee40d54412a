"""One process or many: devices, precision and what the processes tell each other, by Lightning Fabric.

The processes of a fit draw the same batch, each takes its share, and the gradients are averaged
before the optimiser's step. So two processes compute what one computes with the same batch, batch
norms included (tested); nothing is wrapped, and a checkpoint is the same whoever wrote it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from s2f_train.config import RunSettings, SettingsError
from s2f_train.fit.losses import wide


def launch(settings: RunSettings) -> Fabric:
    """Starts the other processes, if any (torchrun's are used where it started this one).

    Raises:
        SettingsError: the device is not there, or torchrun started another number of processes.
    """
    processes = settings.devices * settings.num_nodes
    started = int(os.environ["WORLD_SIZE"]) if torch.distributed.is_torchelastic_launched() else processes
    if started != processes:
        raise SettingsError(
            f"torchrun started {started} processes; devices={settings.devices} and num_nodes={settings.num_nodes} "
            f"make {processes}. Give devices as its --nproc-per-node and num_nodes as its --nnodes."
        )
    if settings.accelerator == "cuda" and torch.cuda.device_count() < settings.devices:
        raise SettingsError(
            f"{settings.devices} GPUs are asked for, {torch.cuda.device_count()} are here; set devices or accelerator."
        )
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        # The first process may embed a million voices before the others hear of it.
        strategy=DDPStrategy(timeout=timedelta(days=2)) if processes > 1 else "auto",
        precision=settings.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def dtype_of(precision: str) -> torch.dtype:
    """What the weights are kept in."""
    return torch.float64 if precision == "64-true" else torch.float32


def average_gradients(fabric: Fabric, parameters: Iterable[nn.Parameter]) -> None:
    """Replaces each gradient by its mean over the processes, in one exchange."""
    if fabric.world_size == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    together = torch.cat([g.flatten() for g in gradients])
    torch.distributed.all_reduce(together)
    together /= fabric.world_size
    begin = 0
    for gradient in gradients:
        gradient.copy_(together[begin : begin + gradient.numel()].view_as(gradient))
        begin += gradient.numel()


def mean_over_processes(fabric: Fabric, values: Tensor) -> Tensor:
    """The mean of a tensor over the processes; of one process, itself."""
    if fabric.world_size > 1:
        torch.distributed.all_reduce(values)
        values /= fabric.world_size
    return values


def leave(fabric: Fabric) -> None:
    """Ends the exchange, after a fit that went well: gloo's threads may abort a process that ends while they run."""
    if fabric.world_size > 1:
        torch.distributed.destroy_process_group()


def lost_a_process(error: RuntimeError) -> bool:
    """Whether an exchange failed since another process is gone."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


def synchronise_norms(fabric: Fabric, network: nn.Module) -> nn.Module:
    """With several processes: batch norms that take mean and variance over all of them."""
    if fabric.world_size == 1:
        return network
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            child.__class__ = type(f"Shared{type(child).__name__}", (_SharedBatchNorm, type(child)), {})
        else:
            setattr(network, name, synchronise_norms(fabric, child))
    return network


class _SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """A batch norm over all processes. torch's SyncBatchNorm does the same on GPUs and refuses CPUs."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        axes = [i for i in range(x.dim()) if i != 1]
        count = torch.distributed.get_world_size() * x.numel() // x.shape[1]
        full = wide(x)
        # The sum of squares about the common mean: about zero it would lose what float32 has.
        mean = _sum_over_processes(full.sum(dim=axes)) / count
        shape = [1, -1, *[1] * (x.dim() - 2)]
        centred = full - mean.view(shape)
        variance = _sum_over_processes(centred.square().sum(dim=axes)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        result: Tensor = centred * scale.view(shape) + self.bias.view(shape)
        return result.to(x.dtype)


class _SumOverProcesses(torch.autograd.Function):
    """A sum over processes; the gradient of a sum that all use is the sum of their gradients."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        x = x.clone()
        torch.distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        torch.distributed.all_reduce(gradient)
        return gradient


def _sum_over_processes(x: Tensor) -> Tensor:
    result: Tensor = _SumOverProcesses.apply(x)  # type: ignore[no-untyped-call]
    return result
