"""What a report says, block by block; markdown and HTML write the same blocks down.

Pure: equal data gives equal blocks; no time, host or path is in them. Texts carry two marks, as in
markdown: `**strong**` and backticks around code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import (
    control_words,
    curve_words,
    leaderboard_words,
    processors,
    scale_words,
    trained_on,
    words,
)
from bench.report.curve_words import few_images, own_table
from bench.report.facts import ratio_text
from bench.report.model import Summary, TableData
from bench.report.reach import reach_line
from bench.report.statistics import Statistics
from bench.stats import CrossedEstimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """A heading; level 1 is the title."""

    text: str
    level: int = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Bullets:
    """A list."""

    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table with a head line."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Text | Bullets | Table
PARTS = "What the intervals are made of"


def blocks_of(data: TableData, statistics: Statistics, *, parts: bool = False) -> Iterator[Block]:
    """Yield the whole report.

    Args:
        data: the table.
        statistics: of it.
        parts: also what each interval is made of.
    """
    yield from _head(data)
    yield from _leaderboard(data, statistics)
    yield from _measured(data, statistics)
    yield from _differences(data, statistics)
    yield from _claims(data, statistics)
    yield from _scales(data, statistics)
    yield from _curves(data, statistics)
    yield from _controls(data, statistics)
    yield from _facts(data, statistics)
    if parts:
        yield from parts_of(data, statistics)
    yield from _notes(data, statistics)
    yield from _protocols(data)
    yield from _provenance(data)


def _head(data: TableData) -> Iterator[Block]:
    yield Heading(text=data.title, level=1)
    notice = words.partial_notice(data)
    if notice:
        yield Text(text=f"**{notice}**")
    seeds = ", ".join(str(s) for s in data.seeds)
    profile = data.profile
    lines = [
        f"published in: {data.source}",
        f"profile: {profile['name']} ({profile['title']}), checkpoint {profile['checkpoint']}, "
        f"protocol {profile['protocol']}",
        f"training seeds: {seeds}",
    ]
    if profile["overrides"]:
        lines.append(f"changed settings: {', '.join(profile['overrides'])}")
    lines.append(words.orientation_notice(data))
    yield Bullets(lines=tuple(lines))


def _leaderboard(data: TableData, statistics: Statistics) -> Iterator[Block]:
    found = leaderboard_words.standings(data, statistics)
    if not found:
        return
    name = words.column_name(data, str(data.leaderboard))
    yield Heading(text=f"Leaderboard: {name}")
    tasks = leaderboard_words.tasks_of(statistics)
    rows = [[s.rank, s.label, s.effect, f"**{s.verdict}**", *s.tasks] for s in found]
    yield _table(["", "row", "difference", "verdict", *tasks], rows)
    yield Text(text=leaderboard_words.leaderboard_note(data, statistics))


def _measured(data: TableData, statistics: Statistics) -> Iterator[Block]:
    yield Heading(text="Measured, with 95 % intervals")
    published = bool(data.published)
    head = ["row"]
    for column in data.columns:
        name = words.column_name(data, column["key"])
        head.append(f"{name} {words.arrow(column)} measured")
        head += [f"{column['key']} published"] if published else []
    rows = []
    for row in data.shown:
        cells = [row["label"]]
        for column in data.columns:
            summary = statistics.value(row["key"], column["key"])
            cells.append(
                _value(summary, int(column["decimals"]))
                + words.circular_mark(data, row["key"], column["key"])
            )
            if published:
                mark = _mark(data, row["key"], column)
                cells.append(words.published_text(data, row["key"], column) + mark)
        rows.append(cells)
    yield _table(head, rows)
    yield Text(text=words.intervals_note(data))
    line = reach_line(data, statistics)
    if line:
        yield Text(text=line)


def _value(summary: Summary, decimals: int) -> str:
    found = summary.estimate
    if found is None:
        return words.state_word(summary)
    cells = len(summary.by_seed)
    times = f"{cells} x " if cells > 1 else ""
    return f"{words.estimate_text(found, decimals)}, n = {times}{summary.images}"


def _mark(data: TableData, row: str, column: Mapping[str, Any]) -> str:
    value = data.published.get(row, {}).get(column["key"])
    if value is None or value["footnote"] is None:
        return ""
    return f" [{list(data.footnotes).index(value['footnote']) + 1}]"


def _differences(data: TableData, statistics: Statistics) -> Iterator[Block]:
    rows = [
        [label, name, words.estimate_text(found, decimals, sign=True)]
        for label, name, found, decimals in _found(data, statistics.differences)
    ]
    if rows:
        yield Heading(text=f"Differences from {_label(data, str(statistics.baseline))}, paired")
        yield _table(["row", "column", "difference"], rows)


def parts_of(data: TableData, statistics: Statistics) -> Iterator[Block]:
    """Yield what values and differences would have for an interval from either part alone."""
    rows = []
    for summaries, sign in ((statistics.values, False), (statistics.differences, True)):
        for label, name, found, decimals in _found(data, summaries):
            shown = [
                words.estimate_text(found, decimals, sign=sign),
                words.part_text(found.parts.prompts, decimals, sign=sign),
                words.part_text(found.parts.seeds, decimals, sign=sign),
            ]
            what = f"less {_label(data, str(statistics.baseline))}" if sign else "value"
            rows.append([label, name, what, *shown])
    if rows:
        yield Heading(text=PARTS)
        head = ["row", "column", "of", "whole", "given these checkpoints", "over training seeds"]
        yield _table(head, rows)


def _found(
    data: TableData, summaries: Sequence[Summary]
) -> Iterator[tuple[str, str, CrossedEstimate, int]]:
    """Yield the row's label, the column's name, the estimate and the column's decimals."""
    for summary in summaries:
        if summary.estimate is not None:
            yield (
                _label(data, summary.row),
                words.column_name(data, summary.column),
                summary.estimate,
                words.decimals_of(data, summary.column),
            )


