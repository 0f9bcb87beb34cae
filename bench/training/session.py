"""The state of a run: networks, optimiser, files; opened fresh or from a checkpoint."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.api.errors import StoreError, UsageError
from bench.api.method import Method
from bench.backbones.base import Backbone, place
from bench.training import checkpoint as ckpt
from bench.training.accelerator import accelerator_of
from bench.training.atomic import JsonLines, write_json
from bench.training.config import ALL, TrainConfig
from bench.training.ema import MovingAverage
from bench.training.export import export_lora, export_network
from bench.training.kept import (
    exports_of_checkpoints,
    exports_to_keep,
    remove_exports,
    step_of,
)
from bench.training.networks import (
    Reference,
    build_policy,
    build_reference,
    keep_half,
    resolve_reference,
)
from bench.training.objective import Predict
from bench.training.optimisers import build_optimiser
from bench.training.randomness import DataOrder
from bench.training.resume import (
    METRICS,
    export_hashes,
    find_resume,
    put_back_metrics,
    require_exports,
    sealed_exports,
)
from bench.training.rollout import Rollouts, plan_identity
from bench.training.source import PairSource, source_identity

log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Session:
    """One run's state.

    Attributes:
        config: the settings.
        identity: what can change the result; a checkpoint of another identity is refused.
        work_dir: folder of the run.
        accelerator: device, precision and processes.
        policy: the network to call, wrapped for several processes where there are any.
        denoiser: the same network unwrapped.
        denoiser_name: what its pipeline calls it, `Backbone.denoiser_name`.
        trainable: its trained parameters by name.
        optimiser: over them.
        reference: the frozen reference, or None.
        ema: the moving average, or None.
        rollouts: what samples from the policy, or None.
        suppliers: the frozen networks that targets ask beside the reference, by name.
        metrics: the open metrics file, or None on other than the main process.
        sealed: the hashes of the exports, as they were written.
        step: optimiser steps done.
        seconds: time spent in them.
        ranks: processes that took them, one number for each time that changed.
    """

    config: TrainConfig
    identity: Mapping[str, Any]
    work_dir: Path
    accelerator: Any
    policy: nn.Module
    denoiser: nn.Module
    denoiser_name: str
    trainable: Mapping[str, nn.Parameter]
    optimiser: Any
    reference: Reference | None
    ema: MovingAverage | None
    rollouts: Rollouts | None
    metrics: JsonLines | None
    suppliers: Mapping[str, Predict] = field(default_factory=dict)
    sealed: dict[str, dict[str, str]] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0
    ranks: tuple[int, ...] = ()

    @property
    def metrics_path(self) -> Path:
        """The JSONL file."""
        return self.work_dir / METRICS

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.work_dir / "checkpoints"

    @property
    def exports_path(self) -> Path:
        """Folder of the exported networks."""
        return self.work_dir / "exports"

    def export_path(self, step: int, *, ema: bool) -> Path:
        """Folder of the network exported after `step` steps."""
        return self.exports_path / f"step-{step:08d}{'-ema' if ema else ''}"

    def exports(self) -> dict[int, Path]:
        """Return the exports by step, up to this one; the moving average's where one is kept.

        Raises:
            StoreError: one was damaged since it was written.
        """
        if self.accelerator.is_main_process:
            require_exports(self.exports_path, self.sealed)
        paths = {
            step: self.export_path(step, ema=self.ema is not None)
            for step in range(1, self.step + 1)
            if self.config.saves_at(step)
        }
        return {step: path for step, path in paths.items() if path.is_dir()}

    def note_ranks(self) -> None:
        """Write down by how many processes the steps that follow are taken."""
        count = self.accelerator.num_processes
        if self.ranks[-1:] != (count,):
            self.ranks = (*self.ranks, count)

    def save(self) -> None:
        """Export the network, then write the checkpoint: a checkpoint implies its export."""
        if self.accelerator.is_main_process:
            self._export()
            if self.config.keep_exports != ALL:
                kept = exports_to_keep(self.config, self.step, self.metrics_path)
                self.sealed = {n: f for n, f in self.sealed.items() if step_of(n) in kept}
            self._checkpoint()
            if self.config.keep_exports != ALL:
                done = self.step == self.config.steps
                known = {} if done else exports_of_checkpoints(self.checkpoints)
                remove_exports(self.exports_path, {*self.sealed, *known})
        self.accelerator.wait_for_everyone()

    def _export(self) -> None:
        self._write(self.export_path(self.step, ema=False), None)
        if self.ema is not None:
            self._write(self.export_path(self.step, ema=True), self.ema.shadow)

    def _write(self, folder: Path, weights: Mapping[str, Tensor] | None) -> None:
        if self.config.mode == "lora":
            export_lora(self.denoiser, folder, weights, component=self.denoiser_name)
        else:
            export_network(self.denoiser, folder, weights)
        self.sealed[folder.name] = export_hashes(folder)

    def _checkpoint(self) -> None:
        tensors, rest = ckpt.pack_optimiser(self.optimiser, list(self.trainable))
        groups: dict[str, Mapping[str, Tensor]] = {
            "trainable": self.trainable,
            "optimiser": tensors,
        }
        if self.ema is not None:
            groups["ema"] = self.ema.shadow
        if self.rollouts is not None:
            groups["rollouts"] = self.rollouts.state()
        scaler = self.accelerator.scaler
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "identity": self.identity,
            "optimiser": rest,
            "scaler": None if scaler is None else scaler.state_dict(),
            "exports": self.sealed,
            "ranks": list(self.ranks),
        }
        ckpt.save_checkpoint(
            self.checkpoints,
            groups=groups,
            state=state,
            keep=self.config.keep_checkpoints,
            files={METRICS: self.metrics_path.read_bytes()},
        )

    def _restore_weights(self, saved: ckpt.Checkpoint) -> None:
        weights = saved.tensors("trainable")
        with torch.no_grad():
            for name, parameter in self.trainable.items():
                parameter.copy_(weights[name])
        if self.ema is not None:
            self.ema.load(saved.tensors("ema"))
        self.step = saved.step

    def restore(self, saved: ckpt.Checkpoint, again: Sequence[ckpt.Checkpoint] = ()) -> None:
        """Put back a checkpoint's state.

        Args:
            saved: the checkpoint.
            again: checkpoints whose export is written again.
        """
        ckpt.require_same_identity(saved.state["identity"], self.identity)
        self.sealed.update(sealed_exports(saved))
        for other in again:
            self._restore_weights(other)
            if self.accelerator.is_main_process:
                self._export()
        self._restore_weights(saved)
        ckpt.unpack_optimiser(
            self.optimiser,
            list(self.trainable),
            saved.tensors("optimiser"),
            saved.state["optimiser"],
        )
        if self.rollouts is not None:
            self.rollouts.load(saved.tensors("rollouts"))
        if self.accelerator.scaler is not None and saved.state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(saved.state["scaler"])
        self.seconds = float(saved.state["seconds"])
        self.ranks = tuple(saved.state.get("ranks", (1,)))  # of before they were written down
        log.info("resuming after step %d from %s", self.step, saved.folder)
        self.accelerator.wait_for_everyone()


@contextmanager
def open_session(
    method: Method,
    backbone: Backbone,
    source: PairSource,
    config: TrainConfig,
    *,
    work_dir: Path,
    start_from: Path | None,
    resume: bool,
    suppliers: Mapping[str, nn.Module] | None = None,
    take_base: bool = False,
) -> Iterator[Session]:
    """Build the networks, load the newest whole checkpoint if there is one, and clean up after.

    Raises:
        UsageError: the settings do not fit together or the checkpoint is another run's.
    """
    accelerator = accelerator_of(config, backbone.device)
    if config.batch < accelerator.num_processes:
        raise UsageError(
            f"batch is {config.batch} pairs for {accelerator.num_processes} processes; expected "
            "at least one pair for each."
        )
    kind = resolve_reference(method, config, start_from)
    # another reference may be put into a copy of the base, which then must be as it was
    take_base = take_base and kind != "frozen_checkpoint"
    denoiser = build_policy(backbone, config, start_from, take_base=take_base)
    if take_base:
        backbone.denoiser = denoiser
    reference = (
        None if kind is None else build_reference(kind, backbone, config, denoiser, start_from)
    )
    plan = method.rollout(backbone.prediction)
    identity = _identity(method, source, config, kind, denoiser, reference)
    if plan is not None:
        identity["rollout"] = plan_identity(plan, backbone.prediction)
    for network in (denoiser, *([] if reference is None else [reference.module])):
        keep_half(network, config.precision)  # after the identity, which hashes weights
    if reference is not None and reference.module is not denoiser:
        accelerator.prepare_model(reference.module, evaluation_mode=True)
    predictors: dict[str, Predict] = {}
    for name, network in (suppliers or {}).items():
        frozen = place(network, "cpu", torch.float32).requires_grad_(False).eval()
        identity.setdefault("suppliers", {})[name] = ckpt.module_sha256(frozen)
        keep_half(frozen, config.precision)
        frozen = accelerator.prepare_model(frozen, evaluation_mode=True)
        predictors[name] = partial(backbone.predict, frozen)
    denoiser.to(accelerator.device)
    trainable = {name: p for name, p in denoiser.named_parameters() if p.requires_grad}
    optimiser = build_optimiser(config, list(trainable.values()))
    policy, optimiser = accelerator.prepare(denoiser, optimiser)
    ema = None
    if config.ema_decay is not None:
        ema = MovingAverage(trainable, config.ema_decay, config.ema_rule, config.ema_every)
    rollouts = None
    if plan is not None:
        rollouts = Rollouts(
            plan,
            backbone,
            predict=partial(backbone.predict, denoiser),
            trainable=trainable,
            order=DataOrder(config.seed, len(source), config.batch),
            seed=config.seed,
        )

    checkpoints = work_dir / "checkpoints"
    if accelerator.is_main_process:
        if not resume:
            for name in ("checkpoints", "exports"):
                shutil.rmtree(work_dir / name, ignore_errors=True)
        for name in ("checkpoints", "exports"):
            ckpt.clear(work_dir / name)
    accelerator.wait_for_everyone()
    resumed = find_resume(checkpoints, work_dir / "exports")
    saved = resumed.saved
    for found in (*resumed.newer, *([] if saved is None else [saved])):
        ckpt.require_same_identity(found.state["identity"], identity)
    accelerator.wait_for_everyone()
    metrics = None
    if accelerator.is_main_process:
        resumed.remove_newer()
        put_back_metrics(work_dir / METRICS, saved)
        done = 0 if saved is None else saved.step
        metrics = _open_metrics(work_dir, identity, config, accelerator, trainable, done)
    session = Session(
        config=config,
        identity=identity,
        work_dir=work_dir,
        accelerator=accelerator,
        policy=policy,
        denoiser=denoiser,
        denoiser_name=backbone.denoiser_name,
        trainable=trainable,
        optimiser=optimiser,
        reference=reference,
        ema=ema,
        rollouts=rollouts,
        suppliers=predictors,
        metrics=metrics,
    )
    try:
        if saved is not None:
            session.restore(saved, resumed.again)
        yield session
    finally:
        if metrics is not None:
            metrics.close()
        # collecting garbage costs a run on the CPU a third of a second, for nothing
        if accelerator.device.type != "cpu":
            accelerator.free_memory()


def _open_metrics(
    work_dir: Path,
    identity: Mapping[str, Any],
    config: TrainConfig,
    accelerator: Any,
    trainable: Mapping[str, nn.Parameter],
    keep_until: int,
) -> JsonLines:
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot create {work_dir}: {error.strerror or error}. Choose another folder."
        ) from error
    run = {
        "identity": identity,
        "config": config.to_json(),
        "trained_parameters": sum(p.numel() for p in trainable.values()),
        "device": str(accelerator.device),
        "processes": accelerator.num_processes,
        "torch": torch.__version__,
    }
    write_json(work_dir / "run.json", run)
    return JsonLines(work_dir / METRICS, keep_until=keep_until)


def _identity(
    method: Method,
    source: PairSource,
    config: TrainConfig,
    kind: str | None,
    denoiser: nn.Module,
    reference: Reference | None,
) -> dict[str, Any]:
    """Return what can change the result, JSON-able; weights enter by their hash."""
    other = None if reference is None or reference.module is denoiser else reference.module
    return {
        "method": {"name": method.name, "version": method.version, **method.config()},
        "training": config.identity(),
        "reference": kind,
        "pairs": {"count": len(source), "identity": source_identity(source)},
        "policy_sha256": ckpt.module_sha256(denoiser),
        "reference_sha256": None if other is None else ckpt.module_sha256(other),
    }
