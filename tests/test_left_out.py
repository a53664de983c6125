"""`--on-bad-file skip` of eval, predict, explain and score: what is left out is named, and shifts nothing."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from command_line import Said, done, typed
from pictures_on_disk import save

pytestmark = pytest.mark.usefixtures("one_thread")


def told(said: Said) -> str:
    return " ".join((said.out + said.err).split())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of a table and one of pictures, and data of both kinds of which some cannot be read."""
    folder = tmp_path_factory.mktemp("left")
    chance = np.random.default_rng(0)
    rows = [f"{a:.4f},{b:.4f},{a + 2 * b:.4f}" for a, b in chance.normal(size=(60, 2))]
    (folder / "good.csv").write_text("\n".join(["a,b,y", *rows]) + "\n", encoding="utf-8")
    rows[1:6:2] = ["much,1,2", "1,2", "0.1,0.2,"]  # lines 3, 5 and 7: no number, two fields, no target
    (folder / "bad.csv").write_text("\n".join(["a,b,y", *rows[:8]]) + "\n", encoding="utf-8")
    for part in ("pictures", "broken"):
        for label, colour in (("dark", 40), ("light", 200)):
            for i in range(6):
                pixels = np.full((8, 8, 3), colour + i, dtype=np.uint8)
                save(folder / part / label / f"{i}.png", pixels)
    for name in ("dark/1.png", "light/0.png"):
        (folder / "broken" / name).write_bytes(b"")
    for words in (("mlp", "good.csv", "--target", "y"), ("logistic", "pictures")):
        said = typed("train", *words, "--epochs", "1", "--output", ".", "--name", words[0], folder=folder)
        assert said.code == 0, told(said)
    return folder


def test_predictions_of_a_table_keep_their_places(place: Path) -> None:
    refused = typed("predict", "mlp", "bad.csv", folder=place)
    assert refused.code == 2
    assert "`--on-bad-row skip`" in told(refused)
    said = typed("predict", "mlp", "bad.csv", "--on-bad-row", "skip", "--csv", "said.csv", folder=place)
    assert said.code == 0, told(said)
    assert "left out 2 of 8 rows: bad.csv:3 (`a` is 'much'), bad.csv:5 (has another number of fields" in told(said)
    with (place / "said.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["input"] for row in rows] == [f"bad.csv:{line}" for line in range(2, 10)]
    assert [row["y"] == "" for row in rows] == [line in (3, 5) for line in range(2, 10)]
    whole = typed("predict", "mlp", "good.csv", "--json", folder=place).out.splitlines()
    some = typed("predict", "mlp", "bad.csv", "--on-bad-row", "skip", "--json", folder=place).out.splitlines()
    assert json.loads(some[1]) == {"input": "bad.csv:3", "left_out": "`a` is 'much'"}
    assert json.loads(some[4])["y"] == pytest.approx(json.loads(whole[4])["y"])


def test_other_rows_are_scored_without_those_that_cannot_be_read(place: Path) -> None:
    assert "`--on-bad-row skip`" in told(typed("eval", "mlp", "--data", "bad.csv", folder=place))
    said = typed("eval", "mlp", "--data", "bad.csv", "--on-bad-row", "skip", folder=place)
    assert said.code == 0, told(said)
    assert "5 rows of bad" in told(said)
    for note in ("on lines 5", "their target is missing", "line 3: `a` is 'much'"):
        assert note in told(said)
    said = typed("eval", "mlp", "--data", "bad.csv", "--on-bad-row", "skip", "--json", folder=place)
    assert json.loads(said.out)["rows"] == 5
    assert "line 3: `a` is 'much'" in said.err.replace("\n", " ")
    assert "write --data too" in told(typed("eval", "mlp", "--on-bad-row", "skip", folder=place))


def test_pictures_that_are_none_are_named_and_left_out(place: Path) -> None:
    for words in (("predict", "logistic", "broken"), ("eval", "logistic", "--data", "broken")):
        refused = typed(*words, folder=place)
        assert refused.code == 2
        assert "broken/dark/1.png" in told(refused)
        assert "1 more cannot be used" in told(refused)
        assert "`--on-bad-file skip`" in told(refused)
    said = typed("predict", "logistic", "broken", "--on-bad-file", "skip", "--json", folder=place)
    assert said.code == 0, told(said)
    assert [json.loads(line)["input"] for line in said.out.splitlines()] == [
        f"broken/{label}/{i}.png" for label in ("dark", "light") for i in range(6)
    ]
    assert said.out.count("left_out") == 2
    assert "left out 2 of 12 files: broken/dark/1.png (empty, 0 bytes)" in " ".join(said.err.split())
    said = typed("eval", "logistic", "--data", "broken", "--on-bad-file", "skip", folder=place)
    assert said.code == 0, told(said)
    assert "10 rows of broken" in told(said)
    assert "left out 2 of 12 files: dark/1.png (empty, 0 bytes), light/0.png" in told(said)


def test_a_picture_alone_or_none_that_is_usable(place: Path) -> None:
    """Nothing to go on with: the flag is not advised, and does not help."""
    alone = typed("predict", "logistic", "broken/dark/1.png", folder=place)
    assert "Give .jpg" in told(alone)
    assert "--on-bad-file" not in told(alone)
    none = typed(
        "predict", "logistic", "broken/dark/1.png", "broken/light/0.png", "--on-bad-file", "skip", folder=place
    )
    assert none.code == 2
    assert "none of the 2 files is a usable picture" in told(none)


def test_a_class_called_as_a_field_of_ours_takes_no_place_of_it(tmp_path: Path) -> None:
    """The text was overwritten in JSON, and two columns of the CSV had one name."""
    rows = "".join(f"{'good' if i % 2 else 'bad'} film {i}\t{('input', 'predicted')[i % 2]}\n" for i in range(40))
    (tmp_path / "set.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
    done("train", "bag", "set.tsv", "--epochs", "1", "--name", "own", "--device", "cpu", folder=tmp_path)
    found = json.loads(done("predict", "runs/own", "a good film", "--json", folder=tmp_path))
    assert found["input"] == "a good film"
    assert {"p(input)", "predicted"} < set(found)
    done("predict", "runs/own", "a good film", "--csv", "out.csv", folder=tmp_path)
    head = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert len(set(head)) == len(head)
