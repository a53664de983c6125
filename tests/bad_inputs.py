"""Mistakes that people make at the command line: what lies in the folder, what is typed, and what the answer must name."""

from __future__ import annotations

import contextlib
import json
import shutil
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torchvision

from bad_bert import BERTS
from bad_folders import (
    HOUSES,
    ROWS,
    Change,
    Harm,
    both_tables,
    first_value,
    flat,
    full_disk,
    houses,
    more,
    no_gpu,
    of_numbers,
    of_pictures,
    of_rose,
    on_own_data,
    other_table,
    pictures,
    pictures_and,
    small_disk,
    split_pictures,
    table_of_points,
    unreadable,
    weights_file,
    without_column,
)
from bad_texts import TEXTS
from command_line import pictures_run, points
from pictures_on_disk import cut_off


@dataclass(frozen=True)
class Mistake:
    """``says`` are parts of the answer. ``code``: 0 where it is a note and the run goes on. ``leaves``: the run folder that
    is there afterwards, whole. ``softened``: a part of the answer that comes from another program, cut out of the page."""

    did: str
    words: str
    says: tuple[str, ...]
    before: Change = lambda folder: None
    during: Callable[[Path], AbstractContextManager[object]] = lambda folder: contextlib.nullcontext()
    code: int = 2
    leaves: str = ""
    softened: str = ""


