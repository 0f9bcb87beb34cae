"""From a request to the graph of all artifacts its cells need. Nothing is computed, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from bench.api.errors import PrerequisiteError, UsageError, did_you_mean
from bench.api.evaluator import Evaluator, MetricSpec
from bench.api.loading import import_target
from bench.api.prompts import PromptSuite
from bench.api.registry import EVALUATORS
from bench.spec.noise import SHARED
from bench.spec.protocol import ColumnProtocol, StoredName, load_suite
from bench.spec.request import Request
from bench.spec.table import WIN_RATE, ColumnSpec, RowSpec, TableSpec
from bench.spec.world import world_of
from bench.steps.builder import GraphBuilder, NotExpressibleError
from bench.steps.cost import cost_of
from bench.steps.graph import Graph
from bench.steps.images import add_reference
from bench.steps.predictions import backend_identities, needed_roles
from bench.steps.references import add_stored_reference, evaluator_of
from bench.steps.rows import add_row_images, cell_seeds
from bench.steps.scores import add_scores, settings_changed
from bench.steps.selectors import refuse_circular
from bench.store import Store, plugin_code


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One value of the table.

    Attributes:
        row, column: keys.
        training_seed: None for a row without training.
        noise_seed: that its images were sampled from.
        step: id of the scores; None where the cell cannot be measured.
        reason: why not.
        protocol: what two cells of a column must share, and how the images were sampled.
    """

    row: str
    column: str
    training_seed: int | None
    noise_seed: int | None
    step: str | None = None
    reason: str = ""
    protocol: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TableGraph:
    """The graph, its cells in table order, and the prerequisites that are missing.

    Attributes:
        graph: the steps.
        cells: one per row, column, training seed and noise seed.
        missing: what must be got before anything of the rows named can run.
        times: how the steps' seconds were estimated; see `bench.steps.cost`.
    """

    graph: Graph
    cells: tuple[Cell, ...]
    missing: tuple[PrerequisiteError, ...] = ()
    times: str = ""

    @property
    def targets(self) -> list[str]:
        """Ids of the score steps, without repetition."""
        return list(dict.fromkeys(cell.step for cell in self.cells if cell.step is not None))


def build_graph(request: Request, store: Store) -> TableGraph:
    """Return the graph of a request.

    Raises:
        UsageError: the table, the profile and the plug-ins do not fit together, or a planned claim
            or a control is on a number of what chose the training data.
        PrerequisiteError: the base checkpoint or the pairs' prompts are missing.
    """
    made = _maker(request, store)
    cells: list[Cell] = []
    for row in request.rows:
        for training, noise in cell_seeds(row, request.profile, request.seeds):
            cells += made.cells(row, training, noise)
    times = ""
    if request.table.world is None:
        times = cost_of(request.images).words()
        measured = {
            (cell.row, cell.column): (cell.step, cell.protocol["backends"])
            for cell in cells
            if cell.step is not None
        }
        refuse_circular(request.table, made.graph, measured, store)
    return TableGraph(graph=made.graph, cells=tuple(cells), missing=made.missing, times=times)


class CellMaker(Protocol):
    """A graph that grows by the cells of a table: made from its request and the store."""

    @property
    def graph(self) -> Graph:
        """The steps of all cells so far."""

    @property
    def missing(self) -> tuple[PrerequisiteError, ...]:
        """What must be got before anything can run."""

    def cells(self, row: RowSpec, training_seed: int | None, noise_seed: int) -> Iterator[Cell]:
        """Yield a row's cells, in the order of the columns, adding what they need."""


def _maker(request: Request, store: Store) -> CellMaker:
    """Return what makes the cells of a request, as the world of its table says."""
    own = world_of(request.table).maker
    if not own:
        return _ImageCells(request, store)
    found: Callable[[Request, Store], CellMaker] = import_target(own, kind="maker of cells")  # type: ignore[assignment]
    return found(request, store)


class _ImageCells:
    """The cells of a table of images."""

    def __init__(self, request: Request, store: Store) -> None:
        rows = {row.key: row for row in request.table.rows}
        self.graph = Graph()
        self._builder = GraphBuilder(
            profile=request.images, store=store, graph=self.graph, rows=rows
        )
        self._columns = [_Column(request, column, self._builder) for column in request.columns]

    @property
    def missing(self) -> tuple[PrerequisiteError, ...]:
        return tuple(self._builder.missing.values())

    def cells(self, row: RowSpec, training_seed: int | None, noise_seed: int) -> Iterator[Cell]:
        here = [c for c in self._columns if row.scale_of is None or c.column.key in row.columns]
        return (column.cell(row, training_seed, noise_seed) for column in here)


