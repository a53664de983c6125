"""The doctor on programs with known faults and on healthy ones, beside guessing and, for cures, beside random search.

    python benchmarks/doctor.py --cases DIR               diagnoses
    python benchmarks/doctor.py --cases DIR --cure        and cures, with random search over the same remedies, same time
    python benchmarks/doctor.py --cases DIR --only a.py   these programs

DIR holds programs after the contract of `seminal doctor` and ``labels.json``. Each program is examined in a process of its
own with one thread, ``--processes`` at a time. What is done is kept, and a run that was cut off goes on where it stopped;
another version of the doctor begins anew. What is to be beaten stands in the same table: the best constant answers were
chosen with the labels in hand, and random search has all the time that the doctor had, its final check not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import multiprocessing
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from statistics import quantiles
from typing import Any

import torch

import seminal.doctor
from doctor_scores import RECOVERED, Case, by_illness, calibration, cases_in, constant, recovered, scored, wilson
from doctor_search import searched
from measuring import RESULTS, arguments, machine, write
from seminal.doctor.course import batches
from seminal.doctor.cure import attempted
from seminal.doctor.diagnose import examine
from seminal.doctor.findings import ILLNESSES
from seminal.doctor.program import Make, from_file, undisturbed
from seminal.report.terminal import say, table

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))  # the charts
from charts import Series, chart, evenly

GUESS = 3  # names in the constant answer of several names
SEEDS = 3


# ------------------------------------------------------------------------------------------------------------- one program


def examined(path: str, budget: float, cure: bool) -> dict[str, Any]:
    """All that is kept of one program. A failure of the doctor is a result too: no answer."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    try:
        return _examined(from_file(path), budget, cure)
    except Exception:
        return {"findings": [], "failed": traceback.format_exc(limit=-3)}


def _examined(make: Make, budget: float, cure: bool) -> dict[str, Any]:
    own = own_seconds(make)
    started = time.monotonic()
    found = examine(make, budget=budget)
    verdict = found.verdict
    result: dict[str, Any] = {
        "findings": [
            {
                "illness": finding.illness,
                "confidence": round(finding.confidence, 4),
                "evidence": list(finding.evidence),
                "remedies": [remedy.name for remedy in finding.remedies],
            }
            for finding in verdict.findings
        ],
        "decided": verdict.decided,
        "open_question": verdict.open_question,
        "chain": [remedy.name for remedy in found.chain],
        "own_seconds": own,
        "seconds": verdict.seconds,
    }
    if not cure or not verdict.findings:
        return result
    tried = attempted(found, seeds=SEEDS, budget=SEEDS * budget)
    spent = time.monotonic() - started
    result |= {"floor": found.chart.anatomy.floor, "seconds_with_cure": spent, "cure": None}
    if tried is not None:
        result["cure"] = {"works": tried.works, **asdict(tried.told), "after": [run.metric for run in tried.after]}
    result["random"] = asdict(searched(make, spent, SEEDS))
    return result


def own_seconds(make: Make) -> float:
    """The program's own training, without anybody looking."""
    _trained(make, 3)  # the first steps of a process also load what torch needs
    return _trained(make)


def _trained(make: Make, steps: int | None = None) -> float:
    with undisturbed():
        program = make(0)
        started = time.perf_counter()
        try:
            for _, input, target in itertools.islice(batches(program), steps):
                program.model.train()
                program.step(input, target)
        except Exception:  # a faulty program may stop; the time until then is its own
            pass
        return time.perf_counter() - started


# ------------------------------------------------------------------------------------------------------------- all programs


def version() -> str:
    """Of the doctor: what was kept of another one is of no use."""
    digest = hashlib.sha256()
    for path in sorted(Path(seminal.doctor.__path__[0]).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Shelf:
    """Results of single programs, each in a file of its own."""

    def __init__(self, folder: Path, mark: str) -> None:
        self.folder, self.mark = folder, mark
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str) -> dict[str, Any] | None:
        path = self.folder / f"{name}.json"
        if not path.is_file():
            return None
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kept["result"] if kept["mark"] == self.mark else None

    def put(self, name: str, result: dict[str, Any]) -> None:
        part = self.folder / f"{name}.part"
        part.write_text(json.dumps({"mark": self.mark, "result": result}), encoding="utf-8")
        part.replace(self.folder / f"{name}.json")


