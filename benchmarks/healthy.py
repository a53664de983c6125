"""How often the doctor accuses what is well: thirty programs written to be healthy, and short runs of our own models.

    python benchmarks/healthy.py                          both
    python benchmarks/healthy.py --part programs --seeds 3
    python benchmarks/healthy.py --part runs --every      every model, not two of each paper
    python benchmarks/healthy.py --only 14_letters resnet20  these programs or models

The programs (``healthy/``) are examined as `seminal doctor` examines them. That they are well is measured too: beside the
score that each reaches stands that of a peer, a scikit-learn model fitted to the same rows. Our own models are trained for
some steps under `seminal.doctor.watch`, recipe by recipe. An alarm is any illness that is named; it is false, but where a
rate that is called too high is tried and found so. What is done is kept, and a run that was cut off goes on where it
stopped; another version of the doctor or of a program begins anew.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import runpy
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from doctor import Shelf, own_seconds, version
from doctor_scores import wilson
from healthy_runs import OwnRun, made_data, own_runs, watched
from measuring import RESULTS, arguments, machine, write
from seminal.doctor.diagnose import examine
from seminal.doctor.program import Program, from_file
from seminal.report.terminal import say, table

FEWEST = 10  # steps of a run of ours
CLEARLY = 0.9  # of the loss: what is below is better
PROGRAMS = Path(__file__).parent / "healthy"
Result = dict[str, Any]


# ---------------------------------------------------------------------------------------------------------- the programs


def examined(path: str, seed: int, budget: float) -> Result:
    """What the doctor says of a healthy program, what the program reaches, and what its peer does."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    made = from_file(path)

    def make(other: int) -> Program:
        return made(seed + other)

    own = own_seconds(make)
    found = examine(make, budget=budget)
    verdict = found.verdict
    return {
        "program": Path(path).stem,
        "seed": seed,
        "score": found.chart.course.last.metric,
        "peer": float(runpy.run_path(path)["peer"]()),
        "verdict": verdict.name,
        "open_question": verdict.open_question,
        "findings": [
            {
                "illness": finding.illness,
                "confidence": finding.confidence,
                "evidence": list(finding.evidence),
                "ruled_out": list(finding.ruled_out),
                "remedy": next((remedy.says for remedy in finding.remedies), ""),
            }
            for finding in verdict.findings
        ],
        "chain": [remedy.name for remedy in found.chain],
        "own_seconds": own,
        "seconds": verdict.seconds,
    }


# ----------------------------------------------------------------------------------------------------- one after another


