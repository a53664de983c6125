"""docs/generative.md and its plots, written from the JSON of `experiments/theory.py`. An experiment whose JSON is not
there is left out.

    python experiments/generative.py           write them
    python experiments/generative.py --check   leave with exit code 1 where they differ
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from sequences import RESULTS, Result, machine, prose, rows, written
from theory import EXPERIMENTS
from theory_form import Experiment


def pages(results: Path = RESULTS) -> dict[str, str]:
    """The files of the page, by name."""
    found, read = {}, {}
    for name in EXPERIMENTS:
        path = results / f"theory_{name}.json"
        if path.exists():
            read[name] = json.loads(path.read_text(encoding="utf-8"))
            found[_plot(name)] = EXPERIMENTS[name].draw(read[name])
    if read:
        parts = ["\n".join(_section(name, EXPERIMENTS[name], result)) for name, result in read.items()]
        found["generative.md"] = "\n\n".join([HEAD, "\n".join(_verdicts(read)), *parts]) + "\n"
    return found


HEAD = """# Generative papers: the theory, measured

What the papers on generative adversarial nets and variational autoencoders prove or claim, each as one measurement: the
claim, the verdict with its number, the plot. Numbers such as `0.037 (0.032–0.041)` are the mean and the range over seeds. All
logarithms are natural. The page is written by `python experiments/generative.py` from the JSON of
`python experiments/theory.py`; no number is typed, and each verdict is computed from the numbers."""


def _plot(name: str) -> str:
    return f"generative-{name.replace('_', '-')}.svg"


def _verdicts(read: dict[str, Result]) -> Iterator[str]:
    """All verdicts in a table."""
    found = [[EXPERIMENTS[name].title, EXPERIMENTS[name].verdict(result).short] for name, result in read.items()]
    yield from rows(["experiment", "the claim"], found)


def _section(name: str, experiment: Experiment, result: Result) -> Iterator[str]:
    verdict = experiment.verdict(result)
    yield f"## {experiment.title}"
    for text in (
        f"**Claim.** {experiment.claim}",
        f"**The claim {verdict.short}**: {verdict.says}.",
    ):
        yield ""
        yield from prose(text)
    yield ""
    yield f"![{experiment.title}]({_plot(name)})"
    yield ""
    yield from prose(experiment.method(result))
    yield ""
    yield f"`{result['command']}` · {result['cpu_seconds']:.0f} s · {machine(result)}"


if __name__ == "__main__":
    raise SystemExit(written(pages(), "generative"))
