"""How numbers and cells read, the same in every format."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from bench.report.circular import circular_cells
from bench.report.controls import label_of
from bench.report.model import Summary, TableData
from bench.report.statistics import Statistics
from bench.report.verified import verified_line
from bench.spec.table import WHOLE_RUNS
from bench.stats import CrossedEstimate
from bench.stats.claims import ALPHA, MIN_TRAINING_SEEDS, Verdict
from bench.stats.crossed import Part
from bench.store import canonical_json

NA, FAILED, NOT_RUN = "n/a", "failed", "not run"
NO_VERDICT = "no verdict"
CIRCULAR = "circular"
NO_INTERVAL = "(no interval)"
_INTERVALS = (
    "Intervals (95 %): what would change if the study were done again, with other training seeds "
    "(rows that were trained), other prompts and other image noise."
)
_OF_RUNS = "Intervals (95 %): each seed draws everything anew; t over seeds."
_NOT_RUN = f"{NOT_RUN}: "


def number(value: float | None, decimals: int, *, sign: bool = False) -> str:
    """Return a value with so many decimals; `-` for None."""
    if value is None:
        return "-"
    return f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"


def interval(low: float | None, high: float | None, decimals: int, *, sign: bool = False) -> str:
    """Return `[low, high]`, or nothing where there is no interval."""
    if low is None or high is None:
        return ""
    return f"[{number(low, decimals, sign=sign)}, {number(high, decimals, sign=sign)}]"


def half_width(low: float | None, high: float | None, decimals: int) -> str:
    """Return `±` half the interval's width, or nothing where there is none."""
    if low is None or high is None:
        return ""
    return f"±{number((high - low) / 2.0, decimals)}"


def state_word(summary: Summary) -> str:
    """Return `n/a`, `not run` (weights of others are not here) or `failed` for no value."""
    if summary.state != "n/a":
        return FAILED
    return NOT_RUN if summary.reason.startswith(_NOT_RUN) else NA


def arrow(column: Mapping[str, Any]) -> str:
    """Return the direction of a column: up is better, or down."""
    return "↑" if column["higher_is_better"] else "↓"


def variant_names(data: TableData, column: str) -> list[str]:
    """Return the back-ends of a measured column that stand in for the official ones."""
    return [str(backend["backend"]) for backend in _variants(data, column)]


def variant_lines(data: TableData) -> list[str]:
    """Return one sentence for each such back-end, with the columns it measured."""
    found: dict[str, list[str]] = {}
    for column in data.columns:
        for backend in _variants(data, column["key"]):
            found.setdefault(str(backend["variant"]), []).append(column["key"])
    return [f"{', '.join(columns)}: measured with {text}" for text, columns in found.items()]


def verified_lines(data: TableData) -> list[str]:
    """Return the line that says how far the back-ends of the measured cells were checked."""
    used = [
        str(backend["backend"])
        for cell in data.cells
        if cell.state == "measured"
        for backend in cell.protocol.get("backends", {}).values()
    ]
    line = verified_line(data.verified, used)
    return [line] if line else []


def _variants(data: TableData, column: str) -> list[Mapping[str, Any]]:
    protocol = column_protocol(data, column) or {"backends": {}}
    return [b for _, b in sorted(protocol["backends"].items()) if "variant" in b]


def column_name(data: TableData, column: str) -> str:
    """Return a column's key, with the name of the variant it was measured with."""
    names = variant_names(data, column)
    return f"{column} ({', '.join(names)})" if names else column


def published_text(data: TableData, row: str, column: Mapping[str, Any]) -> str:
    """Return the published number of a cell, marked `quoted` where the paper did not measure it."""
    value = data.published.get(row, {}).get(column["key"])
    if value is None:
        return "-"
    text = number(float(value["value"]), int(column["decimals"]))
    return f"{text} (quoted)" if value["quoted"] else text


def partial_notice(data: TableData) -> str:
    """Return the sentence that marks a partial table, or nothing."""
    if not data.partial:
        return ""
    return (
        f"PARTIAL: about {data.limit} prompts per suite (--limit {data.limit}), "
        "not the table's numbers."
    )


