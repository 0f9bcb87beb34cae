"""Predictions: what a back-end sees on an image set, kept so that scoring needs no model."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.api.errors import ContractError, IncompleteError, PrerequisiteError
from bench.api.evaluator import Backend, Evaluator, Predictions
from bench.api.generation import ImageSet
from bench.api.memory import predict_within_memory
from bench.api.prompts import PromptSuite
from bench.api.registry import BACKENDS
from bench.read.names import artifact_name
from bench.spec.profile import Profile
from bench.steps.backends import backend_identity, unfit
from bench.steps.builder import GraphBuilder, NotExpressibleError
from bench.steps.each_image import require_each_once
from bench.steps.step import DivisibleStep, Runtime, image_count
from bench.store import (
    Artifact,
    Source,
    Store,
    Work,
    canonical_json,
    read_jsonl,
    source_of,
    write_jsonl,
    write_safetensors,
)
from bench.store import read_safetensors as read_arrays
from bench.store.remarks import remark, remarks_of, say
from bench.store.shards import shard_identity, shard_name

if TYPE_CHECKING:
    import numpy as np

LOG = logging.getLogger("bench.steps")

PREDICTIONS = "predictions.jsonl"
ARRAYS = "arrays.safetensors"
PREDICTIONS_VERSION = 1
"""Bumped when predictions are stored or combined in another way."""


@dataclass(frozen=True, kw_only=True)
class PredictionStep(DivisibleStep):
    """A back-end's look at an image set.

    Attributes:
        backend: registry name or path.
        queries: what it is asked of the images of a prompt, by prompt id.
        prompts: ids of the prompts whose images it looks at; None means all.
        images: how many those are.
    """

    kind: str = "predictions"
    backend: str
    queries: Mapping[str, tuple[str, ...]]
    prompts: tuple[str, ...] | None
    images: int = 0

    @property
    def calls(self) -> str:
        """The back-end, for messages."""
        return f"back-end {self.backend}"

    def batches(self, runtime: Runtime) -> int:
        """Return the number of batches, of a back-end that looks at each by itself."""
        if not BACKENDS.load(self.backend).batches_of:
            return 1
        return math.ceil(self.images / runtime.prediction_batch)

    def make(self, store: Store, runtime: Runtime) -> Artifact:
        """Predict; files `predictions.jsonl`, `arrays.safetensors`.

        Raises:
            IncompleteError: an image is missing, naming it.
            CorruptArtifactError: an image's bytes were changed.
            PrerequisiteError: the back-end's weights are missing.
            ContractError: the back-end leaves images out, or says something twice.
            BenchError: the back-end does not see what is on pictures of known content.
        """

        def make(work: Work) -> None:
            if not self._join(store, work):
                self._predict(store, work, runtime)

        return store.build(
            self.kind,
            self.name,
            self.identity,
            make,
            upstream=self.made_from,
            device=runtime.device,
        )

    def _join(self, store: Store, work: Work) -> bool:
        """Put the predictions of the parts behind each other.

        Where a part begins depends on the size of batches, and parts may be of attempts with
        different ones: then they leave images out, or have some twice.

        Returns:
            False where a part is not there, or they are not of each image once.
        """
        if self.shard is not None or self.shards == 1:
            return False
        parts, remarks = [], list[str]()
        for number in range(self.shards):
            identity = shard_identity(self.identity, number, self.shards)
            part = store.find(self.kind, shard_name(self.name), identity)
            if part is None:
                return False
            parts.append(open_predictions(part))
            remarks = remarks or remarks_of(part)
        records = [record for part in parts for record in part.records]
        try:
            self._require_each(records, self._looked_at(store))
        except ContractError:
            LOG.warning(
                "%s: its parts were cut at other places, with batches of another size; it is made "
                "at once",
                self.label,
            )
            return False
        arrays = {
            name: [row for part in parts for row in part.arrays[name]] for name in parts[0].arrays
        }
        remark(work, remarks)
        _write(work, records, arrays, self.label)
        return True

    def _looked_at(self, store: Store) -> ImageSet:
        """Return the images of the whole step."""
        from bench.generation.image_set import open_image_set

        images = open_image_set(store.get(self.upstream["images"]), verify=False)
        return images if self.prompts is None else _only(images, set(self.prompts))

    def _require_each(self, records: Sequence[Mapping[str, Any]], images: ImageSet) -> None:
        """Raise ContractError unless there is one record of each image.

        Of prompts that a back-end is asked nothing about it need not say anything.
        """
        asks = bool(self.queries) or BACKENDS.load(self.backend).batches_of == "asked"
        unasked = {p.id for p in images.suite if asks and not self.queries.get(p.id)}
        require_each_once(records, images.records, self.calls, optional=unasked)

    def _predict(self, store: Store, work: Work, runtime: Runtime) -> None:
        images = self._looked_at(store)
        backend: Backend = BACKENDS.load(self.backend)()
        if self.shard is not None:
            images = self._share(images, backend.batches_of, runtime.prediction_batch)
        artifact = store.get(self.upstream["images"])
        for image in images.records:
            artifact.file(image.path)
        backend.device = runtime.device
        backend.self_check()
        say(work, _cut_texts(backend, self.queries), aloud=not self.shard)
        records: list[dict[str, Any]] = []
        arrays: dict[str, list[np.ndarray]] = {}
        predicted = predict_within_memory(
            backend, images, self.queries, batch_size=runtime.prediction_batch
        )
        for done, (record, named) in enumerate(predicted, start=1):
            records.append(dict(record))
            for name, array in named.items():
                arrays.setdefault(name, []).append(array)
            runtime.progress(done, len(images.records))
        self._require_each(records, images)
        _write(work, records, arrays, self.label)

    def _share(self, images: ImageSet, batches_of: str, size: int) -> ImageSet:
        """Return the images that this part looks at: batches that follow each other."""
        assert self.shard is not None
        records = [
            r for r in images.records if batches_of == "images" or self.queries.get(r.prompt_id)
        ]
        batches = math.ceil(len(records) / size)
        first, last = (size * (batches * n // self.shards) for n in (self.shard, self.shard + 1))
        mine = tuple(records[first:last])
        asked = {record.prompt_id for record in mine}
        prompts = tuple(prompt for prompt in images.suite if prompt.id in asked)
        return replace(images, suite=replace(images.suite, prompts=prompts), records=mine)


def _cut_texts(backend: Backend, queries: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a remark where a back-end does not read the whole of the texts it is asked about.

    A back-end that cuts texts says so by a method `token_counts(texts)`: how many tokens it reads,
    and how many each text has.
    """
    counting: Any = getattr(backend, "token_counts", None)
    texts = sorted({text for asked in queries.values() for text in asked})
    if counting is None or not texts:
        return []
    limit, counts = counting(texts)
    cut = sum(count > limit for count in counts)
    if not cut:
        return []
    return [
        f"{backend.name}: {cut} of {len(texts)} texts are longer than the {limit} tokens that it "
        "reads; the rest is cut off"
    ]


