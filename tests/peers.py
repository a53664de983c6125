"""What tests beside a peer share: weights behind which no layer can hide, and how far two results lie apart."""

from __future__ import annotations

from torch import Generator, Tensor, nn


def scrambled(model: nn.Module) -> nn.Module:
    """Every number of the normalisations random, the running statistics too, so that none can hide behind a 0 or a 1."""
    generator = Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for numbers in (module.weight.data, module.bias.data, module.running_mean):
                numbers.uniform_(-0.5, 0.5, generator=generator)
            module.weight.data.add_(0.8)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference, as a share of the largest number of ``b``."""
    return float((a - b).detach().abs().max() / b.detach().abs().max().clamp(min=1e-30))