def intervals_note(data: TableData) -> str:
    """Return what the table's intervals say."""
    whole = any(column.get("units") == WHOLE_RUNS for column in data.columns)
    return f"{_OF_RUNS if whole else _INTERVALS} {seeds_note(data)}".rstrip()


def orientation_notice(data: TableData) -> str:
    """Return what the published numbers stand for beside the measured ones."""
    if data.orientation:
        return (
            "Published numbers are of another model and other prompts and stand for orientation "
            "only; what is compared are the claims."
        )
    return "Published numbers are the paper's, never measured here."


def protocol_id(protocol: Mapping[str, Any]) -> str:
    """Return a short hash over all that makes two numbers comparable."""
    return hashlib.sha256(canonical_json(protocol).encode("ascii")).hexdigest()[:12]


def column_protocol(data: TableData, column: str) -> Mapping[str, Any] | None:
    """Return the protocol of a column: that of its first sampled cell, else of any measured one."""
    cells = [c for c in data.cells if c.column == column and c.state == "measured"]
    sampled = [c for c in cells if c.protocol.get("generation") is not None]
    chosen = (sampled or cells)[:1]
    return chosen[0].protocol if chosen else None


def _images_line(protocol: Mapping[str, Any]) -> str:
    each = protocol["images_per_prompt"]
    more = ", ".join(f"{tag} {n * each}" for tag, n in protocol.get("times", {}).items())
    return f"images per prompt: {each}" + (f"; {more}" if more else "")


def protocol_lines(protocol: Mapping[str, Any]) -> list[str]:
    """Return a protocol in words, one fact a line."""
    suite, evaluator = protocol["suite"], protocol["evaluator"]
    lines = [
        f"prompts: {suite['name']} {suite['version']}, {suite['prompts']} prompts, sha256 "
        f"{suite['sha256'][:12]}"
        + (f", limited to about {protocol['limit']}" if protocol["limit"] is not None else ""),
        _images_line(protocol),
    ]
    generation = protocol["generation"]
    if generation is not None:
        config = generation["scheduler_config"]
        settings = "".join(f", {key}={config[key]}" for key in sorted(config))
        lines += [
            f"sampler: {generation['scheduler']}{settings}, {generation['steps']} steps, CFG "
            f"{generation['cfg_scale']:g}",
            f"size: {generation['height']}x{generation['width']}, {generation['dtype']}, file "
            f"format {generation['file_format']}",
            f"negative prompt: {generation['negative_prompt']!r}; seed rule: "
            f"{generation['seed_rule']}",
        ]
    lines.append(
        f"evaluator: {evaluator['name']} version {evaluator['version']}, {evaluator['metric']} "
        + (
            f"against the row {evaluator['against']}, image by image, a tie half a win "
            if "against" in evaluator
            else ""
        )
        + f"({evaluator['upstream']})"
    )
    for role, backend in sorted(protocol["backends"].items()):
        weights = f", weights {str(backend['weights'])[:12]}" if "weights" in backend else ""
        lines.append(f"{role}: {backend['backend']} version {backend['version']}{weights}")
        if "protocol" in backend:
            under = backend["protocol"]
            lines.append(
                f"{role} under {under['name']}: preparation {under['preparation']}, resize "
                f"{under['resize']} (class scores: {under['logits_resize']}), {under['extractor']}"
            )
    if protocol["reference"]:
        lines.append(f"reference images: {protocol['reference']}")
    lines += [f"differs: {text}" for text in protocol["deviations"]]
    return lines


def verdict_effect(verdict: Verdict, decimals: int) -> str:
    """Return a claim's effect with its interval."""
    return "-" if verdict.effect is None else estimate_text(verdict.effect, decimals, sign=True)


def verdict_word(verdict: Verdict) -> str:
    """Return a verdict's word, or that there is none with so few training seeds."""
    return NO_VERDICT if verdict.is_short_of_seeds else verdict.word


def verdict_reason(verdict: Verdict) -> str:
    """Return why a verdict's word is what it is, and what its controls leave open.

    Where there is no verdict, nothing rests on controls; the report names them once.
    """
    controls = () if verdict.is_short_of_seeds else verdict.controls
    return "; ".join([verdict.reason, *controls])


