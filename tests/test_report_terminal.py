"""The terminal: calm on a screen, plain in a file, and numbers written for people."""

from __future__ import annotations

import io
import math
import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from seminal.core import Goal, Step
from seminal.report import terminal, words


def screen(width: int = 100, **environment: str) -> tuple[Console, io.StringIO]:
    """A colour terminal of our own, and what is written to it."""
    written = io.StringIO()
    seen = {"TERM": "xterm-256color", **environment}
    return Console(file=written, force_terminal=True, width=width, height=30, _environ=seen), written


def unstyled(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def run_through(progress: terminal.Progress, epochs: int, steps: int, *, pause: float = 0.0) -> None:
    for n in range(epochs * steps):
        e, s = divmod(n, steps)
        if pause:
            time.sleep(pause)
        loss = {"model": 2.0 / (n + 1)}
        progress.step(Step(n + 1, epochs * steps, e, s + 1, steps, loss, 0.1, {"model": 1.0}, 64, 64.0), 5210.4)
        if s + 1 == steps:
            progress.epoch(
                {"epoch": e + 1, "train_loss": 0.5 / (e + 1), "val_top1": 0.9 + e / 50, "lr": 0.1, "seconds": 1.0},
                (0.9 + e / 50, e + 1),
            )


def test_without_a_terminal_each_epoch_is_a_plain_line() -> None:
    written = io.StringIO()
    with terminal.Progress(3, Goal("top1"), percent=True, out=terminal.console(written)) as progress:
        run_through(progress, 3, 5)
        progress.say(
            "check",
            "a sentence that is long enough to be wrapped, were this a terminal of eighty columns, which it is not",
        )
    lines = written.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(
        "epoch 1/3  loss 0.5  val 90.0 %  lr 0.1  5,210 images/s  best 90.0 % (epoch 1)  left 0:00:0"
    )
    assert lines[2].startswith("epoch 3/3  loss 0.167  val 94.0 %")
    assert lines[3].startswith("check    a sentence")
    assert "\x1b" not in written.getvalue()


def test_a_long_epoch_gets_a_line_now_and_then() -> None:
    written = io.StringIO()
    with terminal.Progress(1, Goal("top1"), every=0.05, out=terminal.console(written)) as progress:
        run_through(progress, 1, 30, pause=0.01)
    lines = written.getvalue().splitlines()
    assert 2 <= len(lines) - 1 <= 8
    assert all(
        re.match(r"epoch 1/1  step \d+/30  loss [\d.]+  lr 0.1  5,210 images/s  left", line) for line in lines[:-1]
    )


def test_a_terminal_shows_one_block_and_leaves_one_line() -> None:
    out, written = screen()
    begun = time.monotonic()
    with terminal.Progress(4, Goal("top1"), percent=True, out=out) as progress:
        run_through(progress, 4, 40, pause=0.005)
        took = time.monotonic() - begun
        progress.say("check", "a line above the block")
    text = written.getvalue()
    frames = text.count("step")
    assert 4 <= frames <= 5 * took + 2 * 4 + 2  # five a second, and two at each epoch's end
    assert "left 0:00:0" in text
    assert "scoring the validation split" in text
    last = unstyled(text).rstrip().splitlines()[-1]
    assert re.fullmatch(r"\s*epoch 4/4  ━{8,30}  loss 0\.125  val 96\.0 %  lr 0\.1  5,210 images/s  0:00:0\d", last)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is hidden once and shown again


@pytest.mark.parametrize("width", [30, 50, 80, 200])
def test_no_line_of_the_block_is_wider_than_the_terminal(width: int) -> None:
    out, written = screen(width)
    with terminal.Progress(1000, Goal("top1"), percent=True, best=(0.987654, 12), out=out) as progress:
        for n in (1, 2, 399, 400):
            losses = {"discriminator": 1.2345, "generator": 0.001234}
            progress.step(Step(n, 400_000, 0, n, 400, losses, 3e-4, {}, 64, 64.0), 123456.0)
            progress._draw(time.monotonic())
    lines = [cell_len(line) for line in re.split(r"[\r\n]+", unstyled(written.getvalue()))]
    assert max(lines) < width
    assert ("discriminator" in unstyled(written.getvalue())) == (width >= 50)


def test_an_interrupted_run_gives_the_terminal_back() -> None:
    out, written = screen()
    progress = terminal.Progress(2, Goal("top1"), out=out)

    def interrupted() -> None:
        with progress:
            run_through(progress, 1, 3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert written.getvalue().count("\x1b[?25h") == 1
    assert "epoch 1/2" in unstyled(written.getvalue()).rstrip().splitlines()[-1]


def test_chinese_is_parted_between_characters_and_code_keeps_its_indentation() -> None:
    out, written = screen(30)
    text = "学习率太大：损失发散，或来回震荡，或（0.95）突然跳高"
    terminal.say("诊断", text, out=out)
    terminal.say("", "    loss.backward()", wrap=False, out=out)
    first, *others, code = unstyled(written.getvalue()).splitlines()
    parts = [first.removeprefix("诊断     "), *(line.removeprefix(" " * 9) for line in others)]
    assert "".join(parts) == text
    assert all(cell_len(part) <= 21 and part[0] not in "，：）" for part in parts)
    assert code == " " * 13 + "loss.backward()"


def test_no_color_is_honoured_and_the_bar_read_without_it() -> None:
    out, written = screen(NO_COLOR="1")
    with terminal.Progress(2, Goal("top1"), out=out) as progress:
        run_through(progress, 1, 3)
        progress.step(Step(2, 6, 0, 2, 3, {"model": 1.0}, 0.1, {}, 1, 1.0), 1.0)
    assert not re.findall(r"\x1b\[[0-9;]*3[0-7]m", written.getvalue())
    assert re.search("━+─+", unstyled(written.getvalue()).rstrip().splitlines()[-1])


def test_a_resumed_run_remembers_its_best() -> None:
    written = io.StringIO()
    with terminal.Progress(9, Goal("mae", higher=False), best=(1.5, 4), out=terminal.console(written)) as progress:
        progress.epoch({"epoch": 5, "val_mae": 1.75}, (1.5, 4))
        progress.epoch({"epoch": 6, "val_mae": math.nan}, (1.5, 4))
        progress.epoch({"epoch": 7, "val_mae": 1.25}, (1.25, 7))
    assert [line.split("best ")[1] for line in written.getvalue().splitlines()] == ["1.5 (epoch 4)"] * 2 + [
        "1.25 (epoch 7)"
    ]


def test_say_hangs_its_text_under_the_first_line() -> None:
    out, written = screen(40)
    terminal.say("adapted", "1 input channel (paper: 3) · maps 8, 4, 2 (paper: 32, 16, 8)", out=out)
    terminal.say("next", "seminal predict runs/resnet20-digits-1 YOUR.png", wrap=False, out=out)
    terminal.say("files", "照片照片照片照片照片照片 照片照片照片照片 [bold]x[/bold] a\x1b[2Jb", out=out)
    assert unstyled(written.getvalue()).splitlines() == [
        "adapted  1 input channel (paper: 3) ·",
        "         maps 8, 4, 2 (paper: 32, 16, 8)",
        "next     seminal predict runs/resnet20-digits-1 YOUR.png",
        "files    照片照片照片照片照片照片 照片照",
        "         片照片照片 [bold]x[/bold]",
        "         a\ufffd[2Jb",
    ]


def test_a_table_is_aligned_and_no_line_of_it_is_wrapped_in_a_file() -> None:
    written = io.StringIO()
    long = "ImageNet Classification with Deep Convolutional Neural Networks, " * 3
    rows = [["resnet20", "Deep Residual Learning", "269,722"], ["alexnet", long, "60,965,224"]]
    terminal.table(["model", "paper", "parameters"], rows, out=terminal.console(written))
    head, first, second = written.getvalue().splitlines()
    assert second.startswith(f"alexnet    {long.strip()}")
    assert head.index("paper") == first.index("Deep") == second.index("ImageNet") == 11
    assert len(head) == len(first) == len(second)  # numbers end where their header ends
    out, narrow = screen(50)
    terminal.table(["model", "paper", "parameters"], rows, out=out)
    assert max(len(line) for line in unstyled(narrow.getvalue()).splitlines()) <= 50


def test_fail_writes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.fail("there is no model `resnt20`. Nearest: resnet20.")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "error    there is no model `resnt20`. Nearest: resnet20.\n"


def test_a_stream_without_unicode_gets_question_marks() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    terminal.say("best", "98.9 % · ✓", out=terminal.console(stream))
    stream.flush()
    assert stream.buffer.getvalue() == b"best     98.9 % ? ?\n"  # type: ignore[attr-defined]


PLAIN = {0: "0", 15: "15", 269722: "269,722", 0.041: "0.041", 0.0002: "0.0002", 1e-5: "1e-5", 2.3025: "2.303"}
LARGE = {5210.4: "5,210", 1.9e10: "1.9e10", -3.14159: "-3.142", 0.99996: "1", 1234567.5: "1.235e6"}
NOT_NUMBERS = {math.nan: "nan", -math.inf: "-∞", None: "–"}


@pytest.mark.parametrize(("value", "says"), [*(PLAIN | LARGE | NOT_NUMBERS).items()])
def test_numbers_are_written_for_people(value: float | None, says: str) -> None:
    assert words.number(value) == says


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_written_number_is_near_the_number(value: float) -> None:
    assert float(words.number(value).replace(",", "")) == pytest.approx(value, rel=6e-4)


def test_importing_the_room_imports_no_view() -> None:
    views = ("rich", "torch", "plotly", "jinja2", "PIL")
    code = f"import sys, seminal.report.terminal; print([m for m in {views} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
