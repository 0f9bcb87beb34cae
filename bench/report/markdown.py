"""A table as markdown. Pure: equal data gives equal bytes; no time, host or path is in it."""

from __future__ import annotations

import re

from tabulate import DataRow, TableFormat, tabulate

from bench.report.blocks import Block, Bullets, Heading, Table, blocks_of
from bench.report.model import TableData
from bench.report.statistics import Statistics

_ROW = DataRow("|", "|", "|")
_PIPES = TableFormat(
    lineabove=None,
    linebelowheader=None,
    linebetweenrows=None,
    linebelow=None,
    headerrow=_ROW,
    datarow=_ROW,
    padding=1,
    with_header_hide=None,
)
"""Markdown without columns padded to one width: a changed number changes one line of a diff."""

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
        cells = [[_escaped(cell) for cell in line] for line in lines]
        return tabulate(cells, tablefmt=_PIPES, stralign=None, disable_numparse=True)
    return block.text


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
