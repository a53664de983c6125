"""``seminal verify``: every number of the papers, measured now, on this machine; and every network brought to life."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from seminal.core import DataSpec, Fact, Paper, UserError
from seminal.pieces.measure import count
from seminal.report.terminal import say
from seminal.runs.cards import shown
from seminal.runs.shelf import nearest, papers, published

SIDES = (8, 32, 64, 67, 71, 75, 96, 128, 224)  # of square pictures, the smallest that a network takes is used
STARTS = 10
HEAVY = 250_000_000  # parameters
BUILT = "built for"  # where a network was brought to life, in place of a section
BAR = r"\|"  # a bar inside a cell of a table
HEAD = """# Faithful, number by number

Every number that a paper prints and that can be checked without its data, beside the one measured on the built network;
and every departure from the paper. Written by `seminal verify --page docs/faithful.md`.
"""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    paper: str
    variant: str
    says: str
    where: str
    expect: Any
    got: Any
    holds: bool


def verify(name: str | None = None, *, as_json: bool = False, page: str | None = None) -> int:
    """Measure every fact, and bring every variant to life. Exit code 1 where one does not hold."""
    started, checks = time.perf_counter(), []
    for check in _checks(name):
        checks.append(check)
        if not as_json:
            print(f"{_mark(check)} {_name(check)}: {check.says} — {_numbers(check)} ({check.where})")
    failed = sum(not check.holds for check in checks)
    seconds = round(time.perf_counter() - started, 2)
    if page is not None:
        _write(Path(page).expanduser(), checks)
    if as_json:
        print(json.dumps({"facts": [vars(c) for c in checks], "failed": failed, "seconds": seconds}, default=str))
        return 1 if failed else 0
    count, seen = len(checks), len({check.paper for check in checks})
    papers = "1 paper" if seen == 1 else f"{seen} papers"
    say("verified", f"{count - failed} of {count} facts of {papers} hold ({seconds:.1f} s)")
    if page is not None:
        say("written", page)
    return 1 if failed else 0


def _checks(name: str | None) -> Iterator[Check]:
    shelf = papers()
    if name is not None and name not in shelf and not any(name in paper.variants for paper in shelf.values()):
        names = [*shelf, *(v for paper in shelf.values() for v in paper.variants)]
        raise UserError(f"there is no paper or model `{name}`.{nearest(name, names)} `seminal list` shows all.")
    for file, paper in shelf.items():
        for fact in paper.facts:
            if name in (None, file) or (name in paper.variants and fact.variant in ("", name)):
                yield _measured(file, fact)
        for variant in paper.variants:
            if name in (None, file, variant):
                yield _alive(file, paper, variant)


def _measured(file: str, fact: Fact) -> Check:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what a fact says of random numbers must not depend on the facts before it
        got = fact.measure()
    return Check(file, fact.variant, fact.says, fact.where, fact.expect, got, fact.holds(got))


def _alive(file: str, paper: Paper, variant: str) -> Check:
    """Build the network for the smallest data it takes, and run it forward and backward. A ReLU of a narrow layer may be
    off for all rows, so a network gets a few starts to show that a gradient can reach a tensor."""
    config, fewer = _light(paper, _smallest(paper.variants[variant]))
    reached: set[str] = set()
    names: set[str] = set()
    for seed in range(STARTS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = paper.build(config)
            for parameter in (
                model.parameters() if seed else ()
            ):  # a road through a weight of zeros does not show itself
                if not parameter.any():
                    torch.nn.init.normal_(parameter, std=0.1)
            output = model(*config.example(4))
            output = (
                output[0] if isinstance(output, tuple) else output
            )  # a recurrent language model gives its state too
            (output * torch.randn_like(output)).sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        names = set(gradients)
        reached |= {name for name, g in gradients.items() if g is not None and bool(g.isfinite().all() and g.any())}
        if reached == names:
            break
    says = "forward and backward: a gradient reaches every parameter tensor"
    size = "×".join(map(str, config.example(1)[0].shape[1:]))
    return Check(file, variant, says, f"{BUILT} {size}{fewer}", len(names), len(reached), reached == names)


def _light(paper: Paper, config: Any) -> tuple[Any, str]:
    """A network of gigabytes with two of its layers, which are all alike; and how that is said."""
    if count(paper.build, config) <= HEAVY:
        return config, ""
    return replace(config, layers=2), f", 2 of {config.layers} layers"


def _smallest(config: Any) -> Any:
    for spec in _specs():
        try:
            return config.fitted(spec)
        except UserError:
            continue
    raise AssertionError("no data suit this network")


def _specs() -> Iterator[DataSpec]:
    classes = ("a", "b", "c")
    yield DataSpec("a table", "table", {"train": 100}, (7,), classes)
    yield DataSpec("a table", "table", {"train": 100}, (7,), target_names=("y", "z"))
    for side in SIDES:
        yield DataSpec("pictures", "images", {"train": 100}, (3, side, side), classes)
    for kind in ("labelled", "pairs", "stream"):
        sides = dict.fromkeys(("source", "target") if kind == "pairs" else ("text",), 30)
        named = classes if kind == "labelled" else ()
        yield DataSpec(
            "text",
            kind,
            {"train": 100},
            (),
            named,
            vocabulary=sides,
            longest=dict.fromkeys(sides, 12),
            tokens={"train": 900},
        )


# --------------------------------------------------------------------------------------------------------------- words


def _mark(check: Check) -> str:
    return "✓" if check.holds else "✗"


def _name(check: Check) -> str:
    return check.variant or check.paper


def _numbers(check: Check) -> str:
    return f"paper {shown(check.expect)}, here {shown(check.got)}"


def _write(path: Path, checks: list[Check]) -> None:
    files = dict.fromkeys(check.paper for check in checks)
    text = HEAD + "".join("\n".join(_chapter(file, [c for c in checks if c.paper == file])) for file in files)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}. Choose another with --page.") from None


def _chapter(file: str, checks: list[Check]) -> Iterator[str]:
    """One paper's part of the page, line by line."""
    paper = papers()[file]
    facts = [c for c in checks if not c.where.startswith(BUILT)]
    alive = [c for c in checks if c.where.startswith(BUILT)]
    yield from ("", f"## {paper.title}", "", f"{paper.authors}. {published(paper)}. <{paper.url}>", "")
    yield from ("| | model | what | where | paper | here |", "|---|---|---|---|---|---|")
    for c in facts:
        cells = (_mark(c), c.variant or "all", c.says, c.where, shown(c.expect), shown(c.got))
        yield f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"
    yield from ("", f"A gradient reaches every parameter of {', '.join(f'`{c.variant}`' for c in alive if c.holds)}.")
    yield from (f"✗ `{c.variant}`: only {c.got} of {c.expect} tensors get a gradient." for c in alive if not c.holds)
    said: dict[str, list[str]] = {}
    for variant, config in paper.variants.items():
        for d in config.departures():
            text = f"{d.what}: {d.why}" + (f" ({d.where})" if d.where else "")
            said.setdefault(text, []).append(f"`{variant}`")
    yield from ("", "Departures:" if said else "No departures.", "")
    yield from (f"- {', '.join(names)}: {text}" for text, names in said.items())
    yield ""
