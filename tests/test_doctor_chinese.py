"""`seminal doctor --lang zh`: every sentence of the doctor has its Chinese, and its values are carried over."""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import seminal
from seminal.cli import main
from seminal.doctor.chinese import IDEOGRAPH, pairs, translated

HOUSE = Path(seminal.__file__).parent
FILES = [*sorted((HOUSE / "doctor").rglob("*.py")), HOUSE / "runs" / "doctoring.py"]
ERRORS = ("breaking.py", "watching.py", "program.py", "hooks.py", "curvature.py", "callbacks.py")  # they speak in exceptions
UNSAID = {
    "from {} to {}",  # in a snippet
    "try: {}",  # `Verdict.__str__`, for Python
    "no sign of an illness",
    "categorical, renormalised",  # the name of a loss
    "seminal doctor {}",
    "seminal doctor {} --cure",
    *("training inputs", "training targets", "validation inputs", "validation targets"),  # keys of `non_finite`
    # names of examinations, which are in JSON only
    *("row independence", "two samples", "one batch", "second opinion", "evaluation mode", "rate range"),
    *("gradient noise", "random labels", "no regularisation", "larger model", "smaller model", "more time"),
    "half the data",
}
CODE = re.compile(r"\n|    |\w = |^# |\*\*")
TWO_WORDS = re.compile(r"[A-Za-z]\S* +\S")


def shapes(node: ast.AST) -> set[str]:
    """The texts that an expression can make, with {} where a value stands."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.JoinedStr(values=parts):
            return {"".join(part.value if isinstance(part, ast.Constant) else "{}" for part in parts)}
        case ast.IfExp(body=one, orelse=other):
            return shapes(one) | shapes(other)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return {a + b for a, b in itertools.product(shapes(left), shapes(right))}
    return {"{}"}


def inside(node: ast.AST) -> list[ast.AST]:
    """What stands where `shapes` writes {}."""
    match node:
        case ast.Constant():
            return []
        case ast.JoinedStr(values=parts):
            return [part.value for part in parts if isinstance(part, ast.FormattedValue)]
        case ast.IfExp(test=test, body=one, orelse=other):
            return [test, *inside(one), *inside(other)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [*inside(left), *inside(right)]
    return [*ast.iter_child_nodes(node)]


def spoken(node: ast.AST) -> Iterator[str]:
    """The shapes of all texts in a file, but docstrings and what is raised."""
    match node:
        case ast.Raise() | ast.Expr(value=ast.Constant()):
            return
        case ast.AugAssign(value=added):
            yield from ("{}" + shape for shape in shapes(added))
            within = inside(added)
        case _:
            yield from shapes(node)
            within = inside(node)
    for each in within:
        yield from spoken(each)


def plain(shape: str) -> str:
    return re.sub(r"(\{\})+", "{}", shape).strip(" ,")


SAID = {path.relative_to(HOUSE).as_posix(): {*map(plain, spoken(ast.parse(path.read_text())))} for path in FILES}


@pytest.mark.parametrize("file", [name for name in SAID if Path(name).name not in ERRORS])
def test_every_sentence_has_its_chinese(file: str) -> None:
    sentences = {shape for shape in SAID[file] if TWO_WORDS.search(shape.replace("{}", "0")) and not CODE.search(shape)}
    assert sentences - UNSAID - set(pairs()) == set()


def test_every_pair_is_of_a_sentence_that_is_still_said() -> None:
    said = set().union(*SAID.values())
    worded = {english for english in pairs() if re.search("[A-Za-z]", english)}
    assert {english for english in worded if not {english, english.replace(" ", "_")} & said} == set()


@pytest.mark.parametrize("english", pairs())
def test_a_sentence_is_known_by_its_shape_and_its_values_survive(english: str) -> None:
    values = [f"{4.25 + place}e-{place}" for place in range(english.count("{}"))]
    sentence = english.replace("{}", "%s") % tuple(values) if "%" not in english else filled(english, values)
    chinese = translated(sentence)
    assert chinese == pairs()[english].format(*values) or not IDEOGRAPH.search(pairs()[english])
