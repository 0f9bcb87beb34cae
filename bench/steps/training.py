"""Trainings: data set and start -> one step per stage; each stage starts from the last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.api.errors import UsageError
from bench.api.registry import METHODS
from bench.generation.checkpoint import CheckpointRef
from bench.read.names import artifact_name
from bench.spec.added import method_row
from bench.spec.methods import StagePlan, TrainingPlan, portable, stage_method, training_plan
from bench.spec.table import RowSpec
from bench.spec.training import DEFAULT_DATA
from bench.steps.builder import GraphBuilder
from bench.steps.cost import cost_of
from bench.steps.data import add_data
from bench.steps.initial import Start, bases, training_start, weights_start
from bench.steps.ranks import SCRATCH, RankedStep, Trained
from bench.steps.step import Runtime
from bench.store import Artifact, Store, Work, code_identity, source_of
from bench.training.config import ALL, TrainConfig

TRAINING_VERSION = 1
"""Bumped when the training of unchanged settings may end in other weights."""

_SHUFFLE_SEED = 1
_EXCHANGE = "exchange_seed"
_CONTROLS: dict[str, dict[str, Any]] = {
    "standard": {},
    "identity-degraded": {"identity_degraded": True},
    "shuffled": {"shuffle_seed": _SHUFFLE_SEED},
    "exchanged": {_EXCHANGE: _SHUFFLE_SEED},
}
"""What a row's `pairs` changes: arguments of `bench.data.pairing.open_pairs`, and a seed by which
the method's preference is turned round (`bench.training.exchanged`)."""


@dataclass(frozen=True, kw_only=True)
class TrainingStep(RankedStep):
    """One stage of a method to be trained; exports under `exports/`, metrics in `metrics.jsonl`.

    Attributes:
        method: registry name or path of the whole method, with its `settings`.
        stage: of a method that has stages.
        train: batch, rate, steps, seed and so on.
        pairs: a key of `_CONTROLS`.
        backbone: what the network works with; the result is sampled with it, too.
        start: weights the policy starts from in place of the backbone's own.
        suppliers: frozen networks of earlier stages, by name.
    """

    kind: str = "train"
    method: str
    settings: Mapping[str, Any]
    stage: str | None
    train: TrainConfig
    pairs: str
    backbone: CheckpointRef
    start: CheckpointRef | None
    suppliers: Mapping[str, CheckpointRef] = field(default_factory=dict)

    @property
    def calls(self) -> str:
        """The method, for messages."""
        return f"method {self.method}"

    @property
    def shares(self) -> int:
        """Pairs of a batch."""
        return self.train.batch

    def make(self, store: Store, runtime: Runtime) -> Artifact:
        """Train the stage.

        Raises:
            DivergedError: a NaN or an infinity; the last good checkpoint stays.
            PrerequisiteError, UsageError: as `bench.training.runner.train`.
        """
        return store.build(
            self.kind,
            self.name,
            self.identity,
            lambda work: self._train(store, work, runtime),
            upstream=self.upstream,
            seeds={"training": self.train.seed},
            config=self.train.to_json(),
            device=runtime.device,
            exclude=("checkpoints/*", f"{SCRATCH}/*"),
        )

    def _train(self, store: Store, work: Work, runtime: Runtime) -> None:
        from bench.generation.checkpoint import weights_folder
        from bench.generation.weights import content_hash

        trained = self.train_on_ranks(work.path, store, runtime)
        for name, value in asdict(trained).items():
            work.note(name, value)
        work.note("backbone", self.backbone.to_json())
        if self.start is not None:
            digest = content_hash(weights_folder(self.start, store))
            work.note("start", {**self.start.to_json(), "content_sha256": digest})

    def train_in(self, folder: Path, store: Store, runtime: Runtime) -> Trained:
        """Train in this process, alone or as one of several.

        Raises:
            DivergedError, PrerequisiteError, UsageError: as `bench.training.runner.train`.
        """
        from bench.data.pairing import open_pairs
        from bench.data.texts import conditions_of
        from bench.generation.checkpoint import load_pipeline_backbone, weights_folder
        from bench.training.exchanged import exchanged
        from bench.training.runner import train

        method = stage_method(self.method, self.settings, self.stage)
        backbone = load_pipeline_backbone(self.backbone, store, device=runtime.device)
        artifact = store.get(self.upstream["pairs"])
        encode = conditions_of(artifact, store, device=runtime.device)
        control = dict(_CONTROLS[self.pairs])
        if (seed := control.pop(_EXCHANGE, None)) is not None:
            method = exchanged(method, seed)
        source = open_pairs(artifact, method.needs.pairing, **control, encode=encode)
        suppliers = {
            name: load_pipeline_backbone(ref, store, device=runtime.device).denoiser
            for name, ref in self.suppliers.items()
        }
        result = train(
            method,
            backbone,
            source,
            self.train,
            work_dir=folder,
            start_from=None if self.start is None else weights_folder(self.start, store),
            suppliers=suppliers,
            progress=lambda done, total, _row: runtime.progress(done, total),
            take_base=True,
        )
        return Trained(
            steps=result.steps,
            exports=tuple(sorted(result.exports)),
            seconds=result.seconds,
            peak_memory_mb=result.peak_memory_mb,
            ranks=result.ranks,
        )


