"""The training part of a profile: settings all methods share, of each method, of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.api.errors import UsageError
from bench.config import construct, mapping

DEFAULT_DATA = "pairs"
"""The data set a method is trained on unless something says otherwise: the profile's `pairs`."""


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """A named data set.

    Attributes:
        kind: one of `bench.data.kinds.KINDS`.
        settings: of the kind, as they stand in the file.
    """

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """Settings of one stage: changes to the training settings, and a named data set."""

    train: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """Settings of one method.

    Attributes:
        method: its own fields.
        train: changes to the common training settings.
        data: named data set; None takes the profile's `pairs`.
        stages: by stage name, of a method of several stages.
    """

    method: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    stages: Mapping[str, StageSettings] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Training:
    """Training settings.

    Attributes:
        common: fields of `TrainConfig` all methods share.
        published: backbone whose published settings of each method come after `common` and before
            the method's own below; see `bench.published`.
        otherwise: method whose published training settings those take that have none of their own.
        methods: by method name.
    """

    common: Mapping[str, Any] = field(default_factory=dict)
    published: str | None = None
    otherwise: str | None = None
    methods: Mapping[str, MethodSettings] = field(default_factory=dict)


def read_training(data: Any, where: str) -> Training:
    """Read a profile's `training` (UsageError naming the key otherwise)."""
    found = mapping(data, where)
    methods = mapping(found.pop("methods", {}), f"{where}.methods")
    return construct(
        Training,
        found,
        where,
        methods={
            name: _read_method(entry, f"{where}.methods.{name}") for name, entry in methods.items()
        },
    )


def _read_method(data: Any, where: str) -> MethodSettings:
    found = mapping({} if data is None else data, where)
    stages = mapping(found.pop("stages", {}), f"{where}.stages")
    return construct(
        MethodSettings,
        found,
        where,
        stages={
            name: construct(StageSettings, _stage(entry, f"{where}.stages.{name}"), where)
            for name, entry in stages.items()
        },
    )


def _stage(data: Any, where: str) -> dict[str, Any]:
    """Return a stage's entry; fields of `TrainConfig` may stand in it without `train:` before."""
    found = mapping({} if data is None else data, where)
    given = mapping(found.pop("train", {}), f"{where}.train")
    named = found.pop("data", None)
    twice = sorted(set(given) & set(found))
    if twice:
        raise UsageError(f"{where}: {twice[0]!r} stands there twice, in train and beside it.")
    return {"train": {**found, **given}, "data": named}


def read_data(data: Any, where: str) -> dict[str, DataSpec]:
    """Read a profile's `data` (UsageError naming the key otherwise)."""
    found = {}
    for name, entry in mapping(data, where).items():
        if name == DEFAULT_DATA:
            raise UsageError(f"{where}.{name}: that name means the profile's own pairs; rename it.")
        settings = mapping(entry, f"{where}.{name}")
        kind = settings.pop("kind", None)
        if not isinstance(kind, str):
            raise UsageError(f"{where}.{name} lacks kind; expected e.g. kind: generated.")
        found[name] = DataSpec(kind=kind, settings=settings)
    return found
