"""What was measured, as README.md and docs/measured.md say it, written from the JSON of benchmarks/results and
experiments/results: nothing is typed.

python benchmarks/readme.py           write both
python benchmarks/readme.py --check   leave with exit code 1 where one of them differs
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import told_doctor
import told_learning
import told_speed

ROOT = Path(__file__).parents[1]
README, PAGE = ROOT / "README.md", ROOT / "docs" / "measured.md"
BENCHMARKS, EXPERIMENTS = "benchmarks/results", "experiments/results"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
Part = Callable[[dict[str, Any]], Iterable[str]]

FIRST: Mapping[str, Part] = {  # what README.md shows
    f"{BENCHMARKS}/images.json": told_speed.images,
    f"{BENCHMARKS}/cifar.json": told_learning.accuracy,
    f"{EXPERIMENTS}/multi30k.json": told_learning.multi30k,
    f"{BENCHMARKS}/bert.json": told_speed.bert,
    f"{BENCHMARKS}/doctor.json": told_doctor.doctor,
    f"{BENCHMARKS}/doctor_cures.json": told_doctor.cures,
    f"{BENCHMARKS}/doctor_strangers.json": told_doctor.strangers,
    f"{BENCHMARKS}/killed.json": told_doctor.killed,
}
REST: Mapping[str, Mapping[str, Part]] = {  # and the chapters of docs/measured.md
    "Speed and memory": {
        f"{BENCHMARKS}/models.json": told_speed.models,
        f"{BENCHMARKS}/train_text.json": told_speed.train_text,
        f"{BENCHMARKS}/bert_avx512.json": told_speed.bert,
        f"{BENCHMARKS}/decode.json": told_speed.decode,
        f"{BENCHMARKS}/word2vec.json": told_speed.word2vec,
        f"{BENCHMARKS}/densenet_memory.json": told_speed.densenet_memory,
        f"{BENCHMARKS}/guidelines.json": told_speed.guidelines,
    },
    "What networks learn": {
        f"{BENCHMARKS}/accuracy.json": told_learning.accuracy,
        f"{EXPERIMENTS}/cifar_forms.json": told_learning.cifar_forms,
        f"{BENCHMARKS}/tables.json": told_learning.tables,
        f"{EXPERIMENTS}/sst2.json": told_learning.sst2,
        f"{EXPERIMENTS}/bert_pretraining.json": told_learning.bert_pretraining,
        f"{EXPERIMENTS}/bert_ablations.json": told_learning.bert_pretraining,
        f"{EXPERIMENTS}/bert_labels.json": told_learning.bert_labels,
        f"{EXPERIMENTS}/bert_stability.json": told_learning.bert_stability,
        f"{EXPERIMENTS}/xquad.json": told_learning.xquad,
        f"{EXPERIMENTS}/made_digits.json": told_learning.made_digits,
    },
    "The doctor": {
        f"{BENCHMARKS}/healthy.json": told_doctor.healthy,
        f"{BENCHMARKS}/watching.json": told_doctor.watching,
    },
}
HEAD = """# What was measured

Written by `python benchmarks/readme.py` from the results' files. Each table names its script and its machine; README.md has
the first ones. Generated pages of their own: [faithful.md](faithful.md); [learning.md](learning.md), on what is said of how
networks learn; [generative.md](generative.md); and [sequences.md](sequences.md), on what layers cost and how far back
networks look."""


LOCAL = (
    r" --(?:out|kept) \S+| --only(?: \S+\.py)+"  # of a command: where that machine put its files, and a list of many
)


def measured(parts: Mapping[str, Part], root: Path = ROOT) -> str:
    """The tables of those results that there are."""
    texts = []
    for path, words in parts.items():
        if (root / path).exists():
            result = json.loads((root / path).read_text(encoding="utf-8"))
            command = re.sub(LOCAL, "", result["command"])
            texts.append("\n".join([*words(result), "", f"`{command}` · {_machine(result['machine'])}"]))
    return "\n\n".join(texts)


def _machine(machine: dict[str, Any]) -> str:
    bf16 = "" if machine["bf16_instructions"] else ", no bf16 instructions"
    versions = f"torch {machine['torch']}, Python {machine['python']}"
    return f"{machine['processor']}, {machine['threads']} threads, {machine['cpu_capability']}{bf16}, {versions}"


def readme(text: str) -> str:
    """README.md with its measured part anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{measured(FIRST)}\n{END}{after}"


def page(root: Path = ROOT) -> str:
    """docs/measured.md."""
    chapters = [(title, measured(parts, root)) for title, parts in REST.items()]
    return "\n\n".join([HEAD, *(f"## {title}\n\n{text}" for title, text in chapters if text)]) + "\n"


def run() -> int:
    """Write or check."""
    old = README.read_text(encoding="utf-8")
    wanted = {README: readme(old), PAGE: page()}
    if "--check" in sys.argv[1:]:
        wrong = [
            path.name for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text
        ]
        if wrong:
            print(f"{', '.join(wrong)}: other than the results; run `python benchmarks/readme.py`", file=sys.stderr)
        return int(bool(wrong))
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(run())