def _label(data: TableData, row: str) -> str:
    return next(str(r["label"]) for r in data.rows if r["key"] == row)


def _claims(data: TableData, statistics: Statistics) -> Iterator[Block]:
    if not data.claims:
        return
    yield Heading(text="Claims")
    rows = []
    for number, (claim, verdict) in enumerate(zip(data.claims, statistics.verdicts, strict=True)):
        decimals = words.decimals_of(data, claim["column"])
        word = f"**{words.verdict_word(verdict)}**"
        rows.append(
            [
                words.claim_text(data, claim) + words.claim_mark(claim),
                word + scale_words.qualifier(data, statistics, number),
                words.verdict_effect(verdict, decimals),
                words.number(words.published_effect(data, claim), decimals, sign=True),
                words.verdict_reason(verdict),
            ]
        )
    head = ["claim", "verdict", "measured effect", "published effect", "why"]
    yield _table(head, rows)
    yield Text(text=words.judged_note(data) + (" This table is partial." if data.partial else ""))


def _scales(data: TableData, statistics: Statistics) -> Iterator[Block]:
    rows = list(scale_words.scale_table(data, statistics))
    if rows:
        yield Heading(text="Planned claims at three guidance scales")
        head = ["claim", "the protocol's", "the base's best", "each row's own best"]
        yield _table([*head, "guidance gives"], rows)
        yield Text(text=scale_words.NOTE)


def _curves(data: TableData, statistics: Statistics) -> Iterator[Block]:
    if statistics.own:
        yield Heading(text="Each row at its own best guidance scale")
        yield _table(curve_words.OWN_HEAD, list(own_table(data, statistics)))
        yield Text(text=f"{curve_words.OWN_NOTE} {few_images(statistics.own)}".rstrip())
    for name, head, rows in curve_words.curve_tables(data, statistics):
        yield Heading(text=f"{name} over the guidance scale, ± half the 95 % interval")
        yield _table(head, rows)


