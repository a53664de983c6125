"""The house rules: who may import whom, how long a file may be, and what no file may do."""

from __future__ import annotations

import ast
import builtins
import dis
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

HOUSE = Path(__file__).parents[1] / "src" / "seminal"
FILES = sorted(HOUSE.rglob("*.py"))

# Room -> the rooms it may import (`core` is everybody's). A room may always import itself, unless it is in ALONE.
MAY = {
    "core": set(),
    "pieces": {"core"},
    "papers": {"core", "pieces"},  # and earlier papers: see below
    "decode": {"core", "pieces"},
    "tasks": {"core", "pieces", "decode"},
    "data": {"core", "pieces"},
    "train": {"core"},
    "recipes": {"core", "pieces", "papers", "tasks", "train"},  # of train, the schedules only
    "doctor": {"core", "pieces"},
    "report": {"core"},
    "weights": {"core", "papers"},
    "runs": {"core", "pieces", "papers", "tasks", "data", "train", "recipes", "doctor", "report", "weights", "decode"},
    "cli": {"core", "runs", "report"},
    "__main__": {"cli"},
}
ROOMS = [path for path in FILES if path.parent != HOUSE or path.stem in MAY]


def room(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Modules of seminal that a file imports, late imports included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("seminal"):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("seminal.")}
    return found


def name(path: Path) -> str:
    return str(path.relative_to(HOUSE))


def test_every_folder_is_a_known_room():
    assert {room(path) for path in FILES} - {"__init__"} <= set(MAY)


@pytest.mark.parametrize("path", ROOMS, ids=name)
def test_imports_follow_the_arrows(path):
    allowed = MAY[room(path)] | {room(path)}
    for module in imports(path):
        parts = module.split(".")
        if (len(parts) > 1 and (HOUSE / parts[1]).exists()) or (HOUSE / f"{parts[-1]}.py").exists():
            assert parts[1] in allowed, f"{name(path)} imports {module}"


@pytest.mark.parametrize("path", [p for p in FILES if room(p) == "recipes"], ids=name)
def test_recipes_take_only_the_schedules_of_train(path):
    assert not {m for m in imports(path) if m.startswith("seminal.train") and "schedules" not in m} - {"seminal.train"}


def test_nothing_imports_the_command_line():
    others = [path for path in FILES if room(path) not in ("cli", "__main__")]
    assert not [name(path) for path in others if any(m.startswith("seminal.cli") for m in imports(path))]


def test_papers_import_papers_of_the_same_or_an_earlier_year():
    years = {
        p.stem: importlib.import_module(f"seminal.papers.{p.stem}").PAPER.year
        for p in FILES
        if room(p) == "papers" and p.stem != "__init__"
    }
    for path in (p for p in FILES if room(p) == "papers"):
        cited = {m.split(".")[2] for m in imports(path) if m.startswith("seminal.papers.")}
        for other in cited:
            assert years[other] <= years[path.stem], (
                f"{path.stem} ({years[path.stem]}) imports {other} ({years[other]})"
            )


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_is_short(path):
    # A paper that both trains and writes (the Transformer) has two roads through it: 400 lines were too few.
    assert len(path.read_text().splitlines()) <= 500


@pytest.mark.parametrize("path", FILES, ids=name)
def test_functions_are_short_and_take_few_things(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        where = f"{name(path)}:{node.lineno} {node.name}"
        # The command line's flags are a list, not logic: its function may be as long as the list.
        if room(path) != "cli":
            assert node.end_lineno - node.lineno < 60, f"{where} is {node.end_lineno - node.lineno + 1} lines long"
        arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        assert len([a for a in arguments if a.arg not in ("self", "cls")]) <= 8, f"{where} takes more than 8 parameters"
        assert node.args.kwarg is None, f"{where} hides its parameters in **{node.args.kwarg and node.args.kwarg.arg}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_is_executed_registered_or_probed(path):
    tree = ast.parse(path.read_text())
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"exec", "eval", "hasattr", "__import__"}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict | ast.List | ast.Set):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {t.id for t in targets if isinstance(t, ast.Name)}
            grows = [
                n
                for n in ast.walk(tree)
                if isinstance(n, ast.Subscript)
                and isinstance(n.ctx, ast.Store)
                and isinstance(n.value, ast.Name)
                and n.value.id in names
            ]
            assert not grows, f"{name(path)}: the table {names} is changed while the program runs"
    pickles = {
        n.module if isinstance(n, ast.ImportFrom) else a.name
        for n in ast.walk(tree)
        if isinstance(n, ast.Import | ast.ImportFrom)
        for a in n.names
    }
    assert not pickles & {"pickle", "dill", "joblib", "shelve", "marshal"}


def read_globally(code: CodeType) -> Iterator[str]:
    """The global names that functions read. Annotations are no code, so that shapes such as "batch 10" are not met."""
    yield from (str(one.argval) for one in dis.get_instructions(code) if one.opname == "LOAD_GLOBAL")
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from read_globally(inner)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_name_that_is_read_is_there(path):
    """What ruff and mypy would say, if they did not take shapes for names."""
    place = ".".join(path.relative_to(HOUSE.parent).with_suffix("").parts).removesuffix(".__init__")
    if path.stem == "__main__":
        return  # importing it runs it
    known = vars(importlib.import_module(place)).keys() | vars(builtins).keys()
    assert set(read_globally(compile(path.read_text(), name(path), "exec"))) <= known


def test_every_paper_has_recipes_and_every_number_of_the_paper_has_a_source():
    from seminal.core import DataSpec
    from seminal.runs.shelf import papers, reading_of, recipe_names, recipes_of
    from texts import text_spec

    pictures = DataSpec(
        "p", "images", {"train": 50_000, "val": 10_000}, (3, 256, 256), tuple("abcdefghij"), (5000,) * 10
    )
    numbers = DataSpec("n", "table", {"train": 400, "val": 100}, (10,), target_names=("y",))
    for file, paper in papers().items():
        module = recipes_of(file)
        assert recipe_names(file) == [module.DEFAULT, *({"paper", "modern"} - {module.DEFAULT})]
        for variant in paper.variants:
            reading = reading_of(file, variant)
            spec = (
                text_spec(reading.form) if reading else numbers if variant in ("linear", "nce", "nce-ica") else pictures
            )
            recipe = module.paper(variant, spec)
            assert recipe.variant == variant
            assert recipe.model == paper.variants[variant]
            assert {"epochs", "batch", "lr"} <= set(recipe.sources) | {"epochs"}, variant
            assert all(len(text) > 10 for text in recipe.sources.values())
            module.modern(variant, spec).adapted(spec)


def test_importing_seminal_is_light_and_has_no_effect():
    heavy = "{'torch', 'numpy', 'sklearn', 'plotly', 'rich'}"
    code = f"import sys, seminal, seminal.cli; print(sorted({heavy} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_importing_every_file_leaves_torch_as_it_was():
    modules = [
        str(p.relative_to(HOUSE.parent).with_suffix("")).replace("/", ".") for p in FILES if p.stem != "__init__"
    ]
    code = (
        "import torch, importlib; before = (torch.initial_seed(), torch.get_num_threads(), torch.get_default_dtype(), "
        "torch.backends.cudnn.benchmark, torch.is_grad_enabled())\n"
        f"for m in {modules!r}: importlib.import_module(m)\n"
        "after = (torch.initial_seed(), torch.get_num_threads(), torch.get_default_dtype(), "
        "torch.backends.cudnn.benchmark, torch.is_grad_enabled())\n"
        "assert before == after, (before, after)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
