"""Which models of the hub a table needs in a profile. Nothing is loaded, no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.api.registry import BACKENDS, EVALUATORS
from bench.generation.checkpoint import SAFETENSORS
from bench.spec.profile import Profile
from bench.spec.table import RowSpec, TableSpec

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A repository of the hub.

    Attributes:
        repository: `owner/name`.
        revision: branch, tag or commit; None is the default branch.
        purpose: what it is for.
    """

    repository: str
    revision: str | None
    purpose: str


def hub_id(text: str) -> bool:
    """Whether a text names a repository of the hub: no file or folder here, and no training."""
    repository = text.partition("@")[0]
    here = Path(repository).exists() or repository.endswith(SAFETENSORS)
    return bool(_HUB_ID.fullmatch(repository)) and not here and not text.startswith("train/")


def weights_behind(
    row: RowSpec, rows: Mapping[str, RowSpec], above: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield the hub's weights that a row is, or starts from, perhaps by way of others of `rows`."""
    before = rows.get(row.start) if row.start is not None else None
    if before is not None and before.key not in above:
        yield from weights_behind(before, rows, (*above, row.key))
    yield from (name for name in (row.weights, row.start) if name is not None and hub_id(name))


def hub_models(table: TableSpec, profile: Profile) -> tuple[HubModel, ...]:
    """Return the checkpoint, rows' weights and the back-ends' models, each repository once.

    A column that lacks a back-end for one of its roles cannot be measured and needs nothing.

    Raises:
        UsageError: an evaluator or a back-end is unknown.
    """
    found: dict[str, HubModel] = {}
    base = profile.checkpoint
    if base.kind == "hub":
        found[base.location] = HubModel(
            repository=base.location, revision=base.revision, purpose="base checkpoint"
        )
    for row in table.rows:
        for text in (row.weights, row.start):
            repository, _, revision = (text or "").partition("@")
            if hub_id(repository):
                found.setdefault(
                    repository,
                    HubModel(
                        repository=repository,
                        revision=revision or None,
                        purpose=f"weights of row {row.key}",
                    ),
                )
    for column in table.columns:
        spec = EVALUATORS.load(column.evaluator).spec
        roles, backends = spec.backends, profile.of_evaluator(spec.name).backends
        if not all(role in backends for role in roles):
            continue
        for role in roles:
            name = backends[role]
            for repository in BACKENDS.load(name).hub_models:
                model = HubModel(
                    repository=repository, revision=None, purpose=f"{role} of {column.key}: {name}"
                )
                found.setdefault(repository, model)
    return tuple(found.values())
