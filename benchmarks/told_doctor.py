"""What the pages say of the doctor, and of runs that were killed: a function for each file of results gives its lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from told import grid, ratio_of, share


def doctor(result: dict[str, Any]) -> Iterator[str]:
    """Scores on the programs."""
    found, guess = result["doctor"], result["guesses"][0]
    sick, well = found["top_1"]["n"], found["false_alarms"]["n"]
    yield f"**The doctor** on {sick} programs with known faults, on which its rules were developed (others will do worse),"
    yield f"and on {well} healthy ones beside them, which are not in the repository; 95 % Wilson intervals."
    rows = [
        (name, *(share(scores[key]) for key in ("top_1", "recall", "precision", "false_alarms")))
        for name, scores in (("doctor", found), (f"always says {guess['names'][0]}", guess["scores"]))
    ]
    heads = ("", "first finding right", "causes found (recall)", "findings right (precision)", "false alarms")
    yield from grid(heads, rows)
    ratio, seconds = result["times"]["ratio_to_own_training"], result["times"]["seconds"]
    yield ""
    quartiles = f"{ratio['first_quartile']:.1f} to {ratio['third_quartile']:.1f}"
    yield f"It took {ratio['median']:.1f} times the program's own training (median; quartiles {quartiles}),"
    yield f"{seconds['median']:.0f} s in the median."


def cures(result: dict[str, Any]) -> Iterator[str]:
    """Remedies that were shown to work."""
    found = result["cures"]
    count = found["verified"]["n"]
    yield f"**Its cures** of {count} faulty programs among these: a change that paired trials let pass and that brings"
    yield "back 70 % or more of what the mended program has over the faulty one; beside random search over the same remedies,"
    yield "which has all the time that the doctor had; 95 % Wilson intervals."
    rows = [("doctor", share(found["verified"])), ("random search", share(found["random_search"]))]
    yield from grid(("", "cured"), rows)
    yield ""
    yield f"It claimed {found['claimed']['hits']} cures, of which {found['claimed_but_too_little']} bring back less."


def strangers(result: dict[str, Any]) -> Iterator[str]:
    """Scores on programs that were written without knowing the doctor."""
    found = result["doctor"]
    sick, well = found["top_1"]["n"], found["false_alarms"]["n"]
    yield f"**The doctor on strangers' programs**: {sick} faulty and {well} healthy ones (`benchmarks/strangers`), written by"
    yield "somebody who had not seen the doctor, and of the programs on which its rules were developed only four, for their"
    yield "form. Its first run on them, before any rule was changed because of them; 95 % Wilson intervals."
    cells = [share(found[key]) for key in ("top_1", "recall", "precision", "false_alarms")]
    heads = ("first finding right", "causes found (recall)", "findings right (precision)", "false alarms")
    yield from grid(heads, [cells])


def healthy(result: dict[str, Any]) -> Iterator[str]:
    """False alarms."""
    alarms = result["programs"]["false_alarms"]
    yield f"**Healthy programs** of many kinds, written for this purpose: false alarms {share(alarms)}, {alarms['hits']} of"
    yield f"{alarms['n']}. Two rules were mended on them after a first run, so others may do worse."
    if "runs" in result:
        yield ""
        yield from own_runs(result)


def own_runs(result: dict[str, Any]) -> Iterator[str]:
    """The same of our own models."""
    runs = result["runs"]
    alarms, true = runs["false_alarms"], runs["borne_out"]
    yield f"**Our own models**, the first and the smallest of each paper with each recipe, {result['steps']} steps each"
    yield f"on small made data, watched: false alarms {share(alarms)}, {alarms['hits']} of {alarms['n']}. Four rules were"
    yield f"mended after a first run. {len(runs['too_short'])} more were too slow to tell within {result['limit_s']:g} s."
    if true:
        named = ", ".join(f"{run['variant']} {run['recipe']}" for run in true)
        yield f"True alarms, where a tenth of the rate ends clearly lower after the same steps: {len(true)} ({named})."


def watching(result: dict[str, Any]) -> Iterator[str]:
    """What watching costs."""
    yield "**Watching** at its defaults: steps of a watched model over steps of the same model alone, in turns; the weights"
    yield "of both are the same to the bit."
    rows = [
        (f"{r['model']}, {r['batch']}", f"{r['step_ms']:.3g} ms", ratio_of(r["ratio"]), f"{r['first_turn']:.3f}")
        for r in result["results"]
    ]
    yield from grid(("model, batch", "step", "watched / plain (range, n)", "the first turn"), rows)


def killed(result: dict[str, Any]) -> Iterator[str]:
    """What a kill changes."""
    wrong = {name for run in result["runs"] for name in run["differences"]}
    same = "NO" if wrong & {"last.safetensors", "best.safetensors"} else "yes"
    once = "NO" if "metrics.csv" in wrong or any(name.startswith("epochs") for name in wrong) else "yes"
    yield f"**Killed** with SIGKILL {result['kills']} times at random instants and resumed. Final weights bit-identical to an"
    yield f"uninterrupted run: {same}. Each epoch once in `metrics.csv`: {once}."