def measured(folder: Path, cases: Sequence[Case], shelf: Shelf, asked: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The results of all cases, those kept from before among them."""
    results = {case.name: kept for case in cases if (kept := shelf.get(case.name)) is not None}
    if results:
        say("kept", f"{len(results)} of {len(cases)} programs from before")
    left = [case for case in cases if case.name not in results]
    with ThreadPoolExecutor(asked.processes) as pool:
        jobs = {pool.submit(_alone, str(folder / case.name), asked.budget, asked.cure): case for case in left}
        for job in as_completed(jobs):
            case = jobs[job]
            results[case.name] = job.result()
            shelf.put(case.name, results[case.name])
            say(_mark(case, results[case.name]), f"{case.name}: {_line(case, results[case.name])}", wrap=False)
    return results


def _alone(path: str, budget: float, cure: bool) -> dict[str, Any]:
    """In a fresh process: nothing that one program leaves behind, a crash least of all, can reach the next."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(examined, path, budget, cure).result()
        except BrokenProcessPool as error:
            return {"findings": [], "failed": f"the process died: {error}"}


def _mark(case: Case, result: dict[str, Any]) -> str:
    found = [finding["illness"] for finding in result["findings"]]
    if not case.causes:
        return "false alarm" if found else "right"
    return "right" if found and found[0] in case.right else "missed" if not found else "wrong"


def _line(case: Case, result: dict[str, Any]) -> str:
    if "failed" in result:
        return result["failed"].strip().splitlines()[-1]
    found = ", ".join(f"{f['illness']} {f['confidence']:.2f}" for f in result["findings"]) or "nothing"
    line = f"{found} (causes: {', '.join(sorted(case.causes)) or 'none'}); {result['seconds']:.0f} s"
    if result.get("cure"):
        line += f"; {'cure' if result['cure']['works'] else 'no cure'}: {result['cure']['remedy']}"
    return line


# ------------------------------------------------------------------------------------------------------------- the summary


def summary(cases: Sequence[Case], results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All scores of the doctor and of what it is compared with."""
    answers = {
        name: [(finding["illness"], finding["confidence"]) for finding in result["findings"]]
        for name, result in results.items()
    }
    here = [case for case in cases if case.name in results]
    found = {
        "doctor": scored(here, answers),
        "by_illness": by_illness(here, answers),
        "times": _times(results.values()),
        "calibration": calibration(here, answers),
        "failed": sorted(name for name, result in results.items() if "failed" in result),
        "guesses": [],
    }
    faulty = [case for case in here if case.causes]
    names_there = len(set().union(*(case.right for case in faulty)))
    for size in sorted({min(size, names_there) for size in (1, GUESS)} - {0}):
        names, scores = constant(here, ILLNESSES, size)
        found["guesses"].append({"names": names, "scores": scores})
    if any("random" in result for result in results.values()):
        found["cures"] = _cures(faulty, results)
    return found


def _times(results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    timed = [result for result in results if "seconds" in result]
    ratios = [result["seconds"] / max(result["own_seconds"], 1e-3) for result in timed]
    if len(timed) < 2:
        return {"n": len(timed)}
    names = ("first_quartile", "median", "third_quartile")
    return {
        "n": len(timed),
        "seconds": dict(zip(names, quantiles([result["seconds"] for result in timed], n=4))),
        "own_seconds": dict(zip(names, quantiles([result["own_seconds"] for result in timed], n=4))),
        "ratio_to_own_training": dict(zip(names, quantiles(ratios, n=4))),
    }


def _cures(faulty: Sequence[Case], results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Verified cures: the trial let the change pass, and most of the gap to the fixed program is gone."""
    rows = []
    for case in faulty:
        result = results[case.name]
        cure, other, floor = result.get("cure"), result.get("random"), result.get("floor", 0.0)
        rows.append(
            {
                "name": case.name,
                "claimed": bool(cure and cure["works"]),
                "remedy": cure["remedy"] if cure else None,
                "recovered": recovered(case, cure["after"], floor) if cure else None,
                "random_remedies": other["names"] if other else None,
                "random_tried": other["tried"] if other else 0,
                "random_recovered": recovered(case, other["after"], floor) if other else None,
            }
        )
    far = [row["recovered"] is not None and row["recovered"] >= RECOVERED for row in rows]
    blind = [row["random_recovered"] is not None and row["random_recovered"] >= RECOVERED for row in rows]
    claimed = [row["claimed"] for row in rows]
    return {
        "verified": wilson(sum(a and b for a, b in zip(far, claimed)), len(rows)),
        "claimed": wilson(sum(claimed), len(rows)),
        "claimed_but_too_little": sum(b and not a for a, b in zip(far, claimed)),
        "random_search": wilson(sum(blind), len(rows)),
        "programs": rows,
    }


def show(found: dict[str, Any]) -> None:
    """The table."""
    columns = ("top_1", "recall", "precision", "exact", "exact_but_for_fair_names", "false_alarms")
    rows = [["doctor", *(_share(found["doctor"][name]) for name in columns)]]
    for guess in found["guesses"]:
        words = " + ".join(guess["names"])
        rows.append([f"always {words}", *(_share(guess["scores"][name]) for name in columns)])
    table(["", *(name.replace("_", " ") for name in columns)], rows)
    times = found["times"]
    if "seconds" in times:
        ratio = times["ratio_to_own_training"]
        say(
            "time",
            f"{times['seconds']['median']:.1f} s in the median, {ratio['median']:.2f} times the program's own training "
            f"(quartiles {ratio['first_quartile']:.2f} to {ratio['third_quartile']:.2f})",
        )
    if "cures" in found:
        cures = found["cures"]
        say("cures", f"verified {_share(cures['verified'])}, random search {_share(cures['random_search'])}")
    calibrated = found["calibration"]
    gap, count = calibrated["stated"]["expected_calibration_error"], calibrated["findings"]
    say("calibration", f"mean gap between confidence and truth {gap:.3f} over {count} findings")


def _share(found: dict[str, Any]) -> str:
    if found["share"] is None:
        return "–"
    return f"{found['share']:.0%} ({found['low']:.0%}–{found['high']:.0%}, n={found['n']})"


def plotted(found: dict[str, Any]) -> str:
    """Confidence against truth, as SVG."""
    x = evenly("confidence", 0, 1, 5, lambda value: f"{value:.1f}")
    y = evenly("share that is right", 0, 1, 5, lambda value: f"{value:.1f}")
    series = [Series("as it should be", ((0, 0), (1, 1)))]
    for key, name in (("stated", "as stated"), ("corrected", "corrected, cross-validated")):
        bins = sorted(found.get(key, {}).get("bins", ()), key=lambda row: row["confidence"])
        if bins:
            points = tuple((row["confidence"], row["share"]) for row in bins)
            series.append(Series(name, points, tuple((row["low"], row["high"]) for row in bins)))
    return chart(x, y, series)


# ---------------------------------------------------------------------------------------------------------- command line


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=Path, required=True, help="folder of programs, with labels.json")
    parser.add_argument("--only", nargs="+", metavar="PROGRAM", help="these programs")
    parser.add_argument("--cure", action="store_true", help="try cures too, beside random search")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds for each examination (default: 120)")
    parser.add_argument("--processes", type=int, default=2, help="programs at a time, one thread each (default: 2)")
    parser.add_argument("--kept", type=Path, help="where single results are kept (default: a temporary folder)")


def selected(asked: argparse.Namespace) -> list[Case]:
    """The cases that were asked for."""
    known = cases_in(asked.cases)
    if asked.only:
        unknown = set(asked.only) - {case.name for case in known}
        if unknown:
            raise SystemExit(f"labels.json does not name {', '.join(sorted(unknown))}.")
        return [case for case in known if case.name in asked.only]
    if asked.quick:
        return [case for case in known if case.causes][:2] + [case for case in known if not case.causes][:1]
    return known


def run() -> None:
    """Measure all; print the table, write the JSON and the plot."""
    asked = arguments("The doctor on programs with known faults and on healthy ones.", _flags)
    before, cases = machine(), selected(asked)
    mark = f"{version()} {asked.budget:g} {asked.cure}"
    place = asked.kept or Path(tempfile.gettempdir()) / f"doctor-{asked.cases.resolve().name}"
    results = measured(asked.cases, cases, Shelf(place, mark), asked)
    found = summary(cases, results)
    show(found)
    whole = {"doctor_version": version(), "budget_s": asked.budget, "seeds": SEEDS, **found, "programs": results}
    path = write("doctor", asked, before, whole)
    plot = path.with_suffix(".svg")
    plot.write_text(plotted(found["calibration"]), encoding="utf-8")
    say("written", f"{path.relative_to(RESULTS.parent) if path.is_relative_to(RESULTS) else path.name}, {plot.name}")


if __name__ == "__main__":
    run()
