"""A table as one HTML page that needs nothing else: plots, verdicts, all numbers, provenance.

No script, no font and no address outside the page; every text is escaped. Equal data gives equal
bytes.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.read.text import read_text
from bench.report import scale_words, words
from bench.report.blocks import PARTS, Block, Bullets, Heading, Table, blocks_of
from bench.report.curve_plot import curve_key, curve_plots
from bench.report.forest import forest_plot
from bench.report.model import TableData
from bench.report.statistics import Statistics

STYLE, CURVES_STYLE = "page.css", "curves.css"
MOST_PLOTS = 12
"""Columns up to which each gets a plot; a table with more is read as numbers."""
FOLDED = frozenset({PARTS, "Protocol", "Provenance"})
_VERDICTS = ("supported", "contradicted", "inconclusive", "withheld")


def render_page(
    data: TableData, statistics: Statistics, pictures: Mapping[str, bytes] | None = None
) -> str:
    """Return the page.

    Args:
        data: the table.
        statistics: of it.
        pictures: PNG files by caption, shown above the numbers.
    """
    title, *rest = _sections(blocks_of(data, statistics, parts=True))
    body = [
        f"<header>\n{_written(title)}\n</header>",
        _verdict_strip(data, statistics),
        _plots(data, statistics),
        _curves(data, statistics),
        *(_picture(caption, content) for caption, content in (pictures or {}).items()),
        *(_section(blocks) for blocks in rest),
    ]
    sheets = [STYLE, *([CURVES_STYLE] if statistics.points else [])]
    style = "".join(read_text(Path(__file__).with_name(sheet)) for sheet in sheets)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(data.title)}</title>",
            f"<style>\n{style}</style></head>",
            "<body><main>",
            *(part for part in body if part),
            "</main></body></html>\n",
        ]
    )


def inline(text: str) -> str:
    """Return a text escaped, with its two marks (`**strong**`, backticks) as elements."""
    found = re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", found)


def _sections(blocks: Iterable[Block]) -> list[list[Block]]:
    found: list[list[Block]] = []
    for block in blocks:
        if isinstance(block, Heading):
            found.append([])
        found[-1].append(block)
    return found


def _section(blocks: Sequence[Block]) -> str:
    head = blocks[0]
    if isinstance(head, Heading) and head.text in FOLDED:
        inner = _written(blocks[1:])
        return f"<details><summary>{inline(head.text)}</summary>\n{inner}\n</details>"
    return f"<section>\n{_written(blocks)}\n</section>"


def _written(blocks: Sequence[Block]) -> str:
    return "\n".join(_block(block) for block in blocks)


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{inline(block.text)}</h{block.level}>"
    if isinstance(block, Bullets):
        return "<ul>" + "".join(f"<li>{inline(line)}</li>" for line in block.lines) + "</ul>"
    if isinstance(block, Table):
        return _table(block)
    return f"<p>{inline(block.text)}</p>"


def _table(block: Table) -> str:
    head = "".join(f'<th scope="col">{inline(cell)}</th>' for cell in block.head)
    lines = [f"<tr>{''.join(_cells(row))}</tr>" for row in block.rows]
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>'
        + "\n".join(lines)
        + "</tbody></table></div>"
    )


def _cells(row: Sequence[str]) -> Iterator[str]:
    yield f'<th scope="row">{inline(row[0])}</th>'
    for cell in row[1:]:
        word = cell.partition("** ")[0].strip("*")
        kind = f' class="verdict {word}"' if word in _VERDICTS else ""
        yield f"<td{kind}>{inline(cell)}</td>"


def _verdict_strip(data: TableData, statistics: Statistics) -> str:
    cards = []
    for number, (claim, verdict) in enumerate(zip(data.claims, statistics.verdicts, strict=True)):
        decimals = words.decimals_of(data, claim["column"])
        word = html.escape(words.verdict_word(verdict))
        cards.append(
            f'<li class="{html.escape(verdict.word)}"><b>{word}</b>'
            f"{html.escape(scale_words.qualifier(data, statistics, number))}"
            f"<span>{html.escape(words.claim_text(data, claim) + words.claim_mark(claim))}</span>"
            f"<small>{html.escape(words.verdict_effect(verdict, decimals))}</small></li>"
        )
    return f'<ul class="claims">{"".join(cards)}</ul>' if cards else ""


def _plots(data: TableData, statistics: Statistics) -> str:
    if len(data.columns) > MOST_PLOTS:
        return ""
    plots = [forest_plot(data, statistics, column) for column in data.columns]
    drawn = [f"<figure>{plot}</figure>" for plot in plots if plot]
    if not drawn:
        return ""
    key = (
        "Points: measured. Thin lines: 95 %. Thick lines: 95 % given these checkpoints. Broken "
        "line: the base."
        + ("" if data.orientation or not data.published else " Rhombs: published.")
    )
    return f'<div class="plots">{"".join(drawn)}</div>\n<p class="key">{key}</p>'


def _curves(data: TableData, statistics: Statistics) -> str:
    drawn = [f"<figure>{plot}</figure>" for plot in curve_plots(data, statistics) if plot]
    if not drawn:
        return ""
    return f'<div class="plots">{"".join(drawn)}</div>\n{curve_key(data, statistics)}'


def _picture(caption: str, content: bytes) -> str:
    told = html.escape(caption)
    encoded = base64.b64encode(content).decode("ascii")
    return (
        f'<figure class="picture"><img alt="{told}" src="data:image/png;base64,{encoded}">'
        f"<figcaption>{told}</figcaption></figure>"
    )
