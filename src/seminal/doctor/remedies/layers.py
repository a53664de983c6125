"""Changes of the model itself: first weights, activations between layers, normalisation, width and depth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader

from seminal.doctor.findings import Remedy
from seminal.doctor.program import Program, copied, undisturbed
from seminal.doctor.remedies import in_recipe
from seminal.doctor.remedies.forward import (
    ELEMENTWISE,
    LAYERS,
    Changing,
    Leaf,
    Pass,
    around,
    is_activation,
    owned,
    passed,
    put,
)

KINDS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "selu": nn.SELU, "elu": nn.ELU}
)
HIDDEN = 64  # units of a hidden layer where there was none
NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)

# ------------------------------------------------------------------------------------------------------- first weights


def default_start() -> Remedy:
    """Every layer starts as torch starts it, biases too."""

    def change(program: Program) -> Program:
        with undisturbed():
            for module in program.model.modules():
                reset = getattr(module, "reset_parameters", None)
                if isinstance(module, nn.MultiheadAttention):
                    module._reset_parameters()
                elif callable(reset):
                    reset()
        return program

    snippet = "# no lines that fill weights or biases: each layer has good first values of its own"
    return Remedy("usual first weights", "start every layer with torch's own first weights", snippet, change)


def he_start() -> Remedy:
    """He's normal weights for what a ReLU follows, a gain of 1 for the last layer, biases 0, orthogonal recurrent weights."""

    def change(program: Program) -> Program:
        last = passed(program).layers[-1:]
        with undisturbed(), torch.no_grad():
            for module in program.model.modules():
                if isinstance(module, LAYERS):
                    ends = any(module is leaf.module for leaf in last)
                    nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if ends else "relu")
                    if module.bias is not None:
                        module.bias.zero_()
                elif isinstance(module, nn.RNNBase):
                    _start_recurrent(module)
        return program

    snippet = (
        "for m in model.modules():\n    if isinstance(m, (nn.Linear, nn.Conv2d)):\n"
        '        nn.init.kaiming_normal_(m.weight, nonlinearity="relu")\n        nn.init.zeros_(m.bias)'
    )
    return Remedy("He's first weights", "start with He's weights and biases of 0", snippet, change)


def _start_recurrent(module: nn.RNNBase) -> None:
    for name, value in module.named_parameters():
        if "weight_hh" in name:
            for gate in value.split(module.hidden_size):  # the gates lie above one another
                nn.init.orthogonal_(gate)
        elif "weight" in name:
            nn.init.xavier_uniform_(value)
        else:
            nn.init.zeros_(value)


# --------------------------------------------------------------------------------------------------------- activations


def activations(kind: str) -> Remedy:
    """Another activation between the layers, for modules and for functions called in ``forward``; the last one, whose
    values are the output, stays."""

    def change(program: Program) -> Program:
        seen = passed(program)
        calls = [call for call in seen.calls if call.name in ELEMENTWISE]
        ending = len(calls) - 1 if seen.ending is not None and seen.ending.name in ELEMENTWISE else -1
        by_modules = set()
        for leaf in seen.leaves:
            made = _call_of(leaf, seen)
            if made is not None:
                by_modules.add(made)
                if made != ending:
                    put(program.model, leaf.name, KINDS[kind]())
        if set(range(len(calls))) - by_modules - {ending}:
            function = KINDS[kind]()
            other = MappingProxyType({name: _only(function) for name in ELEMENTWISE})
            around(program.model, lambda: Changing(other, spared=ending))
        return program

    snippet = f"nn.{KINDS[kind]().__class__.__name__}()    # between the layers, in place of the present activation"
    return Remedy(f"{kind} between layers", f"use {kind} between the layers", snippet, change)


def _call_of(leaf: Leaf, seen: Pass) -> int | None:
    """Which elementwise call an activation module has made."""
    if not is_activation(leaf.module) or leaf.calls == 0 or seen.calls[leaf.calls - 1].name not in ELEMENTWISE:
        return None
    return sum(call.name in ELEMENTWISE for call in seen.calls[: leaf.calls]) - 1


