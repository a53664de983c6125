"""What is learned from the training rows to turn one column of a table into numbers.

A number becomes itself, with the training median where it is missing; a date becomes days since 1970; a boolean 0 or 1;
a category one 0/1 feature per category seen in training. Where training values were missing, a 0/1 feature says so
(a missing category is one more category).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seminal.data.table_file import is_text, without_commas, without_marks

if TYPE_CHECKING:
    import pyarrow as pa

MOST_CATEGORIES = 100  # of one column; rarer ones are read as none, so that a column of cities does not fill the memory
FREE_TEXT = 50  # more different values than this, and in more than half of the rows: names or free text, not categories
MOSTLY = 0.9  # a column with this share of numbers is a column of numbers with mistakes in it …
FEW = 20  # … unless it has no more different values than this: then they are codes such as 1, 2, 3A
FLOAT32_MAX = float(np.finfo(np.float32).max)

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^(?i:[+-]?inf(inity)?)$"
NO_NUMBER = ("None", "none", "-")  # words for a missing value that may well be the name of a category
DATE = (
    r"^(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})"
    r"(?:[T ](?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}(?:\.\d+)?))?"
    r"(?:Z|(?P<east>[+-]\d{2}):?(?P<east_minute>\d{2}))?)?$"
)
COUNTERS = ("", "id", "index", "row", "no", "nr", "unnamed: 0", "(column 1)", "__index_level_0__")


@dataclass(frozen=True)
class Column:
    """A column of the table and how it becomes features. All statistics are of the training rows."""

    name: str
    kind: str  # "number", "date" (days since 1970-01-01 UTC), "boolean" or "category"
    missing: bool = False  # values were missing: a 0/1 feature says so
    fill: float = 0.0  # median, for a missing number
    mean: float = 0.0  # after filling; 0 and 1 where a feature is 0/1 and stays so
    std: float = 1.0
    categories: tuple[str, ...] = ()
    thousands: bool = False  # points were marks of thousands: in a file without decimal commas too, 1.026 is 1026
    commas: bool = False  # commas were: 1,026 is 1026 where nothing else in a file tells, too

    @property
    def features(self) -> tuple[str, ...]:
        """A name for each feature this column becomes."""
        own = tuple(f"{self.name}={category}" for category in self.categories) or (self.name,)
        return (*own, f"{self.name} is missing") if self.missing else own

    def read(self, cells: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        """Values (rows,) and a mask (rows,) of the cells that cannot be read.

        Values are float64 with NaN where missing or unreadable; for categories int64 places in ``categories``, one past
        the last for a missing value, and -1 for what was not seen in training.
        """
        if self.kind == "category":
            return self._places(cells), np.zeros(len(cells), dtype=bool)
        if self.thousands and is_text(cells):
            cells = without_marks(cells)
        elif self.commas and is_text(cells):
            cells = without_commas(cells)
        values, strange = READERS[self.kind](cells)
        strange |= np.abs(values) > FLOAT32_MAX  # infinite, or would be as a 32-bit number
        return np.where(strange, np.nan, values), strange

    def _places(self, cells: pa.ChunkedArray) -> np.ndarray:
        import pyarrow as pa
        import pyarrow.compute as pc

        text = cells if is_text(cells) else pc.cast(cells, pa.string())
        places = pc.fill_null(pc.index_in(text, value_set=pa.array(self.categories, text.type)), -1)
        codes = places.to_numpy().astype(np.int64)
        if self.missing:
            codes[pc.is_null(text).to_numpy()] = len(self.categories)
        return codes

    def encode(self, values: np.ndarray, scaling: str) -> np.ndarray:
        """Features (rows, len(features)) float32 of what `read` gave; "standard" takes off the mean and divides by the
        standard deviation, "none" leaves numbers as they are."""
        if self.kind == "category":
            return np.equal.outer(values, np.arange(len(self.features))).astype(np.float32)
        absent = np.isnan(values)
        filled = np.where(absent, self.fill, values)
        scaled = (filled - self.mean) / self.std if scaling == "standard" else filled
        return np.stack([scaled, absent] if self.missing else [scaled], axis=1).astype(np.float32)


def fitted(name: str, cells: pa.ChunkedArray, lines: np.ndarray) -> Column | str:
    """The column learned from its training cells, which stand on ``lines`` (rows,); or why it is of no use, in words."""
    kind = _kind(cells)
    if kind == "category":
        return _categories(name, cells)
    if kind not in READERS:
        return f"{kind}, which is not read"
    values, _ = Column(name, kind).read(cells)
    absent = np.isnan(values)
    present = values[~absent]
    if not len(present):
        return "no value"
    if present.min() == present.max() and not absent.any():
        return "the same value in every row"
    if name.lower() in COUNTERS and np.ptp(values - lines) == 0:  # NaN, hence not equal, where a value is missing
        return "row numbers"
    fill = float(np.median(present))
    if kind == "boolean":
        return Column(name, kind, missing=bool(absent.any()), fill=fill)
    values = np.where(absent, fill, values)
    std = float(values.std()) or 1.0  # one value and missing ones: after filling nothing varies
    return Column(name, kind, missing=bool(absent.any()), fill=fill, mean=float(values.mean()), std=std)


def _categories(name: str, cells: pa.ChunkedArray) -> Column | str:
    import pyarrow.compute as pc

    found = [(str(pair["values"]), pair["counts"]) for pair in pc.value_counts(cells.drop_null()).to_pylist()]
    absent = cells.null_count > 0
    if len(found) == 1 and not absent:
        return "the same value in every row"
    if len(found) > FREE_TEXT and len(found) > 0.5 * (len(cells) - cells.null_count):
        return f"names or free text, {len(found):,} different values"
    often = sorted(found, key=lambda pair: (-pair[1], pair[0]))[:MOST_CATEGORIES]
    return Column(name, "category", missing=absent, categories=tuple(sorted(text for text, _ in often)))


def _kind(cells: pa.ChunkedArray) -> str:
    """ "number", "date", "boolean" or "category"; the name of the type where it is none of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = cells.type
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "date"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return "number"
    if not is_text(cells):
        return f"values of type {kind}"
    present = len(cells) - cells.null_count
    strange: dict[str, int] = {}
    for reading, read in READERS.items():
        strange[reading] = int(read(cells)[1].sum())
        if strange[reading] == 0:
            return reading
    best = min(strange, key=lambda reading: strange[reading])
    few = pc.count_distinct(cells).as_py() <= FEW
    return best if not few and strange[best] <= (1 - MOSTLY) * present else "category"


