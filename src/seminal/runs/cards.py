"""The verbs that look at papers: list, show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from seminal.core import Paper, UserError
from seminal.pieces.measure import multiply_adds, on_meta, parameters, shapes
from seminal.report.terminal import say, table
from seminal.runs.shelf import paper_of, papers, published, recipe_names, recipes_of

FAMILY = 4  # models named per paper where all papers are listed


def show_list(name: str | None = None) -> int:
    """All papers, oldest first; or the models of those whose name, title or authors hold the word ``name``."""
    if name is None:
        rows = []
        for paper in papers().values():
            names = list(paper.variants)
            more = f" and {len(names) - FAMILY} more" if len(names) > FAMILY else ""
            rows.append([str(paper.year), _short(paper), paper.title, ", ".join(names[:FAMILY]) + more])
        table(["year", "authors", "paper", "models"], rows)
        print()
        say("next", "seminal list WORD, seminal show MODEL, seminal train MODEL DATA", wrap=False)
        return 0
    found = {file: paper for file, paper in papers().items() if _matches(name, file, paper)}
    if not found:
        raise UserError(f"no paper or model has `{name}` in its name. `seminal list` shows all papers.")
    rows = []
    for file, paper in found.items():
        for variant, config in paper.variants.items():
            size = parameters(on_meta(paper.build, config))
            result = next((r for r in paper.results if r.variant == variant), None)
            printed = f"{result.metric} {result.value:g} on {result.data}" if result else ""
            recipes = ", ".join(recipe_names(file))
            rows.append([variant, str(paper.year), _short(paper), _millions(size), recipes, printed])
    table(["model", "year", "paper", "parameters", "recipes", "the paper's result"], rows)
    print()
    say("next", "seminal show MODEL, seminal train MODEL DATA", wrap=False)
    return 0


def _matches(word: str, file: str, paper: Paper) -> bool:
    said = [file, paper.title, paper.authors, *paper.variants]
    return any(word.lower() in text.lower() for text in said)


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
    rows = [["input", shown(tuple(inputs[0].shape[1:]), "×"), ""]]
    rows += [[stage, shown(found[stage], "×"), f"{parameters(m):,}"] for stage, m in _stages(model) if stage in found]
    print()
    table(["stage", "output", "parameters"], rows)
    facts = [fact for fact in paper.facts if fact.variant in ("", name)]
    if facts:
        print()
        checked = [(fact, fact.measure()) for fact in facts]
        table(
            ["", "paper", "here", "where", ""],
            [[f.says, shown(f.expect), shown(got), f.where, "✓" if f.holds(got) else "✗"] for f, got in checked],
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
        parts = [part for part, _ in child.named_children()]
        if isinstance(child, nn.ModuleList) or (isinstance(child, nn.Sequential) and not any(map(str.isdigit, parts))):
            yield from _stages(child, f"{prefix}{name}.")
        elif not isinstance(child, nn.Identity):
            yield prefix + name, child


def shown(value: Any, between: str = ", ") -> str:
    if isinstance(value, tuple | list):
        return between.join(shown(v, "×") for v in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and (abs(value) >= 1e5 and value == round(value)):
        return f"{value:,.0f}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
