"""`seminal same`: the statistics against naive ones, the three kinds of data through the command, and what it says."""

import gzip
import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest, kstest

from command_line import Said, typed
from pictures_on_disk import save
from seminal.data import picture_features, text_features
from seminal.data.files import open_tree
from seminal.pieces import two_sample
from seminal.pieces.divergences import js
from seminal.runs.comparing import compared
from seminal.runs.two_sets import TwoSets, opened

pytestmark = pytest.mark.usefixtures("one_thread")


def chance(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def sets(first: np.ndarray, second: np.ndarray) -> TwoSets:
    names = [str(row) for row in range(len(first))], [str(row) for row in range(len(second))]
    return TwoSets("tables", names, tuple(f"x{i}" for i in range(first.shape[1])), (first, second))


def told(said: Said) -> str:
    return " ".join((said.out + said.err).split())


# ------------------------------------------------------------------------------------------------------- the statistics


def test_p_values_of_one_distribution_are_uniform() -> None:
    """Features that depend on each other, heavy tails and 0/1 columns: the test must not care."""

    def rows(n: int, seed: int) -> np.ndarray:
        x = chance(seed).standard_t(2, (n, 4))
        return np.hstack([x, x[:, :1] * x[:, 1:2], x > 1])

    found = [compared(sets(rows(40, 2 * i), rows(30, 2 * i + 1)), i, permutations=99).p for i in range(200)]
    assert kstest(found, "uniform").pvalue > 1e-3
    assert binomtest(sum(p <= 0.05 for p in found), 200, 0.05).pvalue > 1e-3


def test_one_column_of_many_is_found_and_named() -> None:
    """0.5 standard deviations in one of 60 columns: the classifier alone often misses it, the largest difference does not."""
    found = []
    for seed in range(10):
        first, second = chance(seed).normal(size=(300, 60)), chance(seed + 50).normal(size=(300, 60))
        second[:, 17] += 0.5
        answer = compared(sets(first, second), seed)
        found.append(answer.verdict == "different" and "x17" in [sign.feature for sign in answer.signs])
    assert sum(found) >= 8


def test_another_spread_is_found() -> None:
    first, second = chance(0).normal(size=(300, 5)), chance(1).normal(size=(300, 5))
    second[:, 2] *= 2
    answer = compared(sets(first, second))
    assert answer.signs[0].feature == "x2"
    assert answer.signs[0].spreads[1] > 1.7 * answer.signs[0].spreads[0]


def test_each_feature_against_the_naive_permutation_test() -> None:
    """The corrected p-values, computed with loops from the definition; and the row most unlike the other set."""
    first, second = torch.randn(25, 3, generator=torch.manual_seed(0)), torch.randn(20, 3) + torch.tensor([1.2, 0, 0])
    second[7, 0] += 3
    found = two_sample.examined(first, second, permutations=49, seed=3)
    _, dealt, _ = two_sample._judged(first.double(), second.double(), 5, 49, 3)
    z = two_sample.standardised(torch.cat([first, second]).double())
    w = two_sample.standardised(z.abs())

    def differs(column: int, deal: int) -> float:
        one, other = dealt[:, deal] < 0, dealt[:, deal] > 0
        return max(abs(float(v[one, column].mean() - v[other, column].mean())) for v in (z, w))

    for column in range(3):
        beaten = sum(max(differs(c, deal) for c in range(3)) >= differs(column, 0) - 1e-9 for deal in range(1, 50))
        assert float(found.each[column]) == pytest.approx((1 + beaten) / 50)
        assert float(found.sizes[column]) == pytest.approx(differs(column, 0))
    assert int(found.scores[25:].argmax()) == 7
    assert found.p >= min(1 / 50, float(found.each.min()))
    assert found.auc == two_sample.compared(first, second, permutations=49, seed=3).auc


def test_it_says_when_it_cannot_tell() -> None:
    few = compared(sets(chance(0).normal(size=(20, 3)), chance(1).normal(size=(20, 3))))
    many = compared(sets(chance(0).normal(size=(600, 3)), chance(1).normal(size=(600, 3))))
    assert few.verdict == "cannot tell"
    assert many.verdict == "same"
    assert few.found_from > 0.6 > many.found_from > 0.5


def test_ranks_leave_outliers_without_power() -> None:
    first, second = chance(0).normal(size=(300, 2)), chance(1).normal(size=(300, 2))
    second[:, 0] += 0.5
    plain = compared(sets(first, second))
    second[3, 0] = 1e12
    assert compared(sets(first, second)).auc == pytest.approx(plain.auc, abs=0.01)


# ------------------------------------------------------------------------------------------------------------- pictures


def photo(seed: int, brightness: float = 1.0) -> np.ndarray:
    """24 × 24, smooth: so different in light that 10 % more of it is not seen in one picture."""
    small = Image.fromarray(chance(seed).integers(20, 200, (3, 3, 3), dtype=np.uint8)).resize((24, 24))
    return np.clip(np.asarray(small) * brightness + chance(seed).normal(0, 2, (24, 24, 3)), 0, 255).astype(np.uint8)


def folder(root: Path, count: int, *, start: int = 0, brightness: float = 1.0, suffix: str = ".png") -> Path:
    for i in range(count):
        save(
            root / "ab"[i % 2] / f"{i:03}{suffix}",
            photo(start + i, brightness),
            **({"quality": 90} if suffix == ".jpg" else {}),
        )
    return root


def test_pictures(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one", 120), folder(tmp_path / "other", 120, start=500)
    bright = folder(tmp_path / "bright", 120, start=900, brightness=1.3)
    said = typed("same", one, other, "--json", "same.json", folder=tmp_path)
    assert said.code == 0, told(said)
    assert "they count as classes" in told(said)
    said = typed("same", one, bright, "--json", "bright.json", folder=tmp_path)
    assert said.code == 3
    assert "same no: p = 0.00" in told(said)
    answer = json.loads((tmp_path / "bright.json").read_text(encoding="utf-8"))
    assert "brightness" in [sign["feature"] for sign in answer["signs"]]
    assert answer["rows"] == [120, 120]
    assert (bright / answer["unlike"][1][0]).exists(), "names of files"


def test_jpeg_is_seen_by_its_pixels_alone(tmp_path: Path) -> None:
    """Saved as JPEG, then as PNG: neither size nor ending tells, the traces in the pixels do."""
    one, other = folder(tmp_path / "one", 60), tmp_path / "other"
    for file in sorted(folder(tmp_path / "jpeg", 60, start=500, suffix=".jpg").rglob("*.jpg")):
        save(other / file.parent.name / f"{file.stem}.png", np.asarray(Image.open(file)))
    answer = compared(opened((str(one), str(other)), 2000, 0))
    assert answer.verdict == "different"
    assert "traces of JPEG" in {sign.feature for sign in answer.signs}


def test_features_of_a_picture_are_what_they_are_called(tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 16:] = (255, 0, 0)
    save(tmp_path / "a.png", pixels)
    found = dict(zip(picture_features.FEATURES, picture_features.features(open_tree(tmp_path), "a.png"), strict=True))
    assert (found["height"], found["width"], found["width / height"]) == (16, 32, 2)
    assert found["brightness"] == pytest.approx(0.299 / 2, abs=0.01)
    assert found["red − green"] == pytest.approx(0.5, abs=0.03)
    assert found["edges across"] == pytest.approx(0.299 / 15, abs=1e-6), "one edge among fifteen steps"
    assert found["edges down"] == 0
    assert found["brightness at row 1, column 1 of 8"] == pytest.approx(0, abs=1e-6)
    assert found["brightness at row 1, column 8 of 8"] == pytest.approx(0.299, abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (7, 7), (300, 9)])
def test_pictures_of_any_size_have_features(tmp_path: Path, shape: tuple[int, int]) -> None:
    save(tmp_path / "a.png", chance(0).integers(0, 256, (*shape, 3), dtype=np.uint8))
    assert np.isfinite(picture_features.features(open_tree(tmp_path), "a.png")).all()


def test_a_file_that_is_no_picture_is_left_out_and_named(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one", 30), folder(tmp_path / "other", 30, start=500)
    (other / "a" / "zz.png").write_bytes(b"not a picture")
    assert "left out 1 files that are no pictures" in told(typed("same", one, other, folder=tmp_path))


# --------------------------------------------------------------------------------------------------------------- tables


def write_table(path: Path, seed: int, *, missing: float = 0.05, share: float = 0.5, start: int = 1) -> Path:
    random = chance(seed)
    lines = ["id,age,town,score"]
    for row in range(400):
        age = "" if random.random() < missing else f"{random.normal(40, 10):.1f}"
        town = "Ulm" if random.random() < share else "Bonn"
        lines.append(f"{start + row},{age},{town},{random.normal():.3f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_tables(tmp_path: Path) -> None:
    one, other = write_table(tmp_path / "one.csv", 1), write_table(tmp_path / "two.csv", 2, start=401)
    said = typed("same", one, other, folder=tmp_path)
    assert said.code == 0, told(said)
    assert "yes, no difference was found" in told(said)
    sick = write_table(tmp_path / "sick.csv", 3, missing=0.2, share=0.65)
    said = typed("same", one, sick, "--json", "out.json", folder=tmp_path)
    assert said.code == 3
    signs = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["signs"]
    assert {sign["feature"] for sign in signs} == {"age is missing", "town=Bonn", "town=Ulm"}
    assert "sick.csv:" in told(said), "rows by their lines"


def test_tables_with_other_columns_are_not_the_same(tmp_path: Path) -> None:
    """Whatever the columns say that both have."""
    one, other = write_table(tmp_path / "one.csv", 1), write_table(tmp_path / "two.csv", 2, start=401)
    other.write_text(other.read_text(encoding="utf-8").replace("score", "points", 1), encoding="utf-8")
    said = typed("same", one, other, "--json", "out.json", folder=tmp_path)
    assert said.code == 3
    first, second, *_ = said.out.splitlines()
    assert "no, the columns differ: only one.csv has `score`; only two.csv has `points`" in first
    assert "of the columns in both: no difference was found: p = " in second
    answer = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (answer["verdict"], answer["values"], len(answer["alone"])) == ("different", "same", 2)

    sick = write_table(tmp_path / "sick.csv", 3, missing=0.2, share=0.65)
    sick.write_text(sick.read_text(encoding="utf-8").replace("score", "points", 1), encoding="utf-8")
    said = typed("same", one, sick, folder=tmp_path)
    assert said.code == 3
    assert "of the columns in both: a difference, p = " in told(said)
    assert "town=Ulm" in told(said)


def test_a_column_of_sentences_is_read_as_text(tmp_path: Path) -> None:
    for name, verb in (("a", "likes"), ("b", "hates")):
        rows = [f"{i}\tthe person number {i} {verb if i % 2 else 'sees'} it" for i in range(150)]
        (tmp_path / f"{name}.tsv").write_text("id\treview\n" + "\n".join(rows) + "\n", encoding="utf-8")
    said = typed("same", tmp_path / "a.tsv", tmp_path / "b.tsv", folder=tmp_path)
    assert said.code == 3
    assert "review: the word `likes`" in told(said)


# ---------------------------------------------------------------------------------------------------------------- texts


def sentences(seed: int, extra: str = "") -> list[str]:
    words = [f"word{i}" for i in range(60)]
    random = chance(seed)
    return [" ".join([*random.choice(words, 12), *([extra] if extra and i % 3 == 0 else [])]) for i in range(300)]


def test_texts(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("\n".join(sentences(1)), encoding="utf-8")
    (tmp_path / "two.txt.gz").write_bytes(gzip.compress("\n".join(sentences(2)).encode()))
    (tmp_path / "ship.txt").write_text("\n".join(sentences(3, "ship")), encoding="utf-8")
    said = typed("same", "one.txt", "two.txt.gz", folder=tmp_path)
    assert said.code == 0, told(said)
    assert "JS divergence of the word frequencies" in told(said)
    said = typed("same", "one.txt", "ship.txt", "--json", "out.json", folder=tmp_path)
    assert said.code == 3
    answer = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert answer["words"]["telling"][0]["word"] == "ship"
    assert answer["words"]["telling"][0]["per_thousand"] == [0, pytest.approx(1000 * 100 / 3700)]
    assert "the word `ship`" in [sign["feature"] for sign in answer["signs"]]


def test_files_of_a_folder_are_documents(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        for i, line in enumerate(sentences(seed)[:30]):
            (tmp_path / name / f"{i}.txt").write_text(line, encoding="utf-8")
    found = opened((str(tmp_path / "a"), str(tmp_path / "b")), 2000, 0)
    assert found.names[0][:2] == ["0.txt", "1.txt"]
    assert len(found.names[1]) == 30


def test_word_frequencies_are_counted() -> None:
    """The JS divergence of two texts, from the definition."""
    words = text_features.counted(["a rose is a rose", "Is it?"])
    p, q = words.shares(np.array([0])), words.shares(np.array([1]))
    assert dict(zip(words.words, p.tolist())) == pytest.approx({"a": 0.4, "rose": 0.4, "is": 0.2, "it": 0})
    m = (p + q) / 2
    naive = sum(float(x * np.log2(x / y)) / 2 for r in (p, q) for x, y in zip(r.tolist(), m.tolist()) if x)
    assert float(js(p, q, base=2)) == pytest.approx(naive)


def test_texts_without_words_have_features() -> None:
    texts = ["…", "!!", "?"]
    names, values = text_features.features(texts, text_features.counted(texts))
    assert values.shape == (3, len(names))
    assert np.isfinite(values).all()


# ------------------------------------------------------------------------------------------------------------- mistakes


def test_what_cannot_be_compared_is_explained(tmp_path: Path) -> None:
    pictures = folder(tmp_path / "pictures", 12)
    text, short = tmp_path / "a.txt", tmp_path / "b.txt"
    text.write_text("\n".join(sentences(1)), encoding="utf-8")
    short.write_text("one\ntwo\n", encoding="utf-8")
    one, other = write_table(tmp_path / "a.csv", 1), tmp_path / "b.csv"
    other.write_text("x,y,z\n" + "1,2,3\n" * 20, encoding="utf-8")
    for words, says in (
        ((pictures, text), "holds pictures and"),
        ((text, text), "one place"),
        ((text, tmp_path / "none.txt"), "there is no"),
        ((text, short), "too few"),
        ((one, other), "0 column names in common"),
        ((text, short, "--rows", "3"), "--rows 3 tells nothing"),
        ((one, write_table(tmp_path / "c.csv", 2), "--json", "no/such/place.json"), "there is no folder"),
        ((one, write_table(tmp_path / "c.csv", 2), "--json", "c.csv"), "nothing is written over"),
    ):
        said = typed("same", *words, folder=tmp_path)
        assert said.code == 2, told(said)
        assert says in told(said)


def test_rows_are_drawn_by_the_seed_and_noted(tmp_path: Path) -> None:
    one, other = write_table(tmp_path / "one.csv", 1), write_table(tmp_path / "two.csv", 2)
    first, again, third = (opened((str(one), str(other)), 100, seed) for seed in (0, 0, 1))
    assert first.names == again.names != third.names
    assert "one.csv: 100 of 400 rows, drawn at random (--rows)" in first.notes
    assert replace(first, values=()) == replace(again, values=())


# ----------------------------------------------------------------------------------------------------- the experiment


def test_the_experiment_draws_sets_that_share_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "experiments")
    same = importlib.import_module("same")
    values, often = np.arange(1000.0)[:, None], np.arange(1000) < 100
    for pool, share in ((same.Pool(values, values), 0.1), (same.Pool(values, values, often), 0.3)):
        drawn = [pool.draw(100, chance(seed)) for seed in range(50)]
        assert all(len(set(one.values[0].ravel()) | set(one.values[1].ravel())) == 200 for one in drawn)
        assert np.mean([(one.values[0] < 100).mean() for one in drawn]) == pytest.approx(0.1, abs=0.02)
        assert np.mean([(one.values[1] < 100).mean() for one in drawn]) == pytest.approx(share, abs=0.02)
    cells = [{"question": "splits", "of": "table", "n": 100, "p": [0.2, 0.8]}]
    cells += [{"question": "power", "of": "brightness", "n": n, "power": 0.5} for n in (50, 100)]
    assert "table" in same.level_chart(cells)
    assert "brightness" in same.power_chart(cells)
