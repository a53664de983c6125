"""docs/sequences.md and its charts, written from the JSON of `layer_costs`, `recall` and `language_models`. A part whose JSON
is not there is left out.

    python experiments/sequences.py           write them
    python experiments/sequences.py --check   leave with exit code 1 where they differ
"""

from __future__ import annotations

import json
import statistics
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from charts import Series, at, chart, decades, evenly

ROOT = Path(__file__).parents[1]
RESULTS, DOCS = Path(__file__).parent / "results", ROOT / "docs"
Result = dict[str, Any]


def pages(results: Path = RESULTS) -> dict[str, str]:
    """The files of the page, by name."""
    found: dict[str, str] = {}
    parts = []
    for name, (words, draw) in PARTS.items():
        path = results / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            parts.append("\n".join([*words(result), "", f"`{result['command']}` · {machine(result)}"]))
            found[f"sequences-{name.replace('_', '-')}.svg"] = draw(result)
    if parts:
        found["sequences.md"] = "\n\n".join([HEAD, *parts]) + "\n"
    return found


HEAD = """# Sequences: what a layer costs, how far back it looks, and what it makes of text

Attention, recurrence and convolution are three ways in which the places of a sequence can learn of each other. This page
compares them: by counting, on a task that asks for nothing but memory, and on text. It is written by
`python experiments/sequences.py` from the JSON of the scripts named under each part; no number is typed."""


def machine(result: Result) -> str:
    """What the numbers depend on."""
    m = result["machine"]
    bf16 = "" if m["bf16_instructions"] else ", no bf16 instructions"
    versions = f"torch {m['torch']}, Python {m['python']}"
    cores = f"{counted(m['cores'], 'core')}, {counted(m['threads'], 'thread')}"
    return f"{m['processor']}, {cores}, {m['cpu_capability']}{bf16}, {versions}"


