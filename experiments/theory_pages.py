"""docs/generative.md, docs/learning.md and their plots, written from the JSON of `experiments/theory.py`. An experiment whose
JSON is not there is left out.

    python experiments/theory_pages.py           write them
    python experiments/theory_pages.py --check   leave with exit code 1 where they differ
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from sequences import RESULTS, Result, machine, prose, rows, written
from theory import PAGES
from theory_form import Experiment


def pages(results: Path = RESULTS) -> dict[str, str]:
    """The files of all pages, by name."""
    found = {}
    for page, experiments in PAGES.items():
        paths = {name: results / f"theory_{name}.json" for name in experiments}
        read = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}
        parts = []
        for name, result in read.items():
            plot = f"{page}-{name.replace('_', '-')}.svg"
            found[plot] = experiments[name].draw(result)
            parts.append("\n".join(_section(experiments[name], result, plot)))
        if read:
            verdicts = rows(["experiment", "the claim"], _verdicts(experiments, read))
            found[f"{page}.md"] = "\n\n".join([f"{HEADS[page]} {HOW}", "\n".join(verdicts), *parts]) + "\n"
    return found


HEADS = {
    "generative": """# Generative papers: the theory, measured

What the papers on generative adversarial nets and variational autoencoders prove or claim, each as one measurement: the
claim, the verdict with its number, the plot. All logarithms are natural.""",
    "learning": """# How networks learn: what is said of it, measured

What every course on deep learning says of loss functions, of the ways down, of fitting too closely and of depth, each as one
small measurement: the claim, the verdict with its number, the plot. A claim holds in the case that is measured; where it
holds only under conditions, the verdict says which.""",
}
HOW = """Numbers such as `0.037 (0.032–0.041)` are the mean and the range over
seeds. The page is written by `python experiments/theory_pages.py` from the JSON of `python experiments/theory.py`; no number
is typed, and each verdict is computed from the numbers."""


def _verdicts(experiments: dict[str, Experiment], read: dict[str, Result]) -> list[list[str]]:
    """Of each experiment its title, and what became of the claim."""
    return [[experiments[name].title, experiments[name].verdict(result).short] for name, result in read.items()]


def _section(experiment: Experiment, result: Result, plot: str) -> Iterator[str]:
    verdict = experiment.verdict(result)
    yield f"## {experiment.title}"
    for text in (
        f"**Claim.** {experiment.claim}",
        f"**The claim {verdict.short}**: {verdict.says}.",
    ):
        yield ""
        yield from prose(text)
    yield ""
    yield f"![{experiment.title}]({plot})"
    yield ""
    yield from prose(experiment.method(result))
    yield ""
    yield f"`{result['command']}` · {result['cpu_seconds']:.0f} s · {machine(result)}"


if __name__ == "__main__":
    raise SystemExit(written(pages(), "theory_pages"))
