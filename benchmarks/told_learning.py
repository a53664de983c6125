"""What the pages say of networks that were trained: a function for each file of results gives its lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from statistics import fmean, median, stdev
from typing import Any

from seminal.runs.repeats import interval
from told import grid, mean95_of, pm, sd_of

NEVER = "no pre-training"  # the learner that the others are compared with
SAME = {"BERT": NEVER, "larger (mini)": "larger (mini), no pre-training"}  # networks with and without pre-training
SCORES = {"top1": "accuracy %", "matthews": "Matthews × 100"}


def accuracy(result: dict[str, Any]) -> Iterator[str]:
    """resnet20 on a CIFAR-10 copy, beside a plain loop."""
    recipe, rows, difference = result["recipe"], result["rows"], result["difference"]
    seeds = "1 seed" if difference["n"] == 1 else f"{difference['n']} seeds, mean ± 95 % interval"
    yield f"**Accuracy**: {result['model']}, {recipe['epochs']} epochs on {rows['train']} pictures of a CIFAR-10 copy"
    yield f"whose pictures are small JPEGs (not comparable with published numbers), {seeds}."
    lines = []
    for name in ("seminal", "reference"):
        found = result[name]
        reached = found["seconds_to_target"]
        until = f"{reached['median'] / 60:.1f}" if reached else "not reached"
        whole = found["seconds_whole"]["median"] / 60
        lines.append((name, pm(found["top1_final"], 100), until, f"{whole:.1f}"))
    until = f"minutes until {result['target']:.0%}"
    yield from grid(("loop", "final top-1 %", until, "minutes in all, validation included"), lines)
    yield ""
    yield f"Paired by seed, seminal less reference: {pm(difference, 100)} percentage points."


def _passes(result: dict[str, Any]) -> float:
    return float(result["results"][0]["epochs"])


def cifar_forms(result: dict[str, Any]) -> Iterator[str]:
    """The papers' networks for small pictures."""
    yield f"**The papers' forms for small pictures**, each trained with the modern recipe on {result['images']:,} pictures"
    yield f"({_passes(result):.2f} epochs) of a CIFAR-10 copy (small JPEGs, not comparable with published numbers), 1 seed,"
    yield "best first. Deep networks have hardly begun after so few steps."
    done = sorted((r for r in result["results"] if r["top1"] is not None), key=lambda r: -r["top1"])
    alone = all("rate_precision" in r for r in done)  # rates measured beside other work are not told
    rows = [
        (
            r["model"],
            f"{r['parameters'] / 1e6:.2f} M",
            f"{r['multiply_adds'] / 1e6:.0f} M",
            f"{r['top1']:.1%}",
            *([f"{r['images_per_s']:.0f}"] if alone else []),
        )
        for r in done
    ]
    yield from grid(("model", "parameters", "multiply-adds", "top-1", *["images/s in training"][:alone]), rows)
    left = [name for name in result["forms"] if name not in [r["model"] for r in result["results"]]]
    if left:
        yield ""
        yield f"Not run yet: {', '.join(left)}."
    slow = [f"{r['model']} ({r['images_per_s']:.1f} images/s)" for r in result["results"] if r["top1"] is None]
    if slow:
        yield ""
        yield f"Too slow here for this budget: {', '.join(slow)}."


def tables(result: dict[str, Any]) -> Iterator[str]:
    """Networks for tables, beside scikit-learn."""
    yield f"**Tables**, {result['folds']} folds × {result['seeds']} seeds, the same folds for both; mean ± 95 % interval."
    rows = [
        (r["data"], r["metric"], r["model"], pm(r["seminal"]), name, pm(rival["score"]), pm(rival["difference"]))
        for r in result["results"]
        for name, rival in r["scikit-learn"].items()
    ]
    yield from grid(("data", "metric", "seminal", "", "scikit-learn", "", "difference"), rows)


def sst2(result: dict[str, Any]) -> Iterator[str]:
    """Classifiers of sentences."""
    rows = result["runs"][0]["rows"]
    yield f"**SST-2**, {rows['train']:,} sentences, good or bad, with default recipes: accuracy on the {rows['test']:,} of"
    yield f"the test set, of the weights that were best on the {rows['val']:,} for validation; mean ± standard deviation."
    lines = [
        (
            r["model"],
            str(r["year"]),
            f"{r['parameters'] / 1e6:.2f} M",
            sd_of(r["top1"], 100),
            str(r["top1"]["n"]),
            sd_of(r["seconds"]),
        )
        for r in result["results"]
    ]
    yield from grid(("model", "year", "parameters", "test accuracy %", "seeds", "seconds of training"), lines)


