"""Several processes as one: started by ``torchrun``, joined by torch's own DistributedDataParallel.

All sums are added over the ranks before anything is divided, so that one process and many compute the same step. Batch
normalisation takes its statistics over the global batch for the same reason.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as collective
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel


def world() -> int:
    """Number of processes; 1 without ``torchrun``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, counted from 0."""
    return dist.get_rank() if world() > 1 else 0


def added(*values: Tensor) -> tuple[Tensor, ...]:
    """Each value summed over all processes. The tensors given stay as they are."""
    if world() == 1:
        return values
    totals = tuple(value.clone() for value in values)
    for total in totals:
        dist.all_reduce(total)
    return totals


def counted(rows: int, device: torch.device) -> tuple[int, int]:
    """Rows of all processes together, and of the one that has fewest."""
    if world() == 1:
        return rows, rows
    found = [torch.zeros((), dtype=torch.long, device=device) for _ in range(world())]
    dist.all_gather(found, torch.tensor(rows, device=device))
    counts = [int(count) for count in found]
    return sum(counts), min(counts)


def all_rows(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rows of all processes in their global order: process r holds rows r, r + world, … Every process must call it."""
    if world() == 1 or not tensors:
        return dict(tensors)
    parts: list[dict[str, Tensor]] = [{} for _ in range(world())]
    dist.all_gather_object(parts, {name: value.cpu() for name, value in tensors.items()})
    whole = {}
    for name in tensors:
        rows = sum(len(part[name]) for part in parts)
        whole[name] = parts[0][name].new_empty(rows, *parts[0][name].shape[1:])
        for number, part in enumerate(parts):
            whole[name][number :: world()] = part[name]
    return whole


def parallel(model: nn.Module, players: int, *, compiled: bool = False) -> nn.Module:
    """A view of the model whose backward pass averages gradients over the ranks. The weights are the model's own, and
    their names stay as they are. With several players each child module is joined on its own, because they move in
    turn."""
    view = model if world() == 1 else _with_global_norms(model)
    if world() > 1 and players > 1:
        for name, child in view.named_children():
            if any(p.requires_grad for p in child.parameters()):
                view._modules[name] = _joined(child)
    if compiled:  # the view: a compiled module hands what is set on it to the one inside
        view = torch.compile(view)  # type: ignore[assignment]
    return _joined(view) if world() > 1 and players == 1 else view


def _joined(module: nn.Module) -> nn.Module:
    # Buffers need no broadcast: running statistics are computed from the global batch, hence equal on every rank.
    return DistributedDataParallel(module, broadcast_buffers=False)


def _with_global_norms(module: nn.Module) -> nn.Module:
    """The same tree over the same tensors, with every batch normalisation computed over all ranks."""
    if isinstance(module, _BatchNorm):
        return GlobalBatchNorm(module)
    view = copy.copy(module)
    view._modules = {name: child and _with_global_norms(child) for name, child in module._modules.items()}
    return view


class GlobalBatchNorm(nn.Module):
    """Batch normalisation with the statistics of the global batch (Ioffe and Szegedy 2015, Alg. 1), on any device
    (torch's SyncBatchNorm runs on CUDA only). It reads and updates the tensors of ``norm``."""

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        if not self.training:
            return norm(x)
        dims, shape = [0, *range(2, x.dim())], (1, -1, *[1] * (x.dim() - 2))
        wide = x.float()
        count = wide.new_tensor([float(x.numel() // x.shape[1])])
        total, count = collective.all_reduce(torch.cat([wide.sum(dims), count])).split([x.shape[1], 1])
        mean = total / count
        centred = wide - mean.view(shape)  # then squared: E[x²] − E[x]² loses the variance of numbers far from 0
        squares = collective.all_reduce(centred.square().sum(dims))
        self._remember(mean.detach(), (squares / (count - 1).clamp_min(1)).detach())
        normal = centred * torch.rsqrt(squares / count + norm.eps).view(shape)
        if norm.affine:
            normal = normal * norm.weight.view(shape) + norm.bias.view(shape)
        return normal.to(x.dtype)

    def _remember(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        norm = self.norm
        if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
            return
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)
            momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, momentum)
            norm.running_var.lerp_(unbiased_variance, momentum)
