"""What the benchmarks share: the machine beside each number, the spread of repeated measurements, the result as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from seminal.runs.machine import environment
from seminal.runs.repeats import interval

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "pillow", "scikit-learn", "torch", "torchvision")
# Instructions with which a processor multiplies bf16 itself; without one of them bf16 is slower than fp32.
BF16 = ("avx512_bf16", "amx_bf16", "avx_ne_convert", "asimdbf16", "bf16")


def machine() -> dict[str, Any]:
    """Hardware, threads, load and versions: what a number measured here depends on."""
    words = _processor_words()
    return {
        **environment(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "processor": environment(torch.device("cpu"))["device"],
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "bf16_instructions": [name for name in BF16 if name in words],
        "load_average_1_min": round(os.getloadavg()[0], 2),
        "packages": {name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
    }


def _processor_words() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return set()


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median and range of repeated measurements, and the measurements."""
    return {
        "n": len(values),
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "all": [round(value, 5) for value in values],
    }


def mean95(values: Sequence[float]) -> dict[str, Any]:
    """Mean and 95 % interval (Student's t over the values), and the values. A single value has no interval."""
    mean, half = interval(values) if len(values) > 1 else (values[0], None)
    return {"n": len(values), "mean": mean, "half_width_95": half, "all": [round(value, 5) for value in values]}


def arguments(description: str, add: Callable[[argparse.ArgumentParser], None]) -> argparse.Namespace:
    """The command line: ``--quick``, ``--out``, and what ``add`` adds."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a small run that shows that the script works")
    parser.add_argument(
        "--out", type=Path, help="where the JSON goes (default: benchmarks/results; --quick: temporary)"
    )
    add(parser)
    return parser.parse_args()


def write(name: str, asked: argparse.Namespace, before: dict[str, Any], result: dict[str, Any]) -> Path:
    """The result as ``results/name.json``, with ``before``, the machine as `machine` found it when the run began. A quick
    run never replaces a real one."""
    path = asked.out or (
        Path(tempfile.gettempdir()) / f"{name}-quick.json" if asked.quick else RESULTS / f"{name}.json"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    # Where a folder lies on this machine is nobody's business; what it is called tells enough.
    given = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    words = ["python", f"benchmarks/{name}.py", *given]
    whole = {"command": " ".join(words), "quick": asked.quick, "machine": before, **result}
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


@contextmanager
def silent() -> Iterator[None]:
    """What seminal prints goes nowhere."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield
