"""The terminal: two-column lines, tables, and one calm block while a run trains.

On a terminal the block is redrawn at most five times a second, from the training loop's own calls: there is no thread.
Elsewhere (a file, a pipe, a job's log) each epoch is one plain line, with another every half minute of a long epoch.
`NO_COLOR` is honoured; nothing is told by colour alone.
"""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Self

from seminal.report.words import duration, number, printable, score

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from seminal.core import Goal, Step

LABEL = 9  # columns of the first of the two columns
# What stays on one line, with the spaces before it: a word, or one Chinese character with what may not begin a line.
_WORD = re.compile(r" *(?:[\u4e00-\u9fff][、。，；：？！）]*|[^ \u4e00-\u9fff]+)")


def console(file: IO[str] | None = None) -> Console:
    """Where to write: standard output, or ``file``. A character the stream cannot hold becomes ``?``."""
    from rich.console import Console

    stream = sys.stdout if file is None else file
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    return Console(file=stream, highlight=False, markup=False, emoji=False)


def say(label: str, text: str, *, wrap: bool = True, out: Console | None = None) -> None:
    """``label`` in a column of its own, then ``text``; on a terminal, continued lines hang under their first.

    ``wrap=False`` keeps a command in one piece, so that it can be copied. Without a terminal nothing is wrapped: a log
    is searched line by line.
    """
    from rich.text import Text

    out = console() if out is None else out
    room = max(20, out.width - LABEL) if wrap and _live(out) else sys.maxsize
    for i, line in enumerate(_wrapped(printable(text), room)):
        _print(out, Text.assemble((_label(label if i == 0 else ""), "bold"), line))


def marked(before: str, middle: str, after: str, *, out: Console | None = None) -> None:
    """Running text in the second column, its middle in bold and underlined; in brackets where there is no terminal."""
    from rich.padding import Padding
    from rich.text import Text

    out = console() if out is None else out
    parts = [printable(part) for part in (before, middle, after)]
    if _live(out):
        out.print(Padding(Text.assemble(parts[0], (parts[1], "bold underline"), parts[2]), (0, 0, 0, LABEL)))
    else:
        _print(out, Text(" " * LABEL + "{}[{}]{}".format(*(part.replace("\n", " ") for part in parts))))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, out: Console | None = None) -> None:
    """Aligned columns; those that hold numbers are aligned to the right. Long cells wrap on a terminal only."""
    from rich.console import Console
    from rich.table import Table

    out = console() if out is None else out
    shown = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for place, header in enumerate(headers):
        numeric = bool(rows) and all(_is_number(row[place]) for row in rows)
        shown.add_column(_text(header), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(_text(cell) for cell in row))
    if _live(out):
        out.print(shown)
        return
    page = io.StringIO()
    Console(file=page, width=sys.maxsize, highlight=False).print(shown)
    for line in page.getvalue().splitlines():
        _print(out, _text(line.rstrip()))


def fail(sentence: str, *, out: Console | None = None) -> None:
    """A mistake, said on standard error."""
    from rich.text import Text

    out = console(sys.stderr) if out is None else out
    room = max(20, out.width - LABEL) if _live(out) else sys.maxsize
    for i, line in enumerate(_wrapped(printable(sentence), room)):
        _print(out, Text.assemble((_label("error" if i == 0 else ""), "bold red"), line))


