"""What a training will cost, told before it starts: batches, epochs, memory, time. No torch.

Counts come from headers of the weights' files. Memory is an estimate: activations are those of one
forward in float32, counted once per published backbone (`bench.published`), scaled by micro-batch,
halves and precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.api.errors import BenchError
from bench.api.method import Method
from bench.generation.parts import network_folder, shapes
from bench.published import backbones
from bench.spec.methods import settings_source, stage_method
from bench.steps.builder import GraphBuilder
from bench.steps.data import PairStep
from bench.steps.training import TrainingStep
from bench.training.config import TrainConfig

_LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
_WORD = 4  # bytes of a float32; weights, gradients and the optimiser's two moments are float32
_RECOMPUTED = 0.15
"""Share of the activations that gradient checkpointing keeps, roughly."""


_FACTORED = 0.01
"""Adafactor's second moments, rows and columns alone, as a share of the weights; roughly."""


@dataclass(frozen=True, kw_only=True)
class TrainingEstimate:
    """One training before it starts.

    Attributes:
        label: which.
        artifact: its id.
        method: name and settings.
        train: all training settings.
        settings: in words, where they are from.
        data: id of the data set.
        data_there: whether it is in the store.
        images: to be sampled for it where it is not; None where that is not known.
        encoded: in words, what of given images is to be encoded for it; empty where nothing is.
        data_hours: of making it, of one device, at the profile's speed.
        processes, micro_batches: how the effective batch is cut: each process takes so many
            micro-batches of `train.micro_batch` in each optimiser step.
        pairs: in the data set, before short prompts are dropped; None where that is not known.
        visits: pairs seen, over the whole run.
        parameters, trainable: of the network; None where its weights are not here.
        memory: bytes by what for, an estimate; empty where the network is not known.
        hours: of one device, at the profile's speed.
    """

    label: str
    artifact: str
    method: Mapping[str, Any]
    train: TrainConfig
    settings: str
    data: str
    data_there: bool
    images: int | None
    encoded: str
    data_hours: float
    processes: int
    micro_batches: int
    pairs: int | None
    visits: int
    parameters: int | None
    trainable: int | None
    memory: Mapping[str, int] = field(default_factory=dict)
    hours: float = 0.0

    @property
    def epochs(self) -> float | None:
        """Passes over the data set."""
        return None if not self.pairs else self.visits / self.pairs

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        data = {**asdict(self), "train": self.train.to_json(), "epochs": self.epochs}
        return {**data, "memory_total": sum(self.memory.values())}


def training_estimates(builder: GraphBuilder, key: str, ranks: int = 1) -> list[TrainingEstimate]:
    """Return the estimates of a training in the graph and of those it starts from, in order.

    Raises:
        UsageError, ContractError: the method cannot be made, or a batch has no pair for each rank.
    """
    step = builder.graph[key]
    if not isinstance(step, TrainingStep):  # a training of before, taken from the store
        return []
    before = step.upstream.get("start")
    found = [] if before is None else training_estimates(builder, before, ranks)
    return [*found, _estimate(builder, step, ranks)]


def _estimate(builder: GraphBuilder, step: TrainingStep, processes: int) -> TrainingEstimate:
    config = step.train
    method = stage_method(step.method, step.settings, step.stage)
    step.require_ranks(processes)
    data = builder.graph[step.upstream["pairs"]]
    assert isinstance(data, PairStep)
    sizes = _network_shapes(builder)
    parameters = _published(builder, "parameters") if sizes is None else _count(sizes)
    trainable = parameters if config.mode == "full" else _lora_parameters(sizes, config)
    memory = {}
    if parameters is not None and trainable is not None:
        memory = _memory(builder, config, method, parameters, trainable, processes)
    return TrainingEstimate(
        label=step.label,
        artifact=step.id,
        method={"name": method.name, **method.config()},
        train=config,
        settings=settings_source(builder.profile, step.method, step.stage),
        data=data.id,
        data_there=builder.store.status(data.kind, data.name, data.identity).state == "complete",
        images=data.sampled,
        encoded=data.encoded,
        data_hours=data.seconds / 3600,
        processes=processes,
        micro_batches=math.ceil(math.ceil(config.batch / processes) / config.micro_batch),
        pairs=data.pairs,
        visits=config.steps * config.batch,
        parameters=parameters,
        trainable=trainable,
        memory=memory,
        hours=step.seconds / 3600,
    )


def _network_shapes(builder: GraphBuilder) -> dict[str, tuple[int, ...]] | None:
    """Shapes of the base's network, None where it is not on this machine."""
    base = builder.base()
    if not builder.known(base):
        return None
    try:
        return shapes(network_folder(base.folder())) or None
    except BenchError:
        return None


def _count(sizes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in sizes.values())


def _lora_parameters(
    sizes: Mapping[str, tuple[int, ...]] | None, config: TrainConfig
) -> int | None:
    """Parameters of an adapter on the targets; None where the network is not known."""
    if sizes is None:
        return None
    ends = tuple(f".{target}.weight" for target in config.lora_targets or _LORA_TARGETS)
    matched = [shape for key, shape in sizes.items() if key.endswith(ends)]
    # a matrix (out, in, ...) gets a pair of `rank` rows and `rank` columns
    return sum(config.lora_rank * (shape[0] + math.prod(shape[1:])) for shape in matched)


def _published(builder: GraphBuilder, name: str) -> int | None:
    """A figure of the published backbone the profile's checkpoint is, None where it is none."""
    base = builder.base()
    for backbone in backbones().values():
        if base.kind == "hub" and backbone.checkpoint == base.location:
            return int(getattr(backbone, name))
    return None


def _memory(
    builder: GraphBuilder,
    config: TrainConfig,
    method: Method,
    parameters: int,
    trainable: int,
    ranks: int,
) -> dict[str, int]:
    """Bytes on each device by what they are for, an estimate."""
    network, trained = _WORD * parameters, _WORD * trainable
    adapter = trained if config.mode == "lora" else 0
    reference, share = 0, 1 if config.precision == "no" else 2  # frozen weights, see keep_half
    if method.uses_reference:
        copied = config.mode == "full" or config.reference in ("frozen_copy", "frozen_checkpoint")
        reference = network // share if copied else adapter
    frozen = network // share if config.mode == "lora" else network
    found = {
        "policy": frozen + adapter,
        "reference": reference,
        "gradients": trained,
        "gradients in exchange": trained if ranks > 1 else 0,
        "optimiser": (_FACTORED if config.optimiser == "adafactor" else 2.0) * trained,
        "moving average": 0 if config.ema_decay is None else trained,
    }
    image: float = (
        builder.profile.speed.activation_bytes or _published(builder, "activation_bytes") or 0
    )
    halves = 2 if method.needs.batch_has_loser else 1
    image *= 0.5 if config.precision in ("bf16", "fp16") else 1.0
    image *= _RECOMPUTED if config.gradient_checkpointing else 1.0
    pairs = min(config.micro_batch, math.ceil(config.batch / ranks))
    found["activations"] = int(image * halves * pairs)
    return {name: int(size) for name, size in found.items() if size}
