"""Pictures of known content that a detector must understand before it may report.

A detector that is wrong in silence (a class list shifted by one, weights that did not load,
channels exchanged, boxes in another scale) gives numbers that look like those of a bad generator.
So it first looks at a few bundled pictures, and refuses to go on where it does not see what is
there. The pictures lie in `sentinels/`, each set with an `expected.json` that says their source.

Networks of random weights cannot pass; BENCH_SKIP_SENTINEL=1 lets their plumbing be tested, and
says so in the log.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError
from bench.api.evaluator import Backend
from bench.api.files import file_hash
from bench.api.generation import ImageRecord, ImageSet
from bench.api.prompts import Prompt, PromptSuite
from bench.read.text import read_bytes
from evaluators.detections import Detection, parse_detections

LOG = logging.getLogger("evaluators.sentinel")

FOLDER = Path(__file__).parent / "sentinels"
SKIP = "BENCH_SKIP_SENTINEL"
OVERLAP = 0.5
"""Least overlap of a detection with the object it is taken for."""

_passed: set[tuple[type[Backend], str, str | None]] = set()


class SentinelError(BenchError):
    """A back-end does not see what is on pictures of known content; it must not report."""


@lru_cache
def expectations(name: str) -> Mapping[str, Any]:
    """Return what a set is, `least_score` and, by picture, its objects."""
    found: dict[str, Any] = json.loads(read_bytes(FOLDER / name / "expected.json"))
    return found


def sentinel_images(name: str) -> ImageSet:
    """Return the pictures as an image set; a prompt's `include` names what is there."""
    prompts, records = [], []
    for picture in expectations(name)["pictures"]:
        path = FOLDER / name / picture["file"]
        classes = [thing["class"] for thing in picture["objects"]]
        include = [{"class": c, "count": classes.count(c)} for c in dict.fromkeys(classes)]
        text = " and ".join(f"a photo of a {c}" for c in dict.fromkeys(classes)) or "nothing"
        prompts.append(Prompt(id=path.stem, text=text, tag="sentinel", meta={"include": include}))
        digest = file_hash(path)
        records.append(
            ImageRecord(prompt_id=path.stem, ordinal=0, path=path.name, sha256=digest, seed=-1)
        )
    suite = PromptSuite(name=f"sentinel:{name}", version="1", prompts=tuple(prompts))
    return ImageSet(
        root=FOLDER / name, suite=suite, images_per_prompt=1, records=tuple(records), identity=name
    )


def findings(backend: Backend, name: str) -> list[str]:
    """Return what a detector does not see, or sees and is not there; empty where all is well."""
    images = sentinel_images(name)
    queries = {
        prompt.id: [clause["class"] for clause in prompt.meta["include"]] for prompt in images.suite
    }
    seen = {
        record["prompt_id"]: parse_detections(record)
        for record, _ in backend.predict(images, queries)
    }
    expected = expectations(name)
    wrong: list[str] = []
    for picture in expected["pictures"]:
        stem = Path(picture["file"]).stem
        wrong += (
            f"{picture['file']}: {text}"
            for text in _judge(picture, seen.get(stem, []), expected["least_score"])
        )
    return wrong


def require_sentinel(backend: Backend, name: str) -> None:
    """Refuse a detector that fails a set; looked at once per process.

    Raises:
        SentinelError: with what was expected and what was found.
        PrerequisiteError: the back-end's weights are missing.
    """
    if os.environ.get(SKIP) == "1":
        LOG.warning("%s reports without its sentinel (%s=1)", backend.name, SKIP)
        return
    key = (type(backend), name, backend.device)
    if key in _passed:
        return
    wrong = findings(backend, name)
    if wrong:
        raise SentinelError(
            f"{backend.name} refuses to report: it misreads {len(wrong)} things on the bundled "
            f"pictures {name!r}:\n  " + "\n  ".join(wrong) + "\n  to mend it: look at its weights, "
            "its class list and the versions of the packages it runs in (`bench doctor`)"
        )
    _passed.add(key)


def _judge(picture: Mapping[str, Any], seen: list[Detection], least_score: float) -> Iterator[str]:
    sure = sorted((d for d in seen if d.score >= least_score), key=lambda d: -d.score)
    free = list(sure)
    for thing in picture["objects"]:
        box = thing["box"]
        fitting = [d for d in free if d.label == thing["class"] and _overlap(d.box, box) >= OVERLAP]
        if not fitting:
            yield (
                f"expected {_words(thing)} at {box} with a score of {least_score} or more; found "
                f"{', '.join(_shown(d) for d in sure[:4]) or 'nothing'}"
            )
            continue
        free.remove(fitting[0])
        color = thing.get("color")
        if color is not None and fitting[0].color != color:
            yield f"expected {_words(thing)} at {box}; found it {fitting[0].color}"
    if picture.get("nothing_else", False) and free:
        yield f"nothing else is there; found {', '.join(_shown(d) for d in free[:4])}"


def _words(thing: Mapping[str, Any]) -> str:
    return f"a {thing['color']} {thing['class']}" if thing.get("color") else f"a {thing['class']}"


def _shown(detection: Detection) -> str:
    color = f"{detection.color} " if detection.color else ""
    box = [round(v) for v in detection.box]
    return f"a {color}{detection.label} {detection.score:.2f} at {box}"


def _overlap(a: tuple[float, ...], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared)