def judged_note(data: TableData) -> str:
    """Return how the claims of a table were judged, with the error rate of each family."""
    planned = sum(bool(claim.get("planned")) for claim in data.claims)
    others = len(data.claims) - planned
    families = []
    if planned:
        families.append(
            f"the {planned} planned, in their order, each only while all before it were supported"
        )
    if others:
        which = f"the {others} others" if planned else f"all {others} claims"
        families.append(f"{which}, Holm-corrected")
    rate = f"error rate {ALPHA:g} each" if len(families) > 1 else f"error rate {ALPHA:g}"
    count = f"{len(families)} families, " if len(families) > 1 else "one family, "
    return (
        f"Judged by the t test of the paired difference, with the error term of the intervals; "
        f"{count}{rate}: {'; '.join(families)}. With fewer than {MIN_TRAINING_SEEDS} training "
        "seeds there is no verdict."
    )


def claim_text(data: TableData, claim: Mapping[str, Any]) -> str:
    """Return a claim with the rows' labels, `better` in the direction of the column."""
    labels = {row["key"]: label_of(row) for row in data.rows}
    better, worse = labels[claim["better"]], labels[claim["worse"]]
    return f"{better} better than {worse} on {column_name(data, claim['column'])}"


def claim_mark(claim: Mapping[str, Any]) -> str:
    """Return ` (circular)` for a claim that cannot be supported alone, or nothing."""
    return f" ({CIRCULAR})" if claim[CIRCULAR] else ""


def published_effect(data: TableData, claim: Mapping[str, Any]) -> float | None:
    """Return the published difference of a claim's two rows, or None."""
    sides = [
        data.published.get(claim[side], {}).get(claim["column"]) for side in ("better", "worse")
    ]
    if sides[0] is None or sides[1] is None:
        return None
    return float(sides[0]["value"]) - float(sides[1]["value"])


def seed_text(seed: int | None) -> str:
    """Return a training or noise seed; `-` where a cell has none."""
    return "-" if seed is None else str(seed)


def estimate_text(found: CrossedEstimate, decimals: int, *, sign: bool = False) -> str:
    """Return a value with its interval."""
    ends = interval(found.low, found.high, decimals, sign=sign) or NO_INTERVAL
    return f"{number(found.value, decimals, sign=sign)} {ends}"


def part_text(part: Part | None, decimals: int, *, sign: bool = False) -> str:
    """Return the interval that one part of an error term alone would give."""
    if part is None:
        return "-"
    return interval(part.low, part.high, decimals, sign=sign) or NO_INTERVAL


def seeds_note(data: TableData) -> str:
    """Return what intervals mean where trained rows have too few training seeds, or nothing."""
    counts: dict[str, set[int]] = {}
    for cell in data.cells:
        if cell.training_seed is not None:
            counts.setdefault(cell.row, set()).add(cell.training_seed)
    few = min((len(seeds) for seeds in counts.values()), default=MIN_TRAINING_SEEDS)
    if few >= MIN_TRAINING_SEEDS:
        return ""
    if few == 1:
        return "Rows trained with one seed: what is said holds for these checkpoints alone."
    return f"Rows trained with {few} seeds: too few for a verdict, {MIN_TRAINING_SEEDS} are needed."


def decimals_of(data: TableData, column: str) -> int:
    """Return a column's digits after the point."""
    return int(data.column(column)["decimals"])


def reasons(data: TableData, statistics: Statistics) -> list[str]:
    """Return one line per distinct reason of cells without a value, or circular, with the cells."""
    found: dict[tuple[str, str], list[str]] = {}
    for summary in statistics.values:
        if summary.state != "measured":
            key = (state_word(summary), summary.reason.removeprefix(_NOT_RUN))
            found.setdefault(key, []).append(f"{summary.row}/{summary.column}")
    for (row, column), names in circular_cells(data.cells).items():
        what = f"{', '.join(names)} selected the training data or was the reward"
        found.setdefault((CIRCULAR, what), []).append(f"{row}/{column}")
    return [f"{word}: {', '.join(cells)}: {reason}" for (word, reason), cells in found.items()]


def circular_mark(data: TableData, row: str, column: str) -> str:
    """Return ` (circular)` for a cell measured by what its data were selected by, or nothing."""
    return f" ({CIRCULAR})" if (row, column) in circular_cells(data.of(row, column)) else ""
