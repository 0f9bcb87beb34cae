"""The toy's artifacts as a table that `bench.report` computes and renders. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from bench.api.estimate import Estimate
from bench.executors.outcome import Outcome
from bench.report.model import PLACE, CellData, TableData, place_of
from bench.report.paired import WHOLE_RUNS
from bench.report.stored import STATISTICS_VERSION, Report
from bench.spec.noise import PER_SEED
from bench.steps.cells import Cell, TableGraph
from bench.steps.scores import METRICS
from bench.store import Artifact, Store, canonical_json
from bench.toy.columns import COLUMNS, Column
from bench.toy.graph import DEFAULT_SEEDS, NAME, VARIANTS, Row, ToyRequest, all_rows

TITLE = "Figure 2: Diffusion-DPO and DDSPO on classes on a ring"
SOURCE = "DDSPO, Fig. 2 (arXiv 2512.23426), a picture: the paper gives no number of it"
NOTES = {
    "base": "trained on the noisy data (panel b) of its seed",
    "exact-base": "not trained: the closed-form noise prediction for the noisy classes; the rows "
    "below it train a network added to it",
}
PRIMARY = ("OV", "ED")


def table_data(
    request: ToyRequest, graph: TableGraph, store: Store, outcome: Outcome | None = None
) -> TableData:
    """Return the data of the table from the artifacts there are.

    A cell whose artifact is not in the store is `failed`, with the reason of the run.

    Raises:
        CorruptArtifactError: stored metrics were changed.
    """
    metrics = {column.key: column.metric for column in request.columns}
    opened: dict[str, Artifact | None] = {}
    for key in graph.targets:
        node = graph.graph[key]
        opened[key] = store.find(node.kind, node.name, node.identity)
    read = {key: artifact.read_json(METRICS) for key, artifact in opened.items() if artifact}
    cells = []
    for cell in graph.cells:
        given: dict[str, Any] = dict(zip(PLACE, place_of(cell), strict=True))
        artifact = opened[str(cell.node)]
        if artifact is None:
            cells.append(CellData(**given, state="failed", reason=_why(cell, outcome)))
            continue
        estimate = Estimate.from_json(read[str(cell.node)][metrics[cell.column]])
        git = artifact.manifest.get("provenance", {}).get("git") or {}
        provenance = {
            "artifacts": {"scores": artifact.id, **artifact.upstream},
            "commit": git.get("commit"),
            "dirty_sha256": git.get("dirty_sha256"),
        }
        cells.append(
            CellData(
                **given,
                state="measured",
                estimate=estimate,
                protocol=cell.protocol,
                provenance=provenance,
            )
        )
    return empty_table(request, cells)


def _why(cell: Cell, outcome: Outcome | None) -> str:
    failures = outcome.failures if outcome is not None else {}
    if cell.node not in failures:
        return "not made yet"
    failure = failures[str(cell.node)]
    return " ".join(failures.get(failure.cause, failure).message.split())


def empty_table(request: ToyRequest, cells: list[CellData]) -> TableData:
    """Return the data of the table with these cells."""
    rows = [
        {
            "key": row.key,
            "label": row.label,
            "checkpoint": None,
            "method": None if row.method is None else row.method.method.rpartition("/")[2],
            "settings": {} if row.method is None else dict(row.method.settings),
            "lr": None if row.method is None else row.method.lr,
            "control": False,
            "note": _note(row),
        }
        for row in request.rows
    ]
    return TableData(
        table=NAME,
        title=TITLE,
        source=SOURCE,
        profile={
            "name": "toy",
            "title": f"2D points, beta_half_mean {request.settings.beta:g}, "
            f"{request.settings.finetune.steps} steps of {request.settings.finetune.batch} pairs, "
            f"lr {request.settings.finetune.lr:g}",
            "protocol": "toy",
            "checkpoint": "the reference of the same seed",
            "noise": PER_SEED,
            "overrides": list(request.overrides),
        },
        orientation=False,
        limit=None,
        seeds=request.seeds,
        rows=tuple(rows),
        columns=tuple(_column(column) for column in request.columns),
        claims=tuple(claims(request)),
        footnotes={},
        published={},
        cells=tuple(cells),
        command=tuple(command_words(request)),
    )


def _note(row: Row) -> str:
    if row.method is None or row.method.lr is None:
        return NOTES.get(row.key, "")
    beta = row.method.settings["beta_half_mean"]
    return (
        f"beta {beta:g} and lr {row.method.lr:g}, chosen on seeds 100 to 102 at N = 2 for the "
        "least ED after the last step"
    )


def _column(column: Column) -> dict[str, Any]:
    data = {k: v for k, v in asdict(column).items() if k != "meaning"}
    return {
        **data,
        "label": column.meaning,
        "evaluator": "toy",
        "per_image": None,
        "units": WHOLE_RUNS,
        "range": [None, None],
    }


def claims(request: ToyRequest) -> Iterator[dict[str, Any]]:
    """Yield the paper's claims in machine form, those whose rows and columns are asked for.

    DDSPO better than Diffusion-DPO at each N (overlap of neighbours, and distance to the truth);
    Diffusion-DPO worse with one pair than with the most; the centres of DDSPO outside the
    reference's.
    """
    settings = request.settings
    most = settings.pairs_per_class[-1]
    wanted: list[tuple[str, str, str]] = []
    for prefix in VARIANTS.values():
        for kind in ("", "-tuned"):
            for count in settings.pairs_per_class:
                ours = f"{prefix}ddspo{kind}-n{count}"
                theirs = f"{prefix}diffusion-dpo{kind}-n{count}"
                wanted += [(ours, theirs, column) for column in PRIMARY]
        few = settings.pairs_per_class[0]
        wanted.append((f"{prefix}diffusion-dpo-n{most}", f"{prefix}diffusion-dpo-n{few}", "ED"))
        shifted = 2 if 2 in settings.pairs_per_class else few
        wanted.append((f"{prefix}ddspo-n{shifted}", f"{prefix}base", "SHIFT"))
    rows = {row.key for row in request.rows}
    columns = {column.key for column in request.columns}
    for better, worse, column in wanted:
        if better != worse and {better, worse} <= rows and column in columns:
            yield {"better": better, "worse": worse, "column": column, "circular": False}


def command_words(request: ToyRequest) -> Iterator[str]:
    """Yield the arguments of `bench` that ask for this table; store and workers left out."""
    yield from ("run", "--table", NAME)

    if len(request.rows) < len(all_rows(request.settings, request.methods)):
        yield from ("--rows", ",".join(row.key for row in request.rows))
    if len(request.columns) < len(COLUMNS):
        yield from ("--cols", ",".join(column.key for column in request.columns))
    if request.seeds != DEFAULT_SEEDS:
        yield from ("--seeds", ",".join(str(seed) for seed in request.seeds))
    for target in request.added:
        yield from ("--method", target)
    for assignment in request.overrides:
        yield from ("--set", assignment)


def same_table(report: Report, request: ToyRequest, graph: TableGraph) -> bool:
    """Whether a stored report is that of a request whose artifacts are all there."""
    head = asdict(empty_table(request, []))
    found = asdict(replace(report.data, cells=()))
    return (
        report.version == STATISTICS_VERSION
        and list(report.targets) == graph.targets
        and all(cell.state == "measured" for cell in report.data.cells)
        and canonical_json(head) == canonical_json(found)
    )