def _only(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda input, *_, **__: function(input)


def with_activations(kind: str = "relu") -> Remedy:
    """An activation between layers that follow one another with none between them."""

    def change(program: Program) -> Program:
        layers = passed(program).layers
        for leaf, following in pairwise(layers):
            if leaf.calls == following.calls and _feeds(leaf, following):
                put(program.model, leaf.name, nn.Sequential(leaf.module, KINDS[kind]()))
        return program

    name = KINDS[kind]().__class__.__name__
    snippet = f"model = nn.Sequential(nn.Linear(…), nn.{name}(), nn.Linear(…))    # one after every layer but the last"
    return Remedy(
        f"{kind} where there was none", f"put {kind} between layers that have nothing between them", snippet, change
    )


def _feeds(leaf: Leaf, following: Leaf) -> bool:
    """Whether the second reads what the first gives: as many numbers per row, as many features, or a flattened picture."""
    given, taken = leaf.outside, following.inside
    if len(given) < 2 or len(taken) < 2:
        return False
    flattened = isinstance(leaf.module, _ConvNd) and isinstance(following.module, nn.Linear)
    features = 1 if isinstance(leaf.module, _ConvNd) else -1
    return (
        math.prod(given[1:]) == math.prod(taken[1:])
        or (type(leaf.module) is type(following.module) and given[features] == taken[features])
        or (flattened and taken[-1] % given[1] == 0)
    )


def normalised() -> Remedy:
    """Normalisation after every hidden layer, where the model has none: batch normalisation, or layer normalisation where a
    batch may be a single row and inside sequences."""

    def change(program: Program) -> Program:
        seen = passed(program)
        if any(isinstance(module, NORMS) for module in program.model.modules()):
            return program
        added: list[Tensor] = []
        single = _smallest_batch(program.train) < 2
        for leaf in seen.layers[:-1]:
            norm = _norm(leaf, single)
            if norm is not None:
                norm.to(next(leaf.module.parameters()))
                put(program.model, leaf.name, nn.Sequential(leaf.module, norm))
                added += norm.parameters()
        owned(program, added=added)
        return program

    snippet = (
        "nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU(),    # and nn.BatchNorm2d(c) after a convolution of c channels"
    )
    return Remedy("normalisation", "normalise after every hidden layer", snippet, change)


def _norm(leaf: Leaf, single: bool) -> nn.Module | None:
    shape = leaf.outside
    if isinstance(leaf.module, _ConvNd):
        kinds = {3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
        return nn.GroupNorm(1, shape[1]) if single else kinds[len(shape)](shape[1])
    if len(shape) < 2:
        return None
    return nn.BatchNorm1d(shape[1]) if len(shape) == 2 and not single else nn.LayerNorm(shape[-1])


def _smallest_batch(loader: Any) -> int:
    if isinstance(loader, DataLoader) and loader.batch_size is not None:
        rest = len(loader.dataset) % loader.batch_size  # type: ignore[arg-type]
        return loader.batch_size if rest == 0 or loader.drop_last else rest
    return min(len(target) for _, target in [next(iter(loader))])


# ------------------------------------------------------------------------------------------------------ width and depth


def resized(layer: nn.Module, inside: int, outside: int) -> nn.Module:
    """A new layer of the same kind with other numbers of inputs and outputs."""
    if isinstance(layer, nn.Linear):
        new: nn.Module = nn.Linear(inside, outside, layer.bias is not None)
    else:
        assert isinstance(layer, _ConvNd)
        kind: Any = type(layer)
        new = kind(
            inside,
            outside,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
            bias=layer.bias is not None,
            padding_mode=layer.padding_mode,
        )
    return new.to(layer.weight).train(layer.training)


def outputs_changed(program: Program, count: int) -> Program:
    """The last layer anew, with so many outputs; the model stays the same otherwise."""
    layers = passed(program).layers
    if not layers:
        return program
    last = layers[-1]
    inside, _ = _widths(last.module)
    with undisturbed():
        new = resized(last.module, inside, count)
    model = put(program.model, last.name, new)
    program = replace(program, model=model)
    owned(program, _heirs(last.module, new))
    return program


def _heirs(old: nn.Module, new: nn.Module) -> list[tuple[Tensor | None, Tensor | None]]:
    """The parameters of a replaced module, beside those of the new one that bear the same names."""
    named = dict(new.named_parameters())
    return [(value, named.get(name)) for name, value in old.named_parameters()]


def wider(factor: float = 2.0) -> Remedy:
    """So many times the units (channels) in every hidden layer. Where the layers do not simply follow one another, the
    program stays as it is."""

    def change(program: Program) -> Program:
        trial = replace(program, model=copied(program.model))
        try:
            with undisturbed():
                _grown(trial, factor)
            passed(trial)
        except (RuntimeError, ValueError, TypeError):
            return program
        with undisturbed():
            owned(program, _grown(program, factor))
        return program

    says = f"make the hidden layers {factor:g} times as wide"
    snippet = f"hidden = int({factor:g} * hidden)    # units of every hidden layer"
    return Remedy(f"width × {factor:g}", says, snippet, change)


def smaller(factor: float = 2.0) -> Remedy:
    """So many times fewer units in every hidden layer."""
    says = f"make the hidden layers {factor:g} times narrower"
    snippet = f"hidden = max(1, int(hidden / {factor:g}))    # units of every hidden layer"
    return Remedy(f"width / {factor:g}", says, snippet, wider(1 / factor).change)


def _grown(program: Program, factor: float) -> list[tuple[Tensor | None, Tensor | None]]:
    """Puts wider modules in the places of the old ones, in the order of the forward pass."""
    seen = passed(program)
    last = seen.layers[-1].module if seen.layers else None
    old_width = new_width = 0  # of what arrives at a module: as it was, as it is now
    heirs: list[tuple[Tensor | None, Tensor | None]] = []

    def now(width: int) -> int:
        whole = old_width and width % old_width == 0  # a flattened picture holds every channel several times
        return width // old_width * new_width if whole else width

    for leaf in seen.leaves:
        old = leaf.module
        new: nn.Module | None = None
        if isinstance(old, LAYERS):
            inside, outside = _widths(old)
            grown = outside if old is last else max(1, round(factor * outside))
            new = resized(old, now(inside), grown)
            old_width, new_width = outside, grown
        elif isinstance(old, nn.RNNBase):
            grown = max(1, round(factor * old.hidden_size))
            new = _recurrent(old, now(old.input_size), grown)
            ways = 2 if old.bidirectional else 1
            old_width, new_width = ways * old.hidden_size, ways * grown
        elif isinstance(old, nn.Embedding):
            old_width, new_width = old.embedding_dim, max(1, round(factor * old.embedding_dim))
            new = nn.Embedding(old.num_embeddings, new_width, old.padding_idx)
        elif isinstance(old, _BatchNorm):
            new = type(old)(now(old.num_features), old.eps, old.momentum, old.affine, old.track_running_stats)
        elif isinstance(old, nn.LayerNorm) and len(old.normalized_shape) == 1:
            new = nn.LayerNorm(now(old.normalized_shape[0]), old.eps, old.elementwise_affine)
        if new is not None:
            put(program.model, leaf.name, new.to(next(old.parameters(), torch.empty(0))).train(old.training))
            heirs += _heirs(old, new)
    return heirs


def _widths(layer: nn.Module) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    assert isinstance(layer, _ConvNd)
    return layer.in_channels, layer.out_channels


def _recurrent(old: nn.RNNBase, inside: int, hidden: int) -> nn.Module:
    kind: Any = partial(nn.RNN, nonlinearity=old.nonlinearity) if isinstance(old, nn.RNN) else type(old)
    new: nn.Module = kind(
        inside,
        hidden,
        num_layers=old.num_layers,
        bias=old.bias,
        batch_first=old.batch_first,
        dropout=old.dropout,
        bidirectional=old.bidirectional,
    )
    return new


def deeper() -> Remedy:
    """One more hidden layer, with ReLU, before the last one."""

    def change(program: Program) -> Program:
        layers = passed(program).layers
        if not layers:
            return program
        last = layers[-1]
        inside, outside = _widths(last.module)
        first = len(layers) == 1  # nothing hidden yet: the new layer decides how much can be learned
        width = max(HIDDEN, inside) if first else inside
        with undisturbed():
            new = _same_size(last.module, inside, width)
            end = resized(last.module, width, outside) if first else last.module
        model = put(program.model, last.name, nn.Sequential(new, nn.ReLU(), end))
        program = replace(program, model=model)
        owned(program, _heirs(last.module, end) if first else (), new.parameters())
        return program

    snippet = "nn.Linear(hidden, hidden), nn.ReLU(),    # one more, before the last layer"
    return Remedy("one more layer", "add a hidden layer before the last one", snippet, change)


def _same_size(like: nn.Module, inside: int, outside: int) -> nn.Module:
    """A layer of the same kind that keeps the size of pictures."""
    if isinstance(like, nn.Linear):
        return resized(like, inside, outside)
    assert isinstance(like, _ConvNd)
    kind: Any = type(like)
    new: nn.Module = kind(inside, outside, 3, padding=1)
    return new.to(like.weight)


# ------------------------------------------------------------------------------------------------- what modules are told


def no_dropout() -> Remedy:
    """No dropout, in modules, in recurrent layers and attention, and where ``forward`` calls it."""

    def change(program: Program) -> Program:
        for module in program.model.modules():
            if isinstance(module, _DropoutNd):
                module.p = 0.0
            elif isinstance(module, nn.RNNBase | nn.MultiheadAttention):
                module.dropout = 0.0
        seen = passed(program)
        if seen.dropouts > sum(isinstance(leaf.module, _DropoutNd) for leaf in seen.leaves):
            same = MappingProxyType(
                {name: _only(lambda x: x) for name in ("dropout", "dropout1d", "dropout2d", "dropout3d")}
            )
            around(program.model, lambda: Changing(same))
        return program

    snippet = "nn.Dropout(0.0)    # or without these layers"
    return Remedy("no dropout", "train without dropout", snippet, change, in_recipe.no_dropout)


def rows_first() -> Remedy:
    """The first dimension is the row for every recurrent and attention layer."""

    def change(program: Program) -> Program:
        for module in program.model.modules():
            if isinstance(module, nn.RNNBase | nn.MultiheadAttention | nn.Transformer):
                module.batch_first = True
        return program

    snippet = "nn.TransformerEncoderLayer(…, batch_first=True)    # the same for nn.LSTM, nn.GRU, nn.MultiheadAttention"
    return Remedy("batch_first", "give batch_first=True to recurrent and attention layers", snippet, change)


class _Connected(TorchFunctionMode):
    """Whatever cuts a tensor from its graph leaves it in the graph."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("detach", "detach_", "item") or func == Tensor.data.__get__:  # type: ignore[attr-defined]
            return args[0]
        if name == "_set_grad_enabled":
            return None
        if name in ("tensor", "as_tensor") and args and _holds_tensors(args[0]):
            return torch.stack([value.reshape(()) for value in args[0]])
        return func(*args, **(kwargs or {}))


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(v, Tensor) for v in value)


def reconnected() -> Remedy:
    """No ``detach``, ``item``, ``.data`` or ``no_grad`` inside the model (while it trains) or the loss."""

    def change(program: Program) -> Program:
        around(program.model, _Connected, training_only=True)
        loss = program.loss

        def connected(output: Any, target: Any) -> Tensor:
            if not torch.is_grad_enabled():
                return loss(output, target)
            with _Connected():
                return loss(output, target)

        return replace(program, loss=connected)

    snippet = "hidden = encoder(input)    # without .detach(), .item(), .data or torch.no_grad() on the way to the loss"
    return Remedy("graph kept whole", "remove what cuts the loss from the parameters", snippet, change)
