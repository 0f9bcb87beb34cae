"""What a report says of a leaderboard."""

from __future__ import annotations

from dataclasses import dataclass

from bench.report import words
from bench.report.controls import label_of
from bench.report.leaderboard import ranked_rows
from bench.report.model import TableData
from bench.report.statistics import Statistics
from bench.stats import CrossedEstimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A row of a leaderboard, as it reads.

    Attributes:
        rank: from 1; `-` for a row without a value.
        label: of the row.
        effect: against the base, with its interval.
        verdict: its word; `-` where no claim was judged.
        tasks: the effect in each task with half its interval.
    """

    rank: str
    label: str
    effect: str
    verdict: str
    tasks: tuple[str, ...]


def tasks_of(statistics: Statistics) -> tuple[str, ...]:
    """Return the tasks of a leaderboard's breakdown."""
    return tuple(dict.fromkeys(found.task for found in statistics.tasks))


def standings(data: TableData, statistics: Statistics) -> list[Standing]:
    """Return the rows of a leaderboard, the best first; those without a value last."""
    key = data.leaderboard
    if key is None or statistics.baseline is None:
        return []
    column = data.column(key)
    decimals = int(column["decimals"])
    effects = {row: statistics.difference(row, key).estimate for row in ranked_rows(data)}
    sign = 1.0 if column["higher_is_better"] else -1.0

    def place(row: str) -> tuple[bool, float]:
        effect = effects[row]
        return (effect is None, 0.0 if effect is None else -sign * effect.value)

    claims = [(c["better"], c["worse"], c["column"]) for c in data.claims]
    verdicts = dict(zip(claims, statistics.verdicts, strict=True))
    parts = {(t.row, t.task): t.effect for t in statistics.tasks}
    labels = {row["key"]: label_of(row) for row in data.rows}
    found = []
    for number, row in enumerate(sorted(effects, key=place), start=1):
        effect, verdict = effects[row], verdicts.get((row, statistics.baseline, key))
        found.append(
            Standing(
                rank="-" if effect is None else str(number),
                label=labels[row] + words.circular_mark(data, row, key),
                effect=_effect(data, statistics, row, effect, decimals),
                verdict="-" if verdict is None else words.verdict_word(verdict),
                tasks=tuple(
                    _short(parts.get((row, task)), decimals) for task in tasks_of(statistics)
                ),
            )
        )
    return found


def _effect(
    data: TableData, statistics: Statistics, row: str, effect: CrossedEstimate | None, decimals: int
) -> str:
    if effect is not None:
        return words.estimate_text(effect, decimals, sign=True)
    return words.state_word(statistics.value(row, str(data.leaderboard)))


def _short(effect: CrossedEstimate | None, decimals: int) -> str:
    if effect is None:
        return "-"
    digits = min(decimals, 3)
    half = words.half_width(effect.low, effect.high, digits)
    return f"{words.number(effect.value, digits, sign=True)} {half}".rstrip()


def leaderboard_note(data: TableData, statistics: Statistics) -> str:
    """Return what a leaderboard's numbers are, in a sentence or two."""
    base = next(label_of(r) for r in data.rows if r["key"] == statistics.baseline)
    tasks = " Tasks: the same within a task, ± half the interval, not corrected for their number."
    return (
        f"Difference from {base}, paired, with the 95 % interval; the verdict is that of the claim "
        f"to be better than {base} (below)." + (tasks if statistics.tasks else "")
    )
