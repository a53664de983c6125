"""Training that starts from weights learned elsewhere: which parameters learn, and how fast."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import nn

from seminal.core import Transfer


def prepared(model: nn.Module, transfer: Transfer | None) -> dict[nn.Parameter, float]:
    """Freeze what shall not learn, in place; the others' learning rates as shares of the recipe's."""
    if transfer is None:
        return {}
    rates, above = {}, layers_above(model)
    for name, parameter in model.named_parameters():
        in_head = name in transfer.head
        parameter.requires_grad_(in_head or not transfer.frozen)
        rates[parameter] = 1.0 if in_head else transfer.body_rate * transfer.layer_decay ** above[name]
    return rates


def layers_above(model: nn.Module) -> Mapping[str, int]:
    """For each parameter the layers between it and the output, of a network whose layers are all called ``layers.i``: most
    for what comes before the first of them, none for what comes after the last."""
    names = [name for name, _ in model.named_parameters()]
    layer = [(found := re.search(r"(?:^|\.)layers\.(\d+)\.", name)) and int(found[1]) + 1 for name in names]
    depth = max((number or 0 for number in layer), default=0)
    passed, above = 0, {}
    for name, number in zip(names, layer):
        passed = number or (depth if passed else 0)
        above[name] = depth - passed
    return above


def keep_still(model: nn.Module, transfer: Transfer | None) -> None:
    """A frozen body stays in evaluation mode: it keeps the statistics it was trained with, and drops nothing. Dropout goes on
    inside a part all of which learns."""
    if transfer is None or not transfer.frozen:
        return
    _, still, learning = _parts(model)
    for part in still:
        part.eval()
    for part in learning:
        part.train()


def _parts(module: nn.Module) -> tuple[set[bool], list[nn.Module], list[nn.Module]]:
    """Whether parameters of ``module`` learn: all, none or some; and its largest parts none of which learns, and all of
    which learns. It is asked at each step, and each parameter is looked at once."""
    learns = {p.requires_grad for p in module.parameters(recurse=False)}
    still: list[nn.Module] = []
    learning: list[nn.Module] = []
    for child in module.children():
        found, *parts = _parts(child)
        learns |= found
        still += parts[0]
        learning += parts[1]
    if True not in learns:
        return learns, [module], []
    return (learns, still, learning) if False in learns else (learns, [], [module])
