"""Finding a paper and its recipes by the name a user types. The folders are the lists; nothing is registered."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import seminal.papers
import seminal.recipes
from seminal.core import DataSpec, Paper, Reading, Recipe, UserError
from seminal.runs.codec import read_json


def papers() -> dict[str, Paper]:
    """Every paper by the name of its file, oldest first."""
    names = [m.name for m in pkgutil.iter_modules(seminal.papers.__path__)]
    found = {name: importlib.import_module(f"seminal.papers.{name}").PAPER for name in names}
    return dict(sorted(found.items(), key=lambda item: item[1].year))


def paper_of(variant: str) -> tuple[str, Paper]:
    """(file name, paper) of the model called ``variant``."""
    shelf = papers()
    for name, paper in shelf.items():
        if variant in paper.variants:
            return name, paper
    names = [v for paper in shelf.values() for v in paper.variants]
    if (Path(variant) / "recipe.json").is_file():
        other = read_json(Path(variant) / "recipe.json").get("recipe", {}).get("variant", "a model")
        raise UserError(
            f"{variant} is the folder of a run of {other}, and a model is asked for: write {other} instead."
        )
    raise UserError(f"there is no model `{variant}`.{nearest(variant, names)} `seminal list` shows all.")


def published(paper: Paper) -> str:
    """Where and when: the year is said once."""
    return paper.venue if re.search(r"\b[12]\d{3}\b", paper.venue) else f"{paper.venue} {paper.year}"


def nearest(word: str, words: Iterable[str]) -> str:
    """`` Nearest: a, b.``, or nothing."""
    close = difflib.get_close_matches(word.lower(), list(dict.fromkeys(words)), n=2, cutoff=0.6)
    return f" Nearest: {', '.join(close)}." if close else ""


def recipes_of(name: str) -> ModuleType:
    """The module that holds the recipes of a paper."""
    return importlib.import_module(f"seminal.recipes.{name}")


def recipe_names(name: str) -> list[str]:
    """The recipes a paper has, the default first."""
    module = recipes_of(name)
    names = [n for n in ("paper", "modern") if n in vars(module)]
    return sorted(names, key=lambda n: n != module.DEFAULT)


def reading_of(name: str, variant: str) -> Reading | None:
    """How a model wants text to be read; None where it reads no text."""
    reading = vars(recipes_of(name)).get("reading")
    return reading(variant) if reading else None


def begun_by(name: str) -> Callable[[Recipe], Recipe] | None:
    """What a paper's recipes change for a network that has learned before, once its size is known; None: nothing."""
    begun: Callable[[Recipe], Recipe] | None = vars(recipes_of(name)).get("begun")
    return begun


def recipe_by_name(name: str, variant: str, spec: DataSpec, ask: str | None) -> Recipe:
    """The recipe ``ask`` (paper, modern or FILE.py; None: the default) of a model, adapted to the data."""
    module = recipes_of(name)
    if ask is None:
        ask = module.DEFAULT
    if ask.endswith(".py"):
        make = _from_file(Path(ask))
    elif ask in recipe_names(name):
        make = vars(module)[ask]
    else:
        known = ", ".join(recipe_names(name))
        raise UserError(f"{variant} has no recipe `{ask}`: it has {known}. A FILE.py of your own works too.")
    if not ask.endswith(".py"):
        return make(variant, spec).adapted(spec)
    recipe = _ran(Path(ask), lambda: make(variant, spec))
    if not isinstance(recipe, Recipe):
        raise UserError(f"{ask}: recipe() gave a {type(recipe).__name__}; it must return a seminal.core.Recipe.")
    return replace(recipe, least_steps=0).adapted(spec)  # the user has seen the data: epochs and batch are as written


def _from_file(path: Path) -> Callable[[str, DataSpec], Recipe]:
    """``recipe(variant, spec)`` of the user's own Python file. The file is the user's program, and is run as such."""
    if not path.exists():
        raise UserError(f"there is no recipe file {path}. Write --recipe paper, --recipe modern or --recipe FILE.py.")
    spec = importlib.util.spec_from_file_location("user_recipe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    loader = spec.loader
    _ran(path, lambda: loader.exec_module(module))
    make = vars(module).get("recipe")
    if not callable(make):
        raise UserError(f"{path} defines no function `recipe(variant, spec)`. It must return a seminal.core.Recipe.")
    return make


def _ran(path: Path, work: Callable[[], Any]) -> Any:
    """What the user's own code gives; where it fails, the line on which it did."""
    try:
        return work()
    except UserError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
        line = f" line {lines[-1]}" if lines else ""
        raise UserError(
            f"{path}{line} could not be run ({type(error).__name__}: {error}). Correct it and start again."
        ) from error