def bert_pretraining(result: dict[str, Any]) -> Iterator[str]:
    """BERT with, without and with other pre-training."""
    cells, text = result["cells"], result["settings"]["text"]
    data = list(dict.fromkeys(cell["data"] for cell in cells))
    alone = f"the training texts of {', '.join(data)}, without labels"
    read = f"{', '.join(text)} and Python's own help" if text else alone
    yield f"**What pre-training is worth**: small BERTs learn from {read}, and are then"
    yield "fine-tuned with the default recipe. Test sets; mean ± 95 % interval over the seeds (n). Matthews' correlation"
    yield "is 0 for whoever always gives the same answer, 100 for whoever is always right."
    rows = []
    for learner in dict.fromkeys(cell["learner"] for cell in cells):
        mine = [cell for cell in cells if cell["learner"] == learner]
        before = mine[0]["pre_training"]
        found = [[cell[name] for cell in mine if cell["data"] == each] for each in data for name in SCORES]
        steps = f"{before['steps']:,}" if before else "–"
        same = f"{sum(cell['matthews'] == 0 for cell in mine)} of {len(mine)}"
        rows.append((learner, steps, *map(mean95_of, found), same))
    heads = [f"{each}, {told}" for each in data for told in SCORES.values()]
    yield from grid(("", "steps of pre-training", *heads, "runs that always answer the same"), rows)
    yield ""
    better = [
        f"{learner} on {each} ({told})"
        for learner in dict.fromkeys(cell["learner"] for cell in cells if cell["pre_training"])
        for each in data
        for name, told in SCORES.items()
        if _beyond(*([c[name] for c in cells if (c["learner"], c["data"]) == (one, each)] for one in (learner, NEVER)))
    ]
    yield f"Beyond both intervals better than {NEVER}: {', '.join(better) or 'none, after so little text and so few steps'}."
    gains = []
    for pair, each, (name, told) in product(SAME.items(), data, SCORES.items()):
        ours, theirs = ([c[name] for c in cells if (c["learner"], c["data"]) == (one, each)] for one in pair)
        if min(len(ours), len(theirs)) > 1:
            gains.append(f"{pair[0]} on {each}, {told} {_gain(ours, theirs)}")
    yield f"Less the same network without pre-training, with the 95 % interval of Welch's t: {'; '.join(gains)}."


