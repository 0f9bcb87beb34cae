"""Are the evaluators' numbers still those that were committed? No store and no cache are in it.

Every metric is compared and, so that a drift too small to move one is seen, every image's raw
predictions: by field (a box, a score, the features), how many numbers the back-end gave, their
mean and root mean square, and a checksum of its words.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError
from bench.api.evaluator import Evaluator, Predictions
from bench.api.generation import ImageSet
from bench.api.registry import BACKENDS, EVALUATORS
from bench.check.image_sets import protocol_of, read_set, set_names
from bench.spec.profile import Profile
from bench.steps.builder import NotExpressibleError
from bench.steps.predictions import needed_roles

TOLERANCE = 1e-4
"""Largest change that is no drift, of max(1, the committed value): another BLAS or thread count
moves float32 results by 1e-6 to 1e-5, another resize or threshold by far more."""

DIGITS = 8
ENDS = ("value", "low", "high")
SUMMARY = ("number", "mean", "root mean square")
WORDS = "words"
Signature = dict[str, Any]
"""field -> [numbers, their mean, their root mean square]; `words` -> a checksum."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """One number that is not the committed one; None where there is none.

    Attributes:
        what: `"overall"`, `"overall.low"`, `"n of overall"`, or `"raw detector"`.
        committed, found: the numbers.
        change: how far they are apart; None where one is missing.
        allowed: how far they may be.
        where: for raw predictions, the image that differs most and how many do.
    """

    what: str
    committed: float | None
    found: float | None
    change: float | None
    allowed: float
    where: str = ""


class CannotCheckError(BenchError):
    """An evaluator that cannot be checked here, and why."""


@dataclass(kw_only=True)
class Rescorer:
    """Scores committed image sets; back-ends are made once and look at no set twice.

    Attributes:
        folder: with the sets.
        profile: which back-end plays which role.
        device: where models run.
        batch_size: images per forward.
    """

    folder: Path
    profile: Profile
    device: str | None = None
    batch_size: int = 64
    _seen: dict[Any, Predictions] = field(default_factory=dict)
    _backends: dict[str, Any] = field(default_factory=dict)

    def measure(self, name: str) -> dict[str, Any]:
        """Return what is committed of an evaluator: sets, versions, metrics, raw predictions.

        Raises:
            CannotCheckError: the profile has no back-end for one of its roles, or no prompts.
            PrerequisiteError: its image set, or a back-end's weights are not there.
            BenchError: the evaluator failed.
        """
        evaluator = EVALUATORS.load(name)()
        protocol = protocol_of(self.profile, name, evaluator)
        if protocol is None:
            raise CannotCheckError(f"profile {self.profile.name} has no prompts for it")
        set_name, reference_name = set_names(protocol, evaluator)
        images = read_set(self.folder, set_name)
        roles = roles_here(evaluator, images, self.profile)
        predictions = {role: self._look(evaluator, role, images) for role in roles}
        reference = None
        if reference_name is not None:
            other = read_set(self.folder, reference_name)
            reference = {role: self._look(evaluator, role, other) for role in roles}
        try:
            records = [dict(record) for record in evaluator.score(images.suite, predictions)]
            metrics = evaluator.aggregate(records, predictions, reference)
        except ValueError as error:
            raise BenchError(f"{name}: {error}") from error
        raw = {role: signatures(found) for role, found in predictions.items()}
        for role, found in (reference or {}).items():
            raw[f"{role} of the reference"] = signatures(found)
        return {
            "set": set_name,
            "images": len(images.records),
            "version": evaluator.spec.version,
            "backends": {role: self._backend(role).identity() for role in roles},
            "metrics": {
                metric: {
                    **{end: rounded(getattr(estimate, end)) for end in ENDS},
                    "n": estimate.n,
                }
                for metric, estimate in metrics.items()
            },
            "raw": raw,
        }

    def _backend(self, role: str) -> Any:
        name = self.profile.backends[role]
        if name not in self._backends:
            backend = BACKENDS.load(name)()
            backend.device = self.device
            backend.self_check()
            self._backends[name] = backend
        return self._backends[name]

    def _look(self, evaluator: Evaluator, role: str, images: ImageSet) -> Predictions:
        import numpy as np

        wanted = [p for p in images.suite if evaluator.wants(role, p)]
        ids = {p.id for p in wanted}
        queries = {p.id: texts for p in wanted if (texts := tuple(evaluator.queries(role, p)))}
        key = (
            self.profile.backends[role], images.identity, tuple(sorted(ids)),
            tuple(sorted(queries.items())),
        )  # fmt: skip
        if key not in self._seen:
            part = replace(
                images,
                suite=replace(images.suite, prompts=tuple(wanted)),
                records=tuple(r for r in images.records if r.prompt_id in ids),
            )
            answers = list(self._backend(role).predict(part, queries, batch_size=self.batch_size))
            names = list(answers[0][1]) if answers else []
            self._seen[key] = Predictions(
                records=[dict(record) for record, _ in answers],
                arrays={n: np.stack([arrays[n] for _, arrays in answers]) for n in names},
            )
        return self._seen[key]


def roles_here(evaluator: Evaluator, images: ImageSet, profile: Profile) -> list[str]:
    """Return the roles that look at an image set.

    Raises:
        CannotCheckError: the profile has no back-end for one.
    """
    try:
        roles = list(needed_roles(evaluator, images.suite, profile))
    except NotExpressibleError as error:
        raise CannotCheckError(str(error)) from error
    if not roles:
        raise CannotCheckError("none of its back-ends looks at these prompts")
    return roles


def signatures(predictions: Predictions) -> dict[str, Signature]:
    """Return the signature of each image's raw predictions, by `<prompt id>/<ordinal>`."""
    import numpy as np

    found = {}
    for row, record in enumerate(predictions.records):
        numbers: dict[str, list[float]] = {}
        words: list[str] = []
        for key, value in sorted(record.items()):
            if key not in ("prompt_id", "ordinal"):
                _collect(key, value, numbers, words)
        for name, array in sorted(predictions.arrays.items()):
            numbers[name] = np.asarray(array[row], dtype=np.float64).ravel().tolist()
        signature: Signature = {key: _summary(values) for key, values in sorted(numbers.items())}
        if words:
            signature[WORDS] = f"{zlib.crc32(chr(0).join(words).encode()):08x}"
        found[f"{record['prompt_id']}/{record['ordinal']}"] = signature
    return found


