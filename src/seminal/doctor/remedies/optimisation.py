"""Changes of how the program learns: rate, optimiser, batch, length, clipping, decay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from seminal.doctor.course import length
from seminal.doctor.findings import Remedy
from seminal.doctor.program import Program, undisturbed
from seminal.doctor.remedies import in_recipe
from seminal.doctor.rows import reloaded
from seminal.doctor.unregistered import register


def rate(factor: float) -> Remedy:
    """The learning rate times a factor, under the program's own schedule."""

    def change(program: Program) -> Program:
        optimizer = program.optimizer
        if any("initial_lr" in group for group in optimizer.param_groups):  # a schedule would write over a changed rate
            _paced(optimizer, lambda _: factor)
        else:
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * factor
        return program

    says = (
        f"multiply the learning rate by {factor:.3g}"
        if factor >= 1
        else f"divide the learning rate by {1 / factor:.3g}"
    )
    snippet = f'for group in optimizer.param_groups:\n    group["lr"] *= {factor:.3g}'
    return Remedy(f"learning rate × {factor:.3g}", says, snippet, change, in_recipe.rate(factor))


def warmed(share: float = 0.1) -> Remedy:
    """A linear warm-up over a share of the run."""

    def change(program: Program) -> Program:
        steps = max(1, math.ceil(share * length(program)))
        _paced(program.optimizer, lambda step: min(1.0, (step + 1) / steps))
        return program

    snippet = (
        f"steps = int({share:g} * epochs * len(train))\n"
        "warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / steps))\n"
        "...\noptimizer.step()\nwarmup.step()"
    )
    return Remedy(
        f"warm-up {share:g}", f"let the learning rate grow over the first {share:.0%} of the steps", snippet, change
    )


def _paced(optimizer: Optimizer, factor: Callable[[int], float]) -> None:
    """During step number n, and only then, all rates are times ``factor(n)``: a schedule keeps what it wrote."""
    rates: list[Any] = []
    done = 0

    def before(optimizer: Optimizer, _: Any, __: Any) -> None:
        rates[:] = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor(done)

    def after(optimizer: Optimizer, _: Any, __: Any) -> None:
        nonlocal done
        done += 1
        for group, own in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = own

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


def adam(lr: float = 1e-3) -> Remedy:
    """Adam in place of the program's optimiser; weight decay stays what it was."""

    def change(program: Program) -> Program:
        decoupled = isinstance(program.optimizer, torch.optim.AdamW)
        groups = _groups(program.optimizer, lr)
        return _with(program, torch.optim.AdamW(groups) if decoupled else torch.optim.Adam(groups))

    snippet = f"optimizer = torch.optim.Adam(model.parameters(), lr={lr:g})"
    return Remedy(f"Adam {lr:g}", f"use Adam with a learning rate of {lr:g}", snippet, change, in_recipe.adam(lr))


def corrected() -> Remedy:
    """AdamW with the rates, decay rates, ε and weight decay of an Adam that leaves out the bias correction."""

    def change(program: Program) -> Program:
        groups = [
            {
                "params": list(group["params"]),
                "lr": float(group.get("initial_lr", group["lr"])),
                "betas": group["betas"] if "betas" in group else (group.get("b1", 0.9), group.get("b2", 0.999)),
                "eps": group.get("eps", group.get("e", 1e-8)),
                "weight_decay": group.get("weight_decay", 0.0),
            }
            for group in program.optimizer.param_groups
        ]
        return _with(program, torch.optim.AdamW(groups))

    snippet = "optimizer = torch.optim.AdamW(model.parameters(), lr=lr, eps=1e-6, weight_decay=0.01)"
    says = "use AdamW, which corrects the bias of its first steps"
    return Remedy("bias correction", says, snippet, change, in_recipe.corrected)


def sgd(lr: float, momentum: float = 0.0) -> Remedy:
    """Stochastic gradient descent in place of the program's optimiser; weight decay stays what it was."""

    def change(program: Program) -> Program:
        return _with(program, torch.optim.SGD(_groups(program.optimizer, lr), lr=lr, momentum=momentum))

    snippet = f"optimizer = torch.optim.SGD(model.parameters(), lr={lr:g}, momentum={momentum:g})"
    says = f"use SGD with a learning rate of {lr:g}" + (f" and momentum {momentum:g}" if momentum else "")
    name = f"SGD {lr:g}" + (f", momentum {momentum:g}" if momentum else "")
    return Remedy(name, says, snippet, change, in_recipe.sgd(lr, momentum))


