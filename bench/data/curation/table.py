"""What a run kept, dropped, took and cost, step by step. Pure over the stored steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from bench.data.curation.engine import records
from bench.data.curation.scores import PICKSCORE_SCALE
from bench.data.curation.selection import DROPPED_FILE, PAIRS_FILE
from bench.store import Artifact, read_jsonl

COLUMNS = ("step", "entered", "kept", "dropped", "images/s", "hours", "device", "published")

PUBLISHED: Mapping[str, str] = {
    "colour": "~4.5 images/s, ~1.5 GPU-hours",
    "saliency": "with negatives: ~0.14 images/s, ~49 GPU-hours",
    "scores": "~6 pairs/s, ~1.2 GPU-hours",
}
"""RealAlign's cost table, all 25,096 photographs processed in each step."""


def cost_table(steps: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """Return one row per step, and one for the whole; keys are `COLUMNS`.

    Seconds are those of the images, over all attempts; loading a model counts to its first image.
    """
    rows: list[dict[str, Any]] = []
    total = 0.0
    for name, artifact in steps.items():
        summary, notes = artifact.read_json("summary.json"), artifact.manifest["notes"]
        seconds = float(notes["seconds"])
        total += seconds
        rows.append(
            {
                "step": name,
                "entered": summary["entered"],
                "kept": summary["kept"],
                "dropped": summary["entered"] - summary["kept"],
                "images/s": _digits(notes["images"] / seconds) if seconds > 0 else None,
                "hours": _digits(seconds / 3600),
                "device": artifact.manifest["provenance"].get("device"),
                "published": PUBLISHED.get(name),
            }
        )
    last = rows[-1]
    entered = rows[0]["entered"]
    whole = {"step": "total", "entered": entered, "kept": last["kept"]}
    rows.append(
        {
            **whole,
            "dropped": entered - last["kept"],
            "images/s": _digits(entered / total) if total > 0 else None,
            "hours": _digits(total / 3600),
            "device": None,
            "published": "~52 GPU-hours",
        }
    )
    return rows


def _digits(value: float) -> float:
    return float(f"{value:.3g}")


def drop_reasons(steps: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """Return step, kind of reason, count and an example; a reason reads `kind: details`."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for row in read_jsonl(steps["selection"].file(DROPPED_FILE)):
        key = (row["step"], row["reason"].partition(":")[0])
        counts[key] += 1
        examples.setdefault(key, f"{row['uid']}: {row['reason']}")
    return [
        {"step": step, "reason": kind, "count": count, "example": examples[step, kind]}
        for (step, kind), count in counts.items()
    ]


def thresholds(steps: Mapping[str, Artifact]) -> dict[str, Any]:
    """Return the thresholds that were used and the spread of the scores, raw and divided by 26."""
    found: dict[str, Any] = {"colour": steps["colour"].read_json("summary.json")["threshold"]}
    scores = steps["scores"].read_json("summary.json")
    ends = steps["selection"].read_json("summary.json")["real_score_range"]
    for name, value in (("min_gap", scores["min_gap"]), ("gap_mean", scores.get("gap_mean"))):
        found[name] = value
        found[f"{name}_over_26"] = None if value is None else round(value / PICKSCORE_SCALE, 6)
    found["real_wins_share"] = scores.get("real_wins_share")
    found["real_score_range"] = ends
    found["real_score_range_over_26"] = (
        [round(value / PICKSCORE_SCALE, 6) for value in ends] if ends else None
    )
    return found


def report(steps: Mapping[str, Artifact]) -> dict[str, Any]:
    """Return everything above, JSON-able, with the ids of the steps."""
    pairs = read_jsonl(steps["selection"].file(PAIRS_FILE))
    return {
        "steps": {name: artifact.id for name, artifact in steps.items()},
        "table": cost_table(steps),
        "dropped": drop_reasons(steps),
        "thresholds": thresholds(steps),
        "odd": [
            {"uid": row["uid"], **row["odd"]} for row in records(steps["source"]) if row.get("odd")
        ],
        "pairs": len(pairs),
        "circular": steps["selection"].manifest["config"]["circular"],
    }


def markdown(data: Mapping[str, Any]) -> str:
    """Return a report as Markdown."""
    rows = [[_shown(row[key]) for key in COLUMNS] for row in data["table"]]
    lines = [tabulate(rows, headers=COLUMNS, tablefmt="github", disable_numparse=True)]
    lines += ["", "Thresholds and scores (raw, and divided by 26):", ""]
    lines += [f"- {key}: {_shown(value)}" for key, value in data["thresholds"].items()]
    lines += ["", "Dropped:", ""]
    lines += [
        f"- {row['step']}, {row['reason']}: {row['count']} (e.g. {row['example']})"
        for row in data["dropped"]
    ] or ["- nothing"]
    circular = ", ".join(data["circular"])
    lines += ["", f"{data['pairs']} pairs. Selected by {circular}: metrics of it are circular.", ""]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)
