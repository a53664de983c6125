"""The verbs that look at papers: list, show, verify."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from seminal.core import Fact, Paper, UserError
from seminal.pieces.measure import multiply_adds, on_meta, parameters, shapes
from seminal.report.terminal import say, table
from seminal.runs.shelf import nearest, paper_of, papers, published, recipe_names, recipes_of


def show_list() -> int:
    """All models, oldest paper first."""
    rows = []
    for name, paper in papers().items():
        for variant, config in paper.variants.items():
            size = parameters(on_meta(paper.build, config))
            result = next((r for r in paper.results if r.variant == variant), None)
            printed = f"{result.metric} {result.value:g} on {result.data}" if result else ""
            rows.append(
                [variant, str(paper.year), _short(paper), _millions(size), ", ".join(recipe_names(name)), printed]
            )
    table(["model", "year", "paper", "parameters", "recipes", "the paper's result"], rows)
    print()
    say("next", "seminal show MODEL, seminal train MODEL DATA", wrap=False)
    return 0


def _short(paper: Paper) -> str:
    return f"{paper.authors.split(',')[0].split('&')[0].strip()} et al." if "," in paper.authors else paper.authors


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 1e5 else f"{count:,}"


def show(name: str) -> int:
    """The card of one model."""
    file, paper = paper_of(name)
    config = paper.variants[name]
    print(f"{paper.title} · {paper.authors} · {published(paper)} · {paper.url}")
    print(f"“{paper.idea}”\n")
    model = on_meta(paper.build, config)
    with torch.device("meta"):
        inputs = config.example(1)
    say("model", f"{name}: {parameters(model):,} parameters, {multiply_adds(model, *inputs):,} multiply-adds")
    found = shapes(model, *inputs)
    rows = [["input", _shown(tuple(inputs[0].shape[1:]), "×"), ""]]
    rows += [[stage, _shown(found[stage], "×"), f"{parameters(m):,}"] for stage, m in _stages(model) if stage in found]
    print()
    table(["stage", "output", "parameters"], rows)
    facts = [fact for fact in paper.facts if fact.variant in ("", name)]
    if facts:
        print()
        checked = [(fact, fact.measure()) for fact in facts]
        table(
            ["", "paper", "here", "where", ""],
            [[f.says, _shown(f.expect), _shown(got), f.where, "✓" if f.holds(got) else "✗"] for f, got in checked],
        )
    print()
    for departure in config.departures():
        say("departs", f"{departure.what}: {departure.why}" + (f" ({departure.where})" if departure.where else ""))
    if not config.departures():
        say("departs", "nowhere: this is the paper's network")
    say("recipes", ", ".join(f"{n} (default)" if n == recipes_of(file).DEFAULT else n for n in recipe_names(file)))
    for result in paper.results:
        if result.variant == name:
            say("expected", f"{result.metric} {result.value:g} on {result.data} ({result.where})")
    return 0


def _stages(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The parts a reader of the paper knows by name: a container of named parts is shown part by part."""
    for name, child in model.named_children():
        if isinstance(child, nn.Sequential) and not any(part.isdigit() for part, _ in child.named_children()):
            yield from _stages(child, f"{prefix}{name}.")
        elif not isinstance(child, nn.Identity):
            yield prefix + name, child


def _shown(value: Any, between: str = ", ") -> str:
    if isinstance(value, tuple | list):
        return between.join(_shown(v, "×") for v in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and (abs(value) >= 1e5 and value == round(value)):
        return f"{value:,.0f}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def verify(name: str | None = None, *, as_json: bool = False) -> int:
    """Measure every fact now. Exit code 1 where one does not hold."""
    chosen = list(_chosen(name))
    started, results = time.perf_counter(), []
    for paper, fact in chosen:
        got = fact.measure()
        holds = fact.holds(got)
        results.append(
            {"paper": paper, "variant": fact.variant, "says": fact.says, "where": fact.where} | {"holds": holds}
        )
        results[-1] |= {"expect": fact.expect, "got": got}
        if not as_json:
            mark = "✓" if holds else "✗"
            print(f"{mark} {paper}: {fact.says} — paper {_shown(fact.expect)}, here {_shown(got)} ({fact.where})")
    failed = sum(not r["holds"] for r in results)
    seconds = time.perf_counter() - started
    if as_json:
        print(json.dumps({"facts": results, "failed": failed, "seconds": round(seconds, 2)}, default=str))
    else:
        papers_seen = len({r["paper"] for r in results})
        say(
            "verified",
            f"{len(results) - failed} of {len(results)} facts of {papers_seen} papers hold ({seconds:.1f} s)",
        )
    return 1 if failed else 0


def _chosen(name: str | None) -> Iterator[tuple[str, Fact]]:
    shelf = papers()
    if name is not None and name not in shelf and not any(name in paper.variants for paper in shelf.values()):
        names = [*shelf, *(v for paper in shelf.values() for v in paper.variants)]
        raise UserError(f"there is no paper or model `{name}`.{nearest(name, names)} `seminal list` shows all.")
    for file, paper in shelf.items():
        for fact in paper.facts:
            if name in (None, file) or (name in paper.variants and fact.variant in ("", name)):
                yield file, fact
