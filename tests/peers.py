"""What tests beside a peer share: weights behind which no layer can hide, and how far two results lie apart."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

BATCH_NORM = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def scrambled(model: nn.Module, gains: tuple[float, float] = (0.3, 1.3)) -> nn.Module:
    """Every number of the normalisations random, the running statistics too, so that none can hide behind a 0 or a 1."""
    generator = Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, BATCH_NORM):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.weight.data.uniform_(*gains, generator=generator)
            for numbers in (module.bias.data, module.running_mean):
                numbers.uniform_(-0.5, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model


@torch.no_grad()
def shaken(model: nn.Module, seed: int = 0, spread: float = 0.2) -> nn.Module:
    """A random number added to every parameter that learns: no bias of 0 and no gain of 1 behind which a mistake could
    hide."""
    generator = Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:  # sinusoids stay
            parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
    return model.eval()


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference, as a share of the largest number of ``b``."""
    return float((a - b).detach().abs().max() / b.detach().abs().max().clamp(min=1e-30))