def _only(images: ImageSet, wanted: set[str]) -> ImageSet:
    prompts = tuple(p for p in images.suite if p.id in wanted)
    return replace(
        images,
        suite=replace(images.suite, prompts=prompts),
        records=tuple(r for r in images.records if r.prompt_id in wanted),
    )


def _write(
    work: Work,
    records: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, Sequence[np.ndarray]],
    label: str,
) -> None:
    import numpy as np

    lengths = {name: len(rows) for name, rows in arrays.items() if len(rows) != len(records)}
    if lengths:
        raise IncompleteError(
            f"{label}: arrays for some of the {len(records)} images only: {lengths}. A back-end "
            "must yield the same arrays with every image."
        )
    write_jsonl(work, PREDICTIONS, records)
    write_safetensors(work, ARRAYS, {name: np.stack(rows) for name, rows in arrays.items()})


def open_predictions(artifact: Artifact) -> Predictions:
    """Return the predictions an artifact holds, its bytes verified."""
    return Predictions(
        records=read_jsonl(artifact.file(PREDICTIONS)),
        arrays=read_arrays(artifact.file(ARRAYS)),
    )


def add_predictions(
    builder: GraphBuilder,
    evaluator: Evaluator,
    role: str,
    images: str,
    backend: Mapping[str, Any],
    *,
    suite: PromptSuite | None = None,
    wanted: Sequence[str] = (),
) -> str:
    """Add what the back-end of a role sees on an image set, and return the step's id.

    Args:
        builder: of the graph.
        evaluator: who asks.
        role: one of its roles.
        images: id of the image set's step.
        backend: identity of the back-end, see `backend_identities`.
        suite: the prompts of the images; None asks nothing of them, as of a reference set.
        wanted: ids of the prompts whose images are looked at; without a suite all are.
    """
    profile = builder.profile.of_evaluator(evaluator.spec.name)
    looked_at, size = set(wanted), 0 if suite is None else len(suite)
    asked = {
        prompt.id: texts
        for prompt in suite or ()
        if prompt.id in looked_at and (texts := tuple(evaluator.queries(role, prompt)))
    }
    prompts = None if len(wanted) == size or suite is None else tuple(wanted)
    of = builder.graph[images]
    count = image_count(of) if prompts is None else int(len(wanted) / size * image_count(of))
    seconds = profile.speed.predict_seconds
    step = PredictionStep(
        name=artifact_name(f"{of.name}-{role}"),
        identity={
            "version": PREDICTIONS_VERSION,
            "images": images,
            "backend": backend,
            "queries_sha256": _digest(asked),
            "prompts_sha256": None if prompts is None else _digest(prompts),
        },
        upstream={"images": images},
        sources=_sources(profile.backends[role]),
        backend=profile.backends[role],
        queries=asked,
        prompts=prompts,
        images=count,
        label=f"{role} on {of.label}",
        seconds=2.0 + count * seconds.get(role, seconds.get("default", 0.05)),
        bytes=400 * count,
    )
    return builder.graph.add(step)


