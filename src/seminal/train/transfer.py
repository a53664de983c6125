"""Training that starts from weights learned elsewhere: which parameters learn, and how fast."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from seminal.core import Transfer


def prepared(model: nn.Module, transfer: Transfer | None) -> dict[nn.Parameter, float]:
    """Freeze what shall not learn, in place; the others' learning rates as shares of the recipe's."""
    if transfer is None:
        return {}
    rates = {}
    for name, parameter in model.named_parameters():
        in_head = name in transfer.head
        parameter.requires_grad_(in_head or not transfer.freeze)
        rates[parameter] = 1.0 if in_head else transfer.body_rate
    return rates


def keep_still(model: nn.Module, transfer: Transfer | None) -> None:
    """A frozen body keeps the statistics it was trained with: its batch normalisations stay in evaluation mode."""
    if transfer is None or not transfer.freeze:
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not any(p.requires_grad for p in module.parameters()):
            module.eval()
