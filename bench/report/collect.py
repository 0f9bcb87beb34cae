"""From artifacts in a store to the data of a report. Reads; computes and writes nothing."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.api.errors import BenchError, UsageError
from bench.api.estimate import Estimate
from bench.api.registry import EVALUATORS
from bench.executors.outcome import Outcome
from bench.report.circular import KEY, Selections, marked_claims
from bench.report.elsewhere import with_published
from bench.report.equal_rows import with_equal_rows
from bench.report.model import PLACE, CellData, ImageValue, TableData, place_of, scores_of
from bench.report.processors import with_processors
from bench.report.stored import STATISTICS_VERSION, Report
from bench.report.trained_on import KEY as TRAINED_ON
from bench.report.verified import stated_words
from bench.report.wins import with_win_rates
from bench.spec.request import Request
from bench.spec.rows import TESTED
from bench.spec.table import WIN_RATE, ColumnSpec, TableSpec
from bench.spec.world import world_of
from bench.steps.cells import Cell, TableGraph
from bench.steps.data import PairStep
from bench.steps.scores import METRICS, RECORDS
from bench.steps.selectors import circular_names, rewards_of
from bench.store import Artifact, Store, canonical_json, read_jsonl
from bench.store.remarks import REMARKS, Remarks


def table_data(
    request: Request, graph: TableGraph, store: Store, outcome: Outcome | None = None
) -> TableData:
    """Return the data of a table from the artifacts there are.

    A cell whose scores are not in the store is `failed`, with the reason of the run.

    Raises:
        CorruptArtifactError: stored scores were changed.
        UsageError: the evaluator's records lack what the table says.
    """
    columns = {c.key: c for c in request.columns}
    remarks = Remarks(store=store)
    scores = {key: _scores(key, graph, store, remarks) for key in graph.targets}
    cells = [
        _cell(cell, columns[cell.column], scores.get(cell.step or ""), outcome)
        for cell in graph.cells
    ]
    cells = with_processors(_marked(cells, request, store), store)
    cells = list(with_equal_rows(cells, request, store))
    higher = {k: _scores_are_better_high(c) for k, c in columns.items() if c.metric == WIN_RATE}
    noisy = [row.key for row in request.rows if row.sampling_seed is not None]
    return marked_claims(empty_table(request, with_win_rates(cells, columns, higher, noisy)))


def _marked(cells: Sequence[CellData], request: Request, store: Store) -> Iterator[CellData]:
    """Yield the cells; those that are circular say of what in their provenance."""
    rows, selections = {row.key: row for row in request.table.rows}, Selections(store=store)
    for cell in cells:
        names: list[str] = []
        if cell.state == "measured":
            scores = str(cell.provenance["artifacts"]["scores"])
            selectors = selections.behind(scores) + rewards_of(rows[cell.row], rows)
            names = circular_names(selectors, cell.protocol["backends"])
        yield replace(cell, provenance={**cell.provenance, KEY: names}) if names else cell


def rewarded(cells: Sequence[CellData], table: TableSpec) -> Iterator[CellData]:
    """Yield stored cells, circular also of what the table's file has as their rows' rewards now."""
    rows = {row.key: row for row in table.rows}
    for cell in cells:
        names = list(cell.provenance.get(KEY, ()))
        if cell.state == "measured" and cell.row in rows:
            rewards = rewards_of(rows[cell.row], rows)
            names += circular_names(rewards, cell.protocol.get("backends") or {})
        told = {**cell.provenance, KEY: sorted(set(names))}
        yield replace(cell, provenance=told) if names else cell


def empty_table(request: Request, cells: Sequence[CellData]) -> TableData:
    """Return the data of a table with these cells."""
    spec, profile = request.table, request.profile
    world, keys = world_of(spec), {c.key for c in request.columns}
    names = {row.key for row in request.rows}
    data = TableData(
        table=spec.name,
        title=spec.title,
        source=spec.source,
        profile=profile.to_json(),
        orientation=profile.orientation,
        limit=request.limit,
        seeds=request.seeds,
        rows=tuple(world.row_json(row, profile) for row in request.rows),
        columns=tuple(world.column_json(column) for column in request.columns),
        claims=tuple(
            c.to_json()
            for c in spec.all_claims
            if c.better in names and c.worse in names and c.column in keys
        ),
        footnotes=dict(spec.footnotes),
        published={
            row: {column: asdict(value) for column, value in found.items() if column in keys}
            for row, found in spec.published.items()
            if row in names
        },
        cells=tuple(cells),
        command=tuple(command_words(request)),
        verified=stated_words(profile, request.columns),
        facts=tuple(
            fact.to_json()
            for fact in spec.facts
            if fact.ratio is None or ({*fact.ratio.rows} <= names and fact.ratio.column in keys)
        ),
    )
    left_out = [row for row in spec.rows if row.control in TESTED and row.key not in names]
    unrun = with_published(data, [world.row_json(row, profile) for row in left_out])
    scaled = {row.scale_of for row in request.rows if row.scale_of is not None}
    return replace(
        data,
        unrun=unrun,
        scales=dict(spec.scales) if scaled and not spec.curve else {},
        curve=tuple(spec.curve),
        leaderboard=spec.leaderboard if spec.leaderboard in keys else None,
    )


def command_words(request: Request) -> Iterator[str]:
    """Yield the arguments of `bench` that ask for this table; store and workers left out."""
    table, profile = request.table, request.profile
    yield from ("run", "--table", request.table_name or table.name)
    if table.world is None:
        yield from ("--profile", request.profile_name)
    rows = [row for row in request.rows if row.scale_of is None]
    known = [row for row in table.rows if row.scale_of is None]
    added = [row for row in known if row.added]
    taken = [row for row in rows if row.added]
    asked = [row for row in rows if not row.added]
    every = [row for row in known if not row.added]
    if taken != added:
        yield from ("--rows", ",".join(row.key for row in rows))
    elif asked == every and any(row.control for row in every):
        yield "--controls"
    elif asked != [row for row in every if not row.control]:
        yield from ("--rows", ",".join(row.key for row in asked))
    if len(rows) < len(request.rows) and not table.curve:
        yield "--scales"
    if len(request.columns) < len(table.columns):
        yield from ("--cols", ",".join(column.key for column in request.columns))
    if request.seeds != table.seeds:
        yield from ("--seeds", ",".join(str(seed) for seed in request.seeds))
    if request.limit is not None:
        yield from ("--limit", str(request.limit))
    if request.protocol is not None:
        yield from ("--protocol", request.protocol)
    for target in dict.fromkeys(row.method for row in added if row.method is not None):
        yield from ("--method", target)
    for row in added:
        if row.method is None:
            yield from ("--row", f"{row.label}={row.weights}")
    if request.trust:
        yield "--trust"
    for assignment in profile.overrides:
        yield from ("--set", assignment)


def same_table(report: Report, request: Request, graph: TableGraph) -> bool:
    """Whether a stored report is that of a request whose artifacts are all there."""
    marked = marked_claims(empty_table(request, report.data.cells))
    head = asdict(replace(marked, cells=()))
    found = asdict(replace(report.data, cells=()))
    wins = {c.key for c in request.columns if c.metric == WIN_RATE}
    obstacles = {(*_asked(c, wins), c.step is None, c.reason) for c in graph.cells}
    shown = {(*_asked(c, wins), c.state == "n/a", c.reason) for c in report.data.cells}
    return (
        report.version == STATISTICS_VERSION
        and list(report.targets) == graph.targets
        and obstacles == shown
        and canonical_json(head) == canonical_json(found)
    )


def of_other_scores(report: Report, request: Request, graph: TableGraph) -> list[str]:
    """Return the cells of a stored report that name other scores than those the graph asks for."""
    wins = {c.key for c in request.columns if c.metric == WIN_RATE}
    asked: dict[tuple[object, ...], set[str | None]] = {}
    for cell in graph.cells:
        asked.setdefault(_asked(cell, wins), set()).add(cell.step)
    return [
        "/".join(str(part) for part in place_of(cell))
        for cell in report.data.cells
        if cell.state != "n/a" and scores_of(cell) not in asked.get(_asked(cell, wins), ())
    ]


def _asked(cell: Cell | CellData, wins: Collection[str]) -> tuple[object, ...]:
    """Return what names a cell; a win rate's training seed may be its opponent's."""
    row, column, training, noise = place_of(cell)
    return row, column, None if column in wins else training, noise


def _scores_are_better_high(column: ColumnSpec) -> bool:
    """Whether the scores that a win rate compares are better when they are higher."""
    return EVALUATORS.load(column.evaluator).spec.metrics[0].higher_is_better


@dataclass(frozen=True, kw_only=True)
class _Scores:
    """Scores that are in the store.

    Attributes:
        artifact: with the records.
        metrics: estimates by name.
        provenance: what they were made from.
    """

    artifact: Artifact
    metrics: Mapping[str, Estimate]
    provenance: Mapping[str, Any]


def _scores(key: str, graph: TableGraph, store: Store, remarks: Remarks) -> _Scores | None:
    """Return the scores of a step; None where they are not in the store."""
    step = graph.graph[key]
    artifact = store.find(step.kind, step.name, step.identity)
    if artifact is None:
        return None
    metrics = {name: Estimate.from_json(data) for name, data in artifact.read_json(METRICS).items()}
    provenance = _provenance(artifact, graph, key)
    if said := remarks.behind(artifact.id):
        provenance[REMARKS] = said
    return _Scores(artifact=artifact, metrics=metrics, provenance=provenance)


def _cell(
    cell: Cell, column: ColumnSpec, scores: _Scores | None, outcome: Outcome | None
) -> CellData:
    given: dict[str, Any] = dict(zip(PLACE, place_of(cell), strict=True))
    if cell.step is None:
        return CellData(**given, state="n/a", reason=cell.reason)
    if scores is None:
        return CellData(**given, state="failed", reason=_why(cell.step, outcome))
    metrics = dict(scores.metrics)
    estimate = metrics.pop(column.metric, None)
    if column.metric != WIN_RATE and (estimate is None or not math.isfinite(estimate.value)):
        return CellData(**given, state="failed", reason=f"the scores hold no {column.metric}")
    return CellData(
        **given,
        state="measured",
        estimate=estimate,
        parts=metrics if column.shows_parts else {},
        protocol=cell.protocol,
        provenance=scores.provenance,
        values=tuple(_values(scores.artifact, column)) if column.per_image else (),
    )


def _why(step: str, outcome: Outcome | None) -> str:
    failures = outcome.failures if outcome is not None else {}
    if step not in failures:
        return "not made yet"
    failure = failures[step]
    root = failures.get(failure.cause, failure)
    return " ".join(root.message.split())


def _values(artifact: Artifact, column: ColumnSpec) -> Iterator[ImageValue]:
    name = column.per_image
    for record in read_jsonl(artifact.file(RECORDS)):
        if name not in record:
            raise UsageError(
                f"column {column.key} says per_image: {name}, but the records of "
                f"{column.evaluator} have {', '.join(sorted(record))}; mend the table."
            )
        if record[name] is None:
            continue  # the image does not count in this metric
        value = float(record[name])
        if not math.isfinite(value):
            image = f"{record['prompt_id']}/{record['ordinal']}"
            raise BenchError(f"{artifact.id}: the value of image {image} is {value}")
        yield ImageValue(
            prompt_id=str(record["prompt_id"]),
            ordinal=int(record["ordinal"]),
            tag=str(record["tag"]) if column.over == "tasks" else "",
            value=value,
        )


def _provenance(artifact: Artifact, graph: TableGraph, key: str) -> dict[str, Any]:
    """Return role -> artifact id along the chain, a hash of the identity of the checkpoint that was
    sampled, and the commit the scores were made at.
    """
    git: Mapping[str, Any] = artifact.manifest.get("provenance", {}).get("git") or {}
    chain: dict[str, str] = {"scores": key}
    queue = list(graph.graph[key].upstream.items())
    while queue:
        role, upstream = queue.pop(0)
        if chain.setdefault(role, upstream) == upstream:
            # a training that another one started from has pairs and a start of its own
            before = f"{role}." if role.rpartition(".")[2] == "start" else ""
            queue += [(before + r, k) for r, k in graph.graph[upstream].upstream.items()]
    behind = (graph.graph[chain[role]] for role in sorted(chain))
    pair_sets = [step.described for step in behind if isinstance(step, PairStep)]
    images = graph.graph[key].upstream.get("images")
    sampled = None if images is None else graph.graph[images].identity.get("checkpoint")
    content = hashlib.sha256(canonical_json(sampled).encode("ascii")).hexdigest()[:12]
    return {
        "artifacts": {role: chain[role] for role in sorted(chain)},
        **({} if sampled is None else {"checkpoint": content}),
        "commit": git.get("commit"),
        "dirty_sha256": git.get("dirty_sha256"),
        **({TRAINED_ON: list(dict.fromkeys(pair_sets))} if pair_sets else {}),
    }
