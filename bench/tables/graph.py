"""From a request to the graph of all artifacts its cells need. Nothing is computed, no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

from bench.api.errors import PrerequisiteError, UsageError, did_you_mean
from bench.api.evaluator import Evaluator
from bench.api.prompts import PromptSuite
from bench.api.registry import BACKENDS, EVALUATORS
from bench.store import Store, canonical_json, code_identity
from bench.tables.images import ImageSource, NotExpressibleError, image_node, reference_node
from bench.tables.nodes import Graph, Node
from bench.tables.protocol import ColumnProtocol, load_suite
from bench.tables.request import Request
from bench.tables.spec import ColumnSpec, RowSpec

SCORES_VERSION = 1
"""Bumped when predictions or scores are stored or combined in another way."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One value of the table.

    Attributes:
        row, column: keys.
        seed: training seed; None for a row without training.
        node: id of the scores; None where the cell cannot be measured.
        reason: why not.
        protocol: what two cells of a column must share, and how the images were sampled.
    """

    row: str
    column: str
    seed: int | None
    node: str | None = None
    reason: str = ""
    protocol: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TableGraph:
    """The graph, its cells in table order, and the prerequisites that are missing.

    Attributes:
        graph: the nodes.
        cells: one per row, column and training seed.
        missing: what must be got before anything of the rows named can run.
    """

    graph: Graph
    cells: tuple[Cell, ...]
    missing: tuple[PrerequisiteError, ...] = ()

    @property
    def targets(self) -> list[str]:
        """Ids of the score nodes, without repetition."""
        return list(dict.fromkeys(cell.node for cell in self.cells if cell.node is not None))


def build_graph(request: Request, store: Store) -> TableGraph:
    """Return the graph of a request.

    Raises:
        UsageError: the table, the profile and the plug-ins do not fit together.
        PrerequisiteError: the base checkpoint or the pairs' prompts are missing.
    """
    graph = Graph()
    source = ImageSource(request=request, store=store, graph=graph)
    cells: list[Cell] = []
    columns = [_Column(request, column, source) for column in request.columns]
    for row in request.rows:
        for seed in request.seeds if row.trained else (None,):
            cells += [column.cell(row, seed) for column in columns]
    return TableGraph(graph=graph, cells=tuple(cells), missing=tuple(source.missing.values()))


class _Column:
    """What the cells of one column share."""

    def __init__(self, request: Request, column: ColumnSpec, source: ImageSource) -> None:
        self.request = request
        self.column = column
        self.source = source
        self.protocol: ColumnProtocol | None = request.profile.protocol_of(request.table, column)
        self.evaluator = _evaluator(column)
        self.suite: PromptSuite | None = None
        self.roles: dict[str, tuple[str, ...]] = {}
        self.reference: str | None = None
        self.obstacle = self._obstacle()

    def _obstacle(self) -> str:
        """Return why no cell of this column can be measured, or nothing."""
        profile = self.request.profile
        if self.protocol is None:
            return f"profile {profile.name} has no protocol {profile.protocol!r} for it"
        try:
            self.suite = load_suite(self.protocol.suite, self.request.limit)
        except PrerequisiteError as error:
            return " ".join(str(error).split())
        for role in self.evaluator.spec.backends:
            wanted = tuple(p.id for p in self.suite if self.evaluator.wants(role, p))
            if not wanted:
                continue
            if role not in profile.backends:
                return f"profile {profile.name} has no back-end for the role {role!r}"
            self.roles[role] = wanted
        if self.evaluator.spec.needs_reference:
            if self.protocol.reference is None:
                return "its protocol names no reference images"
            try:
                self.reference = reference_node(self.source, self.protocol, self.suite)
            except NotExpressibleError as error:
                return str(error)
        return ""

    def cell(self, row: RowSpec, seed: int | None) -> Cell:
        """Return the cell of a row, adding to the graph what it needs."""
        if self.obstacle or self.protocol is None or self.suite is None:
            return self._without(row, seed, self.obstacle)
        try:
            images = image_node(self.source, row, seed, self.protocol, self.suite)
        except NotExpressibleError as error:
            return self._without(row, seed, str(error))
        node = self._scores(images, self.suite)
        return Cell(
            row=row.key,
            column=self.column.key,
            seed=seed,
            node=node,
            protocol=self._protocol_of(row, self.suite, self.protocol),
        )

    def _without(self, row: RowSpec, seed: int | None, reason: str) -> Cell:
        return Cell(row=row.key, column=self.column.key, seed=seed, reason=reason)

    def _scores(self, images: str, suite: PromptSuite) -> str:
        graph = self.source.graph
        upstream = {"images": images}
        for role in self.roles:
            upstream[f"predictions/{role}"] = self._predictions(images, suite, role)
        if self.reference is not None:
            for role in self.roles:
                upstream[f"reference/{role}"] = self._predictions(self.reference, None, role)
        name = f"{graph[images].name}-{self.evaluator.spec.name}"[:110]
        node = Node(
            kind="scores",
            name=name,
            identity={
                "version": SCORES_VERSION,
                "evaluator": code_identity(type(self.evaluator)),
                "settings": asdict(self.evaluator) if is_dataclass(self.evaluator) else {},
                "upstream": upstream,
            },
            upstream=upstream,
            payload={"evaluator": self.column.evaluator},
            function="bench.tables.making:make_scores",
            label=f"score {graph[images].label} with {self.evaluator.spec.name}",
            seconds=1.0,
            bytes=200 * max(1, graph[images].payload.get("images", 1)),
        )
        return graph.add(node)

    def _predictions(self, images: str, suite: PromptSuite | None, role: str) -> str:
        """Add the predictions of a role on an image set; `suite` None means on all its images."""
        graph, profile = self.source.graph, self.request.profile
        asked: dict[str, list[str]] = {}
        prompts: list[str] | None = None
        if suite is not None:
            wanted = set(self.roles[role])
            prompts = None if len(wanted) == len(suite) else [p.id for p in suite if p.id in wanted]
            for prompt in suite:
                texts = list(self.evaluator.queries(role, prompt)) if prompt.id in wanted else []
                if texts:
                    asked[prompt.id] = texts
        count = graph[images].payload.get("images", 0)
        if prompts is not None and suite is not None:
            count = count * len(prompts) // len(suite)
        seconds = profile.speed.predict_seconds
        node = Node(
            kind="predictions",
            name=f"{graph[images].name}-{role}"[:110],
            identity={
                "version": SCORES_VERSION,
                "images": images,
                "backend": backend_identity(profile.backends[role]),
                "queries_sha256": _digest(asked),
                "prompts_sha256": None if prompts is None else _digest(prompts),
            },
            upstream={"images": images},
            payload={"backend": profile.backends[role], "queries": asked, "prompts": prompts},
            function="bench.tables.making:make_predictions",
            label=f"{role} on {graph[images].label}",
            seconds=2.0 + count * seconds.get(role, seconds.get("default", 0.05)),
            bytes=400 * count,
        )
        return graph.add(node)

    def _protocol_of(
        self, row: RowSpec, suite: PromptSuite, protocol: ColumnProtocol
    ) -> dict[str, Any]:
        profile = self.request.profile
        return {
            "name": profile.protocol,
            "suite": {
                "name": suite.name,
                "version": suite.version,
                "prompts": len(suite),
                "sha256": suite.sha256,
            },
            "limit": self.request.limit,
            "images_per_prompt": protocol.images_per_prompt,
            "generation": None if row.render else protocol.generation.identity(),
            "evaluator": {
                "name": self.evaluator.spec.name,
                "version": self.evaluator.spec.version,
                "upstream": self.evaluator.spec.upstream,
                "metric": self.column.metric,
            },
            "backends": {role: backend_identity(profile.backends[role]) for role in self.roles},
            "reference": self.reference,
            "deviations": list(protocol.deviations),
        }


def backend_identity(name: str) -> dict[str, Any]:
    """Return what of a back-end enters an identity: its own, and the source of a third party's.

    Raises:
        UsageError: it is unknown.
        PrerequisiteError: its weights are missing.
    """
    entry = BACKENDS.entry(name)
    cls = BACKENDS.load(name)
    identity = dict(cls().identity())
    if entry.origin != "built-in":
        identity["code"] = code_identity(cls)
    return identity


def _evaluator(column: ColumnSpec) -> Evaluator:
    """Return the column's evaluator after comparing it with what the table says of it."""
    evaluator = EVALUATORS.load(column.evaluator)()
    metrics = {metric.name: metric for metric in evaluator.spec.metrics}
    if column.metric not in metrics:
        hint = did_you_mean(column.metric, metrics)
        raise UsageError(f"evaluator {column.evaluator} has no metric {column.metric!r}.{hint}")
    if metrics[column.metric].higher_is_better != column.higher_is_better:
        raise UsageError(
            f"column {column.key} says higher_is_better: {str(column.higher_is_better).lower()}, "
            f"evaluator {column.evaluator} the opposite of {column.metric}; mend the table."
        )
    return evaluator


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()
