"""Is the attribute score a detector under another name? Per-image correlation of the two.

    python benchmarks/agreement.py --images images/tiny.base.compbench-tiny-test.144x4.s0-HASH

T2I-CompBench's attribute scores are soft answers of the VQA network; the verdicts are GenEval's
rules over the detector on the same images. Writes results/agreement.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

from bench.api.evaluator import Backend, Predictions
from bench.api.generation import ImageSet
from bench.api.registry import BACKENDS
from bench.generation.image_set import open_image_set
from bench.store import Store
from evaluators.agreement import attribute_agreement
from evaluators.compbench.metric import CompBench
from evaluators.geneval.metric import GenEval

ROOT = Path(__file__).parents[1]
TASK = {"color": "color_attr", "shape": "two_object", "texture": "two_object"}
"""GenEval's task that asks the nearest question of a category's prompts."""


def predict(backend: Backend, images: ImageSet, queries: dict[str, list[str]]) -> Predictions:
    """Return the back-end's records of the images."""
    return Predictions(records=[record for record, _ in backend.predict(images, queries)])


def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", required=True)
    parser.add_argument("--store", type=Path, default=ROOT / "outputs")
    arguments = parser.parse_args()
    everything = open_image_set(Store(arguments.store).get(arguments.images))
    prompts = tuple(p for p in everything.suite if p.tag in TASK)
    kept = {p.id for p in prompts}
    images = replace(
        everything,
        suite=replace(everything.suite, prompts=prompts),
        records=tuple(r for r in everything.records if r.prompt_id in kept),
    )
    compbench = CompBench()
    queries = {p.id: list(compbench.queries("vqa", p)) for p in prompts}
    answers = predict(BACKENDS.load("tiny-vqa")(), images, queries)
    detections = predict(BACKENDS.load("tiny-detector")(), images, {})
    as_geneval = replace(images.suite, prompts=tuple(replace(p, tag=TASK[p.tag]) for p in prompts))
    found = attribute_agreement(
        list(compbench.score(images.suite, {"vqa": answers})),
        list(GenEval().score(as_geneval, {"detector": detections})),
    )
    data = {
        "command": f"python benchmarks/agreement.py --images {arguments.images}",
        "verdict": "GenEval's rules over the detector: " + json.dumps(TASK),
        "agreement": {name: asdict(a) for name, a in found.items()},
    }
    (ROOT / "results").mkdir(exist_ok=True)
    (ROOT / "results" / "agreement.json").write_text(json.dumps(data, indent=1) + "\n")
    for name, a in found.items():
        print(f"{name:8s} n {a.n:4d}  correct {a.correct:4d}  r {a.pearson}  ranking {a.ranking}")


if __name__ == "__main__":
    main()