POINTS = "train linear points.csv --target y --precision fp32"
TABLE = "--target price --epochs 1 --precision fp32"
MISTAKES = [
    # ------------------------------------------------------------------------------------------------------ words and flags
    Mistake("a verb that is none", "trian resnet20 digits", ("Nearest: train",)),
    Mistake("no verb", "", ("seminal VERB", "train")),
    Mistake("a model that is none", "train resnt20 digits", ("`resnt20`", "resnet20", "seminal list")),
    Mistake("data that are not there", "train resnet20 digts", ("digts", "Nearest: digits")),
    Mistake("a home that is nobody's", "train resnet20 ~nobody-of-that-name/flowers", ("~nobody-of-that-name",)),
    Mistake("a paper that is none", "list perceptronium", ("`perceptronium`", "seminal list")),
    Mistake("no data", "train resnet20", ("seminal train resnet20 FOLDER",)),
    Mistake("a word too many", "train resnet20 digits twice", ("`twice`", "seminal train --help")),
    Mistake("a flag that is none", "train resnet20 digits --epoch 3", ("`--epoch`", "Nearest: --epochs")),
    Mistake("a word for a number", "train resnet20 digits --lr fast", ("--lr", "`fast`", "0.1")),
    Mistake("half an epoch", "train resnet20 digits --epochs 1.5", ("--epochs", "whole number")),
    Mistake("a flag without its value", "train resnet20 digits --opt", ("--opt", "value")),
    Mistake("a negative rate", "train resnet20 digits --lr -1", ("--lr", "above zero")),
    Mistake("no epochs", "train resnet20 digits --epochs 0", ("--epochs", "above zero")),
    Mistake("more epochs than a life has", "train resnet20 digits --epochs 99999999999", ("at most 1,000,000",)),
    Mistake("a rate that bursts", "train mlp digits --lr 1e9 --dry-run", ("before step 2", "--lr")),
    Mistake("twice all rows held out", "train resnet20 digits --val-fraction 2", ("between 0 and 1",)),
    Mistake("momentum for Adam", "train resnet20 digits --opt adam --momentum 0.9", ("--momentum", "sgd")),
    Mistake("an optimiser that is none", "train resnet20 digits --opt lion", ("`lion`", "adamw")),
    Mistake("a schedule that is none", "train resnet20 digits --sched cos", ("`cos`", "cosine")),
    Mistake("a loss that is none", "train resnet20 digits --loss mse", ("`mse`", "cross_entropy")),
    Mistake("a warm-up longer than the run", "train resnet20 digits --epochs 3 --warmup-epochs 5", ("5", "3 epochs")),
    Mistake("dropout where there is none", "train resnet20 digits --dropout 0.5", ("no dropout", "alexnet")),
    Mistake("one fold", "train resnet20 digits --folds 1", ("--folds", "2")),
    Mistake("more folds than rows", "train logistic iris --folds 500", ("500 folds",)),
    Mistake("one seed as several", "train resnet20 digits --seeds 1", ("--seeds", "2 or more")),
    Mistake("half precision", "train resnet20 digits --amp-dtype float16", ("bfloat16",)),
    Mistake("a precision that is none", "train resnet20 digits --precision fp16", ("`fp16`", "bf16")),
    Mistake(
        "a GPU that is not there", "train resnet20 digits --device cuda", ("`cuda`", "There is: cpu"), during=no_gpu
    ),
    Mistake("augmentation of pictures, for a table", "train logistic iris --hflip 0.5", ("--hflip", "leave it out")),
    Mistake("mixed classes where there are none", "train linear diabetes --mixup 0.5", ("--mixup", "number")),
    Mistake("pictures of no size", "train resnet20 digits --size 0", ("--size", "1 or more")),
    Mistake("a seed below zero", "train resnet20 digits --split-seed -1", ("--split-seed", "0 or more")),
    # ---------------------------------------------------------------------------------------------------- recipes and models
    Mistake("a recipe that is none", "train resnet20 digits --recipe fast", ("`fast`", "modern, paper", "FILE.py")),
    Mistake("a recipe file that is not there", "train resnet20 digits --recipe mine.py", ("mine.py",)),
    Mistake("a recipe of the doctor's that is not there", "train resnet20 digits --recipe cured.json", ("--cure",)),
    Mistake(
        "a JSON that is no recipe",
        "train resnet20 digits --recipe cured.json",
        ("does not hold a run",),
        lambda folder: (folder / "cured.json").write_text('{"lr": 0.1}'),
    ),
    Mistake(
        "a printed recipe with a word for a number",
        "train resnet20 digits --recipe mine.json",
        ("epochs is 'many'", "`int`"),
        lambda folder: (folder / "mine.json").write_text('{"is": "seminal.core.Recipe", "epochs": "many"}'),
    ),
    Mistake(
        "a printed recipe of which a part was deleted",
        "train resnet20 digits --recipe mine.json",
        ("not hold a whole recipe", "--print-config"),
        lambda folder: (folder / "mine.json").write_text(
            json.dumps(
                {"is": "seminal.core.Recipe", "name": "mine", "variant": "resnet20", "model": None, "task": None}
                | {"epochs": 1, "batch": 8, "lr": 0.1, "optim": None, "schedule": None}
            )
        ),
    ),
    Mistake(
        "a recipe file with a slip in it",
        "train resnet20 digits --recipe mine.py",
        ("mine.py line 3", "NameError"),
        lambda folder: (folder / "mine.py").write_text("def recipe(variant, spec):\n    pass\nlr = 2 * rate\n"),
    ),
    Mistake(
        "a recipe file that gives no recipe",
        "train resnet20 digits --recipe mine.py",
        ("mine.py", "seminal.core.Recipe"),
        lambda folder: (folder / "mine.py").write_text("def recipe(variant, spec):\n    return {'lr': 0.1}\n"),
    ),
    Mistake("classes for a model of numbers", "train linear iris", ("linear", "logistic")),
    Mistake("numbers for a model of classes", "train logistic diabetes", ("logistic", "linear")),
    Mistake("a table for a model of pictures", "train resnet20 iris", ("pictures", "mlp")),
    Mistake("pictures too small for the model", "train alexnet digits", ("67 × 67", "8 × 8", "resnet20")),
    # ------------------------------------------------------------------------------------------------------------- tables
    Mistake("no target", "train mlp houses.csv", ("--target price",), houses()),
    Mistake(
        "a target that is no column", "train mlp houses.csv --target prise", ("`prise`", "nearest is `price`"), houses()
    ),
    Mistake("words as numbers", "train mlp houses.csv --target street --task regression", ("'south'",), houses()),
    Mistake(
        "a target that is missing in a row",
        f"train mlp houses.csv {TABLE}",
        ("houses.csv:22", "--on-bad-row skip"),
        more("99,north,NaN"),
    ),
    Mistake(
        "an infinite number", f"train mlp houses.csv {TABLE}", ("`area`", "'inf'", "csv:22"), more("inf,north,300")
    ),
    Mistake(
        "only columns without values",
        "train mlp houses.csv --target price",
        ("`area` (no value)",),
        houses("area,price\n" + "".join(f"NaN,{i}\n" for i in range(20))),
    ),
    Mistake(
        "a broken row",
        f"train mlp houses.csv {TABLE}",
        ("line 22", "4 fields"),
        more("99,north,300,1"),
    ),
    Mistake("an empty file", "train mlp houses.csv --target price", ("houses.csv is empty",), houses("")),
    Mistake("a header and nothing more", "train mlp houses.csv --target price", ("no rows",), houses(HOUSES)),
    Mistake("no header", "train mlp houses.csv --target price", ("column names",), houses("1,2,3\n4,5,6\n7,8,9\n")),
    Mistake(
        "one class only",
        "train mlp houses.csv --target street",
        ("'north'", "two classes"),
        houses(HOUSES + ROWS.replace("south", "north")),
    ),
    Mistake(
        "a class of one row",
        "train mlp houses.csv --target street",
        ("`west`",),
        more("99,west,300"),
    ),
    Mistake(
        "a class that only validation has",
        "train mlp houses --target street",
        ("'west'", "val.csv:22"),
        both_tables("99,west,300\n"),
    ),
    Mistake(
        "folds of data that are divided already",
        "train mlp houses --target price --folds 3",
        ("train.csv",),
        both_tables(""),
    ),
    Mistake(
        "letters of an old encoding",
        f"train mlp houses.csv {TABLE}",
        ("UTF-8", "line 22"),
        lambda folder: (folder / "houses.csv").write_bytes((HOUSES + ROWS).encode() + b"99,S\xfcd,300\n"),
    ),
    Mistake(
        "a Parquet file that is none",
        "train mlp houses.parquet --target price",
        ("houses.parquet", "Parquet"),
        houses(name="houses.parquet"),
    ),
    Mistake(
        "a target that is always the same",
        "train mlp houses.parquet --target price --task regression",
        ("`price` is 7",),
        lambda folder: pq.write_table(
            pa.table({"area": [float(i) for i in range(20)], "price": [7.0] * 20}), folder / "houses.parquet"
        ),
    ),
    Mistake("a workbook", "train mlp houses.xlsx --target price", ("houses.xlsx",), houses(name="houses.xlsx")),
    # ----------------------------------------------------------------------------------------------------------- pictures
    Mistake(
        "a truncated picture",
        "train resnet20 flowers",
        ("red/03.png", "truncated", "--on-bad-file skip"),
        pictures_and(lambda f: cut_off(f / "red" / "03.png")),
    ),
    Mistake(
        "a text called .jpg",
        "train resnet20 flowers",
        ("red/list.jpg", '"Dear Sir"', "--on-bad-file skip"),
        pictures_and(lambda f: (f / "red" / "list.jpg").write_text("Dear Sir, …")),
    ),
    Mistake(
        "an empty folder",
        "train resnet20 flowers",
        ("flowers is empty", "<class>/*.jpg"),
        lambda folder: (folder / "flowers").mkdir(),
    ),
    Mistake("a folder without classes", "train resnet20 flowers", ("no class folders", "train/<class>/*.jpg"), flat),
    Mistake(
        "a folder with one class",
        "train resnet20 flowers",
        ("only one class, `red`",),
        pictures_and(lambda f: [shutil.rmtree(f / name) for name in ("green", "blue")]),
    ),
    Mistake(
        "an empty split",
        "train resnet20 flowers",
        ("val/", "no pictures"),
        split_pictures(lambda f: [file.unlink() for file in (f / "val").rglob("*.png")]),
    ),
    Mistake(
        "a class without training pictures",
        "train resnet20 flowers",
        ("`blue`", "training"),
        split_pictures(lambda f: shutil.rmtree(f / "train" / "blue")),
    ),
    Mistake(
        "a class without validation pictures (the run goes on)",
        "train resnet20 flowers --dry-run",
        ("`blue`", "the scores say nothing about it"),
        split_pictures(lambda f: shutil.rmtree(f / "val" / "blue")),
        code=0,
    ),
    Mistake(
        "a folder that may not be read",
        "train resnet20 flowers",
        ("green", "Permission denied", "chmod"),
        pictures,
        unreadable,
    ),
    Mistake(
        "a zip that is none",
        "train resnet20 flowers.zip",
        ("flowers.zip",),
        lambda folder: (folder / "flowers.zip").write_text("no zip"),
        softened=r"\(truncated header\)",
    ),
    Mistake(
        "a zip without pictures",
        "train resnet20 flowers.zip",
        ("flowers.zip", "no class folders"),
        lambda folder: zipfile.ZipFile(folder / "flowers.zip", "w").writestr("readme.txt", "hello"),
    ),
    Mistake(
        "a picture for a folder",
        "train resnet20 rose.png",
        ("rose.png", "give the folder"),
        lambda folder: next(pictures(folder).rglob("*.png")).rename(folder / "rose.png"),
    ),
    # --------------------------------------------------------------------------------------------------------------- runs
    Mistake(
        "a name that exists",
        f"train mlp houses.csv {TABLE} --output . --name run",
        ("run exists", "seminal resume run"),
        of_numbers(lambda run: houses()(run.parent)),
    ),
    Mistake("a file where runs shall be", f"train mlp houses.csv {TABLE} --output houses.csv", ("--output",), houses()),
    Mistake("a run that is none", "resume runs/first", ("runs/first", "seminal train")),
    Mistake("a folder that is no run", "resume flowers", ("recipe.json",), pictures),
    Mistake("changes to a run that goes on", "train --resume run --epochs 50", ("--recipe RUN",), of_numbers()),
    Mistake(
        "rows taken away before resuming",
        "resume runs/run",
        ("rows were added, removed or renamed", "split.csv"),
        on_own_data(lambda table: table.write_text("\n".join(table.read_text().splitlines()[:-9]) + "\n")),
    ),
    Mistake(
        "a value changed before resuming", "resume runs/run", ("hold other values",), on_own_data(first_value("7"))
    ),
    Mistake(
        "a damaged checkpoint",
        "resume run",
        ("last.state", "damaged", "--recipe run"),
        of_numbers(lambda run: cut_off(run / "last.state")),
        softened=r"\(Error.*?\)",
    ),
    Mistake(
        "a checkpoint of another run",
        "resume run",
        ("last.state", "--recipe run"),
        of_numbers(lambda run: shutil.copy(pictures_run() / "last.state", run / "last.state")),
    ),
    Mistake(
        "a recipe of another program",
        "resume run",
        ("`os.system`",),
        of_numbers(lambda run: (run / "recipe.json").write_text(json.dumps({"is": "os.system", "command": "ls"}))),
    ),
    Mistake(
        "eval before there is a best epoch",
        "eval run",
        ("best.safetensors", "seminal resume run"),
        of_numbers(lambda run: (run / "best.safetensors").unlink()),
    ),
    Mistake("eval of a split that is not there", "eval run --split test", ("`test`", "train, val"), of_numbers()),
    Mistake(
        "eval with a class the run never saw",
        "eval run --data flowers",
        ("`yellow`", "red"),
        of_pictures(
            lambda run: (
                pictures(run.parent) / "red"
                and (run.parent / "flowers" / "red").rename(run.parent / "flowers" / "yellow")
            )
        ),
    ),
    Mistake(
        "eval of pictures with data of a table",
        "eval run --data houses",
        ("same form",),
        of_pictures(lambda run: both_tables("")(run.parent)),
    ),
    Mistake(
        "predict for a text",
        "predict run letter.txt",
        ("letter.txt", '"Dear Sir"'),
        of_pictures(lambda run: (run.parent / "letter.txt").write_text("Dear Sir, …")),
    ),
    Mistake("predict for a file that is not there", "predict run rose.png", ("rose.png",), of_pictures()),
    Mistake(
        "predict for a table that lacks a column",
        "predict run new.csv",
        ("no column `a`",),
        other_table(without_column),
    ),
    Mistake(
        "predict for a table with a word for a number",
        "predict run new.csv",
        ("'much'", "new.csv:2"),
        of_numbers(lambda run: first_value("much")(points(run.parent / "new.csv", 40))),
    ),
    Mistake("no class to show", "predict run rose.png --top 0", ("--top 0",), of_pictures()),
    # ------------------------------------------------------------------------------------------------- weights from elsewhere
    Mistake("weights that are not there", "import theirs.pth --as resnet18", ("theirs.pth", "does not exist")),
    Mistake(
        "weights that are no weights",
        "import theirs.pth --as resnet18",
        ("no file of weights",),
        lambda folder: (folder / "theirs.pth").write_text("Dear Sir, …"),
    ),
    Mistake(
        "weights in a file that would run code",
        "import theirs.pth --as resnet18",
        ("could run code, so it was not loaded",),
        weights_file(lambda: {"state_dict": {}, "extra": Harm("harmed")}),
    ),
    Mistake(
        "weights of another model",
        "import theirs.pth --as resnet34",
        ("the file lacks layer1.2.conv1.weight", "It fits: resnet18."),
        weights_file(lambda: torchvision.models.resnet18(weights=None).state_dict()),
    ),
    Mistake(
        "weights with too few names",
        "import theirs.pth --as resnet18 --classes cat,dog",
        ("names 2 classes", "5 outputs"),
        weights_file(lambda: torchvision.models.resnet18(weights=None, num_classes=5).state_dict()),
    ),
    Mistake(
        "names that nobody uses",
        "import theirs.pth --as resnet18 --from keras",
        ("`keras`", "torchvision"),
        weights_file(lambda: {"fc.bias": torch.zeros(3)}),
    ),
    Mistake(
        "a checkpoint without weights",
        "import theirs.pth --as resnet18",
        ("holds no weights",),
        weights_file(lambda: {"epoch": 3}),
    ),
    Mistake("a spread that is no number", "import theirs.pth --as resnet18 --std a,b", ("--std",)),
    Mistake("export to nowhere known", "export run --to keras", ("`keras`", "onnx"), of_pictures()),
    Mistake(
        "export over a file that is there",
        "export run --to safetensors --out notes.txt",
        ("notes.txt exists",),
        of_pictures(lambda run: (run.parent / "notes.txt").write_text("mine")),
    ),
    Mistake(
        "export to a peer that has no such network",
        "export run --to timm",
        ("timm has no network like this one",),
        of_numbers(),
    ),
    Mistake("to start from nothing", "train resnet20 digits --from nothing.pth", ("nothing.pth", "to start from")),
    Mistake(
        "to freeze what shall learn slowly",
        "train resnet20 digits --from run --freeze --body-lr 0.5",
        ("--freeze", "--body-lr"),
        of_pictures(),
    ),
    Mistake("to freeze what was never learned", "train resnet20 digits --freeze", ("--from RUN",)),
    Mistake(
        "to start from a run of another model",
        "train resnet20 digits --from run",
        ("a run of mlp", "resnet20"),
        of_numbers(),
    ),
    Mistake("explain for a table", "explain run points.csv", ("pictures",), of_numbers()),
    Mistake("explain for a layer that is none", "explain run rose.png --layer conv9", ("`conv9`",), of_rose()),
    Mistake("explain for a class that is none", "explain run rose.png --class dog", ("`dog`", "red"), of_rose()),
    Mistake(
        "a rate at which numbers overflow",
        f"{POINTS} --lr 1e30 --epochs 3 --name run",
        ("step", "--lr", "last.state"),
        table_of_points,
        leaves="runs/run",
    ),
    Mistake(
        "a disk that is full",
        f"{POINTS} --epochs 1 --output disk --name run",
        ("No space left on device", "Nothing was begun"),
        table_of_points,
        full_disk,
    ),
    Mistake(
        "a disk that fills while training",
        f"{POINTS} --epochs 2 --output disk --name run",
        ("No space left on device", "seminal resume disk/run"),
        table_of_points,
        small_disk,
        leaves="disk/run",
    ),
    *(Mistake(did, words, says, before) for did, words, says, before in (*TEXTS, *BERTS)),
]
