"""Every experiment the doctor knows, one after the other: `seminal doctor --examine`.

Each asks one question about the program, answers it with numbers, and says what the answer means. The cheap ones come
first; each is made on a fresh copy, and none is begun that would not end in time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from seminal.doctor import course, curvature, remedies, signs
from seminal.doctor.chart import Chart, Told
from seminal.doctor.findings import Remedy
from seminal.doctor.lots import dealt, half, random_targets
from seminal.doctor.program import Program, copied, undisturbed
from seminal.doctor.rows import Rows
from seminal.doctor.sweep import swept

SOMETHING = 0.05  # share of the first loss by which it must fall, or differ, to count
ROWS = 256  # on which curvature is measured
SMALL, LARGE = 8, 64  # batches from whose gradients the noise is estimated …
DRAWN = 1024  # … and the rows they are drawn from
MODES = 1000  # rows that are read in both modes

Found = tuple[str, str]  # numbers, and what follows from them
Means = tuple[
    str, str, str
]  # what follows where a change makes it better, where it changes nothing, where it makes it worse


@dataclass(frozen=True)
class Examination:
    """One experiment and its outcome."""

    name: str
    question: str
    found: str  # numbers
    means: str  # what follows


@dataclass(frozen=True)
class Ask:
    """An experiment, and what it costs beside the run itself, in such runs."""

    name: str
    question: str
    answer: Callable[[Chart], Found]
    runs: float = 0.0


def examinations(chart: Chart, asking: Told = lambda _: None) -> Iterator[Examination]:
    """All of them; each question is told before it is asked."""
    for ask in ORDER:
        asking(ask.question)
        yield Examination(ask.name, ask.question, *_answered(ask, chart))


def _answered(ask: Ask, chart: Chart) -> Found:
    late = time.monotonic() + (ask.runs * chart.course.seconds if ask.runs else 0.0) - chart.until
    if late > 0:
        return "not asked", f"it would end about {late:.0f} s too late: give a larger --budget"
    try:
        return ask.answer(chart)
    except Exception as error:  # a stranger's program may not bear every experiment
        return "could not be asked", f"{type(error).__name__}: {error}"


# ---------------------------------------------------------------------------------------------- the rows and the model


def row_independence(chart: Chart) -> Found:
    alone = chart.anatomy.alone
    means = "each row is computed by itself" if alone < 1e-3 else "rows influence one another, in evaluation too"
    return f"it changes by {alone:.2g} of the outputs' spread", means


def two_samples(chart: Chart) -> Found:
    """A classifier two-sample test: see `seminal.pieces.two_sample`."""
    test = chart.facts.apart
    apart = test.auc > 0.6 and test.p <= 0.01
    means = "they come from different distributions" if apart else "they could come from one distribution"
    return f"AUC {test.auc:.2f} on unseen rows (½ is chance), p = {test.p:.3f}", means


def one_batch(chart: Chart) -> Found:
    ways, floor = chart.one_batch, chart.anatomy.wanted.loss
    floor = floor if math.isfinite(floor) else 0.0
    told = [f"own optimiser: loss {ways.own.first:.3g} → {ways.own.last:.3g}", f"Adam: → {ways.adam.last:.3g}"]
    told += [f"Adam on standardised data: → {ways.scaled.last:.3g}"] if ways.scaled is not None else []
    if ways.own.fits(floor):
        means = "yes: model, loss and optimiser can learn. Look at the data, and at new rows"
    elif ways.adam.fits(floor):
        means = "model and loss can learn, this optimiser at this rate cannot"
    elif ways.scaled is not None and ways.scaled.fits(floor):
        means = "model and loss can learn where inputs and targets are scaled"
    else:
        means = "no: something is wrong in the model or the loss, or these rows contradict one another"
    return "; ".join(told), means


def second_opinion(chart: Chart) -> Found:
    if not chart.opinion.known:
        return "a plain network has no opinion on such data", "nothing follows"
    own, other = signs.skill(chart), signs.allowed(chart)
    less = own < other - signs.CLOSE
    means = "the data allow more than this program reaches" if less else "the program reaches what the data allow"
    return f"skill on validation rows: {own:.2f} this program, {other:.2f} a plain network", means


def evaluation_mode(chart: Chart) -> Found:
    """One model, the same rows, both modes: what differs is dropout, and the statistics of normalisation."""
    model, size = copied(chart.course.model), _batch(chart)
    rows = chart.train.part(torch.randperm(len(chart.train), generator=_luck())[:MODES])
    with undisturbed():
        seen = _loss_in(model.eval(), chart.program, rows, size)
        trained = _loss_in(model.train(), chart.program, rows, size)
    alike = abs(trained - seen) < SOMETHING * abs(chart.course.losses[0])
    if alike or max(trained, seen) < 1.5 * min(trained, seen):
        means = "the mode hardly matters"
    elif seen < trained:
        means = "the noise of training (dropout, the luck of the batch) holds the fit back: regularisation is strong"
    else:
        means = "evaluation does worse on rows that are fitted: statistics that were collected do not fit the batches"
    return f"loss {trained:.3g} in training mode, {seen:.3g} in evaluation mode, with the last weights", means


@torch.no_grad()
def _loss_in(model: nn.Module, program: Program, rows: Rows, size: int) -> float:
    """Of whole batches only: in a batch of one row normalisation has nothing to normalise with."""
    losses = [float(program.loss(model(x), y)) for x, y in rows.batches(size) if len(x) == min(size, len(rows))]
    return sum(losses) / len(losses)


# ------------------------------------------------------------------------------------------------------------ the pace


def rate_range(chart: Chart) -> Found:
    """See `seminal.doctor.sweep`."""
    with undisturbed():
        sweep = swept(replace(chart.make(chart.seed), train_step=None))
    if sweep.fall < SOMETHING:
        return f"the loss stays at {sweep.losses[0]:.3g} up to a rate of {sweep.rates[-1]:.1g}", "it is not the rate"
    own, steps = chart.program.optimizer.param_groups[0]["lr"], course.length(chart.program)
    if own > 2 * sweep.turn:
        means = "the own rate is where the loss rises: too high"
    elif own * steps < sweep.needed:
        means = f"the own rate is too low for a run of {steps:,} steps"
    else:
        means = "the own rate is among those that work"
    return f"by {sweep.halfway:.1g} half of the fall is made, above {sweep.turn:.1g} the loss rises; own {own:g}", means


def gradient_noise(chart: Chart) -> Found:
    """At which batch size is a gradient as much signal as noise (McCandlish et al. 2018), at the first and last weights?"""
    if len(chart.train) < 4 * LARGE:
        return f"{len(chart.train)} rows are too few to tell", "nothing follows"
    size = _batch(chart)
    first, last = (_noise(chart, model) for model in (chart.make(chart.seed).model, chart.course.model))
    at_first, at_last = (f"{scale:,.0f} rows" if math.isfinite(scale) else "all noise" for scale in (first, last))
    if size > 4 * last:
        means = "smaller batches would take steps as good, for less"
    elif size < first / 4:
        means = "noise rules from the beginning: a larger batch, or a lower rate, would help"
    else:
        means = "the batch is large enough to begin with" + ("; at the end noise rules" if size < last / 4 else "")
    return f"{at_first} at the first weights, {at_last} at the last; own batch {size}", means


def _noise(chart: Chart, model: nn.Module) -> float:
    model.eval()
    weights = [p for p in model.parameters() if p.requires_grad]
    order = torch.randperm(len(chart.train), generator=_luck())[:DRAWN]
    norms: list[tuple[int, Tensor]] = []  # a norm says as much as the gradient here, in one number
    for size in (SMALL, LARGE):
        for part in (chart.train.part(rows) for rows in order.split(size) if len(rows) == size):
            loss = chart.program.loss(model(part.inputs), part.targets)
            loss = loss / size if chart.anatomy.reduction == "sum" else loss
            found = torch.autograd.grad(loss, weights, materialize_grads=True, allow_unused=True)
            norms.append((size, torch.stack([g.norm() for g in found]).norm()[None]))
    return curvature.noise_scale(norms)


def shape(chart: Chart) -> Found:
    """Where training stands at its end: a minimum, a saddle, a plateau or a slope; and how sharp it is there."""
    model, optimizer = chart.course.model.eval(), chart.program.optimizer
    part = chart.train.part(torch.linspace(0, len(chart.train) - 1, min(ROWS, len(chart.train))).round().long())

    def loss() -> Tensor:
        return chart.program.loss(model(part.inputs), part.targets)

    found, rise = curvature.shape(model, loss), curvature.sharpness(model, loss)
    falls = f": along its smallest curvature the loss falls by {found.falls:.2g}" if found.name == "saddle" else ""
    means = "still on a slope" if found.name == "slope" else f"a {found.name}{falls}"
    if isinstance(optimizer, torch.optim.SGD):
        own = optimizer.param_groups[0]["lr"]
        means += f"; plain descent breaks above a rate of {found.steepest_rate:.2g}, own {own:g}"
    numbers = f"gradient {found.gradient:.2g}, curvature from {found.bottom:.3g} to {found.top:.3g}"
    return f"{numbers}, a step of 0.05 up the gradient raises the loss of {found.loss:.3g} by {rise:.2g}", means


# ---------------------------------------------------------------------------------------------- the run, with one change


def random_labels(chart: Chart) -> Found:
    """Each row has the label of another (Zhang et al. 2017): what is learned now is learned by heart."""
    model = chart.trial(random_targets(chart.train), share=1.0).model
    outputs, own = course.outputs(model, chart.train), signs.fit(chart)
    assert outputs is not None, "the model gives no single tensor"
    by_heart = signs.bounded(chart.skill(chart.program.metric(outputs, dealt(chart.train.inputs, chart.train.targets))))
    if own < signs.HELPS:
        means = "hardly anything is learned, with sense or without: inputs say nothing about labels, or are not used"
    elif by_heart > own / 2:
        means = "rows can be learned by heart: that training rows are fitted proves nothing, look at validation rows"
    else:
        means = "what is learned is in the data: nothing like it is learned by heart"
    return f"skill on training rows: {own:.2f} with their labels, {by_heart:.2f} with labels at random", means


def no_regularisation(chart: Chart) -> Found:
    changes = (remedies.no_dropout(), remedies.no_decay())
    if chart.trial(*changes, share=1.0).losses == chart.course.losses:
        return "there is no dropout and no weight decay", "nothing can be taken away"
    return _tried(chart, changes, ("yes: it is regularised too strongly", "no difference", "no: it helps"))


def larger(chart: Chart) -> Found:
    means = ("yes: this model is too simple, or too narrow to train", "no: size is not what is missing", "worse")
    return _resized(chart, remedies.wider(2), means)


def smaller(chart: Chart) -> Found:
    means = ("better even: this model is too large", "yes: a smaller model would do", "no: the size is needed")
    return _resized(chart, remedies.smaller(2), means)


def half_the_data(chart: Chart) -> Found:
    same = "yes: more rows of this kind would hardly help"
    return _tried(chart, (half(),), ("better even: some rows disturb", same, "no: more rows would help further"))


def more_time(chart: Chart) -> Found:
    means = ("yes: it stopped too early", "no difference: it was long enough", "worse: it begins to overfit")
    return _tried(chart, (remedies.longer(2),), means)


def _resized(chart: Chart, change: Remedy, means: Means) -> Found:
    with undisturbed():
        other = change.change(chart.make(chart.seed)).model
    if _size(other) == _size(chart.program.model):
        return "the layers do not simply follow one another", "the width was not changed, and nothing follows"
    return _tried(chart, (change,), means)


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _tried(chart: Chart, changes: tuple[Remedy, ...], means: Means) -> Found:
    """The whole run with a change beside the whole run as it was, on validation rows: better, the same, or worse?"""
    tried = chart.trial(*changes, share=1.0)
    if tried.failed:
        return f"the changed program fails: {tried.failed}", "nothing follows"
    own, other = signs.skill(chart), signs.bounded(chart.skill(tried.last.metric))
    much = min(signs.HELPS, max(0.04, 0.4 * (1 - max(own, other))))  # as for remedies: see `signs.Effect.helped`
    place = 0 if other >= own + much else 2 if other <= own - much else 1
    return f"skill on validation rows {own:.2f} → {other:.2f}", means[place]


def _batch(chart: Chart) -> int:
    with undisturbed():
        return len(next(iter(chart.program.train))[0])


def _luck() -> torch.Generator:
    return torch.Generator().manual_seed(0)


ORDER: tuple[Ask, ...] = (
    Ask("row independence", "does a row's output depend on the other rows of its batch?", row_independence),
    Ask("two samples", "can training and validation rows be told apart?", two_samples),
    Ask("one batch", "can sixteen rows be learned by heart?", one_batch),
    Ask("second opinion", "what does a plain network reach?", second_opinion),
    Ask("evaluation mode", "are training rows fitted in evaluation as in training?", evaluation_mode),
    Ask("rate range", "which learning rates work?", rate_range),
    Ask("gradient noise", "from which batch size on is a gradient more signal than noise?", gradient_noise),
    Ask("curvature", "what is the shape of the loss where training ended?", shape),
    Ask("random labels", "are labels without sense learned as well?", random_labels, 1),
    Ask("no regularisation", "does it do better without dropout and weight decay?", no_regularisation, 1),
    Ask("larger model", "does a model twice as wide do better?", larger, 2),
    Ask("smaller model", "does a model of half the width do as well?", smaller, 1),
    Ask("half the data", "does half of the rows do as well?", half_the_data, 1),
    Ask("more time", "do twice the epochs do better?", more_time, 2),
)
