"""What is claimed of learning and of generative models, measured: each experiment tests one claim. Its numbers go to
results/theory_NAME.json; `experiments/theory_pages.py` writes the pages and draws the plots from them.

    python experiments/theory.py            all, a minute of one core each at most
    python experiments/theory.py sweep_k    only this one
    python experiments/theory.py --quick    a small run of all that shows that the scripts work
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # what the benchmarks share
import theory_contrast
import theory_depth
import theory_descent
import theory_divergence
import theory_fitting
import theory_game
import theory_latent
import theory_sharpness
import theory_words
from keeping import RESULTS
from measuring import machine

# The pages in docs/, with their experiments in order.
PAGES = {
    "generative": {
        **theory_divergence.EXPERIMENTS,
        **theory_game.EXPERIMENTS,
        **theory_latent.EXPERIMENTS,
        **theory_sharpness.EXPERIMENTS,
        **theory_contrast.EXPERIMENTS,
    },
    "learning": {
        **theory_descent.EXPERIMENTS,
        **theory_fitting.EXPERIMENTS,
        **theory_depth.EXPERIMENTS,
        **theory_words.EXPERIMENTS,
    },
}
EXPERIMENTS = {name: experiment for page in PAGES.values() for name, experiment in page.items()}


def measured(name: str, folder: Path, *, quick: bool) -> None:
    """One experiment, kept as JSON; chance is fixed, so that another run gives the same numbers on the same machine."""
    before, started = machine(), time.process_time()
    result = EXPERIMENTS[name].measure(quick)
    whole = {"command": f"python experiments/theory.py {name}", "machine": before, **result}
    whole["cpu_seconds"] = round(time.process_time() - started, 1)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(whole, ensure_ascii=False, allow_nan=False)
    (folder / f"theory_{name}.json").write_text(text + "\n", encoding="utf-8")
    verdict = EXPERIMENTS[name].verdict(json.loads(text))
    print(f"{name}: {verdict.short}: {verdict.says}", flush=True)


def run() -> None:
    parser = argparse.ArgumentParser(description="Claims on learning and on generative models, measured.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(EXPERIMENTS)}")
    parser.add_argument("--quick", action="store_true", help="a small run that shows that the scripts work")
    parser.add_argument("--out", type=Path, help="folder of the JSON (default: results; --quick: temporary)")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(EXPERIMENTS):
        parser.error(f"no experiment is called {', '.join(sorted(unknown))}. There are: {', '.join(EXPERIMENTS)}.")
    # A quick run never replaces a real one.
    folder = asked.out or (Path(tempfile.gettempdir()) / "theory-quick" if asked.quick else RESULTS)
    torch.set_num_threads(1)
    for name in asked.names or EXPERIMENTS:
        measured(name, folder, quick=asked.quick)


if __name__ == "__main__":
    run()