def numbers(cells: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Cells as float64 (rows,), NaN where there is no number, and a mask of those that hold something else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not is_text(cells):
        try:
            return _floats(pc.cast(cells, pa.float64(), safe=False)), np.zeros(len(cells), dtype=bool)
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # a date, a list
            return np.full(len(cells), np.nan), pc.is_valid(cells).to_numpy()
    try:
        return _floats(pc.cast(cells, pa.float64())), np.zeros(len(cells), dtype=bool)
    except pa.ArrowInvalid:
        cells = _without(cells, NO_NUMBER)
        good = pc.match_substring_regex(cells, NUMBER)
        strange = ~pc.fill_null(good, True).to_numpy()
        return _floats(pc.cast(pc.if_else(good, cells, None), pa.float64())), strange


def _without(cells: pa.ChunkedArray, words: tuple[str, ...]) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.is_in(cells, value_set=pa.array(words, cells.type)), pa.scalar(None, cells.type), cells)


def _floats(cells: pa.ChunkedArray) -> np.ndarray:
    """float64 (rows,), writable, with NaN for null."""
    return np.array(cells.to_numpy(), dtype=np.float64)


def _dates(cells: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970-01-01 UTC of dates as ISO 8601 writes them, ``2024-05-31 17:30``, also with strokes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type):
        zone = cells.type.tz if pa.types.is_timestamp(cells.type) else None
        micros = pc.cast(pc.cast(cells, pa.timestamp("us", zone), safe=False), pa.int64())
        return _floats(pc.divide(pc.cast(micros, pa.float64(), safe=False), 86_400e6)), np.zeros(len(cells), dtype=bool)
    if not is_text(cells):
        return np.full(len(cells), np.nan), pc.is_valid(cells).to_numpy()
    parts = pc.extract_regex(cells, DATE)
    good = pc.is_valid(parts).to_numpy().copy()

    def part(name: str) -> np.ndarray:
        text = pc.struct_field(parts, name)
        return _floats(pc.cast(pc.if_else(pc.equal(text, ""), "0", text), pa.float64()))[good]

    month = (12 * (part("year") - 1970) + part("month") - 1).astype(np.int64).astype("datetime64[M]")
    days = month.astype("datetime64[D]") + (part("day") - 1).astype(np.int64)
    real = (days.astype("datetime64[M]") == month) & (part("month") >= 1) & (part("month") <= 12) & (part("hour") < 24)
    east = part("east") + np.copysign(part("east_minute"), part("east")) / 60
    hours = part("hour") + part("minute") / 60 + part("second") / 3600 - east
    values = np.full(len(cells), np.nan)
    values[good] = np.where(real, days.astype(np.int64) + hours / 24, np.nan)
    return values, pc.is_valid(cells).to_numpy() & np.isnan(values)


def _booleans(cells: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """1 for true and 0 for false, in any letter case; the numbers 0 and 1 are also understood."""
    import pyarrow.compute as pc

    if is_text(cells):
        lower = pc.utf8_lower(cells)
        cells = pc.if_else(pc.equal(lower, "true"), "1", pc.if_else(pc.equal(lower, "false"), "0", lower))
    values, strange = numbers(cells)
    other = ~np.isin(values, (0, 1)) & ~np.isnan(values)
    return values, strange | other


READERS = {"number": numbers, "boolean": _booleans, "date": _dates}
