"""``seminal landscape``: the loss around where a run, or a program, ended, drawn in two directions."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from seminal.core import Batch, Order, Source, UserError
from seminal.doctor import course, curvature
from seminal.doctor.landscape import Surface, around, filter_normalised, flat, principal, projected, spread, surface
from seminal.doctor.program import Program, from_file, undisturbed
from seminal.doctor.rows import rows_of
from seminal.report.data import Citation
from seminal.report.landscape import Landscape, Stop, render
from seminal.report.terminal import say
from seminal.report.words import number, share
from seminal.runs.codec import write_text
from seminal.runs.doctoring import is_program
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.plan import Plan, best_model, model_of, plan_of, source_of
from seminal.runs.shelf import papers, published

STOPS = 24  # weights kept of a program's training
SHOWN = 0.1  # share of the path that must lie in the plane for it to be drawn
DIRECTIONS = ("random", "hessian", "path")


@dataclass(frozen=True)
class LandscapeAsk:
    """The words of ``seminal landscape``."""

    patient: str  # program.py, program.py:make, or the folder of a run
    directions: str = "random"
    span: float = 1.0
    points: int = 21
    rows: int = 256
    seed: int = 0
    device: str | None = None


@dataclass(frozen=True)
class View:
    """What is looked at."""

    title: str
    paper: Citation
    centre: str  # what the weights in the middle are called
    model: nn.Module  # … and hold
    loss: Callable[[], Tensor]
    rows: int
    unlearned: float  # loss of a fresh model
    path: tuple[tuple[str, Tensor], ...]  # (name, flat weights) in the order of time; the centre is among them
    page: Path

    @property
    def weights(self) -> list[nn.Parameter]:
        return learning(self.model)


def learning(model: nn.Module) -> list[nn.Parameter]:
    """The weights that can be moved."""
    return [p for p in model.parameters() if p.requires_grad]


def landscape(ask: LandscapeAsk) -> int:
    """Draw it; exit code 0."""
    if ask.points < 5 or ask.points % 2 == 0:
        raise UserError(f"--points {ask.points} has no middle, or hides everything: give an odd number from 5 on.")
    if ask.rows < 1 or not ask.span > 0:
        raise UserError("--rows and --span must be above 0: they say on how many rows, and how far, one looks.")
    with undisturbed():
        view = _of_program(ask) if is_program(ask.patient) else _of_run(ask)
        started = time.monotonic()
        shape = _shape(view, ask)
        directions, axes, about = _directions(view, ask, shape)
        here = flat(view.weights)
        walked, kept = projected([weights - here for _, weights in view.path], directions)
        alphas, betas = _grid(ask, walked)
        say("surface", f"{ask.points} × {ask.points} losses on {view.rows:,} training rows")
        found = surface(view.weights, view.loss, directions, alphas, betas)
    _finish(view, ask, (found, walked, kept, shape), (axes, about))
    say("time", f"{time.monotonic() - started:.0f} s")
    return 0


# ------------------------------------------------------------------------------------------------------ what is looked at


def _of_run(ask: LandscapeAsk) -> View:
    folder = RunFolder.existing(ask.patient)
    plan, device = plan_of(folder), device_for(ask.device)
    source = source_of(folder, plan, device)
    model = best_model(folder, plan, device)
    if len(plan.recipe.task.players(model)) > 1:
        raise UserError(f"in {folder.path} several players learn, each by a loss of its own: there is no one surface.")
    batches = _rows(source, plan, ask)
    fresh, paper = model_of(plan, device).eval(), papers()[plan.paper]
    path = [("best", flat(learning(model)))]
    if not plan.recipe.transfer:  # else it began with weights from elsewhere, which may be gone
        path.insert(0, ("first", flat(learning(fresh))))
    last = flat(learning(best_model(folder, plan, device, "last")))
    path = [*path[:-1], ("best and last", last)] if torch.equal(last, path[-1][1]) else [*path, ("last", last)]
    return View(
        f"The loss around {plan.title}",
        Citation(f"{paper.authors}: {paper.title}. {published(paper)}.", paper.url),
        "best",
        model,
        lambda: _loss(model, plan, batches),
        sum(_count(batch) for batch in batches),
        float(_loss(fresh, plan, batches).detach()),
        tuple(path),
        folder.path / "landscape.html",
    )


def _rows(source: Source, plan: Plan, ask: LandscapeAsk) -> list[Batch]:
    """Training rows as they are, by lot, in one batch; in batches of tokens the last may bring a few more than were asked."""
    recipe, found = plan.recipe, list[Batch]()
    by_rows = source.spec.batched_by == "rows"
    batch = min(ask.rows, source.spec.counts["train"]) if by_rows else recipe.batch
    for taken in source.batches(Order("train", batch, ask.seed, shuffle=True, scaling=recipe.scaling)):
        found.append(taken)
        if sum(_count(batch) for batch in found) >= ask.rows:
            break
    return found


def _count(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _loss(model: nn.Module, plan: Plan, batches: list[Batch]) -> Tensor:
    """The loss of the recipe per row (per token), in evaluation mode."""
    turns = [turn for batch in batches for turn in plan.recipe.task.turns(model, batch)]
    return torch.stack([turn.loss for turn in turns]).sum() / torch.stack([turn.weight for turn in turns]).sum()


def _of_program(ask: LandscapeAsk) -> View:
    file = Path(ask.patient.removesuffix(ask.patient.rpartition(".py")[2]))
    make = from_file(ask.patient)
    rows = rows_of(make(ask.seed).train)
    part = rows.part(torch.randperm(len(rows), generator=torch.Generator().manual_seed(ask.seed))[: ask.rows])
    program = make(ask.seed)

    def loss() -> Tensor:
        return program.loss(program.model(part.inputs), part.targets)

    with torch.no_grad():
        program.model.eval()
        unlearned = float(loss())
    say("training", f"{course.length(program):,} steps, as the program would")
    path = _trained(program)
    program.model.eval()
    page = file.with_name(f"{file.stem}-landscape.html")
    return View(
        f"The loss around {file.name}", Citation("", ""), "last", program.model, loss, len(part), unlearned, path, page
    )


def _trained(program: Program) -> tuple[tuple[str, Tensor], ...]:
    """Trains, and keeps the weights `STOPS` times on the way."""
    weights, steps = learning(program.model), course.length(program)
    path, often = [("first", flat(weights))], -(-steps // STOPS)
    for step, (_, input, target) in enumerate(course.batches(program), start=1):
        program.model.train()
        program.step(input, target)
        if step % often == 0 and step < steps:
            path.append(("", flat(weights)))
    path.append(("last", flat(weights)))
    if not bool(path[-1][1].isfinite().all()):
        raise UserError("its training ends with weights that are not finite: `seminal doctor` says why.")
    return tuple(path)


# --------------------------------------------------------------------------------------------------------- where one looks


def _shape(view: View, ask: LandscapeAsk) -> curvature.Shape | None:
    """The ends of the Hessian's spectrum; None where the model cannot be differentiated twice."""
    say("curvature", f"of {sum(w.numel() for w in view.weights):,} weights, on {view.rows:,} training rows")
    try:
        return curvature.shape(view.model, view.loss, seed=ask.seed)
    except RuntimeError as error:
        if ask.directions == "hessian":
            raise UserError(
                f"this model cannot be differentiated twice ({error}): leave --directions hessian away."
            ) from None
        say("", f"not known: the model cannot be differentiated twice ({error})")
        return None


