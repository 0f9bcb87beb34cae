"""What GenEval gives pictures of other prompts: `python benchmarks/chance.py STORE [--like TEXT]`.

Every prompt's pictures are judged by another prompt of the same task, for each of --shifts
distances. A base model should score well above that.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.api import Predictions, PromptSuite
from bench.generation.image_set import open_image_set
from bench.store import Artifact, Store, read_jsonl
from evaluators.geneval.metric import DETECTOR, GenEval
from evaluators.geneval.rules import overall_score


def shifted(suite: PromptSuite, by: int) -> dict[str, str]:
    """Return prompt id -> id of the prompt `by` places on in its task."""
    tasks: dict[str, list[str]] = {}
    for prompt in suite:
        tasks.setdefault(prompt.tag, []).append(prompt.id)
    return {
        own: ids[(place + by) % len(ids)] for ids in tasks.values() for place, own in enumerate(ids)
    }


def score(suite: PromptSuite, records: list[dict[str, Any]], to: Mapping[str, str]) -> float:
    """Return GenEval's overall score of detections judged by other prompts."""
    moved = [{**record, "prompt_id": to[record["prompt_id"]]} for record in records]
    found = list(GenEval().score(suite, {DETECTOR: Predictions(records=moved)}))
    return overall_score([str(r["tag"]) for r in found], [float(r["correct"]) for r in found])


def judged(store: Store, scores: Artifact, shifts: int) -> tuple[float, list[float]]:
    """Return the true score of stored detections, and those by other prompts."""
    suite = open_image_set(store.get(scores.upstream["images"]), verify=False).suite
    detections = store.get(scores.upstream[f"predictions/{DETECTOR}"])
    records = read_jsonl(detections.file("predictions.jsonl"))
    values = [score(suite, records, shifted(suite, 3 * by)) for by in range(shifts + 1)]
    return values[0], values[1:]


def main() -> None:
    """Print a line for each stored score of GenEval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--like", default="", help="part of the names of scores to look at")
    parser.add_argument("--shifts", type=int, default=7)
    arguments = parser.parse_args()
    store = Store(arguments.store)
    for scores in store.artifacts("scores"):
        if "-geneval-" in scores.id and arguments.like in scores.id:
            true, others = judged(store, scores, arguments.shifts)
            mean = sum(others) / len(others)
            print(
                f"{scores.id}: {true:.3f}; by other prompts {mean:.3f} "
                f"({min(others):.3f} to {max(others):.3f})"
            )


if __name__ == "__main__":
    main()
