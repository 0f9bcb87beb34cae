"""Published statements that no cell carries, and what is measured beside those about gains.

"The gain is 34 % larger" is a ratio of two differences that share prompts and training seeds; its
interval is Fieller's, and where the smaller gain may be 0 there is no ratio to speak of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.report.controls import label_of
from bench.report.model import Summary, TableData
from bench.report.paired import paired_rows
from bench.stats.claims import MIN_TRAINING_SEEDS
from bench.stats.ratio import Difference, ratio_of


@dataclass(frozen=True, kw_only=True, slots=True)
class GainRatio:
    """The measured ratio of a fact, 95 % interval; `reason` says why there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return asdict(self)


def gain_ratios(data: TableData) -> tuple[GainRatio | None, ...]:
    """Return what is measured beside each fact of a table; None beside one that is words alone.

    Raises:
        ProtocolError: as `paired_cells`.
    """
    return tuple(
        None if fact.get("ratio") is None else _measured(data, fact["ratio"]) for fact in data.facts
    )


def _measured(data: TableData, ratio: Mapping[str, Any]) -> GainRatio:
    column = data.column(ratio["column"])
    found: list[Difference] = []
    sides = (
        (ratio["of"], ratio["base"]),
        (ratio["to"], ratio["base"]),
        (ratio["of"], ratio["to"]),
    )
    for row, other in sides:
        summary = paired_rows(data, row, other, column)
        difference = _difference(summary)
        if isinstance(difference, str):
            return GainRatio(reason=difference)
        found.append(difference)
    estimate = ratio_of(*found)
    if estimate.value is None:
        label = {row["key"]: label_of(row) for row in data.rows}
        return GainRatio(reason=f"ratio undefined: {label[ratio['to']]}'s gain is within noise")
    return GainRatio(value=estimate.value, low=estimate.low, high=estimate.high)


def _difference(summary: Summary) -> Difference | str:
    """Return a difference with its error term, or why there is none."""
    found = summary.estimate
    if found is None:
        return f"not measured: {summary.reason}"
    if found.n_seeds < MIN_TRAINING_SEEDS:
        paired = f"{found.n_seeds} paired training seed" + "s" * (found.n_seeds != 1)
        return f"{paired}; a ratio needs {MIN_TRAINING_SEEDS}"
    if found.stderr is None or found.df is None:
        return "every training seed and every prompt gave the same difference"
    return Difference(value=found.value, variance=found.stderr**2, df=found.df)


def ratio_text(found: GainRatio | None) -> str:
    """Return a measured ratio with its interval, or why there is none; `-` beside words alone."""
    if found is None:
        return "-"
    if found.value is None:
        return found.reason
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
