"""Every experiment the doctor knows, one after the other: `seminal doctor --examine`.

Each asks one question about the program, answers it with numbers, and says what the answer means. They are made on
fresh copies and end when the time is up; the cheap ones come first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from seminal.doctor import curvature, remedies, signs
from seminal.doctor.chart import Chart
from seminal.doctor.findings import Remedy
from seminal.doctor.program import Program, undisturbed
from seminal.doctor.rows import Altered
from seminal.pieces.two_sample import compared

RANGE = (1e-6, 10.0)  # learning rates that are tried
RATES = 120  # steps from the first to the last
ROWS = 256  # of the batch on which curvature is measured


@dataclass(frozen=True)
class Examination:
    """One experiment and its outcome."""

    name: str
    question: str
    found: str  # numbers
    means: str  # what follows


def examinations(chart: Chart) -> Iterator[Examination]:
    """All of them, in order of what they cost, while there is time."""
    for ask in ORDER:
        if not chart.in_time:
            return
        try:
            yield ask(chart)
        except (RuntimeError, ValueError) as error:  # a stranger's program may not bear every experiment
            yield Examination(ask.__name__, "could not be asked", f"{type(error).__name__}: {error}", "nothing follows")


def row_independence(chart: Chart) -> Examination:
    alone = chart.anatomy.alone
    means = "rows are computed each for itself" if alone < 1e-3 else "rows influence one another, in evaluation too"
    return Examination(
        "row independence", "does a row's output depend on the others?", f"changes by {alone:.1g}", means
    )


def two_samples(chart: Chart) -> Examination:
    """Are training and validation rows told apart?"""
    train, val = chart.train.inputs, chart.val.inputs
    if not train.is_floating_point():
        train, val = train.double(), val.double()
    found = compared(train, val)
    apart = found.auc > 0.6 and found.p < 0.01
    means = "they come from different distributions" if apart else "they could come from one distribution"
    numbers = f"AUC {found.auc:.2f} (p = {found.p:.3f}), means differ by at most {found.mean:.2f} standard deviations"
    return Examination("two samples", "can training and validation rows be told apart?", numbers, means)


def one_batch(chart: Chart) -> Examination:
    ways = chart.one_batch
    floor = chart.anatomy.wanted.loss
    told = [f"own optimiser {ways.own.first:.3g} → {ways.own.last:.3g}", f"Adam → {ways.adam.last:.3g}"]
    if ways.scaled is not None:
        told.append(f"Adam on standardised data → {ways.scaled.last:.3g}")
    if ways.own.fits(floor):
        means = "model, loss and optimiser can learn: look at the data, and at what happens on new rows"
    elif ways.adam.fits(floor):
        means = "model and loss can learn, this optimiser at this rate cannot"
    elif ways.scaled is not None and ways.scaled.fits(floor):
        means = "model and loss can learn where inputs and targets are scaled"
    else:
        means = "something is wrong in the model or the loss: nothing learns sixteen rows"
    return Examination("one batch", "can sixteen rows be learned by heart?", ", ".join(told), means)


def second_opinion(chart: Chart) -> Examination:
    own, other = signs.skill(chart), signs.allowed(chart)
    if not chart.opinion.known:
        return Examination(
            "second opinion", "what does a plain network reach?", "no opinion on such data", "nothing follows"
        )
    numbers = f"this program {own:.2f} of the scale on validation rows, a plain network {other:.2f}"
    if own >= other - signs.CLOSE:
        return Examination(
            "second opinion", "what does a plain network reach?", numbers, "the program does what the data allow"
        )
    return Examination(
        "second opinion", "what does a plain network reach?", numbers, "the data allow more than this program reaches"
    )


def evaluation_mode(chart: Chart) -> Examination:
    """The same training rows, in evaluation mode: what do dropout and batch statistics cost?"""
    trained, seen = chart.course.level(1.0), chart.course.last.loss
    numbers = f"loss on training rows: {trained:.3g} while training, {seen:.3g} in evaluation"
    harder = seen < 0.6 * trained
    means = (
        "noise in training holds the fit back: regularisation is strong" if harder else "noise in training costs little"
    )
    return Examination("evaluation mode", "how are training rows fitted without the noise of training?", numbers, means)


def rate_range(chart: Chart) -> Examination:
    """The learning rate from very low to very high, a factor each step (Smith 2017, Sec. 3.3)."""
    factor = (RANGE[1] / RANGE[0]) ** (1 / (RATES - 1))
    with undisturbed():
        program = replace(chart.make(chart.seed), train_step=None)
        program.model.train()
        losses: list[float] = []
        for number, (input, target) in enumerate(itertools.islice(_forever(program), RATES)):
            for group in program.optimizer.param_groups:
                group["lr"] = RANGE[0] * factor**number
            losses.append(float(program.step(input, target)))
            if not math.isfinite(losses[-1]) or losses[-1] > 4 * losses[0] + 1e-9:
                break
    smooth = [sum(losses[max(0, i - 4) : i + 1]) / len(losses[max(0, i - 4) : i + 1]) for i in range(len(losses))]
    falls = [a - b for a, b in zip(smooth, smooth[5:])]
    steepest = RANGE[0] * factor ** (falls.index(max(falls)) + 2) if falls else RANGE[0]
    ends = RANGE[0] * factor ** (len(losses) - 1)
    own = chart.program.optimizer.param_groups[0]["lr"]
    diverges = len(losses) < RATES
    end = f"{'breaks' if diverges else 'still holds'} at {ends:.1g}"
    numbers = f"falls fastest around {steepest:.1g}, {end}; own rate {own:g}"
    if diverges and own > 0.5 * ends:
        means = "the own rate is at the edge where it breaks: too high"
    elif own < steepest / 30:
        means = "the own rate is far below: too low, or meant for a longer run"
    else:
        means = "the own rate is where it should be"
    return Examination("rate range", "which learning rates work?", numbers, means)


def _forever(program: Program) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from program.train


def gradient_noise(chart: Chart) -> Examination:
    """At which batch size is a gradient as much signal as noise, at the end of training?"""
    model, loss = chart.course.model, chart.program.loss
    weights = [p for p in model.parameters() if p.requires_grad]
    model.eval()
    order = torch.randperm(len(chart.train), generator=torch.Generator().manual_seed(0))
    gradients = []
    for size in (8, 64):
        for rows in order[: 16 * size].split(size):
            part = chart.train.part(rows)
            found = torch.autograd.grad(
                loss(model(part.inputs), part.targets), weights, materialize_grads=True, allow_unused=True
            )
            if len(rows) == size:
                gradients.append((size, torch.cat([g.flatten() for g in found])))
    scale = curvature.noise_scale(gradients)
    numbers = f"{scale:.0f} rows" if math.isfinite(scale) else "more rows than there are: the gradient is all noise"
    means = "batches much smaller than this are ruled by noise, much larger ones are wasted"
    return Examination(
        "gradient noise", "from which batch size on is a gradient more signal than noise?", numbers, means
    )


def hessian(chart: Chart) -> Examination:
    """Where training stands at its end: a minimum, a saddle, a plateau or a slope."""
    found = _shape(chart)
    numbers = f"gradient {found.gradient:.2g}, largest curvature {found.top:.3g}, smallest {found.bottom:.3g}"
    if found.name == "saddle":
        means = f"a saddle: along the smallest curvature the loss falls by {found.falls:.2g}"
    else:
        means = {"minimum": "a minimum", "plateau": "a plateau: hardly any curvature", "slope": "still on a slope"}[
            found.name
        ]
    if isinstance(chart.program.optimizer, torch.optim.SGD):
        means += f"; plain descent breaks above a rate of {found.steepest_rate:.2g}"
    return Examination("curvature", "what is the shape of the loss where training ended?", numbers, means)


def _shape(chart: Chart) -> curvature.Shape:
    model, loss = chart.course.model.eval(), chart.program.loss
    part = chart.train.part(torch.linspace(0, len(chart.train) - 1, min(ROWS, len(chart.train))).round().long())
    return curvature.shape(model, lambda: loss(model(part.inputs), part.targets))


def sharpness(chart: Chart) -> Examination:
    model, loss = chart.course.model.eval(), chart.program.loss
    part = chart.train.part(torch.arange(min(ROWS, len(chart.train))))
    rise = curvature.sharpness(model, lambda: loss(model(part.inputs), part.targets))
    return Examination(
        "sharpness",
        "how much does the loss rise 0.05 up the gradient?",
        f"by {rise:.3g}",
        "only good for comparing two runs",
    )


def larger(chart: Chart) -> Examination:
    return _tried(
        chart,
        "larger model",
        "does a model twice as wide fit the training rows better?",
        remedies.wider(2),
        "too simple a model",
    )


def smaller(chart: Chart) -> Examination:
    return _tried(
        chart, "smaller model", "does a model of half the width do as well?", remedies.smaller(2), "too large a model"
    )


def more_time(chart: Chart) -> Examination:
    return _tried(
        chart, "more time", "do twice the epochs do better?", remedies.longer(2), "too short a run", share=1.0
    )


def no_regularisation(chart: Chart) -> Examination:
    effect = signs.effect(chart, remedies.no_dropout(), remedies.no_decay())
    return _answer(
        "no regularisation", "does it learn better without dropout and decay?", effect, "too strong regularisation"
    )


def half_the_data(chart: Chart) -> Examination:
    return _tried(chart, "half the data", "does half the rows do as well?", half(), "rows that disturb", share=1.0)


def shuffled_labels(chart: Chart) -> Examination:
    """Labels dealt out at random: whatever is learned now is learned by heart."""
    effect = signs.effect(chart, shuffled_targets())
    numbers = (
        f"loss {effect.loss_before:.3g} with the labels as they are, {effect.loss_after:.3g} with labels at random"
    )
    alike = abs(effect.loss_after - effect.loss_before) < 0.05 * max(abs(effect.loss_before), 1e-12)
    means = "inputs say nothing about labels, or are not used" if alike else "the labels can be learned from the inputs"
    return Examination("shuffled labels", "is anything learned that is not learned by heart?", numbers, means)


def _tried(
    chart: Chart, name: str, question: str, remedy: Remedy, illness: str, share: float | None = None
) -> Examination:
    return _answer(name, question, signs.effect(chart, remedy, share=share), illness)


def _answer(name: str, question: str, effect: signs.Effect, illness: str) -> Examination:
    means = (
        f"yes: a sign of {illness}"
        if effect.helped
        else "no clear difference"
        if effect.gain > -signs.HELPS
        else "no, clearly worse"
    )
    return Examination(name, question, effect.told("skill as it is → changed"), means)


def half() -> Remedy:
    """Every other training row."""

    def change(program: Program) -> Program:
        loader = program.train
        if not isinstance(loader, DataLoader):
            return program
        part = Subset(loader.dataset, range(0, len(loader.dataset), 2))  # type: ignore[arg-type]
        fewer = DataLoader(
            part, loader.batch_size, shuffle=remedies.data.draws_order(loader), collate_fn=loader.collate_fn
        )
        return replace(program, train=fewer, epochs=2 * program.epochs)

    return Remedy(
        "half of the rows",
        "train on every other row, for as many steps",
        "dataset = Subset(dataset, range(0, n, 2))",
        change,
    )


def shuffled_targets() -> Remedy:
    """Each batch's targets dealt out anew."""

    def change(program: Program) -> Program:
        return replace(program, train=Altered(program.train, lambda x, y: (x, y[torch.randperm(len(y))])))

    return Remedy(
        "labels at random",
        "deal the labels of each batch out at random",
        "target = target[torch.randperm(len(target))]",
        change,
    )


Ask = Callable[[Chart], Examination]
ORDER: tuple[Ask, ...] = (
    row_independence,
    two_samples,
    one_batch,
    second_opinion,
    evaluation_mode,
    rate_range,
    gradient_noise,
    hessian,
    sharpness,
    shuffled_labels,
    no_regularisation,
    larger,
    smaller,
    half_the_data,
    more_time,
)
