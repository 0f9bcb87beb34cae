"""The checks of a back-end: its card, and what it sees on pictures of the tiny world."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.api.declared import VERIFIED
from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from bench.validate.checks import (
    Checks,
    check_built,
    check_concrete,
    check_name_and_version,
    check_plain,
)
from bench.validate.sample import questions_of, rendered_images

_ROUNDING = 1e-4
Seen = list[tuple[Record, Mapping[str, np.ndarray]]]


def check_backend(cls: type[Backend], checks: Checks, roles: Sequence[str]) -> None:
    """Check `cls` and note the outcome; facts: `roles`, and `arrays`, their shapes.

    Args:
        cls: the class.
        checks: where the outcome is noted.
        roles: that it plays in a profile: what is asked of it, and of which pictures.

    Raises:
        PrerequisiteError: its weights are not on this machine.
    """
    check_name_and_version(
        getattr(cls, "name", None), getattr(cls, "version", None), checks, "the class attribute"
    )
    checks.require(
        cls.verified in VERIFIED and {*cls.verified_for.values()} <= {*VERIFIED},
        "it says how far it was checked",
        found=f"verified = {cls.verified!r}, verified_for = {cls.verified_for!r}",
        expected=f"one of {', '.join(VERIFIED)}",
        mend="set the class attribute `verified` to what was compared with the original's output",
    )
    if not check_concrete(cls, checks) or (backend := check_built(cls, checks)) is None:
        return
    _identity(backend, checks)
    checks.facts["roles"] = list(roles)
    with tempfile.TemporaryDirectory(prefix="bench-validate-") as folder:
        images = rendered_images(Path(folder) / "images", roles)
        queries = questions_of(images.suite, roles)
        seen = _looks(backend, images, queries, checks)
    if seen is not None:
        checks.facts["arrays"] = {name: array.shape for name, array in seen[0][1].items()}


def _identity(backend: Backend, checks: Checks) -> None:
    identity = checks.attempt("identity()", backend.identity, mend="return plain data")
    if identity is None:
        return
    check_plain(identity, checks, "identity() is plain data")
    checks.require(
        identity.get("backend") == backend.name and identity.get("version") == backend.version,
        "identity() holds its name and version",
        found=repr(identity),
        expected=f"backend {backend.name!r}, version {backend.version!r}, and hashes of weights",
        mend="return {**super().identity(), ...}",
    )


def _looks(
    backend: Backend, images: ImageSet, queries: Mapping[str, Sequence[str]], checks: Checks
) -> Seen | None:
    def look(batch_size: int) -> Seen:
        return list(backend.predict(images, queries, batch_size=batch_size))

    mend = "yield (record, arrays) for each image, in the order of images.records"
    seen = checks.attempt("predict()", lambda: look(64), mend=mend)
    if seen is None:
        return None
    keys = [(record.get("prompt_id"), record.get("ordinal")) for record, _ in seen]
    if not checks.require(
        keys == [(image.prompt_id, image.ordinal) for image in images.records],
        "predict() yields a record per image, in their order",
        found=f"{len(keys)} records: {keys[:3]} ...",
        expected=f"the prompt_id and ordinal of the {len(images.records)} images",
        mend=mend,
    ):
        return None
    check_plain([record for record, _ in seen], checks, "records are plain data")
    shapes = {tuple((name, a.shape) for name, a in sorted(arrays.items())) for _, arrays in seen}
    finite = all(np.isfinite(a).all() for _, arrays in seen for a in arrays.values())
    checks.require(
        len(shapes) == 1 and finite,
        "all images give the same arrays, finite and of one shape",
        found=f"{len(shapes)} sets of shapes" + ("" if finite else ", values that are not finite"),
        expected="the same names and shapes, without a batch axis",
        mend="yield the arrays of one image with each record",
    )
    alone = checks.attempt("predict() image by image", lambda: look(1), mend=mend)
    checks.require(
        alone is not None and all(map(_alike, alone, seen)),
        "the batch size does not change what it sees",
        found="unlike records or arrays for batch sizes 1 and 64",
        expected=f"the same up to rounding ({_ROUNDING:g})",
        mend="look at each image by itself: no statistics over a batch, no random numbers",
    )
    return seen if checks.clean else None


def _alike(a: Any, b: Any) -> bool:
    """Whether two predictions are equal up to rounding."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, np.ndarray):
        return bool(np.allclose(a, b, rtol=_ROUNDING, atol=_ROUNDING))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
    return bool(a == b)
