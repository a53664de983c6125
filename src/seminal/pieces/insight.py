"""Looking inside a network for pictures: what its layers give for an input, and which places speak for a class.

Every function takes (model, input) and is pure: the model is put into evaluation mode for the while, its hooks are taken
off again, and neither weights, statistics nor gradients are touched.

Shapes: B pictures; maps have C channels of h × w places.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.core import UserError

POOLS = (
    *(nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.FractionalMaxPool2d),
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
SIGMOIDS = (nn.Sigmoid, nn.Hardsigmoid)


@dataclass(frozen=True)
class Call:
    """One call of a sub-module in a forward pass; a module that is used several times is called several times.

    ``shape`` is that of the output for one picture, () where the output is not one tensor. A list of maps of one size,
    as a dense block gives, counts as one tensor, of all their channels. ``parts`` are the calls made inside this one, in
    their order.
    """

    name: str
    number: int  # of this module, from 0
    module: nn.Module
    shape: tuple[int, ...]
    parts: tuple[Call, ...] = ()

    @property
    def is_map(self) -> bool:
        """Whether the output is feature maps: (C, h, w) of more than one place."""
        return len(self.shape) == 3 and self.shape[1] * self.shape[2] > 1

    @property
    def pools(self) -> bool:
        return isinstance(self.module, POOLS)

    def walk(self) -> Iterator[Call]:
        """This call and all inside it, in the order in which they ended."""
        for part in self.parts:
            yield from part.walk()
        yield self


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode for a while; each module then goes back to the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def traced(model: nn.Module, x: Tensor) -> Call:
    """The calls of one forward pass as a tree, whose root is the call of the model itself (its name is "")."""
    numbers: dict[str, int] = {}
    open_parts: list[list[Call]] = [[]]

    def begins(module: nn.Module, args: Any) -> None:
        open_parts.append([])

    def ends(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            number = numbers[name] = numbers.get(name, -1) + 1
            whole = _whole(output)
            shape = () if whole is None else tuple(whole.shape[1:])
            inside = tuple(open_parts.pop())
            open_parts[-1].append(Call(name, number, module, shape, inside))

        return hook

    named = list(model.named_modules())
    handles = [module.register_forward_pre_hook(begins) for _, module in named]
    handles += [module.register_forward_hook(ends(name)) for name, module in named]
    try:
        with torch.no_grad(), evaluating(model):
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return open_parts[0][0]


def _whole(output: Any) -> Tensor | None:
    """What a module gives, as one tensor; None where it is something else."""
    if isinstance(output, Tensor):
        return output
    if (
        type(output) in (list, tuple)
        and output
        and all(isinstance(part, Tensor) and part.dim() == 4 for part in output)
    ):
        sizes = {part.shape[2:] for part in output}
        return torch.cat(list(output), dim=1) if len(sizes) == 1 else None
    return None


# ---------------------------------------------------------------------------------------------------- choosing layers


def main_path(root: Call) -> list[Call]:
    """The calls through which a picture goes one after another: the parts of the model, those of its `nn.Sequential`s
    in their place. A module with a forward of its own, such as a residual block, is one step, whatever it does inside;
    a sequence of steps that all give maps of one size is one step too."""
    return [step for part in root.parts for step in _steps(part)]


def _steps(call: Call) -> list[Call]:
    has_map = len(call.shape) == 3
    if has_map and not isinstance(call.module, nn.Sequential):
        return [call]
    steps = [step for part in call.parts for step in _steps(part)]
    alike = len({step.shape[1:] for step in steps}) == 1 and not any(step.pools for step in steps)
    return [call] if has_map and (alike or not steps) else steps


def stages(root: Call) -> list[Call]:
    """The first convolution, and the end of each stage: the last call before the maps become smaller, or end.

    Poolings end no stage, and neither does what follows the first convolution without another one.
    """
    convolution = first_convolution(root)
    if convolution is None:
        return []
    found = [convolution]
    run: list[Call] = []
    for step in [*(s for s in main_path(root) if s.is_map), None]:
        if step is None or (run and step.shape[1:] != run[-1].shape[1:]):
            inside = [part for s in run for part in s.walk() if isinstance(part.module, nn.Conv2d)]
            ends = [s for s in run if not s.pools]
            if ends and any(part is not convolution for part in inside):
                found.append(ends[-1])
            run = []
        run += [step] if step is not None else []
    return found


def first_convolution(root: Call) -> Call | None:
    """The first convolution that gives maps; None where there is none."""
    return next((c for c in root.walk() if isinstance(c.module, nn.Conv2d) and c.is_map), None)


def last_weighted(root: Call) -> Call | None:
    """The last linear layer or convolution: the classifier, which reads the penultimate vector."""
    weighted = [call for call in root.walk() if isinstance(call.module, nn.Linear | nn.Conv2d)]
    return weighted[-1] if weighted else None


def gates(root: Call) -> list[Call]:
    """The gates of squeeze-and-excitation blocks (Hu et al. 2018, Eq. 3): one number per channel, from a sigmoid.

    They are the modules called ``gate`` that give (C,) or (C, 1, 1), and any sigmoid that gives (C, 1, 1).
    """
    own = root.name.rpartition(".")[2] == "gate" and (len(root.shape) == 1 or root.shape[1:] == (1, 1))
    bare = isinstance(root.module, SIGMOIDS) and root.shape[1:] == (1, 1)
    return [root] if own or bare else [gate for part in root.parts for gate in gates(part)]


# ------------------------------------------------------------------------------------------------------ looking inside


@contextlib.contextmanager
def _kept(calls: Sequence[Call]) -> Iterator[dict[tuple[str, int], Tensor]]:
    """What the calls give, by name and number, filled while the model runs."""
    wanted = {(call.name, call.number) for call in calls}
    found: dict[tuple[str, int], Tensor] = {}
    seen: dict[str, int] = {}

    def keep(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            number = seen[name] = seen.get(name, -1) + 1
            if (name, number) not in wanted:
                return None
            whole = _whole(output)
            assert whole is not None  # or the call would not have been chosen
            found[name, number] = whole
            after = whole.clone()  # what comes after may change its input in place; what was kept must stay
            if isinstance(output, Tensor):
                return after
            return type(output)(after.split([part.shape[1] for part in output], dim=1))

        return hook

    modules = {call.name: call.module for call in calls}
    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def outputs(model: nn.Module, x: Tensor, calls: Sequence[Call]) -> list[Tensor]:
    """What each of the calls gives for ``x``: (B, *call.shape), float32."""
    with torch.no_grad(), evaluating(model), _kept(calls) as found:
        model(x)
    return [found[call.name, call.number].float() for call in calls]


def grad_cam(model: nn.Module, x: Tensor, call: Call, target: Tensor) -> Tensor:
    """Gradient-weighted class activation: how much each place of the maps ``A`` that ``call`` gives speaks for a class.

    Selvaraju et al. 2017, "Grad-CAM", Eqs. 1 and 2, with y the output before the softmax:

        α_k = 1/Z Σ_ij ∂y/∂A_kij,    L = ReLU(Σ_k α_k A_k)

    Where global average pooling and a linear layer follow, L is the class activation map of Zhou et al. 2016, up to the
    factor 1/Z.

    Args:
        x: (B, C, H, W).
        target: (B,) int64, the class of each picture that is asked about.

    Returns:
        (B, h, w) float32, not negative.

    Raises:
        UserError: the layer hides its gradients.
    """
    x = x.detach().requires_grad_()  # also where all weights are frozen, gradients must flow
    with torch.enable_grad(), evaluating(model):  # until the end: checkpointed parts are computed again on the way back
        with _kept([call]) as found:
            y = class_scores(model(x)).gather(1, target[:, None]).sum()
        maps = found[call.name, call.number]
        if not maps.requires_grad:
            raise UserError(f"the layer `{call.name}` computes without gradients: choose the one it is a part of.")
        (gradient,) = torch.autograd.grad(y, maps, materialize_grads=True)
    alpha = gradient.float().mean(dim=(2, 3), keepdim=True)
    return (alpha * maps.detach().float()).sum(1).relu()


def class_scores(output: Tensor) -> Tensor:
    """(B, classes), from what a classifier gives: of several heads (heads, B, classes) the first; of a single output
    (B, 1), which is the log-odds of the second class, its negative for the first."""
    output = output[0] if output.dim() == 3 else output
    return torch.cat([-output, output], dim=1) if output.shape[1] == 1 else output


def penultimate(model: nn.Module, x: Tensor, call: Call) -> tuple[Tensor, Tensor]:
    """What the model gives for ``x``, and what its classifier ``call`` (see `last_weighted`) reads: the vector (B, D)
    float32 in which pictures of like content lie close together (Krizhevsky et al. 2012, Sec. 6.1).

    Of maps that a convolution reads, the mean over the places.
    """
    found: list[Tensor] = []

    def keep(module: nn.Module, args: Any) -> None:
        found.append(args[0])

    handle = call.module.register_forward_pre_hook(keep)
    try:
        with torch.no_grad(), evaluating(model):
            output: Tensor = model(x)
    finally:
        handle.remove()
    read = found[call.number].float()
    if isinstance(call.module, nn.Conv2d):
        return output, read.mean(dim=(2, 3))
    return output, read.flatten(1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of the angle between each two vectors: (n, D), (m, D) -> (n, m), from −1 to 1. A vector of zeros has no
    direction: 0."""
    return (F.normalize(a, dim=1) @ F.normalize(b, dim=1).T).clamp(-1, 1)


def strongest(maps: Tensor, count: int) -> list[int]:
    """The channels of (C, h, w) with the largest mean magnitude, strongest first; at most ``count``."""
    strength = maps.abs().mean(dim=(1, 2))
    return strength.argsort(descending=True, stable=True)[:count].tolist()