def alone(work: Callable[..., Result], *given: Any) -> Result:
    """In a fresh process: nothing that one leaves behind, a crash least of all, can reach the next. A failure is told."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(work, *given).result()
        except BrokenProcessPool as error:
            return {"findings": [], "failed": f"the process died: {error}"}
        except Exception as error:
            return {"findings": [], "failed": "".join(traceback.format_exception(error, limit=-3))}


def kept(shelf: Shelf, name: str, work: Callable[[], Result]) -> Result:
    """From before, or measured now and told."""
    result = shelf.get(name)
    if result is None:
        result = work()
        shelf.put(name, result)
        say(_mark(result), f"{name}: {_line(result)}", wrap=False)
    return result


def _mark(result: Mapping[str, Any]) -> str:
    if "failed" in result or result.get("broken"):
        return "failed"
    return "true alarm" if borne_out(result) else "false alarm" if result["findings"] else "silent"


def _line(result: Mapping[str, Any]) -> str:
    if "failed" in result:
        return result["failed"].strip().splitlines()[-1]
    named = ", ".join(f"{f['illness']} {f['confidence']:.2f}" for f in result["findings"])
    return f"{named or result['verdict']}; {result['seconds']:.0f} s"


def over_programs(asked: argparse.Namespace, place: Path) -> list[Result]:
    """Every program with every seed."""
    results = []
    for path in [path for path in sorted(PROGRAMS.glob("*.py")) if _asked(asked, path.stem)]:
        mark = f"{version()} {hashlib.sha256(path.read_bytes()).hexdigest()[:12]} {asked.budget:g}"
        for seed in range(asked.seeds):
            results.append(
                kept(
                    Shelf(place, mark),
                    f"{path.stem}-{seed}",
                    lambda path=path, seed=seed: alone(examined, str(path), seed, asked.budget),
                )
            )
    return results


def over_runs(asked: argparse.Namespace, place: Path) -> list[Result]:
    """Every recipe of the models."""
    shelf = Shelf(place, f"{version()} {asked.steps} {asked.limit:g}")
    runs = [run for run in own_runs(asked.every or bool(asked.only)) if _asked(asked, run.variant)]
    with tempfile.TemporaryDirectory() as folder:
        made_data(Path(folder))
        return [kept(shelf, run.name, lambda run=run: _watched(run, Path(folder), asked)) for run in runs]


def _watched(run: OwnRun, folder: Path, asked: argparse.Namespace) -> Result:
    try:
        return watched(run, folder, steps=asked.steps, limit=asked.limit)
    except Exception:
        return {"findings": [], "failed": traceback.format_exc(limit=-3)}


def _asked(asked: argparse.Namespace, name: str) -> bool:
    return not asked.only or name in asked.only


# ----------------------------------------------------------------------------------------------------------- the summary


def summary(results: Sequence[Result]) -> Result:
    """The share of false alarms, and each of them with its evidence. What failed, and a run of ours that its time limit cut
    off after a few steps, is no answer, and counted apart."""
    done = [result for result in results if "failed" not in result]
    told = [result for result in done if result.get("steps", FEWEST) >= FEWEST]
    alarms = [result for result in told if result["findings"] and not borne_out(result)]
    return {
        "false_alarms": wilson(len(alarms), len(told)),
        "borne_out": [result for result in told if borne_out(result)],
        "cannot_tell": sum(result["verdict"] == "cannot_tell" for result in told),
        "too_short": [result["variant"] + " " + result["recipe"] for result in done if result not in told],
        "failed": [result for result in results if "failed" in result],
        "alarms": alarms,
        "all": told,
    }


def borne_out(result: Result) -> bool:
    """Whether nothing but a high rate was named, and a tenth of it ends clearly lower after the same steps: then the recipe
    is too fast for these few rows, and the alarm is true."""
    named = {finding["illness"] for finding in result["findings"]}
    ends = result.get("ends")
    return named == {"lr_high"} and ends is not None and ends[1] < CLEARLY * ends[0]


def show_programs(found: Mapping[str, Any]) -> None:
    """A row for each program and seed."""
    rows = [
        [
            result["program"],
            str(result["seed"]),
            f"{result['score']:.3f}",
            f"{result['peer']:.3f}",
            f"{result['own_seconds']:.1f} s",
            f"{result['seconds'] / max(result['own_seconds'], 1e-3):.1f} ×",
            _named(result),
        ]
        for result in found["all"]
    ]
    table(["program", "seed", "score", "peer", "own time", "doctor's", "verdict"], rows)
    _share("programs", found)


def show_runs(found: Mapping[str, Any]) -> None:
    """A row for each run."""
    rows = [
        [
            result["variant"],
            result["recipe"],
            result["data"],
            str(result["steps"]),
            f"{result['loss'][0]:.3g} → {result['loss'][-1]:.3g}" if result["loss"] else "–",
            _named(result),
        ]
        for result in found["all"]
    ]
    table(["model", "recipe", "data", "steps", "loss", "verdict"], rows)
    _share("own runs", found)


def _named(result: Mapping[str, Any]) -> str:
    return ", ".join(finding["illness"] for finding in result["findings"]) or result["verdict"]


def _share(what: str, found: Mapping[str, Any]) -> None:
    share = found["false_alarms"]
    if share["n"]:
        interval = f"{share['low']:.1%} to {share['high']:.1%}"
        say(what, f"false alarms {share['hits']} of {share['n']}: {share['share']:.1%} ({interval})")
    for result in found["borne_out"]:
        said = f"loss {result['ends'][0]:.3g} in the end, {result['ends'][1]:.3g} with a tenth of the rate"
        say("true alarm", f"{result['variant']} {result['recipe']}: lr_high; {said}")
    if found["failed"]:
        say("failed", f"{len(found['failed'])} gave no answer")
    if found["too_short"]:
        say("too short", f"cut off before {FEWEST} steps: {', '.join(found['too_short'])}")


# ---------------------------------------------------------------------------------------------------------- command line


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--part", choices=("programs", "runs", "both"), default="both")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these programs (without .py) or models")
    parser.add_argument("--seeds", type=int, default=1, help="of each program (default: 1)")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds for each examination (default: 120)")
    parser.add_argument(
        "--every", action="store_true", help="every model, not the first and the smallest of each paper"
    )
    parser.add_argument("--steps", type=int, default=40, help="of each run of ours (default: 40)")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for each of these (default: 60)")
    parser.add_argument("--kept", type=Path, help="where single results are kept (default: a temporary folder)")


def run() -> None:
    """Measure all; print the tables, write the JSON."""
    asked = arguments("How often the doctor accuses what is well.", _flags)
    if asked.quick and not asked.only:
        asked.only, asked.steps = ["02_iris", "04_tumours", "logistic", "linear"], 12
    before, place = machine(), asked.kept or Path(tempfile.gettempdir()) / "doctor-healthy"
    whole: Result = {"doctor_version": version(), "budget_s": asked.budget, "seeds": asked.seeds}
    if asked.part in ("programs", "both"):
        whole["programs"] = summary(over_programs(asked, place / "programs"))
        show_programs(whole["programs"])
    if asked.part in ("runs", "both"):
        torch.set_num_threads(1)
        whole |= {"steps": asked.steps, "limit_s": asked.limit, "every_model": asked.every}
        whole["runs"] = summary(over_runs(asked, place / "runs"))
        show_runs(whole["runs"])
    path = write("healthy", asked, before, whole)
    say("written", str(path.relative_to(RESULTS.parent)) if path.is_relative_to(RESULTS) else path.name)


if __name__ == "__main__":
    run()
