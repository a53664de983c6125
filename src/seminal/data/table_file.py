"""One table on disk as columns: CSV, TSV and Parquet, with the line on which each row stands.

Cells of a text file stay text here; what they mean is learned later from the training rows only (`table_columns`).
A plain file goes through Arrow's fast reader. A file with quotation marks or broken rows goes through Python's own
`csv`, which knows on which line of the editor each record begins; both give the same columns.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seminal.core import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    Columns = Mapping[str, pa.ChunkedArray]

ENDINGS = (".csv", ".tsv", ".txt", ".parquet")
DELIMITERS = (",", ";", "\t", "|")
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "NULL", "null", "?", "#N/A", "#NA", "<NA>", "NaT")
CHUNK = 20_000  # rows that are held as Python strings at a time
SNIFFED = 100  # lines from which the delimiter is guessed
HEAD = 1 << 20  # characters in which the header and these lines are looked for
LONGEST_CELL = 1 << 27  # characters; Python's own limit is shorter than a long document
DECIMAL_COMMA = r"^[+-]?\d+(\.\d{3})*,\d+$"
THOUSANDS = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?$"
MARKED = r"^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$"  # 1,026 and 2,308,706.56
# What tells that commas are no decimal ones: two of them, or a point; and what may stand beside 1,026 where nothing tells.
TELLING = r"^[+-]?([1-9]\d{0,2}(,\d{3}){2,}(\.\d+)?|[1-9]\d{0,2}(,\d{3})+\.\d+|\d+\.\d+)$"
BESIDE = r"^[+-]?([1-9]\d{0,2}(,\d{3})+|\d{1,3})$"
PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
SHOWN = 60  # characters of a cell, or of a name, in a message


@dataclass(frozen=True)
class Table:
    """Columns of equal length, and where each row stands: ``lines`` (rows,) counts from 1, as an editor does; in a Parquet
    file, which has no lines, it counts the rows."""

    file: str  # as it is shown to the user, without its folder
    columns: Columns
    lines: np.ndarray
    broken: tuple[int, ...] = ()  # lines that were left out because their number of fields is wrong
    thousands: tuple[str, ...] = ()  # columns in which 1.026 is 1026: see `_local`
    commas: tuple[str, ...] = ()  # columns in which 1,026 is 1026: see `_english`

    def __len__(self) -> int:
        return len(self.lines)

    def kept(self, keep: np.ndarray) -> Table:
        """The rows where ``keep`` (rows,) is true."""
        if keep.all():
            return self
        import pyarrow as pa

        mask = pa.array(keep)
        columns = {name: column.filter(mask) for name, column in self.columns.items()}
        return replace(self, columns=columns, lines=self.lines[keep])

    def place(self, row: int) -> str:
        """What the user calls a row: "houses.csv:17"."""
        return f"{self.file}:{self.lines[row]}"

    def cell(self, name: str, row: int) -> str:
        """What stands in a cell, to quote it in a message."""
        return _short(str(self.columns[name][row].as_py()))


def read(path: Path, on_bad_row: str = "refuse") -> Table:
    """The table in a ``.csv``, ``.tsv``, ``.txt`` or ``.parquet`` file, also with ``.gz`` behind it.

    Args:
        path: the file. The delimiter of a text file is found by looking: a comma, a semicolon, a tab or a bar.
        on_bad_row: "refuse" a row with a wrong number of fields, or "skip" it.

    Raises:
        UserError: the file cannot be read as a table; the message names the line where there is one.
    """
    data = _bytes(path)
    if _ending(path) == ".parquet":
        return _checked(_parquet(data, path.name))
    with long_cells():
        return _checked(_text(_decoded(data, path.name), path.name, on_bad_row))


@contextmanager
def long_cells() -> Iterator[None]:
    """Within it Python's own reader of CSV takes cells of up to `LONGEST_CELL` characters."""
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def nearest(name: str, names: list[str]) -> str:
    """ "; the nearest is `x`" where one of ``names`` looks like ``name``, else nothing."""
    lower = {other.lower(): other for other in names}
    found = get_close_matches(name.lower(), list(lower), n=1)
    return f"; the nearest is `{lower[found[0]]}`" if found else ""


