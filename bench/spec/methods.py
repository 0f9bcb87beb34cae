"""Methods named on the command line, and the settings each is trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from bench.api.errors import ContractError, UsageError, did_you_mean, unknown
from bench.api.method import Method
from bench.api.registry import METHODS
from bench.api.stages import StagedMethod, stages_of
from bench.config import require_kinds
from bench.published import Entry, find_entry
from bench.published import entry as published_entry
from bench.spec.profile import Profile
from bench.spec.training import MethodSettings, StageSettings, Training
from bench.training.beta import kappa_from_beta_half_mean, kappa_from_beta_hf
from bench.training.config import TrainConfig

AnyMethod = Method | StagedMethod

_BETAS = {
    "beta_half_mean": kappa_from_beta_half_mean,
    "beta_hf": kappa_from_beta_hf,
}


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One training of a method.

    Attributes:
        name: the stage's; a method without stages has one, of its own name.
        method: the objective.
        train: all settings.
        data: named data set, or None where neither stage nor profile names one.
        start, suppliers: see `bench.api.stages.Stage`.
    """

    name: str
    method: Method
    train: TrainConfig
    data: str | None = None
    start: str = "previous"
    suppliers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What is trained, in order, when a method is.

    Attributes:
        cls, method: the method itself.
        stages: its trainings; each starts from the one before.
    """

    cls: type[AnyMethod]
    method: AnyMethod
    stages: tuple[StagePlan, ...]

    @property
    def staged(self) -> bool:
        """Whether the method is made of stages."""
        return isinstance(self.method, StagedMethod)


def method_class(target: str) -> type[AnyMethod]:
    """Return the class behind a registry name, `pkg.mod:Class` or `path/to/file.py:Class`.

    Raises:
        UsageError: there is none.
        ContractError: what is there is no method.
    """
    return METHODS.load(target)


def portable(target: str) -> str:
    """Return `target` with the path of a file made absolute, for another process."""
    path, colon, attribute = target.rpartition(":")
    if colon and path.endswith(".py"):
        return f"{Path(path).expanduser().resolve()}:{attribute}"
    return target


def make_method(cls: type[AnyMethod], settings: Mapping[str, Any]) -> AnyMethod:
    """Return the method with its settings; `beta_half_mean` and `beta_hf` become its `kappa`.

    Raises:
        UsageError: a setting is unknown, or a number is true or false.
        ContractError: the class is no dataclass, or refuses the settings.
    """
    if not is_dataclass(cls):
        raise ContractError(
            f"method {cls.__name__} is no dataclass; put @dataclass(frozen=True, kw_only=True) "
            "above the class."
        )
    known = [f.name for f in fields(cls)]
    values = dict(settings)
    require_kinds(cls, values, f"method {cls.name}")
    for name, convert in _BETAS.items():
        if name in values and name not in known:
            if "kappa" not in known or "kappa" in values:
                raise UsageError(f"method {cls.name}: {name} needs a field kappa, given once.")
            values["kappa"] = convert(float(values.pop(name)))
    for key in values:
        if key not in known:
            hint = did_you_mean(key, [*known, *_BETAS] if "kappa" in known else known)
            raise UsageError(f"method {cls.name}: unknown setting {key!r}.{hint}")
    try:
        return cls(**values)
    except TypeError as error:
        raise ContractError(f"method {cls.name}: {error}") from error


def training_plan(
    profile: Profile,
    target: str,
    seed: int,
    settings: str | None = None,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> TrainingPlan:
    """Return what is trained for `target` in `profile`.

    Args:
        profile: whose settings.
        target: of the method.
        seed: of the training.
        settings: the entry of the profile's `training.methods` to train by; None takes the
            method's own.
        changes: of a row of a table, by `"train"` and `"method"`.

    The settings of a training, the later ones winning: those published for the method, where the
    profile names a backbone; the profile's common ones; the
    profile's own for the method; where the method's code says that a stage departs from those, with
    the published values where there are any; the profile's own for the stage; the row's changes;
    and in that order, common, the method's and the stage's, what the command line set.

    Raises:
        UsageError: the method, a stage or a setting is unknown.
        ContractError: as `method_class`, `make_method` and `stages_of`.
    """
    cls = method_class(target)
    if settings is not None and settings not in profile.training.methods:
        known = profile.training.methods
        raise unknown(f"entry of training.methods of profile {profile.name}", settings, known)
    chosen = _of_method(profile.training, target, cls, settings)
    asked_common, asked = (
        profile.asked_training.common,
        _of_method(profile.asked_training, target, cls, settings),
    )
    row = {"train": {}, "method": {}, **(changes or {})}
    for told_of in (row["method"], asked.method):
        chosen = replace(chosen, method={**_one_kappa(chosen.method, told_of), **told_of})
    published = _published(profile, str(cls.name))
    method = make_method(cls, _own_first(chosen.method, published, cls))
    stages = stages_of(method)
    where = f"profile {profile.name}: training.methods.{settings or cls.name}.stages"
    for name in chosen.stages:
        if name not in {stage.name for stage in stages} or isinstance(method, Method):
            kind = f"stage in {where}"
            raise unknown(kind, name, [s.name for s in stages] if len(stages) > 1 else [])
    plans = []
    for stage in stages:
        own = chosen.stages.get(stage.name, StageSettings())
        told = asked.stages.get(stage.name, StageSettings())
        stated = _published_train(profile, published, stage.name)
        given = {
            **stated,
            **profile.training.common,
            **chosen.train,
            **{key: stated.get(key, value) for key, value in stage.train.items()},
            **own.train,
            **row["train"],
            **asked_common,
            **asked.train,
            **told.train,
        }
        if "seed" in given:
            raise UsageError(f"profile {profile.name}: the training seed is set by --seeds.")
        require_kinds(TrainConfig, given, f"profile {profile.name}: training")
        plans.append(
            StagePlan(
                name=stage.name,
                method=stage.method,
                train=TrainConfig.from_json({**given, "seed": seed}),
                data=told.data or asked.data or own.data or stage.data or chosen.data,
                start=stage.start,
                suppliers=stage.suppliers,
            )
        )
    return TrainingPlan(cls=cls, method=method, stages=tuple(plans))


def _of_method(
    training: Training, target: str, cls: type[AnyMethod], settings: str | None
) -> MethodSettings:
    known = training.methods
    if settings is not None:
        return known.get(settings, MethodSettings())
    return known.get(target, known.get(str(cls.name), MethodSettings()))


def _one_kappa(settings: Mapping[str, Any], asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a method's settings with one spelling of its strength: the one that was asked for."""
    spellings = {"kappa", *_BETAS}
    told = spellings & asked.keys()
    if not told:
        return settings
    return {k: v for k, v in settings.items() if k not in spellings or k in told}