def _groups(optimizer: Optimizer, lr: float) -> list[dict[str, Any]]:
    """The parameters in the same groups, with rates in the same proportion."""
    top = max(float(group["lr"]) for group in optimizer.param_groups) or 1.0
    return [
        {
            "params": list(group["params"]),
            "lr": lr * float(group["lr"]) / top or lr,
            "weight_decay": group.get("weight_decay", 0.0),
        }
        for group in optimizer.param_groups
    ]


def _with(program: Program, optimizer: Optimizer) -> Program:
    """The program with another optimiser, which follows the old one's schedule if there is one."""
    pairs = list(zip(optimizer.param_groups, program.optimizer.param_groups, strict=True))
    if all("initial_lr" in old for _, old in pairs):
        base = [(new, new["lr"], old) for new, old in pairs]

        def follow(_: Optimizer, __: Any, ___: Any) -> None:
            for new, own, old in base:
                new["lr"] = own * float(old["lr"]) / (float(old["initial_lr"]) or 1.0)

        optimizer.register_step_pre_hook(follow)
    return replace(program, optimizer=optimizer)


def momentum(amount: float = 0.9) -> Remedy:
    """Momentum for an optimiser that takes one (SGD, RMSprop); others stay as they are."""

    def change(program: Program) -> Program:
        for group in program.optimizer.param_groups:
            if "momentum" in group:
                group["momentum"] = amount
        return program

    snippet = f"optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum={amount:g})"
    says = f"give the optimiser a momentum of {amount:g}"
    return Remedy(f"momentum {amount:g}", says, snippet, change, in_recipe.momentum(amount))


def longer(factor: float) -> Remedy:
    """More epochs (or fewer, below 1)."""

    def change(program: Program) -> Program:
        return replace(program, epochs=max(1, math.ceil(program.epochs * factor)))

    return Remedy(
        f"epochs × {factor:g}",
        f"train for {factor:g} times the epochs",
        f"epochs = math.ceil(epochs * {factor:g})",
        change,
        in_recipe.longer(factor),
    )


def batch(size: int, rule: str = "") -> Remedy:
    """Batches of another size. ``rule`` says what the learning rate does: nothing, or it goes with the size ("linear") or
    with its square root ("sqrt")."""
    assert rule in ("", "linear", "sqrt")

    def change(program: Program) -> Program:
        old = _batch_size(program.train)
        if old is None or old == size:
            return program
        scale = {"": 1.0, "linear": size / old, "sqrt": math.sqrt(size / old)}[rule]
        program = rate(scale).change(program) if rule else program
        return replace(program, train=reloaded(program.train, batch=size))

    words = {"": "", "linear": " and a learning rate in proportion", "sqrt": " and a learning rate by the square root"}
    scaled = {"": "", "linear": f"\nlr = lr * {size} / old_size", "sqrt": f"\nlr = lr * ({size} / old_size) ** 0.5"}
    snippet = f"train = DataLoader(dataset, batch_size={size}, shuffle=True){scaled[rule]}"
    name = f"batch {size}" + (f", {rule} rate" if rule else "")
    return Remedy(name, f"use batches of {size} rows{words[rule]}", snippet, change, in_recipe.batch(size, rule))


def full_batches() -> Remedy:
    """A last batch that is smaller than the others is left out."""

    def change(program: Program) -> Program:
        return replace(program, train=reloaded(program.train, drop_last=True))

    snippet = "train = DataLoader(dataset, batch_size=…, shuffle=True, drop_last=True)"
    return Remedy("drop_last", "leave out a last batch that is not full", snippet, change)


def _batch_size(loader: Any) -> int | None:
    while not isinstance(loader, DataLoader):
        loader = getattr(loader, "loader", None)
        if loader is None:
            return None
    return loader.batch_size


def clipped(norm: float) -> Remedy:
    """The gradient's norm limited just before each step, whatever the training step does."""

    def change(program: Program) -> Program:
        def limit(optimizer: Optimizer, _: Any, __: Any) -> None:
            clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], norm)

        program.optimizer.register_step_pre_hook(limit)
        return program

    snippet = f"loss.backward()\ntorch.nn.utils.clip_grad_norm_(model.parameters(), {norm:.3g})\noptimizer.step()"
    says = f"limit the gradient's norm to {norm:.3g}"
    return Remedy(f"clip {norm:.3g}", says, snippet, change, in_recipe.clipped(norm))


def unclipped() -> Remedy:
    """The optimiser is given each gradient as backward left it, whatever a training step did to it in between."""

    def change(program: Program) -> Program:
        if program.train_step is None:
            return program
        kept: dict[int, Tensor] = {}

        def keep(parameter: Tensor) -> None:
            if parameter.grad is not None:
                kept[id(parameter)] = parameter.grad.clone()

        def give_back(optimizer: Optimizer, _: Any, __: Any) -> None:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None and id(parameter) in kept:
                        parameter.grad.copy_(kept[id(parameter)])

        for parameter in _learning(program.model):
            parameter.register_post_accumulate_grad_hook(keep)
        program.optimizer.register_step_pre_hook(give_back)
        return program

    snippet = "loss.backward()\noptimizer.step()    # no clip_grad_norm_ or clip_grad_value_ between the two"
    return Remedy("no clipping", "do not clip the gradients", snippet, change, in_recipe.clipped(None))


