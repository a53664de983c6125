"""Every mistake of `bad_inputs` gets one calm sentence and exit code 2, and harms nothing. The sentences are the table of
docs/bad_input.md, which this test writes (SEMINAL_UPDATE=1) and keeps."""

from __future__ import annotations

import functools
import os
import re
import shlex
import tempfile
from pathlib import Path

import pytest

from bad_inputs import MISTAKES, Mistake
from command_line import Said, contents, done, sha, typed

pytestmark = pytest.mark.usefixtures("one_thread")
PAGE = Path(__file__).parents[1] / "docs" / "bad_input.md"
HEAD = """# Bad input

What `seminal` says to mistakes. Each gets exit code 2 (but for a note, after which the run goes on), and nothing is
written over, lost or left half made. This table is written by `tests/test_bad_input.py`, which makes every one of
these mistakes.

| you did | it says |
|---|---|
"""


@functools.cache
def outcome(mistake: Mistake) -> tuple[Said, str]:
    """What was said, and what is wrong with the files afterwards ("" for nothing)."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        mistake.before(folder)
        before = _tree(folder)
        with mistake.during(folder):
            said = typed(*shlex.split(mistake.words), folder=folder)
        after = _tree(folder)
        if mistake.leaves:
            after = {
                name: mark
                for name, mark in after.items()
                if not f"{name}/".startswith(mistake.leaves.split("/")[0] + "/")
            }
            trouble = _not_whole(folder / mistake.leaves, folder)
        else:
            after.pop("disk", None)
            trouble = ""
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        # Temporary folders: this one, and that of the runs which are copied from.
        out, err = (re.sub(rf"{folder}|/\S*/seminal-tests-[^/]*", "…", text) for text in (said.out, said.err))
        short = Said(said.code, out, err)
    return short, trouble or ", ".join(changed)


def _tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): "" for path in folder.rglob("*") if path.is_dir()} | contents(folder)


def _not_whole(run: Path, folder: Path) -> str:
    """A run that was begun can be looked at and gone on with; what it holds is not half written."""
    missing = {"recipe.json", "reader.json", "labels.json", "split.csv", "last.state"} - {p.name for p in run.iterdir()}
    parts = [path.name for path in run.glob(".*")]
    return f"missing: {missing}" if missing else f"left behind: {parts}" if parts else ""


def sentence(mistake: Mistake, said: Said) -> str:
    """What the page shows of an answer."""
    if mistake.code == 0:
        lines = [line for line in said.out.splitlines() if all(part in line for part in mistake.says)]
        return lines[0].split(maxsplit=1)[1] if lines[0][0] != " " else lines[0].strip()
    text = said.err.removeprefix("error").strip()
    text = re.sub(mistake.softened, "(…)", text) if mistake.softened else text
    # The table of a page has one line per row; what looks like a tag there must be marked as code.
    return "<br>".join(f"`{line.strip()}`" if "<class>" in line else line.strip() for line in text.splitlines())


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.did)
def test_a_mistake_gets_one_sentence_and_harms_nothing(mistake):
    said, harm = outcome(mistake)
    assert said.code == mistake.code, said
    assert "Traceback" not in said.err
    if mistake.code:
        assert said.err.startswith("error "), "one message, on standard error"
        assert said.err.count("error  ") == 1
        text = sentence(mistake, said)
        assert text.rstrip("`").endswith((".", "?", "*.jpg")), "a sentence ends"
        assert len(text) < 700
    for part in mistake.says:
        assert part in said.err + said.out
    assert not harm


def test_the_table_is_large_enough():
    assert len(MISTAKES) >= 60
    assert len({mistake.did for mistake in MISTAKES}) == len(MISTAKES)


def test_after_a_full_disk_the_run_goes_on(tmp_path):
    """The sentence promises that what was saved is intact, and that room is all it takes."""
    mistake = next(m for m in MISTAKES if m.leaves == "disk/run")
    for name in ("full", "roomy"):
        (tmp_path / name).mkdir()
        mistake.before(tmp_path / name)
    with mistake.during(tmp_path / "full"):
        assert typed(*shlex.split(mistake.words), folder=tmp_path / "full").code == 2
    done("resume", "disk/run", folder=tmp_path / "full")
    done(*shlex.split(mistake.words), folder=tmp_path / "roomy")
    for name in ("last.safetensors", "best.safetensors"):
        assert sha(tmp_path / "full" / "disk" / "run" / name) == sha(tmp_path / "roomy" / "disk" / "run" / name)
    assert (tmp_path / "full" / "disk" / "run" / "report.html").exists()


def test_the_page_of_mistakes_is_true():
    rows = []
    for mistake in MISTAKES:
        said, _ = outcome(mistake)
        typed_words = f"`seminal {mistake.words}`".replace(" `", "`")
        rows.append(f"| {mistake.did}: {typed_words} | {sentence(mistake, said).replace('|', chr(92) + '|')} |")
    page = HEAD + "\n".join(rows) + "\n"
    if os.environ.get("SEMINAL_UPDATE"):
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.exists(), "write it: SEMINAL_UPDATE=1 pytest tests/test_bad_input.py"
    assert PAGE.read_text(encoding="utf-8") == page, "write it anew: SEMINAL_UPDATE=1 pytest tests/test_bad_input.py"
