"""A run that is killed (SIGKILL) again and again, at random instants, and resumed each time: does it end with the weights of
a run that nobody disturbed, to the bit, and with each epoch once in metrics.csv?

Training is a real process of `seminal train`; so is every `seminal resume`. A clock starts when the process begins to work
on its folder, and the kill comes after a random share of the time that the undisturbed run took. A run that reaches its end
before all kills are spent is compared, and another one is begun.

    python benchmarks/killed.py [--kills 20]            some minutes on two cores
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import seminal
from measuring import arguments, machine, write
from seminal.report.terminal import say

SEMINAL = (sys.executable, "-m", "seminal")
DIGITS = ("train", "resnet20", "digits", "--precision", "fp32", "--save-every", "0.2")
WEIGHTS = ("last.safetensors", "best.safetensors")
UNTIMED = ("seconds", "rows_per_s")  # columns of metrics.csv that hold times


@dataclass(frozen=True)
class Kill:
    """``seconds`` after the process had begun; ``saved_step`` is where the next one went on, None if it began anew."""

    run: str
    seconds: float
    saved_step: int | None


@dataclass
class Killer:
    """Trains runs in ``folder`` with ``words``, and kills them. ``longest``: seconds that a process may live."""

    folder: Path
    words: Sequence[str]
    longest: float
    chance: random.Random
    kills: list[Kill] = field(default_factory=list)

    def train(self, name: str, most: int) -> Path:
        """A run that was killed at most ``most`` times, and then trained to its end."""
        run, left = self.folder / "runs" / name, most
        while True:
            if run.exists() and not (run / "recipe.json").exists():
                shutil.rmtree(run)  # killed before it was a run
            known = run.exists()
            command = ("resume", str(run)) if known else (*self.words, "--name", name)
            output = self.folder / "output.txt"
            with output.open("w") as out:
                process = subprocess.Popen([*SEMINAL, *command], cwd=self.folder, stdout=out, stderr=out)
                began = _begun(process, run, output, known)
                lived = self.chance.uniform(0, self.longest)
                try:
                    process.wait(None if not left else max(0.0, began + lived - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            self._note(output.read_text())
            if process.returncode == 0:
                return run
            if process.returncode != -9:
                raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{output.read_text()}")
            self.kills.append(Kill(name, round(time.monotonic() - began, 3), None))
            left -= 1

    def _note(self, said: str) -> None:
        """Where a resumed process went on is what the kill before it had left."""
        for line in said.splitlines():
            if line.startswith("resumed") and self.kills:
                last = self.kills[-1]
                self.kills[-1] = Kill(last.run, last.seconds, int(line.split("after step ")[1].split()[0]))


def _begun(process: subprocess.Popen[bytes], run: Path, output: Path, known: bool) -> float:
    """Wait until the process works on its folder; the moment, of `time.monotonic`."""
    while process.poll() is None:
        if "resumed" in output.read_text() if known else run.exists():
            break
        time.sleep(0.002)
    return time.monotonic()


def undisturbed(folder: Path, words: Sequence[str]) -> tuple[Path, float]:
    """A run that nobody kills, and the seconds from its folder's beginning to its end."""
    run, output = folder / "runs" / "undisturbed", folder / "undisturbed.txt"
    with output.open("w") as out:
        process = subprocess.Popen([*SEMINAL, *words, "--name", run.name], cwd=folder, stdout=out, stderr=out)
        began = _begun(process, run, output, known=False)
        process.wait()
    if process.returncode:
        raise RuntimeError(output.read_text())
    return run, time.monotonic() - began


def differences(run: Path, reference: Path) -> list[str]:
    """What is not as it should be; empty where everything is."""
    wrong = [name for name in WEIGHTS if _sha(run / name) != _sha(reference / name)]
    rows, wanted = _rows(run), _rows(reference)
    epochs = [row["epoch"] for row in rows]
    wrong += [f"epochs {', '.join(epochs)}"] * (epochs != [str(i + 1) for i in range(len(wanted))])
    wrong += ["metrics.csv"] * (rows != wanted)
    return wrong + [path.name for path in run.glob(".*.part")]


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in UNTIMED} for row in csv.DictReader(file)]


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0, help="the luck of the instants")


def _measured(asked: argparse.Namespace) -> dict[str, Any]:
    kills, epochs = (3, 3) if asked.quick else (asked.kills, asked.epochs)
    words = (*DIGITS, "--epochs", str(epochs))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as room:
        reference, seconds = undisturbed(Path(room), words)
        say("straight", f"{seconds:.1f} s from the first file to the last, {len(_rows(reference))} epochs")
        killer = Killer(Path(room), words, 0.35 * seconds, random.Random(asked.seed))
        runs: list[dict[str, Any]] = []
        while len(killer.kills) < kills:
            name = f"killed-{len(runs) + 1}"
            run = killer.train(name, kills - len(killer.kills))
            own = [kill for kill in killer.kills if kill.run == name]
            runs.append({"run": name, "kills": len(own), "differences": differences(run, reference)})
            say(name, f"{len(own)} kills; differences: {', '.join(runs[-1]['differences']) or 'none'}")
    return {
        "trained": " ".join(("seminal", *words)),
        "seed": asked.seed,
        "kills": len(killer.kills),
        "identical": not any(run["differences"] for run in runs),
        "undisturbed_seconds": round(seconds, 2),
        "seconds": round(time.monotonic() - started, 1),
        "runs": runs,
        "instants": [asdict(kill) for kill in killer.kills],
    }


def _program() -> str:
    """A fingerprint of the installed package's files."""
    files = sorted(Path(seminal.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def main() -> int:
    asked = arguments(__doc__ or "", _add)
    before, program = machine(), _program()
    result = _measured(asked)
    if _program() != program:
        raise SystemExit("the program was edited while it was measured: measure again")
    say("identical", f"{result['identical']}, after {result['kills']} kills of {len(result['runs'])} runs")
    say("written", str(write("killed", asked, before, result)))
    return 0 if result["identical"] else 1


if __name__ == "__main__":
    sys.exit(main())
