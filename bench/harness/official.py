"""`bench score --official DIR`: images and results as the evaluator's own scripts have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.errors import UsageError
from bench.api.evaluator import Evaluator
from bench.api.registry import EVALUATORS
from bench.store import DISK

if TYPE_CHECKING:
    from bench.store import Artifact, Store


def require_official(evaluator: str, folder: Path) -> None:
    """Make sure, before anything is measured, that the official files can be written.

    Raises:
        UsageError: the evaluator has none, or the folder is there already.
    """
    if not _writes(evaluator):
        known = filter(_writes, EVALUATORS.names())
        raise UsageError(
            f"--official: {evaluator} has no official files here; {', '.join(known)} have."
        )
    if folder.exists():
        raise UsageError(f"--official {folder}: it is there already; name a folder that is not.")


def _writes(evaluator: str) -> bool:
    return EVALUATORS.load(evaluator).write_folder is not Evaluator.write_folder


def write_official(evaluator: str, store: Store, scores: Artifact, folder: Path) -> list[str]:
    """Write the images that were scored, and their results, and return the result files' names.

    The images appear when they are whole; the results come after.

    Raises:
        UsageError: the prompts have no place in the layout.
        StoreError: the folder cannot be written.
    """
    from bench.generation.image_set import open_image_set
    from bench.steps.predictions import open_predictions
    from bench.steps.scores import RECORDS
    from bench.store import read_jsonl

    images = open_image_set(store.get(str(scores.upstream["images"])))
    predictions = {
        role.partition("/")[2]: open_predictions(store.get(str(key)))
        for role, key in scores.upstream.items()
        if role.startswith("predictions/")
    }
    whose = EVALUATORS.load(evaluator)()
    records = read_jsonl(scores.file(RECORDS))
    results = whose.official_results(images.suite, predictions, records, root=folder)
    whose.write_folder(images, folder, previews=True)
    for name, text in results.items():
        path = folder / name
        DISK.makedirs(path.parent)
        DISK.write_atomically(path, text.encode())
    return sorted(results)
