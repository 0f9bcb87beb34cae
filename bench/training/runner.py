"""The training loop: a method, a backbone and pairs in, an exported network out.

It knows nothing of the store, of tables or of where the pairs come from. Run the same call
again to resume: the result is the same to the bit as without the interruption.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bench.api.errors import PrerequisiteError, UsageError
from bench.api.method import Condition, Method, StepContext
from bench.backbones.base import Backbone
from bench.training import checks
from bench.training.config import TrainConfig
from bench.training.diagnostics import Meter, peak_memory_mb
from bench.training.dropout import PromptDropout
from bench.training.networks import release
from bench.training.objective import Evaluation, evaluate_halves
from bench.training.randomness import CounterStream, DataOrder, Sample
from bench.training.rollout import PolicyVisits
from bench.training.session import Session, open_session
from bench.training.single import for_method
from bench.training.source import PairSource, Visits, read_visits

log = logging.getLogger(__name__)

Progress = Callable[[int, int, Mapping[str, float]], None]
"""(steps done, steps in all, latest line of metrics)."""


class Tracker(Protocol):
    """Where metrics may also go; a `wandb` or `trackio` run fits."""

    def log(self, data: dict[str, Any], *, step: int) -> Any:
        """Take in one line of metrics."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run left.

    Attributes:
        export: folder of the last exported network (the moving average where one is kept).
        exports: the same for each saved step.
        metrics: JSONL file, one line per `log_every` steps.
        steps: optimiser steps done.
        seconds: time spent in them, over all resumed runs.
        peak_memory_mb: highest memory use of this process, MiB.
        ranks: processes that took the steps, one number for each time that changed.
    """

    export: Path
    exports: Mapping[int, Path]
    metrics: Path
    steps: int
    seconds: float
    peak_memory_mb: float
    ranks: tuple[int, ...] = (1,)


def train(
    method: Method,
    backbone: Backbone,
    source: PairSource,
    config: TrainConfig,
    *,
    work_dir: Path,
    start_from: Path | None = None,
    suppliers: Mapping[str, nn.Module] | None = None,
    progress: Progress | None = None,
    tracker: Tracker | None = None,
    resume: bool = True,
    take_base: bool = False,
) -> TrainResult:
    """Train a policy and export it at every saved step.

    Args:
        method: the objective.
        backbone: the base checkpoint; left as it is unless `take_base`. Training runs on its
            device.
        source: the pairs.
        config: all settings.
        work_dir: where checkpoints/, exports/, metrics.jsonl and run.json go.
        start_from: export the policy starts from, or None for the base.
        suppliers: other networks of the backbone's kind that the method's targets ask, by name;
            they are frozen.
        progress: called after each line of metrics, on the main process.
        tracker: gets each line of metrics, on the main process.
        resume: continue from the newest whole checkpoint in `work_dir`; False removes what is
            there and starts anew.
        take_base: whether the backbone is this training's alone: its network becomes the policy,
            and its VAE and text encoders are let go of after the first batch.

    Raises:
        UsageError: settings, pairs and checkpoint do not fit together.
        DivergedError: a NaN or an infinity; the last good checkpoint stays.
        PrerequisiteError: weights are missing, or the device's memory does not suffice.
        StoreError: `work_dir` cannot be written.
    """
    if len(source) == 0:
        raise UsageError("the pair set is empty; expected at least one pair.")
    checks.require_pairing(method, source)
    source = for_method(source, method)
    with open_session(
        method,
        backbone,
        source,
        config,
        work_dir=work_dir,
        start_from=start_from,
        suppliers=suppliers,
        resume=resume,
        take_base=take_base,
    ) as session:
        loop = _Loop(method, backbone, source, session, take_base=take_base)
        if session.step < config.steps:
            session.note_ranks()
            loop.run(progress, tracker)
        exports = session.exports()
        return TrainResult(
            export=exports[config.steps],
            exports=exports,
            metrics=session.metrics_path,
            steps=session.step,
            seconds=session.seconds,
            peak_memory_mb=peak_memory_mb(session.accelerator.device),
            ranks=session.ranks,
        )


class _Loop:
    """The optimiser steps of one session."""

    def __init__(
        self,
        method: Method,
        backbone: Backbone,
        source: PairSource,
        session: Session,
        *,
        take_base: bool,
    ) -> None:
        self.take_base = take_base
        self.method = method
        self.backbone = backbone
        self.source = source
        self.session = session
        self.config = session.config
        self.accelerator = session.accelerator
        self.order = DataOrder(self.config.seed, len(source), self.config.batch)
        self.dropout = PromptDropout(
            backbone, self.config.prompt_dropout, self.config.seed, self.accelerator.device
        )

    def run(self, progress: Progress | None, tracker: Tracker | None) -> None:
        """Take the steps that are left."""
        session, config = self.session, self.config
        meter = Meter(
            max_grad_norm=config.max_grad_norm, check_gradients=config.precision != "fp16"
        )
        started = time.perf_counter()
        already = session.seconds
        if session.step > 0:
            self._let_go()
        while session.step < config.steps:
            norm = self._step(session.step, meter)
            session.step += 1
            meter.end_step(norm)
            saves = config.saves_at(session.step)
            # a window never crosses a checkpoint, so a resumed run writes the same lines
            if saves or session.step % config.log_every == 0:
                row = {
                    "step": session.step,
                    "lr": config.lr_at(session.step - 1),
                    **meter.read(self.accelerator, step=session.step),
                }
                session.seconds = already + time.perf_counter() - started
                self._report(row, progress, tracker)
            if saves:
                session.save()
                meter.restart_clock()

    def _report(
        self, row: dict[str, float], progress: Progress | None, tracker: Tracker | None
    ) -> None:
        metrics = self.session.metrics
        if metrics is None:  # not the main process
            return
        metrics.append(row)
        if tracker is not None:
            tracker.log(dict(row), step=int(row["step"]))
        if progress is not None:
            progress(self.session.step, self.config.steps, row)

    def _step(self, step: int, meter: Meter) -> Tensor:
        """Take one optimiser step and return the gradient's norm before clipping."""
        session, accelerator = self.session, self.accelerator
        for group in session.optimiser.param_groups:
            group["lr"] = self.config.lr_at(step)
        if session.rollouts is not None:
            session.rollouts.begin_step(step)
        micro_batches = self._micro_batches(step)
        mean_delta = self._mean_delta(step, micro_batches)
        for number, samples in enumerate(micro_batches):
            last = number == len(micro_batches) - 1
            # gradients are exchanged between processes once, with the last micro-batch
            with nullcontext() if last else accelerator.no_sync(session.policy):
                try:
                    evaluation = self._evaluate(
                        step, samples, mean_delta, first=step == 0 and number == 0
                    )
                    # the processes' gradients are averaged; the mean is over the global batch
                    share = accelerator.num_processes / self.config.batch
                    accelerator.backward(evaluation.losses.sum() * share)
                except torch.OutOfMemoryError as error:
                    raise self._out_of_memory() from error
            meter.add(evaluation, self.method, self.config.mode)
        limit = self.config.max_grad_norm
        norm: Tensor = accelerator.clip_grad_norm_(
            list(session.trainable.values()), math.inf if limit is None else limit
        )
        session.optimiser.step()
        session.optimiser.zero_grad(set_to_none=True)
        if session.ema is not None:
            session.ema.update(step)
        return norm

    def _micro_batches(self, step: int) -> list[Sequence[Sample]]:
        """Return this process's share of the step's batch, cut into micro-batches."""
        samples = self.order.samples(step)
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        share = samples[rank * len(samples) // ranks : (rank + 1) * len(samples) // ranks]
        size = self.config.micro_batch
        return [share[i : i + size] for i in range(0, len(share), size)]

    def _mean_delta(self, step: int, micro_batches: list[Sequence[Sample]]) -> Tensor | None:
        """Return the mean of delta over the step's whole batch, where the method asks for it.

        None also where the batch is in one piece, which knows its mean itself.
        """
        if not self.method.centred:
            return None
        if len(micro_batches) == 1 and self.accelerator.num_processes == 1:
            return None
        total = torch.zeros((), dtype=torch.float64, device=self.accelerator.device)
        with torch.no_grad():
            for samples in micro_batches:
                total += self._evaluate(step, samples, None).delta.double().sum()
        summed: Tensor = self.accelerator.reduce(total, reduction="sum")
        return (summed / self.config.batch).float()

    def _evaluate(
        self,
        step: int,
        samples: Sequence[Sample],
        mean_delta: Tensor | None,
        *,
        first: bool = False,
    ) -> Evaluation:
        device, seed = self.accelerator.device, self.config.seed
        batch = read_visits(self.source, Visits(seed=seed, step=step, samples=samples), device)
        if mean_delta is not None:
            batch = replace(batch, mean_delta=mean_delta)
        if first:
            checks.require_fields(self.method, batch)
            checks.require_fit(batch, self.backbone)
            halves = ("winner", "loser") if self.method.needs.loser else ("winner",)
            checks.require_latent_scale(batch, self.backbone, halves)
            self._let_go()
        dropped = self.dropout.dropped(step, samples)
        batch = self.dropout.apply(batch, dropped)
        shape = batch.winner.shape[1:]
        noise = CounterStream(seed, "noise", step).normal(samples, shape).to(device)
        uniform = CounterStream(seed, "t", step).uniform(samples)
        t = self.backbone.timesteps(uniform).to(device)
        rollout = None
        if self.session.rollouts is not None:
            visits = PolicyVisits(
                samples=samples, dropped=dropped, condition=batch.condition, t=t, noise=noise
            )
            rollout = self.session.rollouts.draw(step, visits)
            t = rollout.t
        context = StepContext(
            t=t,
            noise=noise,
            add_noise=self.backbone.add_noise,
            true_target=self.backbone.true_target,
            rollout=rollout,
        )
        reference = self.session.reference
        evaluation = evaluate_halves(
            self.method,
            batch,
            context,
            policy=self._policy,
            reference=None if reference is None else reference.predict,
            suppliers=self.session.suppliers,
        )
        if first and reference is not None and reference.starts_equal:
            checks.require_start_at_reference(self.method, batch, evaluation, self.config.precision)
        return evaluation

    def _let_go(self) -> None:
        """The pairs fit the checkpoint, or did when the run began: its other parts may go."""
        if self.take_base:
            release(self.backbone)

    def _policy(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        policy: nn.Module = self.session.policy
        return self.backbone.predict(policy, x_t, t, condition)

    def _out_of_memory(self) -> PrerequisiteError:
        config = self.config
        return PrerequisiteError(
            f"the device's memory does not suffice for micro_batch {config.micro_batch} in mode "
            f"{config.mode!r} and precision {config.precision!r}",
            fix="lower micro_batch (the result stays the same), set gradient_checkpointing, or use "
            "precision 'bf16' or mode 'lora'",
        )
