"""A table for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import (
    control_words,
    curve_words,
    leaderboard_words,
    processors,
    scale_words,
    words,
)
from bench.report.facts import ratio_text
from bench.report.model import Summary, TableData
from bench.report.reach import reach_line
from bench.report.statistics import Statistics
from bench.stats.claims import MIN_TRAINING_SEEDS
from bench.stats.crossed import Part

WIDTH = 80
_LABEL = 23
_PARTS = (("prompts", "  given checkpoints"), ("seeds", "  over training seeds"))
_CELL = 14


def render_terminal(data: TableData, statistics: Statistics, *, parts: bool = False) -> str:
    """Return the table, the claims and what is to be known of them; no line is above 80 wide.

    Args:
        data: the table.
        statistics: of it.
        parts: also what each interval is made of, a line each below the row.
    """
    lines = [*_wrapped(data.title), *_head(data), "", *_leaderboard(data, statistics)]
    lines += _grid(list(_table(data, statistics, parts=parts)), len(data.columns))
    lines += _wrapped(
        "Measured ± half the 95 % interval; (number): as published, q: quoted by the paper. "
        f"{words.intervals_note(data)} {words.orientation_notice(data)}"
    )
    lines += _wrapped(reach_line(data, statistics))
    for said in (_claims, _scales, _curves, _controls, _facts):
        lines += said(data, statistics)
    for line in (*processors.lines(data.cells), *words.variant_lines(data)):
        lines += _wrapped(line, indent="  ")
    for line in words.verified_lines(data):
        lines += _wrapped(line, indent="  ")
    for reason in words.reasons(data, statistics):
        lines += _wrapped(reason, indent="  ")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _head(data: TableData) -> Iterator[str]:
    seeds = ", ".join(str(s) for s in data.seeds)
    profile = data.profile
    yield from _wrapped(
        f"profile {profile['name']}, protocol {profile['protocol']}, training seeds {seeds}"
    )
    if profile["overrides"]:
        yield from _wrapped(f"changed: {', '.join(profile['overrides'])}", indent="  ")
    notice = words.partial_notice(data)
    if notice:
        yield from _wrapped(notice)


def _leaderboard(data: TableData, statistics: Statistics) -> Iterator[str]:
    found = leaderboard_words.standings(data, statistics)
    if not found:
        return
    yield f"Leaderboard: {words.column_name(data, str(data.leaderboard))}"
    tasks = leaderboard_words.tasks_of(statistics)
    for place in found:
        label = f"{place.rank:>3} {place.label}".ljust(_LABEL + 8)
        yield from _wrapped(f"{label} {place.effect} {place.verdict}", indent="  ")
        parts = zip(tasks, place.tasks, strict=True)
        yield from _wrapped(", ".join(f"{task} {part}" for task, part in parts), indent="      ")
    yield from _wrapped(leaderboard_words.leaderboard_note(data, statistics))
    yield ""


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One line of the table, of all columns; `optional` where it is left out if it is empty."""

    label: str
    cells: Sequence[str]
    optional: bool = True


def _table(data: TableData, statistics: Statistics, *, parts: bool) -> Iterator[_Line]:
    columns = data.columns
    heads = [f"{c['key']} {words.arrow(c)}" for c in columns]
    yield _Line(label="", cells=heads, optional=False)
    variants = [", ".join(words.variant_names(data, c["key"])) for c in columns]
    yield _Line(label="  measured with", cells=variants)
    for row in data.shown:
        found = [statistics.value(row["key"], c["key"]) for c in columns]
        values = [_value(s, c) for s, c in zip(found, columns, strict=True)]
        yield _Line(label=row["label"], cells=values, optional=False)
        for part, label in _PARTS if parts else ():
            halves = [_part(s, part, c) for s, c in zip(found, columns, strict=True)]
            yield _Line(label=label, cells=halves)
        marks = [words.circular_mark(data, row["key"], c["key"]).strip() for c in columns]
        yield _Line(label="", cells=marks)
        published = [_published(data, row["key"], c) for c in columns]
        yield _Line(label="  published", cells=published)