Directions = tuple[Tensor, Tensor]


def _directions(
    view: View, ask: LandscapeAsk, shape: curvature.Shape | None
) -> tuple[Directions, tuple[str, str], str]:
    """Two flat directions, what their axes are called, and what they are, in a sentence."""
    luck, here = torch.Generator().manual_seed(ask.seed), flat(view.weights)
    random = (filter_normalised(view.weights, luck), filter_normalised(view.weights, luck))
    if ask.directions == "hessian":
        assert shape is not None
        # One length: where the sharpest parabola has climbed as high as training came down.
        fallen = max(view.unlearned - shape.loss, 0.1 * abs(shape.loss), 1e-6)
        length = math.sqrt(2 * fallen / shape.top) if shape.top > 0 else float(here.norm())
        about = (
            "The directions are the Hessian's eigenvectors with the largest and the smallest eigenvalue. The length of both "
            f"is {number(length, 3)}: so far along the sharpest one, a parabola loses all that training gained."
        )
        ends = (length * shape.upward.to(here), length * shape.downward.to(here))
        return ends, ("sharpest direction", "direction of the smallest curvature"), about
    if ask.directions == "path":
        steps = [weights - here for _, weights in view.path if not torch.equal(weights, here)]
        if not steps:
            raise UserError("nothing is known of this path but its end: choose --directions random or hessian.")
        about = "The directions are those in which the known places of the training's path lie farthest apart."
        return principal(steps, random[0]), ("first direction of the path", "second direction of the path"), about
    about = (
        "The directions are drawn at random; each filter (row of a matrix) of a direction is as long as the weights' own, so "
        "that 1 is as far as the weights are from 0."
    )
    return random, ("first random direction", "second random direction"), about