def _learning(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def no_decay() -> Remedy:
    """No weight decay."""
    snippet = "optimizer = …(model.parameters(), lr=lr, weight_decay=0)"

    def change(program: Program) -> Program:
        return _decayed(program, lambda _: 0.0)

    return Remedy("no weight decay", "train without weight decay", snippet, change, in_recipe.no_decay)


def more_decay(factor: float = 10.0) -> Remedy:
    """More weight decay: times the factor, and at least a usual amount (decoupled decay is counted otherwise)."""

    def change(program: Program) -> Program:
        least = 0.1 if isinstance(program.optimizer, torch.optim.AdamW) else 1e-3
        return _decayed(program, lambda own: max(least, factor * own))

    snippet = "optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)"
    says = f"use {factor:g} times the weight decay"
    return Remedy("more weight decay", says, snippet, change, in_recipe.more_decay(factor))


def _decayed(program: Program, amount: Callable[[float], float]) -> Program:
    for group in program.optimizer.param_groups:
        if "weight_decay" in group:
            group["weight_decay"] = amount(float(group["weight_decay"]))
    return program


def all_parameters() -> Remedy:
    """Every parameter learns and belongs to the optimiser, those of modules in plain lists too."""

    def change(program: Program) -> Program:
        register(program.model)
        program.model.requires_grad_(True)
        there = {id(p) for group in program.optimizer.param_groups for p in group["params"]}
        missing = [p for p in program.model.parameters() if id(p) not in there]
        if missing:
            first = program.optimizer.param_groups[0]
            program.optimizer.add_param_group({**{k: v for k, v in first.items() if k != "params"}, "params": missing})
        return program

    snippet = (
        "self.layers = nn.ModuleList(layers)    # in the model: a plain list hides its layers\n"
        "model.requires_grad_(True)\noptimizer = …(model.parameters(), lr=lr)    # after the last layer was put in"
    )
    says = "let all parameters learn, and give all of them to the optimiser"
    return Remedy("all parameters", says, snippet, change, in_recipe.unfrozen)


def default_step() -> Remedy:
    """The plain training step."""
    snippet = (
        "model.train()\noptimizer.zero_grad()\n"
        "loss = criterion(model(input), target)\nloss.backward()\noptimizer.step()"
    )

    def change(program: Program) -> Program:
        return replace(program, train_step=None)

    return Remedy(
        "plain training step",
        "use the plain training step: train(), zero_grad(), forward, backward, step",
        snippet,
        change,
    )


@dataclass
class _Epochs:
    """A loader that says when an epoch is over, and knows how many batches it has given."""

    loader: Any
    over: Callable[[], None]
    given: int = 0

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        for pair in self.loader:
            self.given += 1
            yield pair
        self.over()


def stopped_early(epochs: int | None = None) -> Remedy:
    """Training ends after so many epochs, where validation was best. None: validation is asked after every epoch, its best
    score counts, and when the run is over the model gets the weights that gave it."""

    def shorter(program: Program) -> Program:
        return replace(program, epochs=min(epochs or program.epochs, program.epochs))

    if epochs is not None:
        return Remedy(f"stop after {epochs} epochs", f"stop after {epochs} epochs", f"epochs = {epochs}", shorter)
    snippet = (
        "score = evaluate(model, val)    # after every epoch\n"
        "if score > best:\n    best, weights = score, copy.deepcopy(model.state_dict())\n"
        "...\nmodel.load_state_dict(weights)    # at the end"
    )
    return Remedy("stop early", "keep the weights of the epoch with the best validation", snippet, _keeping_the_best)


def _keeping_the_best(program: Program) -> Program:
    best, weights, total = -math.inf, dict[str, Tensor](), length(program)

    def seen(score: float) -> None:
        nonlocal best
        if score > best:
            best = score
            weights.update({name: value.detach().clone() for name, value in program.model.state_dict().items()})

    def over() -> None:
        with undisturbed():
            seen(program.score())
        program.model.train()

    train = _Epochs(program.train, over)

    def evaluate(model: nn.Module, val: Any) -> float:
        seen(replace(program, val=val).score())
        if train.given >= total and weights:
            model.load_state_dict(weights)
        return best

    return replace(program, train=train, evaluate=evaluate)