def _grid(table: Sequence[_Line], columns: int) -> Iterator[str]:
    """Yield the lines in blocks of as many columns as fit beside each other, a blank behind each.

    Columns are as wide as what is in them: no cell touches the next.
    """
    width = _width(cell for line in table for cell in line.cells)
    fits = max(1, (WIDTH - _LABEL) // width)
    for start in range(0, columns, fits):
        for line in table:
            cells = line.cells[start : start + fits]
            if any(cells) or not line.optional:
                yield _line(line.label, cells, width)
        yield ""


def _width(cells: Iterable[str]) -> int:
    """Return how wide columns are in which these cells do not touch each other."""
    return max(_CELL, *(len(cell) + 1 for cell in cells), 0)


def _line(label: str, cells: Sequence[str], width: int) -> str:
    shown = label if len(label) < _LABEL else label[: _LABEL - 2] + "…"
    return shown.ljust(_LABEL) + "".join(cell.ljust(width) for cell in cells)


def _short(text: str) -> str:
    """Drop the zero before the point: `.4245`, as the papers print it."""
    for sign in ("", "+", "-", "±"):
        if text.startswith(f"{sign}0."):
            return sign + text[len(sign) + 1 :]
    return text


def _value(summary: Summary, column: Mapping[str, Any]) -> str:
    found, decimals = summary.estimate, int(column["decimals"])
    if found is None:
        return words.state_word(summary)
    half = words.half_width(found.low, found.high, decimals)
    return f"{_short(words.number(found.value, decimals))} {_short(half)}"


def _part(summary: Summary, part: str, column: Mapping[str, Any]) -> str:
    """Return half the interval that one part of the error term alone would give."""
    if summary.estimate is None:
        return ""
    found: Part | None = getattr(summary.estimate.parts, part)
    if found is None:
        return ""
    return _short(words.half_width(found.low, found.high, int(column["decimals"])))


def _published(data: TableData, row: str, column: Mapping[str, Any]) -> str:
    value = data.published.get(row, {}).get(column["key"])
    if value is None:
        return ""
    text = _short(words.number(float(value["value"]), int(column["decimals"])))
    return f"({text}{' q' if value['quoted'] else ''})"


def _claims(data: TableData, statistics: Statistics) -> Iterator[str]:
    if not data.claims:
        return
    yield ""
    if all(verdict.is_short_of_seeds for verdict in statistics.verdicts):
        yield from _short_of_seeds(data, statistics)
        return
    yield "Claims" + (" (of a partial table)" if data.partial else "")
    for number, (claim, verdict) in enumerate(zip(data.claims, statistics.verdicts, strict=True)):
        decimals = words.decimals_of(data, claim["column"])
        effect = words.verdict_effect(verdict, decimals)
        yield from _wrapped(
            f"{words.verdict_word(verdict)}{scale_words.qualifier(data, statistics, number)}: "
            f"{words.claim_text(data, claim)}{words.claim_mark(claim)}: {effect}; "
            f"{words.verdict_reason(verdict)}",
            indent="  ",
        )


def _short_of_seeds(data: TableData, statistics: Statistics) -> Iterator[str]:
    """Yield the claimed differences where training seeds are too few for any verdict."""
    yield "Claims, for these checkpoints"
    for claim, verdict in zip(data.claims, statistics.verdicts, strict=True):
        decimals = words.decimals_of(data, claim["column"])
        paper = words.published_effect(data, claim)
        told = "" if paper is None else f" (paper {words.number(paper, decimals, sign=True)})"
        effect = words.verdict_effect(verdict, decimals)
        yield from _wrapped(f"{words.claim_text(data, claim)}: {effect}{told}", indent="  ")
    yield f"No verdicts: those need {MIN_TRAINING_SEEDS} training seeds (--seeds 0,1,2)."


def _scales(data: TableData, statistics: Statistics) -> Iterator[str]:
    rows = list(scale_words.scale_table(data, statistics))
    if rows:
        yield ""
        yield "Planned claims at three guidance scales: the protocol's, the base's best,"
        yield "each row's own best"
    for claim, *effects, guidance in rows:
        told = f"{claim}: {'; '.join(effects)}; guidance gives {guidance}"
        yield from _wrapped(told, indent="  ")


def _curves(data: TableData, statistics: Statistics) -> Iterator[str]:
    if statistics.own:
        yield ""
        yield "Each row at its own best guidance scale (best on either half of the prompts)"
    for column, label, best, value, *effects in curve_words.own_table(data, statistics):
        told = "; ".join(
            f"{h} {e}" for h, e in zip(curve_words.OWN_HEAD[4:], effects, strict=True) if e != "-"
        )
        yield from _wrapped(f"{label} on {column}, CFG {best}: {value}; {told}", indent="  ")
    for name, scales, rows in curve_words.curve_tables(data, statistics):
        yield ""
        yield f"{name} over the guidance scale"
        lines = [_Line(label="", cells=scales[1:], optional=False)]
        lines += [
            _Line(label=row[0], cells=[" ".join(map(_short, c.split())) for c in row[1:]])
            for row in rows
        ]
        yield from filter(None, _grid(lines, len(scales) - 1))


def _controls(data: TableData, statistics: Statistics) -> Iterator[str]:
    rows = list(control_words.control_rows(data, statistics))
    unrun = control_words.unrun_line(data)
    short = all(result.is_short_of_seeds for result in statistics.controls)
    if rows:
        yield ""
        yield "Controls, for these checkpoints" if short else "Controls"
    for label, must, column, effect, word, why in rows:
        asked = "" if must == "-" else f", must {must}"
        told = f"{word}: {label} on {column}{asked}: {effect}; {why}"
        if short and word == "undecided":
            told = f"{label} on {column}{asked}: {effect}"
        yield from _wrapped(told, indent="  ")
    for line in control_words.drift_lines(data, statistics):
        yield from _wrapped(line, indent="  ")
    if unrun:
        yield from _wrapped(unrun)


def _facts(data: TableData, statistics: Statistics) -> Iterator[str]:
    if not data.facts:
        return
    yield ""
    yield "Published statements, not measured here"
    for fact, found in zip(data.facts, statistics.ratios, strict=True):
        measured = "" if found is None else f" Measured ratio of gains: {ratio_text(found)}."
        yield from _wrapped(f"{fact['says']} ({fact['source']}){measured}", indent="  ")


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  " if indent else ""
    )