def _controls(data: TableData, statistics: Statistics) -> Iterator[Block]:
    rows = [
        [label, must, column, effect, f"**{word}**", why]
        for label, must, column, effect, word, why in control_words.control_rows(data, statistics)
    ]
    unrun = control_words.unrun_line(data)
    if not rows and not unrun:
        return
    yield Heading(text="Controls")
    if rows:
        yield _table(["control", "must", "column", "difference from its base", "", "why"], rows)
    for text in (control_words.controls_note(statistics), unrun):
        if text:
            yield Text(text=text)
    if lines := tuple(control_words.drift_lines(data, statistics)):
        yield Bullets(lines=lines)


def _facts(data: TableData, statistics: Statistics) -> Iterator[Block]:
    if not data.facts:
        return
    yield Heading(text="Published statements")
    rows = []
    for fact, found in zip(data.facts, statistics.ratios, strict=True):
        ratio = fact.get("ratio")
        published = "-" if ratio is None else f"{ratio['published']:g}"
        rows.append([fact["says"], fact["source"], published, ratio_text(found)])
    head = ["published, not measured here", "source", "ratio of gains, published", "measured"]
    yield _table(head, rows)
    if any(fact.get("ratio") for fact in data.facts):
        yield Text(
            text="Measured ratios: Fieller's 95 % interval, with one error term for training seeds "
            "and prompts. A ratio is undefined where the gain it divides by may be 0."
        )


def _notes(data: TableData, statistics: Statistics) -> Iterator[Block]:
    lines = [f"{row['label']}: {row['note']}" for row in data.shown if row["note"]]
    lines += trained_on.lines(data.cells)
    lines += processors.lines(data.cells)
    lines += [f"{variant}" for variant in words.variant_lines(data)]
    lines += [f"{line}" for line in words.verified_lines(data)]
    lines += [f"{reason}" for reason in words.reasons(data, statistics)]
    used = {value["footnote"] for cells in data.published.values() for value in cells.values()}
    lines += [
        f"[{i}] {' '.join(text.split())}"
        for i, (key, text) in enumerate(data.footnotes.items(), start=1)
        if key in used
    ]
    sources = sorted(
        {str(v["source"]) for cells in data.published.values() for v in cells.values()}
    )
    if sources:
        lines.append(
            f"published values: {'; '.join(sources)}. Quoted: taken by the paper from elsewhere."
        )
    if lines:
        yield Heading(text="Notes")
        yield Bullets(lines=tuple(lines))


def _protocols(data: TableData) -> Iterator[Block]:
    found: dict[str, tuple[list[str], Mapping[str, Any]]] = {}
    for column in data.columns:
        protocol = words.column_protocol(data, column["key"])
        if protocol is not None:
            key = words.protocol_id(protocol)
            found.setdefault(key, ([], protocol))[0].append(column["key"])
    if not found:
        return
    yield Heading(text="Protocol")
    for key, (columns, protocol) in found.items():
        yield Text(text=f"**{', '.join(columns)}**: protocol `{protocol['name']}`, id `{key}`")
        yield Bullets(lines=tuple(words.protocol_lines(protocol)))


def _provenance(data: TableData) -> Iterator[Block]:
    rows = []
    for cell in data.cells:
        if cell.state != "measured":
            continue
        commit = str(cell.provenance.get("commit") or "unknown")[:12]
        if cell.provenance.get("dirty_sha256"):
            commit += f"+{str(cell.provenance['dirty_sha256'])[:8]}"
        seeds = [words.seed_text(seed) for seed in (cell.training_seed, cell.noise_seed)]
        artifacts = cell.provenance.get("artifacts", {})
        rows.append([cell.row, cell.column, *seeds, f"`{artifacts.get('scores')}`", commit])
    if rows:
        yield Heading(text="Provenance")
        head = ["row", "column", "training seed", "noise seed", "scores", "commit"]
        yield _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return Table(head=tuple(head), rows=tuple(tuple(row) for row in rows))
