"""T2I-CompBench's official result files, from the records of either evaluator.

    annotation_blip/{vqa_result.json, blip_vqa_score.txt}
    labels/annotation_obj_detection_2d/{vqa_result.json, avg_score.txt, mapping.json}
    labels/annotation_obj_detection_3d/{vqa_result.json, avg_result.txt}
    annotation_num/{vqa_result.json, score.txt}
    annotation_clip/{vqa_result.json, score_avg.txt}
    annotation_3_in_1/{vqa_result.json, vqa_score.txt}

Below each category's folder, with upstream's keys, spellings and number formats. Of a complex
prompt's parts only the attributes are written, for the others are not looked at where the prompt's
kind does not call for them. Source: Karine-Huang/T2I-CompBench@1b70949, the `main` of each
evaluation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bench.api import IncompleteError, PromptSuite, Record
from evaluators.compbench.folder import category_of, file_name, numbered
from evaluators.compbench.rules import ATTRIBUTES

Rows = list[tuple[int, float]]
"""Running number and score."""


def official_files(suite: PromptSuite, records: Sequence[Record]) -> dict[str, str]:
    """Return the text of each result file by its path, e.g. "color/annotation_blip/...".

    Raises:
        IncompleteError: an image has no record, naming it.
        UsageError: a prompt cannot be a file name.
    """
    by_key = {(r["prompt_id"], r["ordinal"]): r for r in records}
    images = max((ordinal + 1 for _, ordinal in by_key), default=0)
    rows: dict[str, Rows] = {}
    attributes: Rows = []
    mapping = []
    for prompt, ordinal, number in numbered(suite, images):
        if (prompt.id, ordinal) not in by_key:
            raise IncompleteError(f"no record of image {prompt.id}/{ordinal}; score it first")
        record = by_key[prompt.id, ordinal]
        category = category_of(prompt)
        rows.setdefault(category, []).append((number, float(record["score"])))
        if category == "complex":
            attributes.append((number, float(record["attribute"])))
        if category == "spatial":
            mapping.append({"image": file_name(prompt.text, number), "question_id": number})
    found: dict[str, str] = {}
    for category, scores in rows.items():
        files = _files(category, scores)
        if category == "spatial":
            files["labels/annotation_obj_detection_2d/mapping.json"] = json.dumps(mapping)
        if category == "complex":
            files |= _blip(attributes)
        found |= {f"{category}/{name}": text for name, text in files.items()}
    return found


def _files(category: str, rows: Rows) -> dict[str, str]:
    if category in ATTRIBUTES:
        return _blip(rows)
    mean = sum(score for _, score in rows) / len(rows)
    folder, name, line = {
        "spatial": ("labels/annotation_obj_detection_2d", "avg_score.txt", f"score avg:{mean}"),
        "3d_spatial": (
            "labels/annotation_obj_detection_3d",
            "avg_result.txt",
            f"avg score is {mean}",
        ),
        "numeracy": (
            "annotation_num",
            "score.txt",
            f"total:{sum(score for _, score in rows)} num:{len(rows)} avg:{mean}",
        ),
        "non_spatial": ("annotation_clip", "score_avg.txt", f"score avg:{mean}"),
        "complex": ("annotation_3_in_1", "vqa_score.txt", f"score avg:{mean}"),
    }[category]
    return {f"{folder}/vqa_result.json": _results(rows), f"{folder}/{name}": line}


def _blip(rows: Rows) -> dict[str, str]:
    """The attribute files hold strings of four decimals, and the mean of those."""
    answers = [(number, f"{score:.4f}") for number, score in rows]
    mean = sum(float(answer) for _, answer in answers) / len(answers)
    return {
        "annotation_blip/vqa_result.json": _results(answers),
        "annotation_blip/blip_vqa_score.txt": f"BLIP-VQA score:{mean}",
    }


def _results(rows: Sequence[tuple[int, Any]]) -> str:
    return json.dumps([{"question_id": number, "answer": answer} for number, answer in rows])
