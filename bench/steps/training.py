"""Training nodes: data set and start -> one node per stage; each stage starts from the last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.api.errors import UsageError
from bench.api.registry import METHODS
from bench.generation.checkpoint import CheckpointRef
from bench.spec.methods import StagePlan, TrainingPlan, portable, training_plan
from bench.spec.request import method_row
from bench.spec.table import RowSpec
from bench.spec.training import DEFAULT_DATA
from bench.steps.builder import ImageSource
from bench.steps.data import data_node
from bench.steps.graph import Node
from bench.steps.initial import Start, bases, training_start, weights_start
from bench.store import code_identity, source_of

TRAINING_VERSION = 1
"""Bumped when the training of unchanged settings may end in other weights."""

_SHUFFLE_SEED = 1
_CONTROLS: dict[str, dict[str, Any]] = {
    "standard": {},
    "identity-degraded": {"identity_degraded": True},
    "shuffled": {"shuffle_seed": _SHUFFLE_SEED},
}


def trained_checkpoint(source: ImageSource, row: RowSpec, seed: int) -> CheckpointRef:
    """Add the trainings of a row with a seed and return the checkpoint they end in.

    Raises:
        UsageError, ContractError, PrerequisiteError: as `training_node`.
    """
    asked = ("training", row.key, seed)
    if source.rows.get(row.key) is not row:  # a row that the table does not have
        return _start_of_node(source, training_node(source, row, seed)).checkpoint
    if asked not in source.made:
        source.made[asked] = training_node(source, row, seed)
    return _start_of_node(source, source.made[asked]).checkpoint


def training_node(source: ImageSource, row: RowSpec, seed: int, *, until: str | None = None) -> str:
    """Add the trainings of a row's method with a seed and return the last one's id.

    Args:
        source: where nodes go.
        row: method, start and data.
        seed: of the training, the same in every stage.
        until: the stage to end with; None takes all.

    Raises:
        UsageError: unknown settings, stages or data sets; rows that start from each other; a start
            that does not fit the settings.
        ContractError: the method does not fulfil its contract.
        PrerequisiteError: weights to start from are not on this machine.
    """
    return _train(source, row, seed, until, ())


def _train(
    source: ImageSource, row: RowSpec, seed: int, until: str | None, above: tuple[str, ...]
) -> str:
    plan = training_plan(source.profile, str(row.method), seed)
    stages = plan.stages
    if until is not None:
        names = [stage.name for stage in stages]
        if not plan.staged or until not in names:
            known = f"its stages are {', '.join(names)}" if plan.staged else "it has none"
            raise UsageError(f"method {plan.cls.name} has no stage {until!r}; {known}.")
        stages = stages[: names.index(until) + 1]
    origin = start = _start(source, row, seed, above)
    key = ""
    done: dict[str, Start] = {}
    for stage in stages:
        begin = origin if stage.start == "origin" else start
        suppliers = {name: done[name] for name in stage.suppliers}
        key = _stage_node(source, row, plan, stage, begin, seed, suppliers)
        start = done[stage.name] = _start_of_node(source, key)
    return key


def _start(source: ImageSource, row: RowSpec, seed: int, above: tuple[str, ...]) -> Start | None:
    """Return what a row starts from, None for the base."""
    if row.start is None:
        return None
    chain = (*above, row.key)
    target = source.rows.get(row.start)
    if target is None and row.start in METHODS.entries():
        target = method_row(row.start)
    where = f"row {row.key}: start"
    if target is None:
        return weights_start(source, row.start, where)
    if target.key in chain:
        circle = " -> ".join((*chain, target.key))
        raise UsageError(f"rows start from each other: {circle}. Let one start from the base.")
    if target.render is not None:
        raise UsageError(f"{where}: {target.key} is rendered, nothing was trained there.")
    if target.weights is not None:
        return weights_start(source, target.weights, where)
    if target.method is None:
        return None
    return _start_of_node(source, _train(source, target, seed, None, chain))


def _start_of_node(source: ImageSource, key: str) -> Start:
    payload = source.graph[key].payload
    base = CheckpointRef.from_json(payload["checkpoint"])
    return training_start(key, payload["train"], base)


def _stage_node(
    source: ImageSource,
    row: RowSpec,
    plan: TrainingPlan,
    stage: StagePlan,
    start: Start | None,
    seed: int,
    suppliers: Mapping[str, Start],
) -> str:
    profile, config, control = source.profile, stage.train, _CONTROLS[row.pairs]
    data = row.data or stage.data
    pairs = data_node(source, data)
    if start is not None:
        start.fit(config.to_json(), f"profile {profile.name}: training of {row.key}")
    backbone, begin = bases(source, start, config.mode)
    cls = type(stage.method)
    named = not plan.staged or "<locals>" in cls.__qualname__
    target = METHODS.entry(str(row.method)).target if named else None
    identity: dict[str, Any] = {
        "version": TRAINING_VERSION,
        "method": {**code_identity(cls, target), "config": stage.method.config()},
        "train": config.identity(),
        "control": control,
        "pairs": pairs,
    }
    upstream = {"pairs": pairs}
    if start is not None:
        identity["start"] = start.checkpoint.identity(source.store)
        if start.node is not None:
            upstream["start"] = start.node
    if suppliers:
        identity["suppliers"] = {
            name: found.checkpoint.identity(source.store) for name, found in suppliers.items()
        }
        upstream |= {f"supplier/{n}": str(found.node) for n, found in suppliers.items()}
    if data not in (None, DEFAULT_DATA) and source.known(source.base()):
        identity["base"] = source.base().identity(source.store)
    name, label = _names(row, plan, stage, start)
    node = Node(
        kind="train",
        name=f"{profile.stem}.{name}.t{seed}"[:120],
        identity=identity,
        upstream=upstream,
        payload={
            "method": portable(str(row.method)),
            "settings": plan.method.config(),
            "stage": stage.name if plan.staged else None,
            "train": config.to_json(),
            "control": control,
            "checkpoint": backbone.to_json(),
            "start": None if begin is None else begin.to_json(),
            "suppliers": {n: found.checkpoint.to_json() for n, found in suppliers.items()},
        },
        function="bench.steps.making:make_training",
        label=f"train {label}, seed {seed}",
        seconds=5.0 + config.steps * config.batch * profile.speed.pair_seconds * _work(stage),
        bytes=profile.speed.checkpoint_bytes,
        sources=(source_of(cls, target).to_json(),),
    )
    return source.graph.add(node)


def _work(stage: StagePlan) -> float:
    """Return how much longer a pair takes than one without samples of the policy.

    A pair of Diffusion-DPO costs about nine forwards, its backward among them.
    """
    plan = stage.method.rollout("epsilon")
    return 1.0 if plan is None else 1.0 + plan.steps / 9


def _names(
    row: RowSpec, plan: TrainingPlan, stage: StagePlan, start: Start | None
) -> tuple[str, str]:
    """Return what a training is called in its artifact's name, and in the progress.

    What two rows may share is named after the method, not the row: a method trained as the profile
    says, which rows sample in several ways, and a first stage, which a row may train alone.
    """
    own = row.key
    plain = row.data is None and row.start is None and row.pairs == "standard"
    if plain and ":" not in str(row.method):
        own = str(row.method)
    if not plan.staged:
        return own, own
    number = [s.name for s in plan.stages].index(stage.name) + 1
    label = f"{own}, stage {stage.name} ({number} of {len(plan.stages)})"
    if number == len(plan.stages):
        return own, label
    if number == 1 and start is None and row.pairs == "standard":
        return stage.method.name, label
    return f"{own}.{stage.name}", label
