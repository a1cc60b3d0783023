"""Tables that people bring: CSV files read as text, with file and line in every sentence on what is wrong."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import chain
from pathlib import Path

import pandas as pd

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""Characters that separate columns, with their names."""

LINE = "line"
"""Name of the index of a table that was read: the line of the file on which a row begins."""

# utf-32 first: its little-endian mark begins with that of utf-16.
_MARKS = {"UTF-32": (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff"), "UTF-16": (b"\xff\xfe", b"\xfe\xff")}

# A line of its own behind the file. A quotation mark that is never closed swallows it.
_END = "\2 end of the file \2"

_BLOCK = 10_000
"""Rows that are turned into columns at a time."""

_LIKENESS = 0.6
"""Below this share of common letters a column's name is no misspelling of another."""


def read_table(
    path: Path,
    required: Sequence[str],
    *,
    optional: Sequence[str] = (),
    separator: str = ",",
    advice: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Read columns of a CSV file as text, indexed by the line on which each row begins.

    Nothing is a missing value: a cell ``NA`` is the text "NA", an empty one "". A byte order mark, blank lines and
    blanks around the columns' names are passed over.

    Args:
        path: the file, in UTF-8.
        required: columns that must be there.
        optional: columns that may be missing.
        separator: between columns.
        advice: what to do if a required column is missing and none has a similar name; by default to add it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not UTF-8, has another separator, lacks a column or has it twice, or a row has more or
            fewer fields than the header.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _parse(path, file, required, optional, separator, advice or {})
    except (UnicodeDecodeError, csv.Error) as error:
        problem = encoding_problem(path) or f"{path} cannot be read as CSV: {error}"
        raise ValueError(problem) from error


def _parse(
    path: Path,
    file: Iterable[str],
    required: Sequence[str],
    optional: Sequence[str],
    separator: str,
    advice: Mapping[str, str],
) -> pd.DataFrame:
    reader = csv.reader(chain(file, [_END]), delimiter=separator)
    header = [name.strip() for name in next(reader)]
    if header == [_END]:
        header = []
    if any("\0" in name for name in header):  # letters of 16 bits, read as bytes
        raise ValueError(encoding_problem(path))
    if header and header[-1].endswith(_END):
        raise ValueError(_unclosed(path, 1))
    _check_header(path, header, required, separator, advice)
    columns = [column for column in dict.fromkeys((*required, *optional)) if column in header]
    width, lines, begin = len(header), [], reader.line_num + 1
    parsed = [_Column(header.index(column)) for column in columns]
    block: list[list[str]] = []
    for row in reader:
        first, begin = begin, reader.line_num + 1
        if len(row) == width and _END not in row[-1] and (width > 1 or row[0].strip()):
            lines.append(first)
            block.append(row)
            if len(block) == _BLOCK:
                _flush(block, parsed)
        elif row == [_END] or not row or (len(row) == 1 and not row[0].strip()):
            continue  # a blank line, or the end
        elif row[-1].endswith(_END):
            raise ValueError(_unclosed(path, first))
        else:
            raise ValueError(_ragged(path, (first, begin - 1), len(row), width, separator))
    _flush(block, parsed)
    cells = {column: cell.cells for column, cell in zip(columns, parsed, strict=True)}
    index = pd.Index(lines, dtype="int64", name=LINE)
    return pd.DataFrame(cells, index=index, columns=pd.Index(columns), dtype=object)


class _Column:
    """The cells of one column. Equal texts share one object, as in pandas' own reader: ratings repeat their ids."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.cells: list[str] = []
        self._known: dict[str, str] = {}

    def extend(self, rows: Iterable[Sequence[str]]) -> None:
        """Add the cells of some rows."""
        texts = [row[self.position] for row in rows]
        self.cells.extend(map(self._known.setdefault, texts, texts))


def _flush(block: list[list[str]], columns: Iterable[_Column]) -> None:
    for column in columns:
        column.extend(block)
    block.clear()


def _check_header(
    path: Path, header: Sequence[str], required: Sequence[str], separator: str, advice: Mapping[str, str]
) -> None:
    missing = [column for column in required if column not in header]
    if missing:
        text = separator.join(header)
        for other, name in SEPARATORS.items():
            if other != separator and set(required) <= {part.strip(' "') for part in text.split(other)}:
                raise ValueError(
                    f"{path} separates its columns by {name}, but they must be separated by {SEPARATORS[separator]}: "
                    f"save it with {SEPARATORS[separator]}"
                )
        free = [name for name in header if name not in required]
        near = {column: nearest(column, free) for column in missing}
        todo = [f"rename {found} to {column}" for column, found in near.items() if found]
        todo += [advice.get(column, f"add {column}") for column, found in near.items() if not found]
        raise ValueError(
            f"{path} has no column {', '.join(missing)}; its columns are {', '.join(header) or 'none'}: "
            f"{' and '.join(todo)}"
        )
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise ValueError(f"{path} has the column {twice[0]!r} twice: rename one of them")


def _unclosed(path: Path, line: int) -> str:
    return (
        f"{path}, line {line} opens a quotation mark that is never closed: close it, or double it where it is part of "
        "the text"
    )


def _ragged(path: Path, lines: tuple[int, int], found: int, expected: int, separator: str) -> str:
    """Why a row does not fit below the header."""
    first, last = lines
    where = f"line {first}" + (f" (which ends on line {last})" if last > first else "")
    one = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}[separator]
    advice = (
        f"put quotation marks around a text that holds {one}" if found > expected else f"every row needs {expected}"
    )
    return f"{path}, {where} has {found} fields where the header has {expected}: {advice}"


def nearest(name: str, columns: Iterable[str]) -> str | None:
    """The column whose name is most like this one, in any case of letters; None if none is like it."""

    def likeness(column: str) -> float:
        column, wanted = column.casefold(), name.casefold()
        return 1.0 if wanted in column else SequenceMatcher(None, wanted, column).ratio()

    best = max(sorted(columns), key=likeness, default=None)
    return best if best is not None and likeness(best) >= _LIKENESS else None


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Raises:
        ValueError: it is not UTF-8; the line is named.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(encoding_problem(path)) from error


def encoding_problem(path: Path) -> str | None:
    """What keeps a file from being UTF-8, in a sentence that names the line; None if nothing does."""
    with path.open("rb") as file:
        begin = file.read(4096)
        for name, marks in _MARKS.items():
            if begin.startswith(marks):
                return f"{path} is {name}: save it as UTF-8"
        if b"\0" in begin:
            line = begin[: begin.index(0)].count(b"\n") + 1
            return f"{path}, line {line} holds a NUL byte, as UTF-16 has them: save it as UTF-8"
        file.seek(0)
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return (
                    f"{path}, line {number} is not UTF-8 (byte 0x{line[error.start]:02x}, perhaps of Latin-1 or "
                    "Windows-1252): save it as UTF-8"
                )
    return None
