"""Pictures that are measured against a reference which holds the very same pictures.

A distance to oneself is 0, and one to a set that shares some pictures is too small; neither is an
error to refuse: a set against itself is how one sees that a metric is set up rightly. So it is said
how many they are.

Equal pixels have equal features, but for the rounding of a batch; so features are compared where
the reference has those of its pictures. Of one that is mean and covariance alone, the hashes of its
files are looked at, and whether the mean is that of the pictures that are measured.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api.evaluator import Predictions
from bench.generation.image_set import RECORDS_FILE
from bench.steps.references import FILES
from bench.store import Artifact, Store, read_jsonl

SAME = 1e-4
"""Of the largest feature: by how much those of equal pixels may differ."""

Array = NDArray[np.floating[Any]]


def own_reference(
    store: Store,
    images: Artifact,
    roles: Mapping[str, tuple[Predictions, Predictions, Artifact]],
    who: str,
) -> list[str]:
    """Return a remark where pictures are measured against themselves.

    Args:
        store: where the reference's images are.
        images: what is measured.
        roles: by role, what was seen of both, and the artifact of what was seen of the reference.
        who: the evaluator.
    """
    files = _files(images)
    shared = max(
        (
            shared_with(measured, reference, files, _known(store, artifact))
            for measured, reference, artifact in roles.values()
        ),
        default=0,
    )
    if not shared:
        return []
    some = "all" if shared == len(files) else str(shared)
    return [
        f"{who}: {some} of the {len(files)} pictures that are measured are pictures of the "
        "reference: a distance to itself says nothing of a model"
    ]


def _files(images: Artifact) -> list[set[str]]:
    """Return the sha256 of each picture as it is stored, and as it was brought."""
    stored = [str(row["sha256"]) for row in read_jsonl(images.file(RECORDS_FILE))]
    brought = images.identity.get("sha256")
    given = brought if isinstance(brought, list) and len(brought) == len(stored) else stored
    return [{str(one), str(other)} for one, other in zip(stored, given, strict=True)]


def _known(store: Store, reference: Artifact) -> set[str]:
    key = reference.upstream.get("images")
    if isinstance(key, str):
        return set().union(*_files(store.get(key)))
    return set(reference.read_json(FILES)) if FILES in reference.files else set()


def shared_with(
    measured: Predictions,
    reference: Predictions,
    files: Sequence[Collection[str]],
    known: Collection[str],
) -> int:
    """Return how many of the measured pictures the reference holds.

    Args:
        measured, reference: of one role.
        files: sha256 of each measured picture's file, as it was brought and as it is stored.
        known: those of the reference's, where they are known.
    """
    holds = set(known)
    by_file = sum(not holds.isdisjoint(names) for names in files)
    features = _features(measured)
    if features is None:
        return by_file
    own = _features(reference)
    if own is not None and own.shape[1] == features.shape[1]:
        return max(by_file, equal_rows(features, own))
    mean = reference.arrays.get("mean")
    if mean is not None and mean.shape == features.shape[1:]:
        center = np.asarray(features, dtype=np.float64).mean(axis=0)
        if np.abs(center - mean).max() <= 0.1 * SAME * max(np.abs(mean).max(), 1e-12):
            return len(features)
    return by_file


def equal_rows(rows: Array, others: Array) -> int:
    """Return how many of `rows` (n, d) are among `others` (m, d), but for rounding.

    Each row is put on a line by one fixed direction; only its neighbours there are compared.
    """
    scale = max(float(np.abs(others).max(initial=0.0)), 1e-12)
    direction = np.random.default_rng(0).standard_normal(rows.shape[1])
    direction /= np.abs(direction).sum()
    line = others.astype(np.float64) @ direction
    order = np.argsort(line)
    line = line[order]
    places = rows.astype(np.float64) @ direction
    first = np.searchsorted(line, places - SAME * scale)
    last = np.searchsorted(line, places + SAME * scale, side="right")
    return sum(
        any(np.abs(others[order[at]] - row).max() <= SAME * scale for at in range(begin, end))
        for row, begin, end in zip(rows, first, last, strict=True)
    )


def _features(found: Predictions) -> Array | None:
    """Return the array (n, d) of a vector for each picture, where there is one."""
    array = found.arrays.get("features")
    if array is None or array.ndim != 2 or len(array) != len(found.records):
        return None
    return array
