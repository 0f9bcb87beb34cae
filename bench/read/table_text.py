"""Tables of users as text: comma- or tab-separated, with a heading.

A row with more or fewer cells than the heading, a column named twice and a quotation mark that
nobody closes are refused: each of them would be read as something else than was meant.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError
from bench.read.text import MARK, read_text, shown

LONGEST_CELL = 131_072
"""Characters of a cell; Python's own limit."""

SEPARATORS: Mapping[str, str] = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, kw_only=True, slots=True)
class TextRow:
    """One row.

    Attributes:
        line: on which it ends, from 1.
        values: by column; empty where there is a fault.
        fault: why it cannot be used.
    """

    line: int
    values: Mapping[str, str]
    fault: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextTable:
    """A heading and its rows, in the file's order."""

    where: str
    columns: Sequence[str]
    rows: Sequence[TextRow]

    def whole(self) -> Sequence[TextRow]:
        """Return the rows (UsageError where one is not of the heading's width)."""
        for row in self.rows:
            if row.fault:
                raise UsageError(f"{self.where}, line {row.line}: {row.fault}")
        return self.rows


def parse_table(text: str, where: str, *, separator: str = ",") -> TextTable:
    r"""Return the table that a text holds; blank lines are skipped.

    Args:
        text: with "\n" or "\r\n" at the ends of lines.
        where: its name, for messages.
        separator: between cells; with a tab, quotation marks are part of the text, and a cell that
            is quoted whole is refused.

    Raises:
        UsageError: there is no heading, a column is named twice, a quotation mark is not closed,
            a cell is too long, or lines end in "\r" alone.
    """
    _refuse_lone_returns(text, where)
    rows: list[TextRow] = []
    columns: list[str] = []
    for line, cells in _cells(text, where, separator):
        if not any(cells):
            continue
        if not columns:
            columns = [cell.strip() for cell in cells]
            _check_heading(columns, where)
        elif fault := _joined(cells, columns):
            rows.append(TextRow(line=line, values={}, fault=fault))
        elif len(cells) == len(columns):
            rows.append(TextRow(line=line, values=dict(zip(columns, cells, strict=True))))
        else:
            fault = (
                f"{len(cells)} cells, the heading has {len(columns)}; put a cell that holds the "
                "separator between quotation marks"
            )
            rows.append(TextRow(line=line, values={}, fault=fault))
    if not columns:
        raise UsageError(f"{where} is empty; expected a heading and rows")
    return TextTable(where=where, columns=columns, rows=rows)


def read_text_table(path: Path) -> TextTable:
    """Return the table that a .csv or .tsv file holds.

    Raises:
        MissingFileError, UsageError: as `read_text` and `parse_table`.
    """
    separator = SEPARATORS.get(path.suffix.lower(), ",")
    return parse_table(read_text(path), shown(path), separator=separator)


def plain_rows(text: str, where: str) -> Iterator[list[str]]:
    """Yield the rows of comma-separated text as Python reads them.

    For files that are held to a hash: what is odd about them is known.

    Raises:
        UsageError: Python cannot read it.
    """
    try:
        yield from csv.reader(io.StringIO(text, newline=""))
    except csv.Error as error:
        raise UsageError(f"{where}: {error}") from None


def plain_table(text: str, where: str) -> tuple[list[str], list[dict[str, str]]]:
    """Return the heading and the rows by column, as `plain_rows`; cells beyond it are dropped.

    Raises:
        UsageError: Python cannot read it, or a row has fewer cells than the heading.
    """
    rows = plain_rows(text, where)
    columns = next(rows, [])
    found = []
    for number, cells in enumerate(rows, start=2):
        if not cells:
            continue
        if len(cells) < len(columns):
            raise UsageError(f"{where}, row {number}: {len(cells)} of {len(columns)} cells")
        found.append(dict(zip(columns, cells, strict=False)))
    return columns, found


def _cells(text: str, where: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    if separator == "\t":
        for number, line in enumerate(text.split("\n"), start=1):
            cells = line.removesuffix("\r").split("\t")
            _refuse_quoted(cells, f"{where}, line {number}")
            yield number, cells
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    begun = 1
    try:
        for cells in reader:
            begun = reader.line_num + 1
            yield reader.line_num, cells
    except csv.Error as error:
        hint = (
            f"a cell of more than {LONGEST_CELL} characters; is a quotation mark not closed?"
            if "field larger" in str(error)
            else f"{error}; is a quotation mark not closed, or not doubled inside a cell?"
        )
        raise UsageError(f"{where}: the row that begins on line {begun}: {hint}") from None


def _joined(cells: Sequence[str], columns: Sequence[str]) -> str:
    """Return why a row is the beginning of another table, nothing where it is none."""
    if any(cell.startswith(MARK) for cell in cells):
        return "a cell begins with the byte order mark of a file; were two files joined there?"
    if [cell.strip() for cell in cells] == list(columns):
        return "it is the heading once more; were two tables joined there? Take it out"
    return ""


def _refuse_quoted(cells: Sequence[str], where: str) -> None:
    """Refuse a cell as programs quote it in tab-separated text: are the marks part of it?"""
    for cell in cells:
        inside = cell[1:-1]
        if len(cell) > 1 and cell[0] == cell[-1] == '"' and not inside.replace('""', "").count('"'):
            raise UsageError(
                f"{where}: the cell {cell[:40]!r} stands between quotation marks: are they part of "
                "it? Save the table as .csv, or write it without them"
            )


def _refuse_lone_returns(text: str, where: str) -> None:
    if "\r" in text.replace("\r\n", ""):
        raise UsageError(
            f"{where}: a carriage return without a line feed, as old Macs end lines; save the file "
            "with the line ends of today"
        )


def _check_heading(columns: Sequence[str], where: str) -> None:
    folded = [name.casefold() for name in columns]
    twice = [name for name in columns if folded.count(name.casefold()) > 1]
    if twice:
        told = " and ".join(repr(name) for name in dict.fromkeys(twice))
        raise UsageError(f"{where}: the heading names the column {told} twice; keep one")
    if len(columns) == 1:
        other = next((c for c in ";\t|" if c in columns[0]), None)
        if other is not None:
            raise UsageError(
                f"{where}: the heading {columns[0]!r} is separated by {other!r}; expected commas "
                "in a .csv, tabs in a .tsv. Save it as one of these"
            )


def require_spelt(columns: Sequence[str], known: Iterable[str], where: str) -> None:
    """Make sure that no column is one of those that are read, in another case or with blanks.

    Such a column would be left out, and another one be read in its place.

    Raises:
        UsageError: one is; it is named, and how it is spelt here.
    """
    spelt = {name.casefold(): name for name in known}
    for name in columns:
        right = spelt.get(name.strip().casefold().replace(" ", "_"))
        if right is not None and right != name:
            raise UsageError(f"{where}: the column {name!r} is spelt {right!r} here; rename it")