class _Column:
    """What the cells of one column share."""

    def __init__(self, request: Request, column: ColumnSpec, builder: GraphBuilder) -> None:
        self.request = request
        self.column = column
        self.builder = builder
        self.profile = builder.profile
        self.protocol: ColumnProtocol | None = self.profile.protocol_of(request.table, column)
        stored = self.protocol is not None and isinstance(self.protocol.reference, StoredName)
        self.name = evaluator_of(column.evaluator) if stored else column.evaluator
        self.evaluator = _evaluator(request, column, self.name)
        self.suite: PromptSuite | None = None
        self.roles: dict[str, tuple[str, ...]] = {}
        self.backends: dict[str, Mapping[str, Any]] = {}
        self.reference: str | None = None
        self.stored: dict[str, str] = {}
        self.obstacle = self._obstacle()

    def _obstacle(self) -> str:
        """Return why no cell of this column can be measured, or nothing."""
        profile = self.profile
        if self.protocol is None:
            return f"profile {profile.name} has no protocol {profile.protocol!r} for it"
        try:
            self.suite = load_suite(self.protocol.suite, self.request.limit)
        except PrerequisiteError as error:
            return " ".join(str(error).split())
        try:
            self.roles = needed_roles(self.evaluator, self.suite, profile)
            reference = self.protocol.reference
            rendered = not isinstance(reference, StoredName)
            if self.evaluator.spec.needs_reference and rendered:
                self.reference = add_reference(self.builder, self.protocol)
            self.backends = backend_identities(
                self.builder, self.roles, evaluator=self.evaluator.spec.name
            )
            if self.evaluator.spec.needs_reference and isinstance(reference, StoredName):
                images = self.suite.count(self.protocol.images_per_prompt)
                self.stored = add_stored_reference(
                    self.builder,
                    reference.name,
                    self.name,
                    self.evaluator,
                    self.backends,
                    # a part of the prompts is no protocol's number, and the table says so
                    measured=images if self.request.limit is None else None,
                )
        except NotExpressibleError as error:
            return str(error)
        return ""

    def cell(self, row: RowSpec, training_seed: int | None, noise_seed: int) -> Cell:
        """Return the cell of a row, adding to the graph what it needs."""
        bare = Cell(
            row=row.key,
            column=self.column.key,
            training_seed=training_seed,
            noise_seed=noise_seed,
        )
        if self.obstacle or self.protocol is None or self.suite is None:
            return replace(bare, reason=self.obstacle)
        try:
            images = add_row_images(
                self.builder, row, training_seed, noise_seed, self.protocol, self.suite
            )
        except NotExpressibleError as error:
            return replace(bare, reason=str(error))
        step = add_scores(
            self.builder,
            self.name,
            self.evaluator,
            images=images,
            suite=self.suite,
            roles=self.roles,
            backends=self.backends,
            reference=self.reference,
            reference_predictions=self.stored,
        )
        protocol = self._protocol_of(row, self.suite, self.protocol)
        return replace(bare, step=step, protocol=protocol)

    def _protocol_of(
        self, row: RowSpec, suite: PromptSuite, protocol: ColumnProtocol
    ) -> dict[str, Any]:
        profile, changed = self.profile, settings_changed(self.evaluator)
        often = {prompt.tag: prompt.times for prompt in suite if prompt.times > 1}
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
            **({"times": often} if often else {}),
            "generation": None if row.render else protocol.generation.identity(),
            "evaluator": {
                "name": self.evaluator.spec.name,
                "version": self.evaluator.spec.version,
                "upstream": self.evaluator.spec.upstream,
                "metric": self.column.metric,
                **({"settings": changed} if changed else {}),
                **plugin_code(EVALUATORS.entry(self.name), type(self.evaluator)),
                **({} if self.column.against is None else {"against": self.column.against}),
            },
            "backends": self.backends,
            "reference": self.reference or next(iter(self.stored.values()), None),
            "deviations": list(protocol.deviations),
            **({} if profile.noise == SHARED else {"noise": profile.noise}),
        }


def _evaluator(request: Request, column: ColumnSpec, name: str) -> Evaluator:
    """Return the evaluator `name` after comparing it with what the table says of the column."""
    evaluator, table = request.images.evaluator(name), request.table
    if column.metric == WIN_RATE:
        return evaluator
    metrics = {metric.name: metric for metric in evaluator.spec.metrics}
    if column.metric not in metrics:
        hint = did_you_mean(column.metric, metrics)
        where = table.place(column.key, "metric")
        raise UsageError(
            f"{where}evaluator {column.evaluator} has no metric {column.metric!r}.{hint}"
        )
    if metrics[column.metric].higher_is_better != column.higher_is_better:
        where = table.place(column.key, "higher_is_better")
        raise UsageError(
            f"{where}column {column.key} says higher_is_better: "
            f"{str(column.higher_is_better).lower()}, evaluator {column.evaluator} the opposite "
            f"of {column.metric}; mend the table."
        )
    _require_possible(table, column.key, metrics[column.metric])
    return evaluator


def _require_possible(table: TableSpec, column: str, metric: MetricSpec) -> None:
    """Raise UsageError where a published number cannot be one of the metric: it is in another
    unit, and would be shown, and planned with, beside what is measured.
    """
    low, high = metric.range
    for row, values in table.published.items():
        value = values[column].value if column in values else None
        if value is None or ((low is None or value >= low) and (high is None or value <= high)):
            continue
        where = table.published_place(row, column)
        least, most = ("any" if end is None else f"{end:g}" for end in (low, high))
        raise UsageError(
            f"{where}published.{row}.{column} is {value:g}; {metric.name} is from {least} to "
            f"{most}. Write the number in the metric's own unit ({metric.unit})."
        )
