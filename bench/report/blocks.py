"""What a report says, block by block; markdown and HTML write the same blocks down.

Pure: equal data gives equal blocks; no time, host or path is in them. Texts carry two marks, as in
markdown: `**strong**` and backticks around code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import trained_on, words
from bench.report.facts import ratio_text
from bench.report.model import Summary, TableData
from bench.report.statistics import Statistics


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


def blocks_of(data: TableData, statistics: Statistics) -> Iterator[Block]:
    """Yield the whole report."""
    yield from _head(data)
    yield from _measured(data, statistics)
    yield from _over_seeds(data, statistics)
    yield from _differences(data, statistics)
    yield from _claims(data, statistics)
    yield from _facts(data, statistics)
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


def _measured(data: TableData, statistics: Statistics) -> Iterator[Block]:
    bare = all(s.given is None or s.given.low is None for s in statistics.values)
    if bare and not data.published and any(s.seeds is not None for s in statistics.values):
        return  # the values over seeds say the same, with an interval
    yield Heading(text="Measured, with 95 % intervals given these checkpoints")
    head = ["row"]
    for column in data.columns:
        name = words.column_name(data, column["key"])
        head += [f"{name} {words.arrow(column)} measured", f"{column['key']} published"]
    rows = []
    for row in data.rows:
        cells = [row["label"]]
        for column in data.columns:
            summary = statistics.value(row["key"], column["key"])
            cells += [
                _value(summary, int(column["decimals"]))
                + words.circular_mark(data, row["key"], column["key"]),
                words.published_text(data, row["key"], column) + _mark(data, row["key"], column),
            ]
        rows.append(cells)
    yield _table(head, rows)
    yield Text(
        text="Intervals: prompts resampled within their task (means), blocks of prompts left out "
        "(FID, IS). They say what other prompts would have given, not what training again would."
    )


def _value(summary: Summary, decimals: int) -> str:
    given = summary.given
    if summary.state != "measured" or given is None:
        return words.state_word(summary)
    ends = words.interval(given.low, given.high, decimals) or "(no interval)"
    return f"{words.number(given.value, decimals)} {ends}, n = {given.n}"


def _mark(data: TableData, row: str, column: Mapping[str, Any]) -> str:
    value = data.published.get(row, {}).get(column["key"])
    if value is None or value["footnote"] is None:
        return ""
    return f" [{list(data.footnotes).index(value['footnote']) + 1}]"


def _over_seeds(data: TableData, statistics: Statistics) -> Iterator[Block]:
    if not any(s.seeds is not None for s in statistics.values):
        return
    yield Heading(text="Over training seeds (mean, 95 % t interval)")
    rows = []
    for row in data.rows:
        summaries = [statistics.value(row["key"], c["key"]) for c in data.columns]
        if all(s.seeds is None for s in summaries):
            continue
        rows.append(
            [
                row["label"],
                *(
                    words.seeds_text(s.seeds, int(c["decimals"]))
                    if s.seeds
                    else words.state_word(s)
                    for s, c in zip(summaries, data.columns, strict=True)
                ),
            ]
        )
    names = [f"{words.column_name(data, c['key'])} {words.arrow(c)}" for c in data.columns]
    yield _table(["row", *names], rows)


def _differences(data: TableData, statistics: Statistics) -> Iterator[Block]:
    if statistics.baseline is None or not statistics.differences:
        return
    labels = {row["key"]: row["label"] for row in data.rows}
    rows = []
    for found in statistics.differences:
        if found.state != "measured" or found.given is None:
            continue
        decimals = words.decimals_of(data, found.column)
        given = found.given
        ends = words.interval(given.low, given.high, decimals, sign=True) or "(no interval)"
        seeds = words.seeds_text(found.seeds, decimals, sign=True) if found.seeds else "-"
        value = words.number(given.value, decimals, sign=True)
        name = words.column_name(data, found.column)
        rows.append([labels[found.row], name, f"{value} {ends}", seeds])
    if not rows:
        return
    yield Heading(text=f"Differences from {labels[statistics.baseline]}, paired")
    yield _table(["row", "column", "given these checkpoints", "over training seeds"], rows)


def _claims(data: TableData, statistics: Statistics) -> Iterator[Block]:
    if not data.claims:
        return
    yield Heading(text="Claims")
    rows = []
    for claim, verdict in zip(data.claims, statistics.verdicts, strict=True):
        decimals = words.decimals_of(data, claim["column"])
        rows.append(
            [
                words.claim_text(data, claim) + words.claim_mark(claim),
                f"**{verdict.word}**",
                words.verdict_effect(verdict, decimals),
                words.number(words.published_effect(data, claim), decimals, sign=True),
                verdict.reason,
            ]
        )
    head = ["claim", "verdict", "measured effect, over training seeds", "published effect", "why"]
    yield _table(head, rows)
    yield Text(
        text="Judged by the paired t test over training seeds, Holm-corrected over the claims of "
        "this table; with fewer than three training seeds the word is inconclusive."
        + (" This table is partial." if data.partial else "")
    )


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
    lines = [f"{row['label']}: {row['note']}" for row in data.rows if row["note"]]
    lines += trained_on.lines(data.cells)
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
