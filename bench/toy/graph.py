"""From the toy's settings to the graph of all artifacts its table needs. No torch.

One node per reference (variant and seed) and one per (variant, method, N, seed). Which reference,
which pairs and which noise is used depends on the seed alone, so rows are paired seed by seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.api.errors import UsageError, unknown
from bench.api.method import Method
from bench.api.registry import METHODS
from bench.spec.methods import make_method, method_class, portable
from bench.steps.cells import Cell, TableGraph
from bench.steps.graph import Graph
from bench.store import code_identity, source_of
from bench.toy.columns import COLUMNS, Column
from bench.toy.settings import MethodRow, ToySettings, toy_settings
from bench.toy.steps import ToyReferenceStep, ToyTrainingStep

NAME = "fig2"
DEFAULT_SEEDS = tuple(range(10))
TOY_VERSION = 2
"""Bumped when the toy's numbers may change."""
VARIANTS = {"learned": "", "exact": "exact-"}
"""Where the reference comes from -> prefix of its rows."""
_BASE_SECONDS, _EXACT_SECONDS, _RUN_SECONDS = 2.5, 0.3, 0.6


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table.

    Attributes:
        key, label: as in any table.
        variant: a key of `VARIANTS`.
        method: None for the reference itself.
        pairs_per_class: N; 0 for the reference.
    """

    key: str
    label: str
    variant: str
    method: MethodRow | None = None
    pairs_per_class: int = 0


@dataclass(frozen=True, kw_only=True)
class ToyRequest:
    """A checked request.

    Attributes:
        settings: of the toy.
        methods: those compared, the built-in two first.
        rows, columns: those asked for.
        seeds: ascending.
        overrides, added: as they were asked for.
    """

    settings: ToySettings
    methods: tuple[MethodRow, ...]
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    seeds: tuple[int, ...]
    overrides: tuple[str, ...] = ()
    added: tuple[str, ...] = field(default=())


def make_request(
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    seeds: Sequence[int] = DEFAULT_SEEDS,
    methods: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> ToyRequest:
    """Check names and numbers and return what they ask for.

    Args:
        rows, columns: keys; none means all.
        seeds: of reference, pairs, training and sampling alike.
        methods: more methods, `pkg.mod:Class` or `file.py:Class`: a row for each variant and N.
        overrides: `"key.key=value"` changes to `ToySettings`.

    Raises:
        UsageError: something is unknown (the nearest names are given) or out of range.
    """
    settings = toy_settings(overrides)
    compared = (*built_in_methods(settings), *(_added(target) for target in methods))
    every = all_rows(settings, compared)
    keys = {row.key: row for row in every}
    if len(keys) != len(every):
        raise UsageError("two methods have one name; give the added class another `name`.")
    for key in rows:
        if key not in keys:
            raise unknown(f"row of table {NAME}", key, keys)
    known = {column.key: column for column in COLUMNS}
    for key in columns:
        if key not in known:
            raise unknown(f"column of table {NAME}", key, known)
    found = tuple(sorted(set(seeds)))
    if not found or found[0] < 0:
        raise UsageError(f"seeds {list(seeds)}; expected numbers from 0, such as 0,1,2.")
    return ToyRequest(
        settings=settings,
        methods=compared,
        rows=tuple(row for row in every if not rows or row.key in rows),
        columns=tuple(c for c in COLUMNS if not columns or c.key in columns),
        seeds=found,
        overrides=tuple(overrides),
        added=tuple(methods),
    )


def built_in_methods(settings: ToySettings) -> tuple[MethodRow, ...]:
    """Return the two methods of the figure: alike in all settings, and each as it was tuned."""
    labels = {"diffusion-dpo": "D-DPO", "ddspo": "DDSPO"}
    alike = [
        MethodRow(key=name, label=label, method=name, settings={"beta_half_mean": settings.beta})
        for name, label in labels.items()
    ]
    for name in settings.tuned:
        if name not in labels:
            raise unknown("method of the tuned rows", name, labels)
    tuned = [
        MethodRow(
            key=f"{name}-tuned",
            label=f"{labels[name]} tuned",
            method=name,
            settings={"beta_half_mean": chosen["beta"]},
            lr=chosen["lr"],
            variants=("learned",),
        )
        for name, chosen in settings.tuned.items()
    ]
    return (*alike, *tuned)


def _added(target: str) -> MethodRow:
    name = str(method_class(target).name)
    return MethodRow(key=name, label=name, method=portable(target))


def all_rows(settings: ToySettings, methods: Sequence[MethodRow]) -> list[Row]:
    """Return the table's rows, the learned variant first."""
    rows = []
    for variant, prefix in VARIANTS.items():
        kind = "" if variant == "learned" else f"{variant}: "
        rows.append(Row(key=f"{prefix}base", label=f"{kind}reference", variant=variant))
        for count in settings.pairs_per_class:
            rows += [
                Row(
                    key=f"{prefix}{method.key}-n{count}",
                    label=f"{kind}{method.label}, N = {count}",
                    variant=variant,
                    method=method,
                    pairs_per_class=count,
                )
                for method in methods
                if variant in method.variants
            ]
    return rows


