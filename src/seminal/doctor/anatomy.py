"""What a program is made of, told by what it does: the kind of its task, how its model ends, what its loss asks for,
what its metric counts, and what its own first steps look like. No source is read and no class is looked up, so that
what a stranger wrote by hand is understood as well as what a library gives. Nothing here judges: that is for
`seminal.doctor.rules`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from seminal.doctor import starts as first_weights
from seminal.doctor import wanted as free
from seminal.doctor.descended import descended
from seminal.doctor.ending import Ending
from seminal.doctor.first_steps import FirstSteps, watched
from seminal.doctor.kinds import class_count, kind_of
from seminal.doctor.loss_form import ROWS as ROWS_ASKED
from seminal.doctor.loss_form import LossForm, examined_loss, gradient
from seminal.doctor.model_facts import model_facts
from seminal.doctor.players import cut_off, other_players
from seminal.doctor.program import Loss, Program, copied
from seminal.doctor.rows import Rows
from seminal.doctor.starts import Start
from seminal.doctor.wanted import Wanted

ROWS = 32  # that models are asked about
AGREES = 0.9  # share of right rows, or R², from which a loss asks for the right answers

T = TypeVar("T")


@dataclass(frozen=True)
class Anatomy:
    """All of it. What cannot be told is "unknown", "", None or NaN."""

    kind: str = "unknown"  # "classes", "binary", "multi_label", "one_hot", "regression", "reconstruction"
    classes: int = 0  # distinct ones, in training and validation rows together; 0 for other kinds
    out_shape: tuple[int, ...] = ()  # of one row
    target_shape: tuple[int, ...] = ()

    end: Ending = field(default_factory=Ending)  # the last operation, and the range that it leaves to the outputs
    form: LossForm = field(default_factory=LossForm)  # the loss that training descends
    by_step: bool = False  # that loss is made by the program's own step, and is another than the program's loss

    wanted: Wanted = field(default_factory=Wanted)  # what the loss asks for, of outputs that are free
    given: Wanted = field(default_factory=Wanted)  # the same, of outputs that the model's ending can give
    wanted_in: str = ""  # the domain of ``wanted``: see `loss_form.DOMAINS`
    floor: float = 0.0  # the program's metric of the best constant answer …
    ceiling: float = 1.0  # … and of right answers
    right_answers: float = math.nan  # the program's metric of right answers, in the best form; NaN: no form is known

    linear: bool | None = None  # the model is an affine map of its inputs; None for tokens
    alone: float = 0.0  # largest change of a row's output when other rows change, in units of the outputs' spread
    stochastic: bool = False  # two passes in training mode differ, and no known module draws at random
    restless: float = 0.0  # how far two passes in evaluation mode differ, in units of the outputs' spread
    moody: tuple[str, ...] = ()  # modules that behave otherwise in evaluation; "model": the outermost

    cut: tuple[str, ...] = ()  # the outputs depend on them, the optimiser has them, and no gradient reaches them
    unowned: tuple[str, ...] = ()  # parameters that could learn, which the optimiser does not have
    frozen: tuple[str, ...] = ()  # parameters that require no gradient
    all_zero: bool = False  # every gradient of the first steps is exactly zero
    critics: tuple[str, ...] = ()  # parameters that learn, of which the outputs are independent: another player's
    starts: tuple[Start, ...] = ()  # first values of weight matrices

    steps: FirstSteps = field(default_factory=FirstSteps)
    first_loss: float = math.nan
    expected_loss: float = math.nan  # of an answer without opinion: ln C, ln 2, var(y)
    first_nonfinite: str = ""  # "inputs", "targets", "validation inputs", "validation targets", a module, "loss"

    @property
    def ending(self) -> str:
        return self.end.name

    @property
    def ending_dim(self) -> int | None:
        return self.end.dim

    @property
    def loss(self) -> str:
        return self.form.name

    @property
    def factor(self) -> float:
        return self.form.factor

    @property
    def reduction(self) -> str:
        return self.form.reduction

    @property
    def shift_invariant(self) -> bool:
        return self.form.shift_invariant

    @property
    def loss_detached(self) -> bool:
        return self.form.detached

    @property
    def leftover(self) -> float:
        return self.steps.leftover

    @property
    def trains_in(self) -> str:
        return self.steps.trains_in if self.moody else ""

    @property
    def validates_in(self) -> str:
        return self.steps.validates_in if self.moody else ""

    @property
    def clip(self) -> float:
        return self.steps.clip

    @property
    def two_players(self) -> bool:
        """Whether a step of training moves two networks, of which one judges the other."""
        return bool(self.critics)

    @property
    def usual_loss(self) -> str:
        """The loss that such a task usually has, as `remedies.with_loss` calls it."""
        usual = {"classes": "cross_entropy", "one_hot": "cross_entropy", "binary": "binary_cross_entropy"}
        return {**usual, "multi_label": "binary_cross_entropy"}.get(self.kind, "mse")

    @property
    def wants_right(self) -> bool:
        """Whether the answers that the loss asks for are the right ones, by anyone's measure or the program's own."""
        good = (self.wanted.metric - self.floor) / max(self.ceiling - self.floor, 1e-6)
        return self.wanted.standard >= AGREES or good >= AGREES


def examined(program: Program, train: Rows, val: Rows) -> Anatomy:
    """Look at a freshly made program: its model and its loss on a few rows, then its own first steps. It is used up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of the odd shapes that are tried here
        return _examined(program, train, val)


