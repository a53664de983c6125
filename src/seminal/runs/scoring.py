"""`seminal score`: what the rows that a model makes, or its density, are worth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seminal.core import Generator, Order, Source, UserError
from seminal.data.image_encoder import ImageEncoder
from seminal.pieces.fidelity import kernel_distance, parzen, parzen_width, precision_recall
from seminal.pieces.two_sample import auc
from seminal.report.terminal import say
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.others import Scored, other_data
from seminal.runs.plan import Plan, best_model, encoder_of, plan_of, source_of
from seminal.runs.samples import classes_of, pictures
from seminal.tasks.classification import Classification
from seminal.tasks.variational import Variational, importance_sampled
from seminal.train.evaluate import predicted

SURE = 0.9  # probability from which the judge knows a picture
LEAST = 10  # made rows: the distances of precision and recall are those of the third neighbour
ROWS = 10_000  # real ones that made ones are compared with, at most
FEATURES = 2000  # rows whose features are compared, at most


@dataclass(frozen=True)
class ScoreAsk:
    """The words of ``seminal score``."""

    run: str
    data: str | None = None
    judge: str | None = None  # the run of a classifier
    unusual: str | None = None  # a class that the model has not seen
    n: int = 1000  # made rows
    on_bad_file: str = "refuse"
    samples: int = 100  # importance samples for each row
    seed: int = 0
    as_json: bool = False


@dataclass(frozen=True)
class Worth:
    """What was measured, and on which rows."""

    data: str
    split: str
    rows: int
    numbers: dict[str, float]


def score(ask: ScoreAsk) -> int:
    """Print what `worth` measures."""
    found = worth(ask)
    if ask.as_json:
        print(json.dumps({"run": ask.run, "data": found.data, "split": found.split, **found.numbers}))
        return 0
    say(found.split, f"{found.rows:,} rows of {found.data}; {ask.n:,} made")
    for name, value in found.numbers.items():
        say(name.replace("_", " "), f"{value:.5g}")
    if "parzen" in found.numbers:
        say("", "Parzen windows rank models badly (Theis et al. 2016): the number is here because the papers print it.")
    return 0


def worth(ask: ScoreAsk) -> Worth:
    """Every number that this model has, on the validation rows of its own data, or on all rows of other data.

    Raises `UserError`: the model makes nothing, or a run does not suit.
    """
    for flag, value, least in (("n", ask.n, LEAST), ("samples", ask.samples, 1)):
        if value < least:
            raise UserError(f"--{flag} {value} is too few to measure anything: write {least} or more.")
    folder = RunFolder.existing(ask.run)
    plan = plan_of(folder)
    device = device_for(plan.run.device)
    source: Source
    if ask.data is None:
        source = source_of(folder, plan, device)
    else:
        source = other_data(
            Scored(ask.data, strange=ask.unusual is not None, on_bad_file=ask.on_bad_file), folder, plan
        )
    model = best_model(folder, plan, device)
    if not isinstance(model, Generator) and ask.unusual is None:
        raise UserError(
            f"{ask.run} is a run of {plan.recipe.variant}, which makes nothing: `seminal eval` scores it, and --unusual "
            "CLASS tells how well it finds rows of another kind."
        )
    split = "val" if "val" in source.spec.counts else next(iter(source.spec.counts))
    found: dict[str, float] = {}
    if ask.unusual is not None:
        found |= _unusual(ask, model, plan, source)
    if isinstance(plan.recipe.task, Variational):
        found |= _likelihood(ask, model, plan, source, split)
    if isinstance(model, Generator) and source.spec.kind == "images":
        made = pictures(model, plan.recipe, ask.n, seed=ask.seed)
        found |= _windows(made, source, split)
        if ask.judge is not None:
            found |= _judged(made, _Judge(ask.judge, source), source, split, classes_of(plan.recipe))
    return Worth(source.spec.name, split, source.spec.counts[split], found)


def _likelihood(ask: ScoreAsk, model: nn.Module, plan: Plan, source: Source, split: str) -> dict[str, float]:
    """log p(x), by importance sampling: a lower bound too, and a tighter one than that of training."""
    order = Order(split, 100, scaling=plan.recipe.scaling)
    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad():
        parts = [
            importance_sampled(model, {name: v.to(device) for name, v in batch.items()}, ask.samples).cpu()
            for batch in source.batches(order)
        ]
    values = torch.cat(parts)
    return {"log_likelihood": float(values.mean()), "standard_error": float(values.std() / len(values) ** 0.5)}


def _windows(made: Tensor, source: Source, split: str) -> dict[str, float]:
    """The Parzen-window log-likelihood of the GAN paper: the width is chosen on one half of the rows, the other is scored."""
    rows = _rows(source, split).flatten(1)
    first, second = rows[::2], rows[1::2]
    width = parzen_width(first[evenly(len(first), FEATURES)], made.flatten(1))
    values = parzen(second, made.flatten(1), width)
    return {
        "parzen": float(values.mean()),
        "parzen_standard_error": float(values.std() / len(values) ** 0.5),
        "parzen_width": width,
    }


def _rows(source: Source, split: str) -> Tensor:
    """(rows, C, H, W): all, or `ROWS` at even distances, since pictures mostly lie sorted by class."""
    wanted = set(evenly(source.spec.counts[split], ROWS).tolist())
    kept, at = [], 0
    for batch in source.batches(Order(split, 500, scaling="none")):
        places = [place for place in range(len(batch["input"])) if at + place in wanted]
        kept.append(batch["input"][places].cpu())
        at += len(batch["input"])
    return torch.cat(kept)


def evenly(rows: int, most: int) -> Tensor:
    """(at most ``most``,) places among ``rows``, all at the same distance."""
    return torch.arange(min(rows, most)) * rows // max(1, min(rows, most))


# ------------------------------------------------------------------------------------------------------------ the judge


class _Judge:
    """A classifier trained here: what it calls pictures, how sure it is, and its last features."""

    def __init__(self, run: str, source: Source) -> None:
        folder = RunFolder.existing(run)
        self.plan = plan_of(folder)
        reader = encoder_of(folder)
        channels = source.spec.shape[0]
        if not isinstance(self.plan.recipe.task, Classification) or not isinstance(reader, ImageEncoder):
            raise UserError(
                f"{run} is a run of {self.plan.recipe.variant}, and a judge must be a classifier of pictures."
            )
        if reader.channels != channels:
            raise UserError(
                f"the judge {run} reads pictures of {reader.channels} channels, and these have {channels}: train one on the "
                "same pictures."
            )
        self.device = device_for(self.plan.run.device)
        self.model = best_model(folder, self.plan, self.device).eval()
        self.scale, self.size = reader.scaler(self.device), reader.size

    def sees(self, made: Tensor) -> tuple[Tensor, Tensor]:
        """(n, classes) probabilities and (n, d) features: what the last matrix is given."""
        kept: list[Tensor] = []
        last = [m for m in self.model.modules() if isinstance(m, nn.Linear)][-1]
        hook = last.register_forward_pre_hook(lambda module, given: kept.append(given[0].float().cpu()))
        try:
            with torch.no_grad():
                found = [self._probability(part) for part in made.split(200)]
        finally:
            hook.remove()
        return torch.cat(found), torch.cat(kept)

    def _probability(self, part: Tensor) -> Tensor:
        part = part.to(self.device)
        if part.shape[-2:] != (self.size, self.size):
            part = F.interpolate(part, (self.size, self.size), mode="bilinear", antialias=True)
        return self.plan.recipe.task.predict(self.model, {"input": self.scale(part)})["probability"].float().cpu()


def _judged(made: Tensor, judge: _Judge, source: Source, split: str, asked: int) -> dict[str, float]:
    """Does the judge know the pictures, does it see every class, does it see the class that was asked for?"""
    probability, features = judge.sees(made)
    rows = _rows(source, split)
    real, truth = judge.sees(rows[evenly(len(rows), FEATURES)])
    sure, called = probability.max(1)
    counts = torch.bincount(called, minlength=probability.shape[1])
    precision, recall = precision_recall(truth, features[:FEATURES])
    found = {
        "confident": float((sure >= SURE).double().mean()),
        "confident_on_real_rows": float((real.max(1).values >= SURE).double().mean()),
        "classes": float((counts > 0).sum()),
        "share_of_rarest_class": float(counts.min()) / len(called),
        "precision": precision,
        "recall": recall,
        "feature_distance": kernel_distance(truth, features[:FEATURES]),
    }
    if asked:
        found["asked_class"] = float((called == torch.arange(len(called)) % asked).double().mean())
    return found


# ------------------------------------------------------------------------------------------------------------ anomalies


def _unusual(ask: ScoreAsk, model: nn.Module, plan: Plan, source: Source) -> dict[str, float]:
    """How well the model's score tells rows of one class, which it should not have seen, from the others."""
    classes = source.spec.classes
    if ask.unusual not in classes:
        raise UserError(f"there is no class `{ask.unusual}` in {source.spec.name}. It has: {', '.join(classes[:20])}.")
    pairs = list(_anomalies(model, plan, source))
    strange: Tensor = torch.cat([target for target, _ in pairs]).eq(classes.index(ask.unusual))
    scores = torch.cat([anomaly for _, anomaly in pairs]).double()
    if not bool(strange.any()) or bool(strange.all()):
        raise UserError(f"rows of `{ask.unusual}` and of other classes are needed: give a set that holds both.")
    return {"anomaly_auc": float(auc(scores[:, None], strange[:, None])), "unusual_rows": float(strange.sum())}


def _anomalies(model: nn.Module, plan: Plan, source: Source) -> Iterator[tuple[Tensor, Tensor]]:
    for split in source.spec.counts:
        if split == "train" and len(source.spec.counts) > 1:
            continue
        for batch, found in predicted(model, source, plan.recipe, Order(split, 500, scaling=plan.recipe.scaling)):
            if "anomaly" not in found:
                raise UserError(
                    f"{plan.recipe.variant} gives rows no score of how unusual they are: use vae or autoencoder."
                )
            yield batch["target"].cpu(), found["anomaly"].float().cpu()
