"""A stranger's training program, as the doctor handles it: made anew for every experiment, so that nothing has to be
put back.

The contract is one function, ``make(seed) -> dict``, in a Python file that knows nothing of this project. It builds
the model, the loss, the optimiser and both loaders, and says for how many epochs to train and how to score. See
`Program` for the names.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.util
import inspect
import random
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, fields
from numbers import Integral
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seminal.core import Recipe, UserError

Loss = Callable[[Any, Any], Tensor]
Metric = Callable[[Tensor, Tensor], float]
TrainStep = Callable[[nn.Module, Loss, Optimizer, Any, Any], Tensor]


@dataclass(frozen=True)
class Program:
    """Everything that decides a run, freshly made by a `Make`. Its model and optimiser are spent by the run."""

    model: nn.Module
    loss: Loss
    optimizer: Optimizer
    train: Iterable[tuple[Any, Any]]  # a DataLoader, or anything that gives (input, target) again and again
    val: Iterable[tuple[Any, Any]]
    epochs: int
    metric: Metric  # of outputs and targets of the whole validation set; higher is better
    train_step: TrainStep | None = None  # None: zero_grad, forward, backward, step
    evaluate: Callable[[nn.Module, Any], float] | None = None  # None: evaluation mode, all outputs, the metric

    def step(self, input: Any, target: Any) -> Tensor:
        """One training step in the program's own way; the loss before it."""
        if self.train_step is not None:
            value = self.train_step(self.model, self.loss, self.optimizer, input, target)
            if value is None:
                raise TypeError("`train_step` returns None: end it with `return loss.detach()`")
            return value
        self.optimizer.zero_grad()
        loss = self.loss(self.model(input), target)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def score(self) -> float:
        """The program's own validation."""
        if self.evaluate is not None:
            return float(self.evaluate(self.model, self.val))
        self.model.eval()
        with torch.no_grad():
            pairs = [(self.model(input), target) for input, target in self.val]
        return float(self.metric(torch.cat([out for out, _ in pairs]), torch.cat([target for _, target in pairs])))


Make = Callable[[int], Program]


@runtime_checkable
class OfRecipe(Protocol):
    """A `Make` that follows a recipe of ours: a change of the recipe gives another one."""

    @property
    def recipe(self) -> Recipe: ...

    def __call__(self, seed: int) -> Program: ...

    def following(self, recipe: Recipe) -> Self: ...


def from_file(place: str) -> Make:
    """The program at ``path/to/program.py`` or ``path/to/program.py:function``. Its code is run: it is the user's own."""
    path, _, function = place.partition(".py:")
    file = Path(path + ".py" if function else place)
    name = function or "make"
    if not file.is_file():
        raise UserError(
            f"there is no program {file}. Give a Python file with a function `make(seed)`: see `seminal doctor --help`."
        )
    spec = importlib.util.spec_from_file_location(f"seminal_patient_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if (
        folder := str(file.resolve().parent)
    ) not in sys.path:  # as for a program that is run: it may have files beside it
        sys.path.insert(0, folder)
    sys.modules[spec.name] = module  # so that classes in it can be found, by dataclasses and worker processes
    try:
        with _alone(file):
            spec.loader.exec_module(module)
    except SystemExit as ended:
        raise UserError(
            f"{file} ends itself (SystemExit: {ended}) when it is imported. It is run without arguments: give each a "
            'default, or put what is for the command line under `if __name__ == "__main__":`.'
        ) from None
    except Exception as error:
        raise UserError(_told(file, "cannot be imported", error)) from None
    make = vars(module).get(name)
    if not callable(make):
        raise UserError(
            f"{file} has no function `{name}`. Write `def {name}(seed=0): return dict(model=…, loss=…, optimizer=…, …)`."
        )

    @functools.wraps(make)
    def called(seed: int) -> Any:
        with _alone(file):
            return make(seed)

    return from_function(called, str(file))


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """The arguments of the command line are the doctor's, not the program's: it may read its own."""
    before, sys.argv = sys.argv, [str(file)]
    try:
        yield
    finally:
        sys.argv = before


def from_function(make: Callable[[int], Mapping[str, Any]], name: str = "the program") -> Make:
    """The same for a function that is already there. Raises `UserError` where it takes no seed."""
    try:
        inspect.signature(make).bind(0)
    except TypeError:
        raise UserError(
            f"make() of {name} must take a seed, and nothing else without a default: write `def make(seed=0):`."
        ) from None
    except ValueError:  # some callables of C do not say what they take
        pass

    def made(seed: int) -> Program:
        try:
            parts = make(seed)
        except SystemExit as ended:
            raise UserError(
                f"{name} ends itself (SystemExit: {ended}) in make(): it must give a dict instead."
            ) from None
        except Exception as error:
            raise UserError(_told(Path(name), "fails in make()", error)) from None
        return checked(parts, name)

    return made