def trained_checkpoint(builder: GraphBuilder, row: RowSpec, seed: int) -> CheckpointRef:
    """Add the trainings of a row with a seed and return the checkpoint they end in.

    Raises:
        UsageError, ContractError, PrerequisiteError: as `add_training`.
    """
    asked = ("training", row.key, seed)
    if builder.rows.get(row.key) is not row:  # a row that the table does not have
        key = add_training(builder, row, seed)
    elif asked in builder.made:
        key = builder.made[asked]
    else:
        key = builder.made[asked] = add_training(builder, row, seed)
    return CheckpointRef(kind="train", location=key, base=_step_of(builder, key).backbone)


def add_training(
    builder: GraphBuilder, row: RowSpec, seed: int, *, until: str | None = None
) -> str:
    """Add the trainings of a row's method with a seed and return the last one's id.

    Args:
        builder: of the graph.
        row: method, start and data.
        seed: of the training, the same in every stage.
        until: the stage to end with; None takes all.

    Raises:
        UsageError: unknown settings, stages or data sets; rows that start from each other; a start
            that does not fit the settings.
        ContractError: the method does not fulfil its contract.
        PrerequisiteError: weights to start from are not on this machine.
    """
    return _train(builder, row, seed, until, ())


def _train(
    builder: GraphBuilder, row: RowSpec, seed: int, until: str | None, above: tuple[str, ...]
) -> str:
    plan = training_plan(builder.profile, str(row.method), seed, row.settings, row.changes)
    stages = plan.stages
    if until is not None:
        names = [stage.name for stage in stages]
        if not plan.staged or until not in names:
            known = f"its stages are {', '.join(names)}" if plan.staged else "it has none"
            raise UsageError(f"method {plan.cls.name} has no stage {until!r}; {known}.")
        stages = stages[: names.index(until) + 1]
    origin = start = _start(builder, row, seed, above)
    own = _own_name(builder, row, plan, origin)
    key = ""
    done: dict[str, Start] = {}
    for stage in stages:
        begin = origin if stage.start == "origin" else start
        suppliers = {name: done[name] for name in stage.suppliers}
        key = _add_stage(builder, row, own, plan, stage, begin, seed, suppliers)
        start = done[stage.name] = _start_of(builder, key)
    return key


def _start(builder: GraphBuilder, row: RowSpec, seed: int, above: tuple[str, ...]) -> Start | None:
    """Return what a row starts from, None for the base."""
    if row.start is None:
        return None
    chain = (*above, row.key)
    target = builder.rows.get(row.start)
    if target is None and row.start in METHODS.entries():
        target = method_row(row.start)
    where = f"row {row.key}: start"
    if target is None:
        return weights_start(builder, row.start, where)
    if target.key in chain:
        circle = " -> ".join((*chain, target.key))
        raise UsageError(f"rows start from each other: {circle}. Let one start from the base.")
    if target.render is not None:
        raise UsageError(f"{where}: {target.key} is rendered, nothing was trained there.")
    if target.weights is not None:
        return weights_start(builder, target.weights, where)
    if target.method is None:
        return None
    return _start_of(builder, _train(builder, target, seed, None, chain))


def _start_of(builder: GraphBuilder, key: str) -> Start:
    """Return a training of the graph as a start."""
    step = _step_of(builder, key)
    return training_start(key, step.train, step.backbone)


