"""Numbers in the README come from the results' files."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_measured_part_is_generated():
    check = subprocess.run(
        [sys.executable, "benchmarks/readme.py", "--check"], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert check.returncode == 0, check.stderr


def test_the_python_example_runs():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    shortened = code.replace("if step.ends_epoch:", "if step.number == 2:").replace(
        'print(step.epoch, step.loss["model"])', 'print("loss", step.loss["model"]); break'
    )
    found = subprocess.run([sys.executable, "-c", shortened], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("loss ")
