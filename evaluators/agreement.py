"""How far two evaluators agree image by image.

Used to show that an attribute score (the soft answer of a question-answering model) is not a
detector's verdict under another name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.api import Record
from evaluators.records import finite


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Of a score in 0..1 with a verdict of 0 or 1, over the same images.

    Attributes:
        n: images.
        correct: images with verdict 1.
        pearson: (point-biserial) correlation; None where score or verdict never varies.
        ranking: chance that a correct image has the higher score than a wrong one, ties one half;
            None where all are correct or all wrong.
    """

    n: int
    correct: int
    pearson: float | None
    ranking: float | None


def agreement(scores: Sequence[float], correct: Sequence[float]) -> Agreement:
    """Return the agreement of n scores with n verdicts (0 or 1).

    Raises:
        ValueError: unequal lengths, or a verdict that is neither 0 nor 1.
    """
    x = np.asarray(scores, dtype=np.float64)
    y = np.asarray(correct, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"got {x.shape} scores and {y.shape} verdicts, expected as many of each")
    if not np.isin(y, (0.0, 1.0)).all() or not np.isfinite(x).all():
        raise ValueError("verdicts must be 0 or 1 and scores finite")
    varies = x.size > 1 and np.ptp(x) > 0 and np.ptp(y) > 0
    return Agreement(
        n=int(x.size),
        correct=int(y.sum()),
        pearson=float(np.corrcoef(x, y)[0, 1]) if varies else None,
        ranking=_ranking(x[y == 1], x[y == 0]),
    )


def _ranking(right: np.ndarray, wrong: np.ndarray) -> float | None:
    if not right.size or not wrong.size:
        return None
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, right, side="left")
    not_above = np.searchsorted(ordered, right, side="right")
    return float((below + not_above).sum() / 2 / (right.size * wrong.size))


def attribute_agreement(
    attribute_records: Sequence[Record], detection_records: Sequence[Record]
) -> dict[str, Agreement]:
    """Compare T2I-CompBench's attribute scores with GenEval's verdicts on the same images.

    Args:
        attribute_records: of `CompBench.score`; those without an attribute score are left out.
        detection_records: of `GenEval.score` over the same images (prompts whose meta also holds
            GenEval's clauses); images that stand in only one of the two are left out.

    Returns:
        The agreement by category, and over all under "all"; empty when no image is in both.
    """
    verdicts = {(r["prompt_id"], r["ordinal"]): r["correct"] for r in detection_records}
    rows: dict[str, list[tuple[float, float]]] = {}
    for record in attribute_records:
        key = (record["prompt_id"], record["ordinal"])
        if record.get("attribute") is None or key not in verdicts:
            continue
        pair = (finite(record["attribute"], record, "attribute"), float(verdicts[key]))
        rows.setdefault(record["category"], []).append(pair)
    if rows:
        rows["all"] = [pair for pairs in rows.values() for pair in pairs]
    return {
        name: agreement([s for s, _ in pairs], [c for _, c in pairs])
        for name, pairs in rows.items()
    }