def _examined(program: Program, train: Rows, val: Rows) -> Anatomy:
    whole = _finite(train)  # rows that hold NaN would hide everything else
    some = whole[torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))][: free.MOST]
    few, many = train.part(some[:ROWS]), train.part(some)
    parts: dict[str, Any] = {
        "first_nonfinite": _dirty(train, val),
        "frozen": tuple(n for n, p in program.model.named_parameters() if not p.requires_grad),
        "unowned": _unowned(program),
        "starts": tried(lambda: first_weights.starts(program.model)) or (),
    }
    model = tried(lambda: copied(program.model)) or program.model
    out = tried(lambda: _outputs(model, few.inputs))
    pulled = True
    if out is not None:
        parts |= tried(lambda: _task(program, out, train, val)) or {}
        parts |= tried(lambda: model_facts(model, few)) or {}
        loss = tried(lambda: descended(program, few.inputs, out, few.targets)) or program.loss
        parts["by_step"] = loss is not program.loss
        parts |= tried(lambda: _asked(program, loss, many, parts)) or {}
        parts |= tried(lambda: _scale(program, many, val, parts)) or {}
        slope = gradient(loss, out, few.targets)
        pulled = not parts.get("form", LossForm()).constant and (slope is None or bool(slope.any()))
    steps = tried(lambda: watched(program)) or FirstSteps()
    parts["steps"] = steps
    parts["cut"] = tried(lambda: cut_off(model, few.inputs, steps, parts["unowned"], pulled)) or ()
    parts["critics"] = tried(lambda: other_players(model, few.inputs, steps)) or ()
    known = [norm for name, norm in steps.received.items() if name not in parts["unowned"] and not math.isnan(norm)]
    parts["all_zero"] = bool(known) and max(known) == 0
    parts["first_loss"] = steps.losses[0] if steps.losses else math.nan
    parts["expected_loss"] = tried(lambda: _expected(parts, many)) or math.nan
    broken = "loss" if steps.losses and not all(map(math.isfinite, steps.losses)) else ""
    parts["first_nonfinite"] = parts["first_nonfinite"] or steps.vitals.broken or broken
    return Anatomy(**parts)


def tried(measure: Callable[[], T]) -> T | None:
    """A measurement of a stranger's program, which may fail in any way: then nothing is known."""
    try:
        return measure()
    except Exception:
        return None


@torch.no_grad()
def _outputs(model: nn.Module, input: Tensor) -> Tensor | None:
    model.eval()
    out = model(input)
    return out if isinstance(out, Tensor) and out.dim() > 0 and len(out) == len(input) else None


def _dirty(train: Rows, val: Rows) -> str:
    """The first part of the data that holds NaN or infinities."""
    named = {
        "inputs": train.inputs,
        "targets": train.targets,
        "validation inputs": val.inputs,
        "validation targets": val.targets,
    }
    return next((name for name, values in named.items() if not bool(values.isfinite().all())), "")


def _finite(rows: Rows) -> Tensor:
    """Numbers of the rows without NaN or infinities; of all, where there are hardly any."""
    good = torch.ones(len(rows), dtype=torch.bool, device=rows.inputs.device)
    for values in (rows.inputs, rows.targets):
        good &= values.isfinite().reshape(len(rows), -1).all(1)
    return good.nonzero().flatten() if int(good.sum()) >= 4 else torch.arange(len(rows), device=good.device)


def _unowned(program: Program) -> tuple[str, ...]:
    owned = {id(p) for group in program.optimizer.param_groups for p in group["params"]}
    return tuple(n for n, p in program.model.named_parameters() if p.requires_grad and id(p) not in owned)