def _ending(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _bytes(path: Path) -> bytes:
    if not path.exists():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(
            f"there is no file `{path}`{nearest(path.name, beside)}. Write the path of a table that is there."
        )
    if path.is_dir():
        raise UserError(f"`{path}` is a folder, and one table is wanted here: name the file in it.")
    if _ending(path) in (".xlsx", ".xls", ".ods"):
        raise UserError(f"{path.name} is a workbook, which is not read here. Save its sheet as CSV and give that file.")
    if _ending(path) not in ENDINGS:
        raise UserError(
            f"{path.name} has no ending that a table has. Rename it so that it ends in {', '.join(ENDINGS)}."
        )
    try:
        data = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            data = gzip.decompress(data)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"{path.name} cannot be unpacked: {error}. Give a whole .gz file, or the table itself."
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    if not data or data.isspace():
        raise UserError(f"{path.name} is empty. Give a table with a line of column names and at least two rows.")
    return data


def _decoded(data: bytes, file: str) -> str:
    """The text with one kind of line end. A byte order mark, as Excel writes it, says which Unicode it is."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
        if b"\0" in data:
            raise UserError(f"{file} is not text, though its name says so. Give a CSV, TSV or Parquet file.")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            raise UserError(f"{file} is not UTF-16, though it begins as such. Save it again as `CSV UTF-8`.") from error
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"{file} is not UTF-8 text (line {line} has the byte {data[error.start]:#04x}). Save it again as "
            f"`CSV UTF-8`, or convert it: `iconv -f WINDOWS-1252 -t UTF-8 {file} > new.csv` (GB18030 for Chinese)."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _parquet(data: bytes, file: str) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        read = pq.ParquetFile(io.BytesIO(data)).read()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file} is not a whole Parquet file. Write it again, or give the table as CSV.") from error
    names = [name.strip() for name in read.column_names]
    _refuse_twins(names, file, "")
    columns = {}
    for name, column in zip(names, read.columns):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string_view(column.type):  # Arrow has few functions for it
            column = column.cast(pa.string())
        columns[name] = _clean(column) if is_text(column) else column
    return Table(file, columns, np.arange(1, read.num_rows + 1))


def _text(text: str, file: str, on_bad_row: str) -> Table:
    if not text or text.isspace():
        raise UserError(f"{file} is empty. Give a table with a line of column names and at least two rows.")
    delimiter = sniffed(io.StringIO(text[:HEAD], newline=""))
    header, line = _header(text[:HEAD], delimiter)
    like_data = len(header) > 1 and 2 * sum(_is_number(name) for name in header) > len(header)
    if like_data and all(_is_number(name) for name in header):
        raise UserError(f"{file} has no column names: line {line} holds numbers only. Write a line of names above it.")
    names = [name or f"(column {place})" for place, name in enumerate(header, start=1)]
    _refuse_twins(names, file, " Its first line looks like data: write the names above it." if like_data else "")
    plain = _by_arrow(text, delimiter, names, line)
    if plain is not None:
        return _with_numbers(Table(file, plain[0], plain[1]), delimiter)
    records = _by_csv(text, delimiter, len(names), quoting=True)
    if records.broken or (records.swallowed and len(names) > 1):
        # A stray quotation mark swallows lines. If the lines are better rows when it is a letter, it is one.
        letters = _by_csv(text, delimiter, len(names), quoting=False)
        records = min(records, letters, key=lambda read: (len(read.broken), -len(read.lines)))
    if header[0].startswith("#") and len(records.broken) > len(records.lines):
        raise UserError(
            f"line {line} of {file}, {listed(header)}, looks like a comment, and other lines have other fields: take it out, "
            "so that the line of column names is the first."
        )
    if records.broken and on_bad_row == "refuse":
        raise UserError(_broken_row(records.broken, file, len(names)))
    columns = {name: _clean(column) for name, column in zip(names, records.columns)}
    broken = tuple(row.line for row in records.broken)
    return _with_numbers(Table(file, columns, np.array(records.lines, dtype=np.int64), broken), delimiter)


def _header(text: str, delimiter: str) -> tuple[list[str], int]:
    """The names, stripped, and the last line of the record in which they stand."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return next([name.strip() for name in record] for record in reader if not _blank(record)), reader.line_num


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def sniffed(text: Iterable[str], delimiters: Sequence[str] = DELIMITERS) -> str:
    """The delimiter that cuts most of the first lines into as many fields as the header; of equal ones, into the most."""
    lines = list(islice((line for line in text if line.strip()), SNIFFED))

    def fit(delimiter: str) -> tuple[float, int]:
        widths = [len(record) for record in csv.reader(lines, delimiter=delimiter) if record] or [0]
        return (sum(width == widths[0] for width in widths) / len(widths) if widths[0] > 1 else 0.0, widths[0])

    return max(delimiters, key=fit)


def _blank(record: list[str]) -> bool:
    return not record or (len(record) == 1 and not record[0].strip())


def _by_arrow(text: str, delimiter: str, names: list[str], header: int) -> tuple[Columns, np.ndarray] | None:
    """Columns and lines of a plain text: without quotation marks, and each line a row of as many fields as the header,
    which ends on line ``header``. None for any other text."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    if '"' in text or len(names) == 1:
        return None
    data = text.encode()
    raw = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(raw == ord("\n"))
    ends = ends if len(ends) and ends[-1] == len(raw) - 1 else np.append(ends, len(raw))
    starts = np.append(0, ends[:-1] + 1)
    fields = np.diff(np.searchsorted(np.flatnonzero(raw == ord(delimiter)), np.append(starts, len(raw)))) + 1
    filled = ends > starts
    if (fields[filled] != len(names)).any():
        return None
    places = [str(place) for place in range(len(names))]  # names may be anything, places are safe
    read = arrow.read_csv(
        io.BytesIO(data),
        read_options=arrow.ReadOptions(
            column_names=places, skip_rows=header, block_size=max(1 << 20, 4 * int((ends - starts).max()))
        ),
        parse_options=arrow.ParseOptions(delimiter=delimiter, quote_char=False),
        convert_options=arrow.ConvertOptions(column_types={place: pa.string() for place in places}),
    )
    lines = np.flatnonzero(filled)[1:] + 1
    return {name: _clean(column) for name, column in zip(names, read.columns)}, lines


@dataclass(frozen=True)
class _Broken:
    """A record with a wrong number of fields, and the lines from which and to which it runs."""

    line: int
    last: int
    fields: int  # 0: one of them is longer than `LONGEST_CELL`


@dataclass(frozen=True)
class _Records:
    columns: list[pa.ChunkedArray]
    lines: list[int]
    broken: list[_Broken]
    swallowed: bool  # a row runs over more than one line


def _by_csv(text: str, delimiter: str, width: int, *, quoting: bool) -> _Records:
    import pyarrow as pa

    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE
    )
    parts: list[list[pa.Array]] = [[] for _ in range(width)]
    rows: list[list[str]] = []
    lines: list[int] = []
    broken: list[_Broken] = []

    def flush() -> None:
        for part, column in zip(parts, zip(*rows)):
            part.append(pa.array(column, pa.string()))
        rows.clear()

    begins, header, swallowed = 1, True, False
    for record in _whole(reader):
        if record is None:
            broken.append(_Broken(begins, reader.line_num, 0))
        elif _blank(record) or header:
            header = header and _blank(record)
        elif len(record) != width:
            broken.append(_Broken(begins, reader.line_num, len(record)))
        else:
            rows.append(record)
            lines.append(begins)
            swallowed |= reader.line_num > begins
        if len(rows) == CHUNK:
            flush()
        begins = reader.line_num + 1
    flush()
    return _Records([pa.chunked_array(part, pa.string()) for part in parts], lines, broken, swallowed)


def _whole(reader: Iterator[list[str]]) -> Iterator[list[str] | None]:
    """The records; None for one with a cell longer than `LONGEST_CELL`, after which the reader goes on with the next line."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield None


def _broken_row(broken: list[_Broken], file: str, width: int) -> str:
    first = broken[0]
    if first.last > first.line:
        what = f"a quotation mark that is opened on line {first.line} of {file} runs on to line {first.last}"
        return (
            f"{what}. Close it (write a quotation mark inside a cell twice), take the row out, or leave such rows out: "
            "`--on-bad-row skip`."
        )
    if not first.fields:
        return (
            f"{file} line {first.line} has a cell of more than {LONGEST_CELL:,} characters, which is too long to be read. "
            "Shorten it, or leave the line out of the file."
        )
    fields = "1 field" if first.fields == 1 else f"{first.fields} fields"
    others = f" (and {len(broken) - 1} more like it)" if len(broken) > 1 else ""
    return (
        f"{file} line {first.line} has {fields}, and the header has {width}{others}. "
        "Correct it, take the row out, or leave such rows out: `--on-bad-row skip`."
    )


def _refuse_twins(names: list[str], file: str, hint: str) -> None:
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise UserError(f"{file} has more than one column called {listed(twins)}. Give each its own name.{hint}")


def listed(names: Iterable[str], most: int = 5) -> str:
    """ "`a`, `b` and 3 more"."""
    shown = [f"`{_short(name)}`" for name in names]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def is_text(column: pa.ChunkedArray) -> bool:
    """Whether the cells are text, as all cells of a CSV file are."""
    import pyarrow as pa

    return pa.types.is_string(column.type) or pa.types.is_large_string(column.type)


def _clean(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text without the spaces around it, and null where it says that a value is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(text, value_set=pa.array(MISSING, text.type))
    return pc.if_else(missing, pa.scalar(None, text.type), text)


def _with_numbers(table: Table, delimiter: str) -> Table:
    """The table with its numbers as float() reads them, whatever country they are of."""
    if delimiter == ";":
        columns, thousands = _local(table.columns, delimiter)
        return replace(table, columns=columns, thousands=thousands)
    columns, commas = _english(table.columns, delimiter)
    return replace(table, columns=columns, commas=commas)


def _english(columns: Columns, delimiter: str) -> tuple[Columns, tuple[str, ...]]:
    """The columns with 2308706.56 for 2,308,706.56, and the names of those that had such marks in numbers and nothing but
    numbers. Whether 1,026 is a thousand or little more than one, other cells of the column or other columns tell. Where none
    does it is a thousand in a file divided by commas, in which nobody would write decimal commas; but not in one divided by
    something else, where it stays a word."""
    import pyarrow.compute as pc

    def some(column: pa.ChunkedArray, form: str) -> bool:
        return bool(pc.any(pc.match_substring_regex(column, form)).as_py())

    def every(column: pa.ChunkedArray, *forms: str) -> bool:
        return bool(pc.all(pc.match_substring_regex(column, "|".join(forms))).as_py())

    with_commas = {name: c for name, c in columns.items() if pc.any(pc.match_substring(c, ",")).as_py()}
    marked = {name: c for name, c in with_commas.items() if some(c, MARKED) and every(c, MARKED, PLAIN)}
    told = {name for name, c in marked.items() if some(c, TELLING)}
    decimal = any(some(c, r"^[+-]?(\d+,(\d{1,2}|\d{4,})|0\d*,\d+)$") for c in with_commas.values())
    if not decimal and (told or delimiter == ","):
        told |= {name for name, c in marked.items() if every(c, BESIDE)}
    found = {name: without_commas(c) if name in told else c for name, c in columns.items()}
    return found, tuple(name for name in columns if name in told)


def without_commas(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text with 1026 for 1,026 and 1026.5 for 1,026.5; other cells as they are."""
    import pyarrow.compute as pc

    return pc.if_else(pc.match_substring_regex(column, MARKED), pc.replace_substring(column, ",", ""), column)


def _local(columns: Columns, delimiter: str) -> tuple[Columns, tuple[str, ...]]:
    """The columns with the numbers of countries that write 1.026,5 for 1026.5 as all others write them, and the names of
    those in which points were marks of thousands. Semicolons divide the tables of such countries; and where numbers of a
    table have decimal commas, a column whose points all stand before three digits has no decimal point."""
    import pyarrow.compute as pc

    def has(column: pa.ChunkedArray, form: str) -> bool:
        return bool(pc.any(pc.match_substring_regex(column, form)).as_py())

    def marked(column: pa.ChunkedArray) -> bool:
        other = pc.and_not(pc.match_substring(column, "."), pc.match_substring_regex(column, THOUSANDS))
        return has(column, THOUSANDS) and not pc.any(other).as_py()

    if delimiter != ";" or not any(has(column, DECIMAL_COMMA) for column in columns.values()):
        return columns, ()
    thousands = tuple(name for name, column in columns.items() if marked(column))
    found = {name: without_marks(column) if name in thousands else column for name, column in columns.items()}
    return {
        name: pc.replace_substring_regex(c, r"^([+-]?\d+),(\d+)$", r"\1.\2") for name, c in found.items()
    }, thousands


def without_marks(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text with 1026 for 1.026 and 1026,5 for 1.026,5; other cells as they are."""
    import pyarrow.compute as pc

    return pc.if_else(pc.match_substring_regex(column, THOUSANDS), pc.replace_substring(column, ".", ""), column)


def _checked(table: Table) -> Table:
    if not len(table):
        out = f" ({len(table.broken)} broken rows were left out)" if table.broken else ""
        raise UserError(f"{table.file} has column names but no rows{out}. Give a table with at least two rows.")
    return table
