"""What a report says of planned claims at three guidance scales."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report import words
from bench.report.model import TableData
from bench.report.scales import ScaledClaim, scale_qualifier
from bench.report.statistics import Statistics
from bench.stats import CrossedEstimate

NOTE = (
    "Best scales were chosen on validation prompts. Guidance gives what is lost between the "
    "protocol's scale and each row's own best one. Supported without a word more is what holds at "
    "all three, each at the level of one test."
)


def qualifier(data: TableData, statistics: Statistics, claim: int) -> str:
    """Return what stands behind the word of a claim's verdict, with a blank before it, or nothing.

    Args:
        data: the table.
        statistics: of it.
        claim: place among the table's claims.
    """
    for scaled in statistics.scaled:
        if scaled.claim == claim:
            higher = bool(data.column(data.claims[claim]["column"])["higher_is_better"])
            said = scale_qualifier(statistics.verdicts[claim], scaled, higher_is_better=higher)
            return f" {said}" if said else ""
    return ""


def scale_table(data: TableData, statistics: Statistics) -> Iterator[tuple[str, ...]]:
    """Yield claim, effect at the protocol's scale, at the base's best, at own bests, guidance."""
    for scaled in statistics.scaled:
        claim = data.claims[scaled.claim]
        decimals = words.decimals_of(data, claim["column"])
        effect = statistics.verdicts[scaled.claim].effect
        yield (
            words.claim_text(data, claim),
            _at(effect, f"{scaled.scale:g}", decimals),
            _at(scaled.at_base, f"{scaled.base_scale:g}", decimals),
            _at(scaled.at_own, _own(scaled), decimals),
            "-" if scaled.guidance is None else _text(scaled.guidance, decimals),
        )


def _own(scaled: ScaledClaim) -> str:
    return " and ".join(f"{scale:g}" for scale in scaled.own)


def _at(effect: CrossedEstimate | None, scale: str, decimals: int) -> str:
    return f"at {scale}: {'not measured' if effect is None else _text(effect, decimals)}"


def _text(effect: CrossedEstimate, decimals: int) -> str:
    return words.estimate_text(effect, decimals, sign=True)