@dataclass
class Progress:
    """What is shown while a run trains. ``with Progress(epochs, goal) as progress:`` then `step` after each step and
    `epoch` after each epoch; `say` for a line in between.

    ``unit`` is what is counted per second; ``percent``: the goal's metric is a fraction, shown as a percentage;
    ``best``: (value, epoch) before a resumed run; ``every``: seconds between plain lines within an epoch.
    """

    epochs: int
    goal: Goal
    unit: str = "images"
    percent: bool = False
    best: tuple[float, int] | None = None
    every: float = 30.0
    out: Console | None = None
    _seen: _Seen = field(init=False, repr=False)
    _block: Live | None = field(init=False, repr=False, default=None)

    def __enter__(self) -> Self:
        self.out = console() if self.out is None else self.out
        self._seen = _Seen(time.monotonic())
        if _live(self.out):
            from rich.live import Live

            self._block = Live(console=self.out, auto_refresh=False, transient=True)
            self._block.start()
        return self

    def __exit__(self, *failure: object) -> None:
        if self._block is None:
            return
        self._block.stop()
        self._block = None
        if self._seen.step is not None:
            assert self.out is not None
            _print(self.out, _barred([self._ending()], [self._share()], self.out)[0])

    def step(self, step: Step, rows_per_s: float) -> None:
        """After each step; cheap, for most calls draw nothing."""
        now = time.monotonic()
        self._seen.add(step, rows_per_s, now)
        if self._block is not None:
            if now - self._seen.drawn >= 0.2 or step.ends_epoch:
                self._draw(now)
        elif now - self._seen.drawn >= self.every:
            self._seen.drawn = now
            self._plain([*self._first(step.epoch + 1), *self._within(step), self._left(now)])

    def epoch(self, row: Mapping[str, float | None], best: tuple[float, int] | None) -> None:
        """After each epoch: ``epoch`` (counted from 1), ``train_loss``, ``val_<metric>`` …, as in `Report.rows`; and the best
        value so far with its epoch."""
        now = time.monotonic()
        self._seen.row, self.best = dict(row), best
        if self._block is not None:
            self._draw(now)
            return
        self._seen.drawn = now
        parts = [*self._first(int(row["epoch"] or 0)), *self._scores(), self._rate(), self._best(), self._left(now)]
        self._plain(parts)

    def say(self, label: str, text: str, *, wrap: bool = True) -> None:
        """A line above the block."""
        say(label, text, wrap=wrap, out=self.out)

    # ---------------------------------------------------------------------------------------------- how it is written

    def _plain(self, parts: Sequence[str]) -> None:
        assert self.out is not None
        _print(self.out, _text("  ".join(part for part in parts if part)))

    def _draw(self, now: float) -> None:
        from rich.console import Group

        assert self.out is not None
        assert self._block is not None
        step = self._seen.step
        if step is None:
            return
        self._seen.drawn = now
        upper = [f"epoch {min(step.epoch + 1, self.epochs)}/{self.epochs}", "", self._best(), self._left(now)]
        waiting = step.ends_epoch and self._seen.row.get("epoch") != step.epoch + 1
        within = (
            ["scoring the validation split"] if waiting else [*self._losses(), f"lr {number(step.lr, 3)}", self._rate()]
        )
        counted = len(str(step.epoch_steps))  # the bars do not move when the count gains a digit
        lower = [f"step {step.position:>{counted}}/{step.epoch_steps}", "", *within]
        width = max(len(upper[0]), len(lower[0]))
        upper[0], lower[0] = upper[0].ljust(width), lower[0].ljust(width)
        shares = [self._share(), step.position / step.epoch_steps]
        self._block.update(Group(*_barred([upper, lower], shares, self.out)), refresh=True)

    def _ending(self) -> list[str]:
        step = self._seen.step
        assert step is not None
        said = [*self._scores(), self._rate(), duration(time.monotonic() - self._seen.started)]
        return [f"epoch {min(step.epoch + 1, self.epochs)}/{self.epochs}", "", *said]

    def _share(self) -> float:
        step = self._seen.step
        return 0.0 if step is None else step.number / max(step.steps, 1)

    def _first(self, epoch: int) -> list[str]:
        return [f"epoch {epoch}/{self.epochs}"]

    def _within(self, step: Step) -> list[str]:
        return [f"step {step.position}/{step.epoch_steps}", *self._losses(), f"lr {number(step.lr, 3)}", self._rate()]

    def _losses(self) -> list[str]:
        means = self._seen.losses()
        if len(means) == 1:
            return [f"loss {number(next(iter(means.values())), 3)}"]
        return [f"{player} {number(loss, 3)}" for player, loss in means.items()]

    def _scores(self) -> list[str]:
        row = self._seen.row
        loss, value = row.get("train_loss"), row.get(f"val_{self.goal.metric}")
        said = self._losses() if loss is None else [f"loss {number(loss, 3)}"]
        said += [] if value is None else [f"val {score(value, self.percent)}"]
        rate = row.get("lr")
        return said + ([] if rate is None else [f"lr {number(rate, 3)}"])

    def _rate(self) -> str:
        return f"{number(float(f'{self._seen.rows_per_s:.3g}'))} {self.unit}/s" if self._seen.rows_per_s else ""

    def _best(self) -> str:
        return f"best {score(self.best[0], self.percent)} (epoch {self.best[1]})" if self.best else ""

    def _left(self, now: float) -> str:
        seconds = self._seen.seconds_left(now)
        return "" if seconds is None else f"left {duration(seconds)}"


