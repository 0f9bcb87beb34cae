"""What a training starts from in place of the base, and published weights as rows.

| what is given               | what happens                                                   |
|-----------------------------|----------------------------------------------------------------|
| a pipeline                  | sampled as it is; a training takes its network                 |
| a network                   | put into the base                                              |
| a LoRA                      | put onto the base's network; a LoRA training goes on with it   |
| a network, and mode is lora | becomes the base of the new LoRA, which is sampled on top      |
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.api.errors import UsageError, unknown
from bench.api.registry import METHODS
from bench.backbones.lora_files import lora_facts
from bench.config import expand
from bench.generation.checkpoint import SAFETENSORS, CheckpointRef
from bench.generation.parts import find_weights, network_folder, require_fits
from bench.steps.builder import GraphBuilder
from bench.steps.step import stored_step
from bench.tiny.assets import expected_hashes, weights_sha256
from bench.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a training starts from.

    Attributes:
        checkpoint: with `base`, what its network works with.
        kind: `"pipeline"`, `"network"` or `"lora"`.
        where: what it is called in messages.
        step: id of the training in the graph, where it is one.
        ranks, alphas: of a LoRA, as they occur in its layers.
    """

    checkpoint: CheckpointRef
    kind: str
    where: str
    step: str | None = None
    ranks: tuple[int, ...] = ()
    alphas: tuple[float, ...] = ()


def weights_checkpoint(builder: GraphBuilder, text: str, where: str) -> CheckpointRef:
    """Return the checkpoint of published weights: a pipeline, or what is put into the base.

    Raises:
        PrerequisiteError: they are not on this machine.
        CorruptArtifactError: they bear a shipped name and are not what was shipped.
        UsageError: the text names none, or the weights are of another network than the base's.
    """
    start = weights_start(builder, text, where)
    return replace(start.checkpoint, base=None) if start.kind == "pipeline" else start.checkpoint


def weights_start(builder: GraphBuilder, text: str, where: str) -> Start:
    """Return weights as a start; see `weights_checkpoint` for what is raised."""
    name = str(expand(text, where))
    path = "/" in name or name.startswith((".", "~")) or name.endswith(SAFETENSORS)
    if not path and name not in expected_hashes():
        kind = f"start or weights ({where})"
        raise unknown(kind, name, {*builder.rows, *METHODS.names(), *expected_hashes()})
    ref = CheckpointRef.parse(name)
    base = builder.base()
    if ref.kind == "train":
        return artifact_start(builder, ref.location)
    if ref.kind == "shipped":
        weights_sha256(ref.location)  # what bears a shipped name is what was shipped
        ref = CheckpointRef(kind="path", location=str(ref.folder()))
    found = find_weights(ref.location, ref.revision, hub=ref.kind == "hub")
    if found.kind == "pipeline":
        network_folder(found.folder)  # a family there is an adapter for
    elif builder.known(base):
        require_fits(found, network_folder(base.folder()))
    facts = lora_facts(found.folder) if found.kind == "lora" else None
    return Start(
        checkpoint=replace(ref, base=base),
        kind=found.kind,
        where=name if facts is None else str(facts.file),
        ranks=() if facts is None else facts.ranks,
        alphas=() if facts is None else facts.alphas,
    )


def artifact_start(builder: GraphBuilder, key: str) -> Start:
    """Return a training that is in the store as a start, adding it to the graph.

    Raises:
        UsageError: the store has no such artifact, or it is none of a training.
    """
    artifact = builder.store.get(key)
    if artifact.kind != "train":
        raise UsageError(f"{key} is of kind {artifact.kind!r}; expected a training, train/...")
    config = artifact.manifest.get("config") or {}
    if "mode" not in config:
        raise UsageError(f"{key} does not say how it was trained; train it again.")
    backbone = artifact.manifest.get("notes", {}).get("backbone")
    base = builder.base() if backbone is None else CheckpointRef.from_json(backbone)
    train = TrainConfig.from_json(config)
    return training_start(builder.graph.add(stored_step(artifact)), train, base)


def training_start(step: str, train: TrainConfig, base: CheckpointRef) -> Start:
    """Return a training as a start.

    Args:
        step: its id.
        train: its settings.
        base: what its network works with.
    """
    lora = train.mode == "lora"
    return Start(
        checkpoint=CheckpointRef(kind="train", location=step, base=base),
        kind="lora" if lora else "network",
        where=step,
        step=step,
        ranks=(train.lora_rank,) if lora else (),
        alphas=(train.lora_alpha,) if lora else (),
    )


def bases(
    builder: GraphBuilder, start: Start | None, train: TrainConfig, where: str
) -> tuple[CheckpointRef, CheckpointRef | None]:
    """Return what a training loads as its backbone, and what it starts from on it.

    The result of the training is sampled with the first.

    Args:
        builder: of the graph.
        start: None for the base.
        train: the training's settings.
        where: they are set, for the message.

    Raises:
        UsageError: a LoRA training cannot go on with the LoRA it starts from: rank or alpha differ.
    """
    if start is None:
        return builder.base(), None
    _require_alike(start, train, where)
    if train.mode == "lora" and start.kind != "lora":
        whole = start.kind == "pipeline"
        return (replace(start.checkpoint, base=None) if whole else start.checkpoint), None
    root = start.checkpoint.base or builder.base()
    return root, start.checkpoint


def _require_alike(start: Start, train: TrainConfig, where: str) -> None:
    if start.kind != "lora" or train.mode != "lora":
        return
    rank, alpha = train.lora_rank, train.lora_alpha
    if start.ranks == (rank,) and start.alphas == (alpha,):
        return
    found = ", ".join(map(str, start.ranks))
    told = ", ".join(f"{value:g}" for value in start.alphas)
    raise UsageError(
        f"{start.where} is a LoRA of rank {found} and alpha {told}; {where} says "
        f"lora_rank: {rank}, lora_alpha: {alpha:g}. A training goes on with the LoRA it "
        "starts from: set both to the LoRA's, or set mode: full, which melts it into the "
        "network first."
    )