def _summary(numbers: Sequence[float]) -> list[float | None]:
    size = max(len(numbers), 1)
    square = math.fsum(n * n for n in numbers) / size
    return [len(numbers), rounded(math.fsum(numbers) / size), rounded(math.sqrt(square))]


def _collect(key: str, value: Any, numbers: dict[str, list[float]], words: list[str]) -> None:
    """Add the numbers of a prediction by field, places in lists left out, and its words."""
    if isinstance(value, Mapping):
        for name, part in sorted(value.items()):
            _collect(f"{key}.{name}", part, numbers, words)
    elif isinstance(value, list | tuple):
        numbers.setdefault(key, [])
        for part in value:
            _collect(key, part, numbers, words)
    elif isinstance(value, bool | int | float):
        numbers.setdefault(key, []).append(float(value))
    else:
        words.append(f"{key}={value}")


def rounded(value: float | None) -> float | None:
    """Return a number with so many digits as are committed."""
    return None if value is None else float(f"{value:.{DIGITS}g}")


def compare(
    committed: Mapping[str, Any], found: Mapping[str, Any], *, tolerance: float = TOLERANCE
) -> list[Drift]:
    """Return where an evaluator's numbers are not the committed ones, metrics first."""
    return [
        *_metrics(committed["metrics"], found["metrics"], tolerance),
        *_raw(committed["raw"], found["raw"], tolerance),
    ]


def _metrics(
    committed: Mapping[str, Any], found: Mapping[str, Any], tolerance: float
) -> Iterator[Drift]:
    for name in dict.fromkeys([*committed, *found]):
        before, now = committed.get(name), found.get(name)
        for end in ENDS:
            old = before and before[end]
            new = now and now[end]
            what = name if end == "value" else f"{name}.{end}"
            drift = _drift(what, old, new, tolerance)
            if drift is not None:
                yield drift
        if before and now and before["n"] != now["n"]:
            yield Drift(
                what=f"n of {name}",
                committed=before["n"],
                found=now["n"],
                change=abs(now["n"] - before["n"]),
                allowed=0.0,
            )


def _drift(what: str, old: float | None, new: float | None, tolerance: float) -> Drift | None:
    if old is None and new is None:
        return None
    if old is None or new is None:
        return Drift(what=what, committed=old, found=new, change=None, allowed=tolerance)
    allowed = tolerance * max(1.0, abs(old))
    change = abs(new - old)
    if change <= allowed:
        return None
    return Drift(what=what, committed=old, found=new, change=change, allowed=allowed)


def _raw(
    committed: Mapping[str, Any], found: Mapping[str, Any], tolerance: float
) -> Iterator[Drift]:
    for role in dict.fromkeys([*committed, *found]):
        before, now = committed.get(role, {}), found.get(role, {})
        worst: Drift | None = None
        count = 0
        images = list(dict.fromkeys([*before, *now]))
        for image in images:
            drift = _of_image(before.get(image), now.get(image), tolerance)
            if drift is None:
                continue
            count += 1
            change = math.inf if drift.change is None else drift.change
            largest = -1.0 if worst is None else math.inf if worst.change is None else worst.change
            if change > largest:
                worst = replace(drift, where=image)
        if worst is not None:
            where = f"{count} of {len(images)} images, most {worst.where}"
            yield replace(worst, what=f"raw {role}: {worst.what}", where=where)


def _of_image(
    before: Mapping[str, Any] | None, now: Mapping[str, Any] | None, tolerance: float
) -> Drift | None:
    """Return the largest difference of two signatures."""
    before, now = before or {}, now or {}
    drifts = [
        drift
        for key in dict.fromkeys([*before, *now])
        if key != WORDS
        for name, old, new in zip_longest(SUMMARY, before.get(key, ()), now.get(key, ()))
        if (drift := _drift(f"{name} of {key}", old, new, tolerance)) is not None
    ]
    if drifts:
        return max(drifts, key=lambda d: math.inf if d.change is None else d.change)
    if before.get(WORDS) != now.get(WORDS):
        return Drift(what=WORDS, committed=None, found=None, change=None, allowed=0.0)
    return None