@dataclass
class _Seen:
    """What the loop has told so far."""

    started: float
    drawn: float = 0.0
    step: Step | None = None
    first: int = 0  # steps made before this process began to count
    began: float = 0.0  # when they were: the first step, which may compile, does not spoil the estimate
    rows_per_s: float = 0.0
    row: dict[str, float | None] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)  # of the losses of this epoch
    counted: int = 0

    def __post_init__(self) -> None:
        self.drawn = self.started

    def add(self, step: Step, rows_per_s: float, now: float) -> None:
        if self.step is None:
            self.first, self.began = step.number, now
        if self.step is None or step.epoch != self.step.epoch:
            self.sums, self.counted = {}, 0
        for player, loss in step.loss.items():
            self.sums[player] = self.sums.get(player, 0.0) + loss
        self.counted += 1
        self.step, self.rows_per_s = step, rows_per_s

    def losses(self) -> dict[str, float]:
        """Mean loss of each player over this epoch so far: the last one alone would flicker."""
        return {player: total / self.counted for player, total in self.sums.items()}

    def seconds_left(self, now: float) -> float | None:
        if self.step is None or self.step.number <= self.first:
            return None
        return (self.step.steps - self.step.number) * (now - self.began) / (self.step.number - self.first)


# ------------------------------------------------------------------------------------------------------------ the parts


def _live(out: Console) -> bool:
    """Whether lines can be drawn over: a terminal, and one that can move its cursor."""
    return out.is_terminal and not out.is_dumb_terminal


def _print(out: Console, text: Text) -> None:
    """One line as it is: cut nowhere, whatever the width."""
    out.print(text, soft_wrap=True)


def _text(text: str) -> Text:
    from rich.text import Text

    return Text(printable(text))


def _label(label: str) -> str:
    from rich.cells import cell_len

    return printable(label) + " " * max(1, LABEL - cell_len(label))


def _wrapped(text: str, room: int) -> Iterator[str]:
    """Lines of at most ``room`` terminal cells, parted between words or Chinese characters; a longer word stands alone."""
    from rich.cells import cell_len

    for paragraph in text.split("\n"):
        line = ""
        for word in _WORD.findall(paragraph):
            if line and cell_len(line) + cell_len(word) > room:
                yield line
                line = word.lstrip(" ")
            else:
                line += word
        yield line


def _is_number(cell: str) -> bool:
    digits = cell.strip().removesuffix("%").rstrip().replace(",", "")
    try:
        float(digits)
    except ValueError:
        return cell.strip() in ("", "–")
    return True


def _barred(lines: Sequence[Sequence[str]], shares: Sequence[float], out: Console) -> list[Text]:
    """Lines no wider than the terminal, each with a bar after its first part: (first, "", parts …). The bars are as
    long as each other, at most 30 cells; where there is no room for 8, the last parts of a line are left out."""
    from rich.cells import cell_len
    from rich.text import Text

    def free(parts: Sequence[str]) -> int:
        return out.width - 1 - sum(cell_len(part) + 2 for part in parts)

    kept = [[line[0], *filter(None, line[2:])] for line in lines]
    for parts in kept:
        while len(parts) > 1 and free(parts) < 8:
            parts.pop()
    cells = max(0, min(30, *(free(parts) for parts in kept)))
    full, empty = ("#", "-") if out.options.ascii_only else ("━", "─")  # two signs: a bar is read without colour too
    texts = []
    for parts, share in zip(kept, shares):
        done = round(cells * min(1.0, max(0.0, share)))
        line = Text(parts[0] + "  ", no_wrap=True, overflow="ellipsis")
        line.append(full * done, "cyan").append(empty * (cells - done), "dim")
        texts.append(line.append("".join(f"  {part}" for part in parts[1:])))
    return texts
