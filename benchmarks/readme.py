"""The measured part of README.md, written from benchmarks/results/*.json and the built models: nothing in it is typed.

python benchmarks/readme.py           write it
python benchmarks/readme.py --check   leave with exit code 1 where README.md differs
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"
RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def measured() -> str:
    """The tables of all results there are."""
    parts = {"images": _images, "accuracy": _accuracy, "cifar": _accuracy, "tables": _tables, "killed": _killed}
    texts = []
    for name, words in parts.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            texts.append("\n".join([*words(result), "", f"`{result['command']}` · {_machine(result['machine'])}"]))
    return "\n\n".join(texts)


def _machine(machine: dict[str, Any]) -> str:
    bf16 = "" if machine["bf16_instructions"] else ", no bf16 instructions"
    versions = f"torch {machine['torch']}, Python {machine['python']}"
    return f"{machine['processor']}, {machine['threads']} threads, {machine['cpu_capability']}{bf16}, {versions}"


def _images(result: dict[str, Any]) -> Iterator[str]:
    yield "**Speed** of `seminal train` with its defaults beside a loop of ImageFolder, Pillow, DataLoader workers, fp32,"
    yield "eager, on the same model and files, in turns."
    yield ""
    heads = [
        "model, batch",
        "precision chosen",
        "images/s",
        "reference",
        "ratio (range, n)",
        "loop's cost over the bare step",
    ]
    yield f"| {' | '.join(heads)} | share of matrix rate |"
    yield "|---|---|---|---|---|---|---|"
    for r in result["results"]:
        ratio, kind = r["ratio"], r["precision"].split()[0]
        yield (
            f"| {r['model']}, {r['pictures']} | {r['precision']} | {r['seminal_images_per_s']['median']:.1f} | "
            f"{r['reference_images_per_s']['median']:.1f} | {ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f}, "
            f"{ratio['n']}) | {r['loop_overhead_of_medians']:.1%} | {r['share_of_matrix_rate'][kind]:.0%} |"
        )


def _accuracy(result: dict[str, Any]) -> Iterator[str]:
    recipe, rows, difference = result["recipe"], result["rows"], result["difference"]
    seeds = "1 seed" if difference["n"] == 1 else f"{difference['n']} seeds"
    yield f"**Accuracy**: {result['model']}, {recipe['epochs']} epochs on {rows['train']} pictures of a CIFAR-10 copy"
    yield f"whose pictures are small JPEGs (not comparable with published numbers), {seeds}, mean ± 95 % interval if n > 1."
    yield ""
    yield f"| loop | final top-1 % | minutes until {result['target']:.0%} | minutes in all, validation included |"
    yield "|---|---|---|---|"
    for name in ("seminal", "reference"):
        found = result[name]
        reached = found["seconds_to_target"]
        until = f"{reached['median'] / 60:.1f}" if reached else "not reached"
        whole = found["seconds_whole"]["median"] / 60
        yield f"| {name} | {_pm(found['top1_final'], 100)} | {until} | {whole:.1f} |"
    yield ""
    yield f"Paired by seed, seminal less reference: {_pm(difference, 100)} percentage points."


def _tables(result: dict[str, Any]) -> Iterator[str]:
    yield f"**Tables**, {result['folds']} folds × {result['seeds']} seeds, the same folds for both; mean ± 95 % interval."
    yield ""
    yield "| data | metric | seminal | | scikit-learn | | difference |"
    yield "|---|---|---|---|---|---|---|"
    for r in result["results"]:
        for name, rival in r["scikit-learn"].items():
            yield (
                f"| {r['data']} | {r['metric']} | {r['model']} | {_pm(r['seminal'])} | {name} | {_pm(rival['score'])} | "
                f"{_pm(rival['difference'])} |"
            )


def _killed(result: dict[str, Any]) -> Iterator[str]:
    wrong = {name for run in result["runs"] for name in run["differences"]}
    same = "NO" if wrong & {"last.safetensors", "best.safetensors"} else "yes"
    once = "NO" if "metrics.csv" in wrong or any(name.startswith("epochs") for name in wrong) else "yes"
    yield f"**Killed** with SIGKILL {result['kills']} times at random instants and resumed. Final weights bit-identical to an"
    yield f"uninterrupted run: {same}. Each epoch once in `metrics.csv`: {once}."


def _pm(values: dict[str, Any], factor: float = 1) -> str:
    half = values["half_width_95"]
    return f"{factor * values['mean']:.3f}" + (f" ± {factor * half:.3f}" if half is not None else "")


def rewritten(text: str) -> str:
    """README.md with its measured part anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{measured()}\n{END}{after}"


def run() -> int:
    """Write or check."""
    old = README.read_text(encoding="utf-8")
    new = rewritten(old)
    if "--check" in sys.argv[1:]:
        if new != old:
            print("README.md differs from benchmarks/results: run `python benchmarks/readme.py`", file=sys.stderr)
        return int(new != old)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(run())