def _published(profile: Profile, method: str) -> Entry | None:
    backbone = profile.training.published
    return None if backbone is None else find_entry(method, backbone)


def _own_first(
    own: Mapping[str, Any], published: Entry | None, cls: type[AnyMethod]
) -> dict[str, Any]:
    """Return a method's settings: the published ones it has, unless the profile has its own."""
    if published is None or not is_dataclass(cls):
        return dict(own)
    known = {f.name for f in fields(cls)}
    found = {k: v for k, v in published.settings().items() if k in known}
    if not own.keys().isdisjoint(_BETAS):
        found.pop("kappa", None)
    return {**found, **own}


def _published_train(profile: Profile, published: Entry | None, stage: str) -> dict[str, Any]:
    """Return the published training settings, those of another method where there are none.

    Raises:
        UsageError: the method that stands in has no published settings.
    """
    training = profile.training
    if training.published is None:
        return {}
    if published is None:
        if training.otherwise is None:
            return {}
        published = published_entry(training.otherwise, training.published)
        return published.stages[0].train()
    found = published.stage(stage)
    return {} if found is None else found.train()


def settings_source(profile: Profile, target: str, stage: str | None) -> str:
    """Return in words where the settings of a training are from; the profile's own come on top.

    Raises:
        UsageError, ContractError: as `training_plan`.
    """
    backbone = profile.training.published
    if backbone is None:
        return f"profile {profile.name}"
    name = str(method_class(target).name)
    found = find_entry(name, backbone)
    if found is not None and (stage is None or found.stage(stage) is not None):
        return f"published for {name} on {backbone}, changed by profile {profile.name}"
    none = f"none were published for {name} on {backbone}"
    if found is None and profile.training.otherwise is not None:
        return f"{none}; taken are those of {profile.training.otherwise}"
    return f"{none}; profile {profile.name}"


def stage_method(target: str, settings: Mapping[str, Any], stage: str | None) -> Method:
    """Return the objective of a stage; `stage` is None for a method without stages.

    Raises:
        UsageError: there is no such stage.
        ContractError: as `make_method`.
    """
    method = make_method(method_class(target), settings)
    found = {entry.name: entry.method for entry in stages_of(method)}
    if isinstance(method, Method):
        return method
    if stage not in found:
        raise unknown(f"stage of {method.name}", str(stage), found)
    return found[stage]
