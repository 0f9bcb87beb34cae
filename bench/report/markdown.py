"""A table as markdown. Pure: equal data gives equal bytes; no time, host or path is in it."""

from __future__ import annotations

import re

from bench.report.blocks import Block, Bullets, Heading, Table, blocks_of
from bench.report.model import TableData
from bench.report.statistics import Statistics

_TAG = re.compile(r"<(?=[A-Za-z/!?])")
"""Where HTML in a prompt, a label or a reason would begin."""


def render_markdown(data: TableData, statistics: Statistics, *, parts: bool = False) -> str:
    """Return the whole report; with `parts` also what each interval is made of."""
    blocks = blocks_of(data, statistics, parts=parts)
    return "\n\n".join(_TAG.sub("&lt;", _written(block)) for block in blocks) + "\n"


def _written(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Bullets):
        return "\n".join(f"- {line}" for line in block.lines)
    if isinstance(block, Table):
        lines = [block.head, ("---",) * len(block.head), *block.rows]
        return _piped([[_escaped(cell) for cell in line] for line in lines])
    return block.text


def _piped(cells: list[list[str]]) -> str:
    """Lay out a table without padding: a changed number changes one line of a diff."""
    from tabulate import DataRow, TableFormat, tabulate  # slow to import, and needed by few

    row = DataRow("|", "|", "|")
    pipes = TableFormat(None, None, None, None, row, row, padding=1, with_header_hide=None)
    return tabulate(cells, tablefmt=pipes, stralign=None, disable_numparse=True)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