def _task(program: Program, out: Tensor, train: Rows, val: Rows) -> dict[str, Any]:
    kind = kind_of(train, val, out, program.metric)
    return {
        "kind": kind,
        "classes": class_count(kind, train, val),
        "out_shape": tuple(out.shape[1:]),
        "target_shape": tuple(train.targets.shape[1:]),
    }


def _asked(program: Program, loss: Loss, many: Rows, parts: dict[str, Any]) -> dict[str, Any]:
    """What the loss is, and what it asks for."""
    kind, end = parts["kind"], parts.get("end", Ending())
    blank = torch.zeros((2 * ROWS_ASKED, *parts["out_shape"]), device=many.targets.device)
    form = examined_loss(loss, blank, _varied(many.targets), kind)
    outputs = max(1, math.prod(parts["out_shape"]))
    target = many.targets[: max(16, free.NUMBERS // outputs)]
    shape, numbers = torch.Size((len(target), *parts["out_shape"])), target.float()
    measures = kind in ("regression", "reconstruction") or (kind == "classes" and math.prod(shape) == target.numel())
    scale, centre = (float(numbers.std()) or 1.0, float(numbers.mean())) if measures else (4.0, 0.0)

    def least(outputs: free.Form) -> Wanted:
        return free.wanted(loss, program.metric, outputs, shape, target, kind)

    wanted, domain = Wanted(), form.domain
    for tried_domain in _domains(form.domain, kind, shape):
        asked = least(free.inside(tried_domain, scale, centre))
        if tried_domain == form.domain or asked.standard >= AGREES:
            wanted, domain = asked, tried_domain
        if asked.standard >= AGREES:
            break
    natural = {"sigmoid": "unit", "softmax": "simplex"}.get(end.name, "" if end.limited else "any")
    given = wanted if domain == natural else least(free.within(end, scale, centre))
    return {"form": form, "wanted": wanted, "wanted_in": domain, "given": given}


def _domains(widest: str, kind: str, shape: torch.Size) -> list[str]:
    """Where to look for the least loss. One that takes any numbers may make sense for probabilities only, as where it
    clamps them."""
    if widest != "any" or kind in ("regression", "unknown"):
        return [widest] * bool(widest)
    return ["any", "unit", *["simplex"] * (len(shape) > 1 and shape[1] > 1)]


def _varied(targets: Tensor) -> Tensor:
    """Sixteen targets, as different as they come: the first of each kind in turn."""
    order = targets.reshape(len(targets), -1)[:, 0].float().argsort(stable=True)
    return targets[order[torch.linspace(0, len(order) - 1, 16).round().long()][torch.arange(16).view(2, 8).T.flatten()]]


def _scale(program: Program, many: Rows, val: Rows, parts: dict[str, Any]) -> dict[str, Any]:
    """The program's metric of the best constant answer and of right ones."""
    kind, shape = parts["kind"], torch.Size((len(val), *parts["out_shape"]))
    constant = [
        free.measured(program.metric, a, val.targets) for a in free.constants(kind, many.targets, val.targets, shape)
    ]
    truth = [free.measured(program.metric, a, val.targets) for a in free.answers(kind, val.targets, shape)]
    right = max(filter(math.isfinite, truth), default=math.nan)
    asked: Wanted = parts.get("wanted", Wanted())
    known = (right, asked.metric if asked.standard >= AGREES else math.nan)
    ceiling = max(filter(math.isfinite, known), default=1.0)
    floor = max(filter(math.isfinite, constant), default=0.0)
    return {"floor": floor, "ceiling": ceiling if ceiling > floor else max(1.0, floor + 1e-3), "right_answers": right}


def _expected(parts: dict[str, Any], many: Rows) -> float:
    """The loss of an answer without opinion, for losses that are known."""
    form: LossForm = parts["form"]
    numbers = many.targets.float()
    columns = parts["out_shape"][0] if parts["out_shape"] else 1
    if parts["kind"] in ("regression", "reconstruction") or columns == 1:
        spread = float(numbers.reshape(len(numbers), -1).var(0).mean())
    else:
        spread = (columns - 1) / columns**2  # of zeros with a single one
    none = {"bce": math.log(2), "bce_logits": math.log(2), "mse": spread}
    for name in ("cross_entropy", "nll", "categorical"):
        none[name] = math.log(max(1, columns))
    rows = parts["steps"].rows / ROWS_ASKED if form.reduction == "sum" else 1.0
    return abs(form.factor) * rows * none.get(form.name, math.nan)