def build_graph(request: ToyRequest) -> TableGraph:
    """Return the graph of a request.

    Raises:
        UsageError: a method's settings do not fit it, or it has stages.
    """
    graph = Graph()
    cells = []
    # looked up once: finding a plug-in by name reads the installed packages' entry points
    identities = {m.key: _identity(m) for m in request.methods}
    protocols = {column.key: column.protocol(request.settings) for column in request.columns}
    for row in request.rows:
        for seed in request.seeds:
            key = _reference(graph, request.settings, row.variant, seed)
            if row.method is not None:
                key = _run(graph, request.settings, row, identities[row.method.key], seed, key)
            cells += [
                Cell(
                    row=row.key,
                    column=column.key,
                    training_seed=seed if _trained(row) else None,
                    noise_seed=seed,
                    node=key,
                    protocol=protocols[column.key],
                )
                for column in request.columns
            ]
    return TableGraph(graph=graph, cells=tuple(cells))


def _trained(row: Row) -> bool:
    """Whether a row's network was trained: the closed form alone was not."""
    return row.method is not None or row.variant == "learned"


def _shared(settings: ToySettings) -> dict[str, Any]:
    return {
        "version": TOY_VERSION,
        "ring": asdict(settings.ring),
        "schedule": [settings.timesteps, settings.beta_start, settings.beta_end],
        "sampling": asdict(settings.sampling),
    }


def _reference(graph: Graph, settings: ToySettings, variant: str, seed: int) -> str:
    identity = {**_shared(settings), "variant": variant, "base": asdict(settings.base)}
    step = ToyReferenceStep(
        name=f"{variant}-seed{seed}",
        identity={**identity, "seed": seed},
        settings=settings,
        variant=variant,
        seed=seed,
        label=f"{variant} reference, seed {seed}",
        seconds=_BASE_SECONDS if variant == "learned" else _EXACT_SECONDS,
        bytes=600_000,
    )
    return graph.add(step)


def _identity(method: MethodRow) -> dict[str, Any]:
    """Return what of a method enters the identities of its runs."""
    cls = method_class(method.method)
    made = make_method(cls, method.settings)
    if not isinstance(made, Method):
        raise UsageError(f"{cls.name} has stages; the 2D toy trains methods of one stage.")
    target = METHODS.entry(method.method).target
    return {**code_identity(cls, target), "settings": made.config()}


def _run(
    graph: Graph,
    settings: ToySettings,
    row: Row,
    identity: dict[str, Any],
    seed: int,
    reference: str,
) -> str:
    method = row.method
    assert method is not None
    lr = settings.finetune.lr if method.lr is None else method.lr
    upstream = {"reference": reference}
    target = METHODS.entry(method.method).target
    step = ToyTrainingStep(
        name=f"{VARIANTS[row.variant]}{method.key}-n{row.pairs_per_class}-seed{seed}"[:120],
        identity={
            **_shared(settings),
            "method": identity,
            "finetune": {**asdict(settings.finetune), "lr": lr},
            "pairs_per_class": row.pairs_per_class,
            "seed": seed,
            "upstream": upstream,
        },
        upstream=upstream,
        sources=(source_of(method_class(method.method), target),),
        settings=settings,
        method=method.method,
        method_settings=dict(method.settings),
        lr=lr,
        pairs_per_class=row.pairs_per_class,
        seed=seed,
        label=f"{row.label}, seed {seed}",
        seconds=_RUN_SECONDS,
        bytes=400_000,
    )
    return graph.add(step)