def _grid(ask: LandscapeAsk, walked: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if ask.directions != "path":
        return spread(ask.span, ask.points), spread(ask.span, ask.points)
    along = around(walked[:, 0], ask.points)
    straight = float(walked[:, 1].abs().max()) < 1e-3
    return along, spread((along[-1] - along[0]) / 2, ask.points) if straight else around(walked[:, 1], ask.points)


# ------------------------------------------------------------------------------------------------------------ what is told


def _finish(
    view: View,
    ask: LandscapeAsk,
    found: tuple[Surface, Tensor, float, curvature.Shape | None],
    told: tuple[tuple[str, str], str],
) -> None:
    (drawn, walked, kept, shape), (axes, about) = found, told
    stops = tuple(Stop(name, *place) for (name, _), place in zip(view.path, walked.tolist(), strict=True))
    losses = tuple(tuple(row) for row in drawn.loss.tolist())
    here = losses[drawn.betas.index(0.0)][drawn.alphas.index(0.0)]
    says = [_what(view), about, *_sharpness(shape), _path(view, ask, kept)]
    page = Landscape(
        view.title,
        view.paper,
        tuple(_headline(here, shape, view)),
        tuple(says),
        axes,
        drawn.alphas,
        drawn.betas,
        losses,
        stops if _is_drawn(ask, kept) else (),
        tuple(
            (f"seminal landscape {ask.patient} --directions {other}", does)
            for other, does in zip(DIRECTIONS, ("in random directions", "where it is sharpest", "along the path"))
            if other != ask.directions
        ),
    )
    numbers = {"curvature": None if shape is None else {"largest": shape.top, "smallest": shape.bottom}, "loss": here}
    numbers |= {"shape": None if shape is None else shape.name, "rows": view.rows, "path_in_plane": kept}
    grid = {"axes": axes, "alphas": drawn.alphas, "betas": drawn.betas, "path": [asdict(stop) for stop in stops]}
    grid |= {"losses": [[loss if math.isfinite(loss) else None for loss in row] for row in losses]}
    for sentence in says[2:]:
        say("", sentence)
    text = json.dumps({**asdict(ask), **numbers, **grid}, ensure_ascii=False) + "\n"
    for path, content in ((view.page, render(page)), (view.page.with_suffix(".json"), text)):
        write_text(path, content, "Make room, or make its folder one that can be written to.")
    say("page", str(view.page), wrap=False)


def _headline(here: float, shape: curvature.Shape | None, view: View) -> list[tuple[str, str]]:
    ends = (
        []
        if shape is None
        else [("sharpest curvature", number(shape.top, 3)), ("smallest curvature", number(shape.bottom, 3))]
    )
    what = [] if shape is None else [("where it stands", f"a {shape.name}")]
    return [("loss here", number(here, 3)), *ends, *what, ("training rows", f"{view.rows:,}")]


def _what(view: View) -> str:
    text = (
        f"The loss of {view.rows:,} training rows, in evaluation mode, where the {view.centre} weights are moved in two "
        "directions at once."
    )
    if any(buffer.is_floating_point() for buffer in view.model.buffers()):
        text += f" Running statistics of normalisation stay those of the {view.centre} weights."
    return text


def _sharpness(shape: curvature.Shape | None) -> list[str]:
    if shape is None:
        return []
    text = f"The sharpest curvature is {number(shape.top, 3)}, the smallest {number(shape.bottom, 3)}: a {shape.name}."
    if shape.top > 0:
        text += f" Plain gradient descent would break above a learning rate of {number(shape.steepest_rate, 2)}."
    return [text]


def _is_drawn(ask: LandscapeAsk, kept: float) -> bool:
    return ask.directions == "path" or kept >= SHOWN


def _path(view: View, ask: LandscapeAsk, kept: float) -> str:
    names = ", ".join(name for name, _ in view.path if name)
    known = f"Of the training's path {len(view.path)} places are known ({names})"
    if _is_drawn(ask, kept):
        return f"{known}; {share(kept)} of their squared distances lie in this plane."
    return f"{known}. They are not drawn: only {share(kept, 2)} of their squared distances lie in this plane."
