"""GenEval's official results.jsonl, from stored predictions and records.

Source: djghosh13/geneval@af4902f, evaluation/evaluate_images.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.api import Predictions, PromptSuite, Record
from evaluators.detections import parse_detections
from evaluators.geneval.folder import folder_names, metadata_of
from evaluators.geneval.rules import COUNTING, COUNTING_THRESHOLD, THRESHOLD, keep

_ROLE = "detector"


def official_rows(
    suite: PromptSuite,
    predictions: Mapping[str, Predictions],
    records: Sequence[Record],
    *,
    root: str = ".",
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the official results.jsonl, for `results_jsonl`.

    Args:
        suite: the prompts.
        predictions: what `records` were scored from.
        records: what the evaluator's `score` returned.
        root: the folder that stands before the file names.
    """
    folders = folder_names(suite)
    prompts = {prompt.id: prompt for prompt in suite}
    found = {(r["prompt_id"], r["ordinal"]): r for r in predictions[_ROLE].records}
    for record in records:
        prompt = prompts[record["prompt_id"]]
        detections = parse_detections(found[prompt.id, record["ordinal"]])
        threshold = COUNTING_THRESHOLD if prompt.tag == COUNTING else THRESHOLD
        kept = keep(detections, threshold=threshold)
        yield {
            "filename": f"{root}/{folders[prompt.id]}/samples/{record['ordinal']:05d}.png",
            "tag": prompt.tag,
            "prompt": prompt.text,
            "correct": bool(record["correct"]),
            "reason": record["reason"],
            "metadata": json.dumps(metadata_of(prompt)),
            "details": json.dumps({c: [[*d.box, d.score] for d in ds] for c, ds in kept.items()}),
        }


def results_jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the official results.jsonl of rows made by `official_rows`.

    Written as pandas' `to_json(orient="records", lines=True)` writes it: no spaces, "/" and
    non-ASCII characters escaped.
    """
    lines = (json.dumps(row, separators=(",", ":")).replace("/", "\\/") for row in rows)
    return "".join(line + "\n" for line in lines)
