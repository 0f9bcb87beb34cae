"""Scores: the rules of an evaluator over stored predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

from bench.api.errors import BenchError
from bench.api.evaluator import Evaluator, Predictions
from bench.api.prompts import PromptSuite
from bench.api.registry import EVALUATORS
from bench.read.names import artifact_name
from bench.steps.builder import GraphBuilder
from bench.steps.each_image import require_each_once
from bench.steps.graph import Graph
from bench.steps.predictions import add_predictions, open_predictions
from bench.steps.step import Runtime, Step, image_count
from bench.store import Artifact, Store, Work, code_identity, source_of, write_jsonl
from bench.store.remarks import say

RECORDS = "records.jsonl"
METRICS = "metrics.json"
SCORES_VERSION = 1
"""Bumped when scores are stored or combined in another way."""


@dataclass(frozen=True, kw_only=True)
class ScoreStep(Step):
    """The scores of an image set.

    Attributes:
        evaluator: registry name or path.
        settings: those that are not the evaluator's defaults.
        training_seed, noise_seed: of the images, which have both in their identity.
    """

    kind: str = "scores"
    evaluator: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    training_seed: int | None = None
    noise_seed: int | None = None

    @property
    def calls(self) -> str:
        """The evaluator, for messages."""
        return f"evaluator {self.evaluator}"

    def make(self, store: Store, runtime: Runtime) -> Artifact:
        """Score stored predictions; files `records.jsonl` and `metrics.json`.

        Raises:
            IncompleteError: an image lacks a prediction, naming it.
            ContractError: the evaluator leaves images out, or gives some twice.
            BenchError: it gives no metric at all, or a value is NaN or infinite: that is never
                counted as 0.
        """
        return store.build(
            self.kind,
            self.name,
            self.identity,
            lambda work: self._score(store, work),
            upstream=self.upstream,
            seeds={"training": self.training_seed, "noise": self.noise_seed},
        )

    def _score(self, store: Store, work: Work) -> None:
        from bench.generation.image_set import open_image_set

        images = open_image_set(store.get(self.upstream["images"]))
        suite = images.suite
        evaluator: Evaluator = EVALUATORS.load(self.evaluator)(**self.settings)
        predictions = {r: open_predictions(a) for r, a in self._of(store, "predictions/")}
        reference = {r: open_predictions(a) for r, a in self._of(store, "reference/")}
        try:
            records = [dict(record) for record in evaluator.score(suite, predictions)]
            require_each_once(records, images.records, self.calls)
            metrics = evaluator.aggregate(records, predictions, reference or None)
        except ValueError as error:
            raise BenchError(f"{self.label}: {error}") from error
        if not metrics:
            raise BenchError(
                f"{self.label}: {evaluator.spec.name} gives no metric: suite {suite.name} has no "
                "prompts that one of its metrics is about. Name theirs by --suite, or by the tags "
                "and meta of a manifest"
            )
        say(work, self._own_reference(store, evaluator, predictions, reference))
        write_jsonl(work, RECORDS, records)
        work.write_json(METRICS, {name: e.to_json() for name, e in metrics.items()})

    def _own_reference(
        self,
        store: Store,
        evaluator: Evaluator,
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions],
    ) -> list[str]:
        """Return a remark where pictures are their own reference."""
        if not evaluator.spec.needs_reference or not reference:
            return []
        from bench.steps.own_reference import own_reference

        made_of = dict(self._of(store, "reference/"))
        roles = {
            role: (predictions[role], found, made_of[role])
            for role, found in reference.items()
            if role in predictions
        }
        images = store.get(self.upstream["images"])
        return own_reference(store, images, roles, evaluator.spec.name)

    def _of(self, store: Store, prefix: str) -> Iterator[tuple[str, Artifact]]:
        for role, key in self.upstream.items():
            if role.startswith(prefix):
                yield role.removeprefix(prefix), store.get(key)


def add_scores(
    builder: GraphBuilder,
    name: str,
    evaluator: Evaluator,
    *,
    images: str,
    suite: PromptSuite,
    roles: Mapping[str, tuple[str, ...]],
    backends: Mapping[str, Mapping[str, Any]],
    reference: str | None = None,
    reference_predictions: Mapping[str, str] | None = None,
) -> str:
    """Add the scores of an image set, with the predictions they need, and return their id.

    Args:
        builder: of the graph.
        name: the evaluator's registry name or path.
        evaluator: the same, loaded.
        images: id of the image set's step.
        suite: its prompts.
        roles: as `needed_roles` returned.
        backends: as `backend_identities` returned.
        reference: id of the reference image set's step.
        reference_predictions: in its place, ids of steps that hold its predictions, by role.
    """
    upstream = {"images": images}
    for role, wanted in roles.items():
        upstream[f"predictions/{role}"] = add_predictions(
            builder, evaluator, role, images, backends[role], suite=suite, wanted=wanted
        )
    if reference is not None:
        for role in roles:
            key = add_predictions(builder, evaluator, role, reference, backends[role])
            upstream[f"reference/{role}"] = key
    for role, key in (reference_predictions or {}).items():
        upstream[f"reference/{role}"] = key
    return add_scores_of(builder.graph, name, evaluator, upstream)


def add_scores_of(
    graph: Graph, name: str, evaluator: Evaluator, upstream: Mapping[str, str]
) -> str:
    """Add the scores of what is in the graph already, and return their id.

    Args:
        graph: where the step goes.
        name: the evaluator's registry name or path.
        evaluator: the same, loaded.
        upstream: `images`, `predictions/ROLE` and perhaps `reference/ROLE`.
    """
    images = graph[upstream["images"]]
    target = EVALUATORS.entry(name).target
    step = ScoreStep(
        name=artifact_name(f"{images.name}-{evaluator.spec.name}"),
        identity={
            "version": SCORES_VERSION,
            "evaluator": code_identity(type(evaluator), target),
            "settings": asdict(evaluator) if is_dataclass(evaluator) else {},
            "upstream": dict(upstream),
        },
        upstream=dict(upstream),
        sources=(source_of(type(evaluator), target),),
        evaluator=name,
        settings=settings_changed(evaluator),
        training_seed=getattr(images, "training_seed", None),
        noise_seed=getattr(images, "noise_seed", None),
        label=f"score {images.label} with {evaluator.spec.name}",
        seconds=1.0,
        bytes=200 * image_count(images),
    )
    return graph.add(step)


def settings_changed(evaluator: Evaluator) -> dict[str, Any]:
    """Return the settings that are not the evaluator's defaults."""
    if not is_dataclass(evaluator):
        return {}
    return {
        f.name: value
        for f in fields(evaluator)
        if (value := getattr(evaluator, f.name)) != f.default
    }
