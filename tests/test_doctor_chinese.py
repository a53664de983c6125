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
from seminal.doctor.findings import ILLNESSES
from seminal.runs.doctoring import FOUND

HOUSE = Path(seminal.__file__).parent
FILES = [*sorted((HOUSE / "doctor").rglob("*.py")), HOUSE / "runs" / "doctoring.py"]
# They speak in exceptions.
ERRORS = ("breaking.py", "watching.py", "program.py", "hooks.py", "curvature.py", "callbacks.py")
UNSAID = {
    "from {} to {}",  # in a snippet
    "try: {}",  # `Verdict.__str__`, for Python
    "no sign of an illness",
    # torch's words, that an exception is known by
    *("Expected more than 1 value per channel", "grad can be implicitly created only for scalar outputs"),
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
    return re.sub(r"(\{\})+", "{}", shape.removeprefix("· ")).strip(" ,:")


SAID = {path.relative_to(HOUSE).as_posix(): {*map(plain, spoken(ast.parse(path.read_text())))} for path in FILES}


@pytest.mark.parametrize("file", [name for name in SAID if Path(name).name not in ERRORS])
def test_every_sentence_has_its_chinese(file: str) -> None:
    sentences = {shape for shape in SAID[file] if TWO_WORDS.search(shape.replace("{}", "0")) and not CODE.search(shape)}
    assert sentences - UNSAID - set(pairs()) == set()


def test_every_pair_is_of_a_sentence_that_is_still_said() -> None:
    said = set().union(*SAID.values())
    worded = {english for english in pairs() if re.search("[A-Za-z]", english)}
    assert {english for english in worded if not {english, english.replace(" ", "_")} & said} == set()


def test_a_sentence_is_known_by_its_shape_and_its_values_survive() -> None:
    for english, chinese in pairs().items():
        pieces = english.split("{}")
        values = [f"{7 + place}.5e-0{place}" for place in range(len(pieces) - 1)]
        sentence = pieces[0] + "".join(value + piece for value, piece in zip(values, pieces[1:], strict=True))
        if IDEOGRAPH.search(chinese):
            assert translated(sentence) == chinese.format(*values)
            plurals = {place for place, piece in enumerate(pieces[:-1]) if piece[-1:].isalpha()}  # "output{s}"
            assert {*map(int, re.findall(r"\{(\d)\}", chinese))} | plurals == set(range(len(values))), english
        else:
            assert translated(sentence) == sentence  # it joins nothing that is known


def test_parts_of_a_sentence_are_told_too() -> None:
    assert translated("· lr_low: ten times the rate: skill 0.10 → 0.12 after 40 steps (loss 2.3 → 2.29)") == (
        "· lr_low 学习率过低（学习率增大到 10 倍）：得分 0.10 → 0.12（训练 40 步，损失 2.3 → 2.29）"
    )
    assert translated("trying: multiply the learning rate by 10; train without dropout") == (
        "正在试验：把学习率乘以 10；训练时不用 dropout"
    )
    assert translated("own optimiser: loss 0.7 → 0.01; Adam: → 0.02; Adam on standardised data: → 0.03") == (
        "原优化器：损失 0.7 → 0.01；Adam：→ 0.02；Adam 加标准化数据：→ 0.03"
    )
    assert translated("a saddle: along its smallest curvature the loss falls by 0.2") == (
        "鞍点：沿曲率最小的方向，损失下降 0.2"
    )


def test_a_name_stays_a_name_and_an_unknown_sentence_stays_english() -> None:
    assert "`first`" in translated("80% of the values of layer `first` lie within 1 % of an end at the start")
    unknown = "RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x3 and 5x2); see the model, and the data."
    assert translated(unknown) == unknown


PLAIN = {  # technical terms that Chinese texts write in Latin letters
    *(
        "Adam",
        "SGD",
        "NaN",
        "AUC",
        "ReLU",
        "R",
        "He",
        "Huber",
        "softmax",
        "sigmoid",
        "tanh",
        "dropout",
        "logits",
        "torch",
    ),
    *("p", "f", "r", "a", "b", "dim"),
}


@pytest.mark.parametrize(
    ("illness", "words"),
    [("double_softmax", ["--check"]), ("input_scale", ["--cure"]), ("lr_high", [])],
)
def test_what_is_printed_is_chinese(
    illness: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, verdict = tmp_path / "program.py", tmp_path / "verdict.json"
    program.write_text(f"from seminal.doctor.rules.{illness} import sick as make")
    assert main(["doctor", str(program), *words, "--lang", "zh", "--json", str(verdict)]) == FOUND
    said = capsys.readouterr().out
    assert f"诊断     {illness} " in said
    for line in said.splitlines():
        if line.startswith(" " * 13) or line.startswith("下一步"):  # code, and a command
            continue
        left = re.sub(rf"`[^`]*`|\b({'|'.join(ILLNESSES)})\b|\d[\d.,]*(e[-+]?\d+)?", "", line)
        assert {*re.findall("[A-Za-z]+", left)} <= PLAIN, line
        assert IDEOGRAPH.search(line), line
    found = json.loads(verdict.read_text())["findings"][0]
    assert found["illness"] == illness
    assert not IDEOGRAPH.search(" ".join(found["evidence"]))