def needed_roles(
    evaluator: Evaluator, suite: PromptSuite, profile: Profile
) -> dict[str, tuple[str, ...]]:
    """Return, by role the evaluator needs on this suite, the ids of the prompts it looks at.

    Raises:
        NotExpressibleError: the profile has no back-end for a role, or one that cannot serve the
            evaluator as it is on this machine.
    """
    found = {}
    profile = profile.of_evaluator(evaluator.spec.name)
    for role in evaluator.spec.backends:
        wanted = tuple(p.id for p in suite if evaluator.wants(role, p))
        if not wanted:
            continue
        if role not in profile.backends:
            raise NotExpressibleError(
                f"profile {profile.name} has no back-end for the role {role!r}"
            )
        if reason := unfit(profile.backends[role], evaluator.spec.name):
            raise NotExpressibleError(reason)
        looking = BACKENDS.load(profile.backends[role])()
        if reason := looking.unfit_for_prompts(evaluator.spec.name, suite):
            raise NotExpressibleError(reason)
        found[role] = wanted
    return found


def backend_identities(
    builder: GraphBuilder, roles: Iterable[str], *, evaluator: str = ""
) -> dict[str, Mapping[str, Any]]:
    """Return, by role of evaluator `evaluator`, what of its back-end enters an identity.

    A back-end whose weights are not on this machine gets a placeholder and is noted in
    `builder.missing`: the graph can be shown, not run.

    Raises:
        UsageError: a back-end is unknown.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for role in roles:
        name = builder.profile.of_evaluator(evaluator).backends[role]
        try:
            found[role] = backend_identity(name)
        except PrerequisiteError as error:
            builder.missing.setdefault(name, error)
            found[role] = {"backend": name, "version": None}
    return found


def _sources(name: str) -> tuple[Source, ...]:
    """Return what of a third party's back-end is compared again where it is used."""
    entry = BACKENDS.entry(name)
    if entry.origin == "built-in":
        return ()
    return (source_of(BACKENDS.load(name), entry.target),)


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()
