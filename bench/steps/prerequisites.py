"""What a table needs in a profile and does not come with the harness. Loads nothing, no torch.

Repositories of the hub are `bench.steps.hub_models`; here are other weights, prompt suites of
the catalogue, and what only the user can provide or build: files named by environment variables,
Python environments, reference statistics.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.api.errors import PrerequisiteError
from bench.api.evaluator import Backend
from bench.api.registry import BACKENDS, EVALUATORS
from bench.spec.methods import training_plan
from bench.spec.profile import Profile
from bench.spec.protocol import StoredName, SuiteSpec
from bench.spec.table import ColumnSpec, TableSpec
from bench.spec.training import DEFAULT_DATA
from bench.steps.hub_models import HubModel, hub_id, hub_models
from bench.steps.references import named_path

SUITES = "bench.suites:suite"
"""The function of a suite of the catalogue."""
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_MODEL, _DATA_SET = "model", "hub"


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something to be fetched: `name` in the registry of weights or in the catalogue of suites."""

    name: str
    purpose: str


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """Something that no fetch brings, and that is not on this machine: `fix` says what to do."""

    name: str
    purpose: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Needs:
    """All of it, each thing once."""

    models: tuple[HubModel, ...]
    weights: tuple[Need, ...]
    suites: tuple[Need, ...]
    by_hand: tuple[ByHand, ...]


def table_needs(table: TableSpec, profile: Profile) -> Needs:
    """Return what must be on the machine before the table can be run without network.

    A column that lacks a back-end for one of its roles cannot be measured and needs nothing.

    Raises:
        UsageError: an evaluator, a back-end, a method or a data set is unknown.
    """
    models = {model.repository: model for model in hub_models(table, profile)}
    weights: dict[str, Need] = {}
    suites: dict[str, Need] = {}
    by_hand: dict[str, ByHand] = {}

    def prompts(spec: SuiteSpec, purpose: str) -> None:
        if spec.function == SUITES:
            name = str(spec.options.get("name", "")).partition(":")[0]
            suites.setdefault(name, Need(name=name, purpose=purpose))
        by_hand.update((f.name, f) for f in _variables(spec.options, purpose))

    for column in table.columns:
        evaluator = EVALUATORS.load(column.evaluator).spec
        backends = profile.of_evaluator(evaluator.name).backends
        if not all(role in backends for role in evaluator.backends):
            continue
        for role in evaluator.backends:
            backend = BACKENDS.load(backends[role])
            purpose = f"{role} of {column.key}: {backends[role]}"
            for name in backend.other_weights:
                weights.setdefault(name, Need(name=name, purpose=purpose))
            if (found := _environment(backend(), purpose)) is not None:
                by_hand.setdefault(found.name, found)
        protocol = profile.protocol_of(table, column)
        if protocol is not None:
            prompts(protocol.suite, f"prompts of {column.key}")
            if evaluator.needs_reference and isinstance(protocol.reference, StoredName):
                by_hand.update((f.name, f) for f in _reference(protocol.reference.name, column))
    for name in _data_sets(table, profile):
        purpose = f"data set {name}"
        if name == DEFAULT_DATA:
            settings: Mapping[str, Any] = {
                "perturbation_options": profile.pairs.perturbation_options
            }
            prompts(profile.pairs.suite, purpose)
        else:
            settings = profile.data[name].settings
            if profile.data[name].kind == "generated" and "suite" not in settings:
                prompts(profile.pairs.suite, purpose)
        options = settings.get("perturbation_options", {})
        model = str(options.get(_MODEL, ""))
        if hub_id(model) and "url" not in options:
            models.setdefault(model, HubModel(repository=model, revision=None, purpose=purpose))
        if _DATA_SET in settings:
            hub = str(settings[_DATA_SET])
            fix = f"huggingface-cli download --repo-type dataset {hub}"
            by_hand[hub] = ByHand(name=hub, purpose=purpose, fix=fix)
        by_hand.update((f.name, f) for f in _variables(settings, purpose))
    return Needs(
        models=tuple(models.values()),
        weights=tuple(weights.values()),
        suites=tuple(suites.values()),
        by_hand=tuple(by_hand.values()),
    )


def _data_sets(table: TableSpec, profile: Profile) -> list[str]:
    """Return the names of the data sets that the rows' trainings read, controls left out."""
    found: dict[str, None] = {}
    for row in table.rows:
        if (
            row.method is None
            or row.control
            or row.settings not in (None, *profile.training.methods)
        ):
            continue
        for stage in training_plan(profile, row.method, 0, row.settings, row.changes).stages:
            name = getattr(row, "data", None) or stage.data or DEFAULT_DATA
            found.setdefault(name)
    return [name for name in found if name == DEFAULT_DATA or name in profile.data]


def _variables(value: Any, purpose: str) -> Iterator[ByHand]:
    """Yield the environment variables that a setting names and that are not set."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _variables(item, purpose)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _variables(item, purpose)
    elif isinstance(value, str):
        for name in _VARIABLE.findall(value):
            if name not in os.environ:
                yield ByHand(name=name, purpose=purpose, fix=f"export {name}=PATH")


def _environment(backend: Backend, purpose: str) -> ByHand | None:
    """Return the Python environment of a back-end that has one, where it is not here."""
    environment = backend.environment
    if environment is None:
        return None
    try:
        environment.python()
    except PrerequisiteError:
        return ByHand(name=environment.name, purpose=purpose, fix=environment.fix)
    return None


def _reference(name: str, column: ColumnSpec) -> Iterator[ByHand]:
    if not name.endswith(".safetensors") and not named_path(name).is_file():
        yield ByHand(
            name=name,
            purpose=f"reference of {column.key}",
            fix=f"python -m bench assets build --fid-reference {name} --images DIR --protocol P",
        )