def checked(parts: Any, name: str) -> Program:
    """The parts under their names. Raises `UserError` for what is missing, unknown or of another kind."""
    known = [field.name for field in fields(Program)]
    wanted = f"It must give a dict with: {', '.join(known)}."
    if not isinstance(parts, Mapping):
        raise UserError(f"make() of {name} gives {_kind(parts)}. {wanted}")
    needed = known[:-2]
    missing, unknown = [n for n in needed if n not in parts], [n for n in parts if n not in known]
    if missing or unknown:
        what = [f"does not give {', '.join(missing)}"] * bool(missing) + [
            f"gives {', '.join(map(str, unknown))}, which nobody reads"
        ] * bool(unknown)
        raise UserError(f"make() of {name} {' and '.join(what)}. {wanted}")
    if not isinstance(parts["model"], nn.Module) or not isinstance(parts["optimizer"], Optimizer):
        raise UserError(
            f"make() of {name} must give an nn.Module as `model` and a torch.optim.Optimizer as `optimizer`."
        )
    _check_functions(parts, name)
    for part in ("train", "val"):
        _check_loader(parts[part], part, name)
    epochs = parts["epochs"]
    if not isinstance(epochs, Integral) or isinstance(epochs, bool) or epochs < 1:
        raise UserError(f"`epochs` of {name} is {epochs!r}: give a whole number, 1 or more.")
    return Program(**parts)


def _check_functions(parts: Mapping[str, Any], name: str) -> None:
    takes = {
        "loss": "outputs and targets, and gives the loss",
        "metric": "outputs and targets of all validation rows, and gives one number",
        "train_step": "(model, loss, optimizer, input, target), and gives the loss",
        "evaluate": "(model, val), and gives one number",
    }
    for part, what in takes.items():
        given = parts.get(part)
        if not callable(given) and (given is not None or part in ("loss", "metric")):
            raise UserError(f"`{part}` of {name} is {_kind(given)}: give a function that takes {what}.")


def _check_loader(loader: Any, part: str, name: str) -> None:
    """It is read in every epoch, and its length is the length of an epoch."""
    if isinstance(loader, Iterator):
        raise UserError(
            f"`{part}` of {name} is {_kind(loader)}, which can be read only once: give a DataLoader, or a list of batches."
        )
    try:
        batches = len(loader) if isinstance(loader, Sized) else -1
    except (TypeError, NotImplementedError):  # a DataLoader of a stream has a length only where the stream has one
        batches = -1
    if batches < 0:
        raise UserError(
            f"`{part}` of {name} is {_kind(loader)}, which has no length: give a DataLoader, a list of batches, or a class "
            "with `__iter__` and `__len__`, the number of batches."
        )
    if batches == 0:
        raise UserError(
            f"`{part}` of {name} gives no batch: it needs rows, and with drop_last=True at least one batch of them."
        )


def pair_of(batch: Any) -> tuple[Tensor, Tensor]:
    """A batch, where it is one. Raises `UserError` where it is no pair of tensors."""
    wanted = "The doctor reads batches that are pairs of tensors, (input, target)"
    if isinstance(batch, Mapping):
        keys = ", ".join(f"`{key}`" for key in batch)
        raise UserError(
            f"a batch of the program is a dict with {keys}. {wanted}: give the DataLoader a `collate_fn` that makes them."
        )
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        count = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise UserError(f"a batch of the program is a `{type(batch).__name__}`{count}. {wanted}.")
    for part, value in zip(("input", "target"), batch):
        if not isinstance(value, Tensor):
            raise UserError(f"the {part} of a batch is a `{type(value).__name__}`. {wanted}.")
        if value.dim() == 0:
            raise UserError(f"the {part} of a batch is a single number. {wanted}, with one row for each sample.")
    return batch[0], batch[1]


def _kind(value: Any) -> str:
    """What a value is, in words."""
    return "None" if value is None else f"a value of type `{type(value).__name__}`"


def _told(file: Path, what: str, error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{file} {what}: {type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})."


def rebuilt(program: Program, model: nn.Module) -> Optimizer:
    """The program's optimiser over another model's parameters. Groups are kept for parameters that the new model still
    has (wrapping keeps them all); new ones join the first group."""
    old = program.optimizer
    there = {id(p): p for p in model.parameters() if p.requires_grad}
    groups = []
    for group in old.param_groups:
        mine = [there.pop(id(p)) for p in group["params"] if id(p) in there]
        groups.append({**{k: v for k, v in group.items() if k != "params"}, "params": mine})
    before = {id(p) for p in program.model.parameters()}
    groups[0]["params"] += [p for p in there.values() if id(p) not in before]
    return type(old)([g for g in groups if g["params"]], **_defaults(old))


def _defaults(optimizer: Optimizer) -> dict[str, Any]:
    """What the optimiser was made with, as its class takes it (some keep more than they take)."""
    takes = inspect.signature(type(optimizer)).parameters
    return {name: value for name, value in optimizer.defaults.items() if name in takes}


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """What is drawn inside (by torch, NumPy or Python) is not drawn from the caller's streams."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def copied(model: nn.Module) -> nn.Module:
    """A copy to experiment on."""
    return copy.deepcopy(model)