def _step_of(builder: GraphBuilder, key: str) -> TrainingStep:
    step = builder.graph[key]
    assert isinstance(step, TrainingStep)
    return step


def _add_stage(
    builder: GraphBuilder,
    row: RowSpec,
    own: str,
    plan: TrainingPlan,
    stage: StagePlan,
    start: Start | None,
    seed: int,
    suppliers: Mapping[str, Start],
) -> str:
    profile, config = builder.profile, stage.train
    name, label = _names(row, own, plan, stage, start)
    data = row.data or stage.data
    data_step = add_data(builder, data)
    where = f"profile {profile.name}: training of {row.key}"
    backbone, begin = bases(builder, start, config, where)
    cls = type(stage.method)
    named = not plan.staged or "<locals>" in cls.__qualname__
    target = METHODS.entry(str(row.method)).target if named else None
    identity: dict[str, Any] = {
        "version": TRAINING_VERSION,
        "method": {**code_identity(cls, target), "config": stage.method.config()},
        "train": config.identity(),
        "control": _CONTROLS[row.pairs],
        "pairs": data_step,
    }
    upstream = {"pairs": data_step}
    if start is not None:
        identity["start"] = builder.identity(start.checkpoint)
        if start.step is not None:
            upstream["start"] = start.step
    if suppliers:
        identity["suppliers"] = {
            name: builder.identity(found.checkpoint) for name, found in suppliers.items()
        }
        upstream |= {f"supplier/{n}": str(found.step) for n, found in suppliers.items()}
    if data not in (None, DEFAULT_DATA) and builder.known(builder.base()):
        identity["base"] = builder.identity(builder.base())
    sources, weights = builder.loaded(
        backbone, begin, *(found.checkpoint for found in suppliers.values())
    )
    step = TrainingStep(
        name=artifact_name(f"{builder.base().label}.{name}.t{seed}"),
        identity=identity,
        upstream=upstream,
        sources=(source_of(cls, target), *sources),
        weights=weights,
        method=portable(str(row.method)),
        settings=plan.method.config(),
        stage=stage.name if plan.staged else None,
        train=config,
        pairs=row.pairs,
        backbone=backbone,
        start=begin,
        suppliers={n: found.checkpoint for n, found in suppliers.items()},
        label=f"train {label}{_changed(row)}, seed {seed}",
        seconds=5.0 + cost_of(profile).training(stage),
        bytes=profile.speed.checkpoint_bytes * _exports(config),
    )
    return builder.graph.add(step)


def _changed(row: RowSpec) -> str:
    """Return what a row changes of its settings, in brackets."""
    parts = [f"{k} {v}" for values in row.changes.values() for k, v in values.items()]
    return f" ({', '.join(parts)})" if parts else ""


def _exports(config: TrainConfig) -> int:
    """Return how many networks a training leaves: the last, the best, moving averages of both."""
    saves = sum(config.saves_at(step) for step in range(1, config.steps + 1))
    kept = saves if config.keep_exports == ALL else min(saves, 2)
    return kept * (1 if config.ema_decay is None else 2)


def _own_name(builder: GraphBuilder, row: RowSpec, plan: TrainingPlan, origin: Start | None) -> str:
    """Return what a row trains, in short: never which row of which table asked for it, so that
    all who ask share the artifact.
    """
    data = None if row.data == DEFAULT_DATA else row.data
    parts = [plan.method.name, data, None if row.pairs == "standard" else row.pairs]
    if row.start is not None and origin is not None:
        before = origin.checkpoint.label.removeprefix(f"{builder.base().label}.").rpartition(".t")
        parts.append(f"on-{before[0] or before[2]}")
    return ".".join(part for part in parts if part)


def _names(
    row: RowSpec, own: str, plan: TrainingPlan, stage: StagePlan, start: Start | None
) -> tuple[str, str]:
    """Return what a stage is called in its artifact's name, and in the progress."""
    if not plan.staged:
        return own, own
    number = [s.name for s in plan.stages].index(stage.name) + 1
    label = f"{own}, stage {stage.name} ({number} of {len(plan.stages)})"
    if number == len(plan.stages):
        return own, label
    if number == 1 and start is None and row.pairs == "standard":
        return stage.method.name, label  # a row may train it alone
    return f"{own}.{stage.name}", label
