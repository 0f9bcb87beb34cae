"""What a report says of its controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.report import words
from bench.report.controls import label_of
from bench.report.model import TableData
from bench.report.statistics import Statistics
from bench.spec.rows import IMPROVES, NULL, PROBE
from bench.stats.claims import ALPHA

MUST = {IMPROVES: "improve", NULL: "not improve", PROBE: "-"}


def control_rows(data: TableData, statistics: Statistics) -> Iterator[tuple[str, ...]]:
    """Yield label, what it must do, column, effect, outcome and why of each control.

    Probes stand behind those that are tested; nothing is asked of them.
    """
    rows = {row["key"]: row for row in data.rows}
    for result in statistics.controls:
        decimals = words.decimals_of(data, result.column)
        yield (
            label_of(rows[result.row]),
            MUST[result.shows],
            words.column_name(data, result.column),
            "-" if result.effect is None else _effect(result.effect, decimals),
            result.word,
            result.reason,
        )
    for row in data.rows:
        for column in data.columns if row["control"] == PROBE else ():
            found = _difference(statistics, row["key"], column["key"])
            if found is not None:
                name = words.column_name(data, column["key"])
                effect = _effect(found, int(column["decimals"]))
                yield label_of(row), MUST[PROBE], name, effect, PROBE, "neither passes nor fails"


def _difference(statistics: Statistics, row: str, column: str) -> Any:
    try:
        return statistics.difference(row, column).estimate
    except KeyError:
        return None


def _effect(found: Any, decimals: int) -> str:
    return words.estimate_text(found, decimals, sign=True)


def controls_note(statistics: Statistics) -> str:
    """Return how the controls were judged, or nothing where none was tested."""
    number = len(statistics.controls)
    if not number:
        return ""
    tests = "1 test" if number == 1 else f"{number} tests"
    return (
        "Controls are judged by the one-sided t test of being better than their base, with the "
        f"error term of the intervals; one family of {tests}, Holm-corrected, error rate "
        f"{ALPHA:g}. A control that fails withholds the verdicts that rest on it: in its column, "
        "those of its method, or all."
    )


def unrun_line(data: TableData) -> str:
    """Return one sentence about the controls that were not asked for, or nothing."""
    if not data.unrun:
        return ""
    # labels hold commas
    told = "; ".join(f"{label_of(row)}{_found(row)}" for row in data.unrun)
    return f"Controls that were not run: {told}."


def _found(row: Mapping[str, Any]) -> str:
    found = row.get("found")
    if not found:
        return ""
    return f" (published table: {', '.join(f'{word} on {key}' for key, word in found.items())})"


def drift_lines(data: TableData, statistics: Statistics) -> Iterator[str]:
    """Yield what each null lost, a line a row."""
    rows = {row["key"]: row for row in data.rows}
    lost: dict[str, list[str]] = {}
    for drift in statistics.drifts:
        decimals = words.decimals_of(data, drift.column)
        name = words.column_name(data, drift.column)
        lost.setdefault(drift.row, []).append(f"{name} {_effect(drift.estimate, decimals)}")
    for key, texts in lost.items():
        yield f"{label_of(rows[key])}: drift, for the worse: {', '.join(texts)}"