def _gain(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """``+1.5 ± 1.4``: the difference of two means, × 100."""
    from scipy.stats import ttest_ind

    low, high = ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    return f"{50 * (high + low):+.1f} ± {50 * (high - low):.1f}"


def bert_labels(result: dict[str, Any]) -> Iterator[str]:
    """BERT with and without pre-training, by the number of labels."""
    cells = result["cells"]
    data, sizes = (list(dict.fromkeys(cell[name] for cell in cells)) for name in ("data", "labels"))
    yield f"**Where labels are few**: the same, fine-tuned on some of the labelled rows of {', '.join(data)} only, drawn anew"
    yield "for each seed; the texts that are read before are all of them. Test sets; mean ± 95 % interval over the seeds (n)."
    for which in data:
        rows = []
        for learner in dict.fromkeys(cell["learner"] for cell in cells):
            mine = [cell for cell in cells if (cell["learner"], cell["data"]) == (learner, which)]
            of = [[cell[name] for cell in mine if cell["labels"] == n] for n in sorted(sizes) for name in SCORES]
            rows.append((learner, *map(mean95_of, of)))
        heads = [f"{n:,} labels, {told}" for n in sorted(sizes) for told in SCORES.values()]
        yield from grid((which, *heads), rows)
    better = [
        f"{learner} with {n:,} labels of {which} ({told})"
        for learner in dict.fromkeys(cell["learner"] for cell in cells if cell["pre_training"])
        for which in data
        for n in sorted(sizes)
        for name, told in SCORES.items()
        if _beyond(
            *(
                [c[name] for c in cells if (c["learner"], c["data"], c["labels"]) == (one, which, n)]
                for one in (learner, NEVER)
            )
        )
    ]
    yield ""
    yield f"Beyond both intervals better than {NEVER}: {', '.join(better) or 'none'}."


def _beyond(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Whether the 95 % intervals of the means do not meet, and ours is the higher."""
    if min(len(ours), len(theirs)) < 2:
        return False
    (low, half), (high, other) = interval(theirs), interval(ours)
    return high - other > low + half


def bert_stability(result: dict[str, Any]) -> Iterator[str]:
    """Fine-tuning from many seeds."""
    cells, settings = result["cells"], result["settings"]
    seeds = 1 + max(cell["seed"] for cell in cells)
    yield f"**How stable fine-tuning is**: BERT on {settings['data']}, {seeds} seed{'s' * (seeds > 1)}; Adam without its bias"
    yield "correction (BertAdam, as published) and with it (AdamW), all else equal. Accuracy on the test set after the last"
    yield f"step, %; the most frequent class has {cells[0]['majority']:.1%}, and a run that comes no further than one"
    yield "standard error above that has failed."
    rows = []
    arms = {(not cell["warmup"], cell["epochs"], cell["optimiser"]) for cell in cells}
    for plain, epochs, optimiser in sorted(arms, key=lambda arm: (*arm[:2], arm[2] != "bertadam")):
        mine = [c for c in cells if (not c["warmup"], c["epochs"], c["optimiser"]) == (plain, epochs, optimiser)]
        top1, loss = [100 * cell["top1"] for cell in mine], median(cell["train_loss"] for cell in mine)
        spread = {"mean": fmean(top1), "sd": stdev(top1) if len(top1) > 1 else None}
        failed = f"{sum(cell['failed'] for cell in mine)} of {len(mine)}"
        spans = (f"{min(top1):.1f} to {max(top1):.1f}", f"{loss:.3f}", failed)
        rows.append((optimiser, str(epochs), "no" if plain else "yes", sd_of(spread), *spans))
    heads = ("optimiser", "epochs", "warm-up", "test accuracy, mean ± sd", "lowest to highest")
    yield from grid((*heads, "training loss, median", "failed"), rows)
    yield ""
    yield "![Test accuracy of each seed](../experiments/results/bert_stability.svg)"


def multi30k(result: dict[str, Any]) -> Iterator[str]:
    """Translation."""
    results = result["results"]
    widths = sorted({score["beam"] for r in results for score in r["scores"]})
    yield "**Multi30k**, English to German, with default recipes, 1 seed: sacreBLEU on the test set of 2016, by the beam of"
    yield "the search and by the weights: best on the validation set, after the last step, or averaged over the last epochs."
    rows: dict[tuple[str, ...], list[str]] = {}  # weights that score the same are the same
    for r in results:
        for weights in dict.fromkeys(score["weights"] for score in r["scores"]):
            found = {score["beam"]: score for score in r["scores"] if score["weights"] == weights}
            bleu = [f"{found[n]['sacrebleu']:.2f}" if n in found else "–" for n in widths]
            minutes = f"{r['training_seconds'] / 60:.0f} ({r['threads']})"
            key = r["model"], minutes, *bleu, f"{found[max(found)]['chrf']:.1f}"
            rows.setdefault(key, []).append(weights)
    lines = [(model, minutes, ", ".join(same), *rest) for (model, minutes, *rest), same in rows.items()]
    heads = ("model", "minutes of training (threads)", "weights", *(f"beam {n}" if n > 1 else "greedy" for n in widths))
    yield from grid((*heads, "chrF, widest beam"), lines)
    yield ""
    _, _, signature = results[0]["scores"][0]["signature"].partition(" · ")  # without the search
    yield f"`{signature}`"


def xquad(result: dict[str, Any]) -> Iterator[str]:
    """Extractive questions."""
    yield "**XQuAD**, English: the questions of half of the paragraphs are learned, those of the other half answered;"
    yield "exact match and F1 by the rules of SQuAD; mean ± 95 % interval over the seeds."
    rows = [
        (
            row["model"],
            result["pretrained_on"] if row["pretrained"] else "none",
            pm(row["exact"], 100),
            pm(row["f1"], 100),
            str(row["f1"]["n"]),
        )
        for row in result["summary"]
    ]
    yield from grid(("model", "pre-training", "exact match %", "F1 %", "seeds"), rows)


MADE = {
    "confident": "confident",
    "asked_class": "of the class asked for",
    "classes": "classes",
    "precision": "precision",
    "recall": "recall",
}


def made_digits(result: dict[str, Any]) -> Iterator[str]:
    """Pictures that generators draw, judged by a classifier."""
    cells = [cell for cell in result["cells"] if cell["unseen"] is None]
    yield "**Digits that generators draw**: default recipes on MNIST's 10,000 test digits. Of"
    yield f"{result['settings']['made']:,} pictures made: those of which a classifier trained here is at least 90 % sure, the"
    yield "classes found, precision and recall on its features. Mean over the seeds (lowest to highest)."
    rows = []
    for model in dict.fromkeys(cell["model"] for cell in cells):
        mine = [cell for cell in cells if cell["model"] == model]
        minutes = fmean(cell["seconds"] for cell in mine) / 60
        rows.append((model, *(_mean_span(mine, name) for name in MADE), f"{minutes:.0f}", str(len(mine))))
    yield from grid(("model", *MADE.values(), "minutes of training", "seeds"), rows)
    bounds = [cell["best"]["bound"] for cell in cells if cell["model"] == "vae"]
    unusual = [cell for cell in result["cells"] if cell["unseen"] is not None]
    if bounds:
        yield ""
        yield f"The autoencoder's bound on unseen rows: {fmean(bounds):.1f} nats ({min(bounds):.1f} to {max(bounds):.1f})."
    if unusual:
        yield ""
        yield "How well its bound finds a digit that was left out of training: area under the curve."
        digits = sorted({cell["unseen"] for cell in unusual})
        found = [_mean_span([cell for cell in unusual if cell["unseen"] == digit], "anomaly_auc") for digit in digits]
        yield from grid([str(digit) for digit in digits], [found])


def _mean_span(cells: Sequence[dict[str, Any]], name: str) -> str:
    """``0.93 (0.92–0.94)``; a dash where the model has no such number."""
    values = [cell[name] for cell in cells if name in cell]
    return f"{fmean(values):.3g} ({min(values):.3g}–{max(values):.3g})" if values else "–"