def rows(head: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for line in lines:
        yield f"| {' | '.join(line)} |"


def prose(text: str) -> Iterator[str]:
    """A paragraph in lines."""
    yield textwrap.fill(" ".join(text.split()), 126, break_long_words=False, break_on_hyphens=False)


def counted(number: int | str, what: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number} {what}" + "s" * (int(number) != 1)


def mean(values: Sequence[float], digits: int) -> str:
    """``1.24 (1.20–1.31)``: mean and range, where these differ."""
    if not values:
        return "–"
    middle, low, high = (f"{v:.{digits}f}" for v in (statistics.mean(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def ranged(values: Result, digits: int) -> str:
    """``1.24 (1.20–1.31)``: median and range."""
    return f"{values['median']:.{digits}f} ({values['low']:.{digits}f}–{values['high']:.{digits}f})"


# ------------------------------------------------------------------------------------------------------------ what it costs


def _layers(result: Result) -> Iterator[str]:
    small = [cell for cell in result["cells"] if cell["part"] == "structure"]
    timed = [cell for cell in result["cells"] if cell["part"] == "times"]
    settings = result["settings"]
    threads = counted(settings["threads"], "thread")
    lengths = " and ".join(str(cell["length"]) for cell in small)
    yield "## What a layer costs"
    yield ""
    yield from prose(
        f"""Table 1 of “Attention Is All You Need” (Vaswani et al. 2017, Sec. 4), with every entry counted on real
        layers, for a sequence of n places of width d; restricted attention sees r places to each side; a convolution
        has a kernel of k places. Cost is in multiply-adds of the whole layer, with the projections of attention,
        which the paper's table leaves out. The longest path is the number of layers (of a recurrent layer: of steps)
        until every output depends on every input that it may see, as the gradients show it. Steps and paths were
        counted with n = {lengths}, r = {settings["small"]["reach"]} and k = {settings["small"]["kernel"]}."""
    )
    yield ""
    orders = ["cost", "sequential steps", "longest path"]
    counts = [f"steps, path at n = {cell['length']}" for cell in small]
    yield from rows(
        ["layer", *orders, "multiply-adds, exactly", *counts],
        [
            [row["layer"], *row["order"], row["exact"][0]]
            + [f"{cell['rows'][i]['steps']['counted']}, {cell['rows'][i]['path']['counted']}" for cell in small]
            for i, row in enumerate(small[0]["rows"])
        ],
    )
    yield ""
    yield _agreement(small, timed)
    yield ""
    yield from prose(
        """A recurrent layer multiplies with a d × d matrix at each step, so its cost grows with n d², not with n² d.
        The path through convolutions grows with the logarithm of n only where they are dilated; else it grows with n
        / k."""
    )
    yield ""
    yield from prose(
        f"""**Times**: milliseconds of a forward and a backward pass of one sequence in fp32, {threads}, all layers in
        turns, median and range of {settings["rounds"]}; r = {settings["reach"]}, k = {settings["kernel"]}, heads of
        width {settings["head"]}. Recurrent layers are torch's fast forms, attention is torch's fused kernel."""
    )
    for width in dict.fromkeys(cell["width"] for cell in timed):
        mine = [cell for cell in timed if cell["width"] == width]
        yield ""
        yield from rows(
            [f"width {width}", "parameters", *(f"n = {cell['length']}" for cell in mine)],
            [
                [row["layer"], f"{row['parameters']:,}", *(ranged(cell["rows"][i]["both_ms"], 1) for cell in mine)]
                for i, row in enumerate(mine[0]["rows"])
            ],
        )
    yield ""
    yield "![time against length](sequences-layer-costs.svg)"


def _agreement(small: list[Result], timed: list[Result]) -> str:
    """How many of the counts agree with their formulas."""
    checks = [(row["layer"], row[what]) for cell in small for row in cell["rows"] for what in ("steps", "path")]
    checks += [(row["layer"], row["multiply_adds"]) for cell in timed for row in cell["rows"]]
    wrong = sorted({layer for layer, pair in checks if pair["formula"] != pair["counted"]})
    whole = f"Of {len(checks)} counts (multiply-adds at every size of the tables below, steps, paths) "
    return whole + (
        f"those of {', '.join(wrong)} differ from their formulas." if wrong else "all equal their formulas."
    )


def _layer_chart(result: Result) -> str:
    width = max(cell["width"] for cell in result["cells"] if cell["part"] == "times")
    timed = [cell for cell in result["cells"] if cell["part"] == "times" and cell["width"] == width]
    series = []
    for i, row in enumerate(timed[0]["rows"]):
        times = [cell["rows"][i]["both_ms"] for cell in timed]
        points = tuple((float(cell["length"]), time["median"]) for cell, time in zip(timed, times))
        series.append(Series(row["layer"], points, tuple((time["low"], time["high"]) for time in times)))
    ends = [value for line in series for pair in line.spread for value in pair]
    x = at(f"places of width {width}", [float(cell["length"]) for cell in timed])
    return chart(x, decades("forward and backward, ms", ends), series)


# ------------------------------------------------------------------------------------------------------- how far it looks


def _recall(result: Result) -> Iterator[str]:
    settings, cells = result["settings"], result["cells"]
    distances = sorted({cell["distance"] for cell in cells})
    seeds = counted(len({cell["seed"] for cell in cells}), "seed")
    guessing = f"{100 * settings['chance']:.0f}"
    yield "## How far back a network looks"
    yield ""
    yield from prose(
        f"""A sequence is a mark, one of {settings["values"]} symbols, more of the same symbols, and a question: which
        was the marked one, d places before? Every sequence is new, so nothing can be learned by heart. All networks
        are the package's own papers with about as many parameters; they see the same sequences, for at most
        {settings["steps"]:,} steps of {settings["batch"]}, and end earlier where they have learned (a mean loss under
        {settings["learned"]} nats). About every other batch, drawn by lot, has a shorter distance. Adam with warm-up and a
        cosine, gradients clipped at 1; learning rate {_rates(settings["networks"])}. Accuracy on
        {settings["tested"]:,} other sequences of the whole distance, mean and range over {seeds}, in per cent.
        Guessing gives {guessing}."""
    )
    yield ""
    lines = []
    for name, told in settings["networks"].items():
        mine = [cell for cell in cells if cell["network"] == name]
        if mine:
            found = [mean([100 * c["accuracy"] for c in mine if c["distance"] == d], 0) for d in distances]
            lines.append([name, told["says"], f"{statistics.median(c['parameters'] for c in mine):,.0f}", *found])
    yield from rows(["network", "looks back by", "parameters", *(f"d = {d}" for d in distances)], lines)
    yield ""
    yield "![accuracy against distance](sequences-recall.svg)"
    yield ""
    yield "Steps until it had learned, median over the seeds that had; in brackets how many of them."
    yield ""
    lines = []
    for name in settings["networks"]:
        mine = [cell for cell in cells if cell["network"] == name]
        if mine:
            lines.append([name, *(_steps([c for c in mine if c["distance"] == d]) for d in distances)])
    yield from rows(["network", *(f"d = {d}" for d in distances)], lines)
    for name, told in settings["networks"].items():
        beyond = [
            c["accuracy"] for c in cells if c["network"] == name and told["reach"] and c["distance"] > told["reach"]
        ]
        if beyond:
            yield ""
            yield (
                f"`{name}` sees {told['reach']} places back, whatever it learns: beyond them it is right in "
                f"{100 * min(beyond):.1f} to {100 * max(beyond):.1f} %."
            )


def _rates(networks: Result) -> str:
    """``0.005 (elman, gru), 0.002 (attention)``."""
    rates = dict.fromkeys(told["lr"] for told in networks.values())
    names = {rate: [name for name, told in networks.items() if told["lr"] == rate] for rate in rates}
    return ", ".join(f"{rate:g} ({', '.join(mine)})" for rate, mine in names.items())


def _steps(cells: Sequence[Result]) -> str:
    found = [cell["steps"] for cell in cells if cell["learned"]]
    if not cells:
        return "–"
    return f"{statistics.median(found):.0f} ({len(found)} of {len(cells)})" if found else f"never (0 of {len(cells)})"


def _recall_chart(result: Result) -> str:
    cells, series = result["cells"], []
    distances = sorted({cell["distance"] for cell in cells})
    for name in result["settings"]["networks"]:
        found = {d: [c["accuracy"] for c in cells if c["network"] == name and c["distance"] == d] for d in distances}
        found = {d: values for d, values in found.items() if values}
        points = tuple((float(d), 100 * statistics.mean(values)) for d, values in found.items())
        series.append(Series(name, points, tuple((100 * min(v), 100 * max(v)) for v in found.values())))
    chance = 100 * result["settings"]["chance"]
    series.append(Series("guessing", tuple((float(d), chance) for d in (distances[0], distances[-1]))))
    y = evenly("right answers, %", 0, 100, 5, lambda value: f"{value:.0f}")
    return chart(at("distance in places", [float(d) for d in distances]), y, [line for line in series if line.points])


# -------------------------------------------------------------------------------------------------- what it makes of text


def _language(result: Result) -> Iterator[str]:
    cells, settings = result["cells"], result["settings"]
    number = len({cell["seed"] for cell in cells})
    seeds = counted(number, "seed") + (", mean and range" if number > 1 else "")
    yield "## What it makes of text"
    yield ""
    yield from prose(
        f"""The small recurrent language model of Zaremba et al. 2014 and a GPT of equal size, trained as `seminal
        train` does with their default recipes, on the tokens of one vocabulary: {settings["vocabulary"]:,} of
        byte-pair encoding over bytes, learned from the training text. The GPT keeps the layers of its recipe, and has
        the width that brings it nearest to the other's size. Both are scored by `seminal eval` on text that neither
        has seen. Perplexities are of the whole text, per word (what stands between spaces; each line end is one) and
        per byte, whatever the tokens are; no word is unknown. {seeds}. The texts are small, so these numbers compare
        the two models, not these models with published ones."""
    )
    yield ""
    yield from rows(
        ["text", "model", "parameters", "epochs, best", "per word", "per byte", "bits per byte", "training, minutes"],
        [_scores(mine) for mine in _by_model(cells)],
    )
    yield ""
    yield "![validation loss against epoch](sequences-language-models.svg)"
    for data in dict.fromkeys(cell["data"] for cell in cells):
        first = next(cell for cell in cells if cell["data"] == data)
        split = "; ".join(note for note in first["notes"] if "held out" in note)
        sizes = ", ".join(f"{words:,} words {name}" for name, words in first["words"].items())
        yield ""
        yield f"`{data}`: {first['text']}{f'; {split}' if split else ''}. {sizes}."
    for cell in (mine[0] for mine in _by_model(cells)):
        past = "carries its state over the whole text" if cell["carried"] else "begins anew with each window"
        told = f"`{cell['model']}` on `{cell['data']}`: windows of {cell['window']} tokens, {past}"
        yield ""
        yield from prose("; ".join([told, *cell["departures"]]) + ".")


def _by_model(cells: Sequence[Result]) -> list[list[Result]]:
    """The cells of each model on each text: one for each seed."""
    keys = dict.fromkeys((cell["data"], cell["model"]) for cell in cells)
    return [[cell for cell in cells if (cell["data"], cell["model"]) == key] for key in keys]


def _scores(mine: Sequence[Result]) -> list[str]:
    """A row of the table: one model on one text."""
    first = mine[0]
    return [
        first["data"],
        first["model"],
        f"{first['parameters']:,}",
        "; ".join(f"{cell['epochs_run']}, {cell['best_epoch']}" for cell in mine),
        mean([cell["test"]["perplexity_per_word"] for cell in mine], 1),
        mean([cell["test"]["perplexity_per_byte"] for cell in mine], 3),
        mean([cell["test"]["bits_per_byte"] for cell in mine], 3),
        mean([cell["training_seconds"] / 60 for cell in mine], 1),
    ]


def _language_chart(result: Result) -> str:
    series = []
    for cell in (mine[0] for mine in _by_model(result["cells"])):
        points = tuple((float(row["epoch"]), row["val_loss"]) for row in cell["curve"])
        series.append(Series(f"{cell['model']}, {cell['data']}", points))
    last = max(point[0] for line in series for point in line.points)
    losses = [point[1] for line in series for point in line.points]
    low, high = int(2 * min(losses)) / 2, -int(-2 * max(losses) - 1) / 2
    y = evenly("validation loss, nats per token", low, high, round(2 * (high - low)), lambda value: f"{value:.1f}")
    return chart(evenly("epoch", 0, last, 5, lambda value: f"{value:.0f}"), y, series)


PARTS = {
    "layer_costs": (_layers, _layer_chart),
    "recall": (_recall, _recall_chart),
    "language_models": (_language, _language_chart),
}


def run() -> int:
    return written(pages(), "sequences")


def written(found: dict[str, str], script: str) -> int:
    """Write the files of a page, or check them."""
    check, code = "--check" in sys.argv[1:], 0
    for name, text in found.items():
        path = DOCS / name
        if check and not (path.exists() and path.read_text(encoding="utf-8") == text):
            print(
                f"docs/{name} differs from experiments/results: run `python experiments/{script}.py`", file=sys.stderr
            )
            code = 1
        elif not check:
            path.write_text(text, encoding="utf-8")
    return code


if __name__ == "__main__":
    raise SystemExit(run())
