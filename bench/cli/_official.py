"""`bench score --official DIR`: images and results as the evaluator's own scripts have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import UsageError
from bench.api.evaluator import Evaluator
from bench.api.registry import EVALUATORS
from bench.store import DISK

if TYPE_CHECKING:
    from bench.api.evaluator import Predictions, Record
    from bench.api.generation import ImageSet
    from bench.store import Artifact, Store

MODEL = "bench"
"""The model's folder in OneIG's layout."""


def require_official(evaluator: str, folder: Path) -> None:
    """Make sure, before anything is measured, that the official files can be written.

    Raises:
        UsageError: the evaluator has none, or the folder is there already.
    """
    if evaluator not in _WRITERS and not _writes(evaluator):
        known = (n for n in EVALUATORS.names() if n in _WRITERS or _writes(n))
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
    records = read_jsonl(scores.file(RECORDS))
    if evaluator in _WRITERS:
        results = _WRITERS[evaluator](images, predictions, records, folder)
    else:
        whose = EVALUATORS.load(evaluator)()
        found = whose.official_results(images.suite, predictions, records, root=folder)
        whose.write_folder(images, folder, previews=True)
        results = dict(found)
    for name, text in results.items():
        path = folder / name
        DISK.makedirs(path.parent)
        DISK.write_atomically(path, text.encode())
    return sorted(results)


def _compbench(
    images: ImageSet, _: Mapping[str, Predictions], records: Sequence[Record], folder: Path
) -> dict[str, str]:
    from evaluators.compbench_layout import export_layout
    from evaluators.compbench_results import official_files

    files = official_files(images.suite, records)
    export_layout(images, folder)
    return files


def _oneig(
    images: ImageSet, _p: Mapping[str, Predictions], _r: Sequence[Record], folder: Path
) -> dict[str, str]:
    from evaluators.oneig_layout import export_layout

    export_layout(images, folder, model=MODEL)
    return {}


def _dpg(
    images: ImageSet, _p: Mapping[str, Predictions], _r: Sequence[Record], folder: Path
) -> dict[str, str]:
    from evaluators.dpg_prompts import export_layout

    export_layout(images, folder)
    return {}


_WRITERS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "t2i-compbench": _compbench,
    "t2i-compbench-plus": _compbench,
    "oneig": _oneig,
    "dpg": _dpg,
}
