"""What is recorded about a run, summed on the device and read once per line of metrics."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.api.errors import DivergedError
from bench.api.method import Method
from bench.training.objective import Evaluation

HALVES = ("a", "b")


def pair_statistics(evaluation: Evaluation, method: Method) -> dict[str, Tensor]:
    """Return sums over B pairs, each a 0-dim float64 tensor.

    `implicit_accuracy` counts pairs with delta < 0 (the policy prefers a more than the
    reference does), ties as one half. `saturated` and `gate_open` are there if the method's
    `saturation(delta)` and `gate_open(delta)` give booleans (B,).
    """
    delta = evaluation.delta.double()
    sums = {"loss": evaluation.losses.detach().double().sum()}
    for name, values in (
        ("error", evaluation.errors),
        ("reference_error", evaluation.reference_errors),
        ("drift", evaluation.drift),
    ):
        for half, value in zip(HALVES, values, strict=False):
            sums[f"{name}_{half}"] = value.double().sum()
    if len(evaluation.errors) == 2:
        sums["delta_mean"] = delta.sum()
        sums["delta_square"] = delta.square().sum()
        sums["implicit_accuracy"] = ((delta < 0) + 0.5 * (delta == 0)).sum()
        for name, pairs in (
            ("saturated", method.saturation(evaluation.delta)),
            ("gate_open", method.gate_open(evaluation.delta)),
        ):
            if pairs is not None:
                sums[name] = pairs.double().sum()
    return sums


@dataclass(kw_only=True)
class Meter:
    """Sums of one window: the optimiser steps between two lines of metrics.

    Attributes:
        max_grad_norm: the clipping threshold, or None.
        check_gradients: whether an infinite gradient means divergence (not so in fp16, where
            the loss scaler meets and skips such steps).
    """

    max_grad_norm: float | None
    check_gradients: bool = True
    _names: list[str] = field(default_factory=list)
    _sums: Tensor | None = None
    _step: Tensor | None = None
    _norms: list[Tensor] = field(default_factory=list)
    _losses: list[Tensor] = field(default_factory=list)
    _pairs: int = 0
    _units: int = 0
    _since: float = field(default_factory=time.perf_counter)

    def add(self, evaluation: Evaluation, method: Method, mode: str) -> None:
        """Take in one micro-batch."""
        statistics = pair_statistics(evaluation, method)
        self._names = list(statistics)
        packed = torch.stack(list(statistics.values()))
        self._step = packed if self._step is None else self._step + packed
        self._units = evaluation.cost_units(mode)
        self._pairs += len(evaluation.delta)

    def end_step(self, grad_norm: Tensor) -> None:
        """Close an optimiser step; `grad_norm` is the norm before clipping, on the device."""
        assert self._step is not None
        self._losses.append(self._step[0])
        self._norms.append(grad_norm.detach())
        self._sums = self._step if self._sums is None else self._sums + self._step
        self._step = None

    def restart_clock(self) -> None:
        """Leave the time since the last line out of the throughput (a checkpoint's writing)."""
        self._since = time.perf_counter()

    def read(self, accelerator: Any, *, step: int) -> dict[str, float]:
        """Return the window's means over all processes, and start a new window.

        Args:
            accelerator: sums over processes.
            step: optimiser steps done, for the error message.

        Raises:
            DivergedError: a loss or gradient of the window is NaN or infinite.
        """
        assert self._sums is not None
        norms = torch.stack(self._norms)
        # every process sees the same sums, so all of them stop together
        losses = accelerator.reduce(torch.stack(self._losses), reduction="sum")
        # the processes' shares of a batch may differ by one, so their numbers are summed too
        count = torch.tensor([float(self._pairs)], dtype=torch.float64, device=self._sums.device)
        *sums, pairs = accelerator.reduce(torch.cat([self._sums, count]), reduction="sum").tolist()
        means = [value / pairs for value in sums]
        self._require_finite(losses.tolist(), norms.tolist(), step)
        row = dict(zip(self._names, means, strict=True))
        if "delta_square" in row:
            variance = row.pop("delta_square") - row["delta_mean"] ** 2
            row["delta_std"] = max(variance, 0.0) ** 0.5
        row["grad_norm"] = float(norms.mean())
        limit = float("inf") if self.max_grad_norm is None else self.max_grad_norm
        row["clipped"] = float((norms > limit).float().mean())
        row["cost_units"] = float(self._units)
        now = time.perf_counter()
        row["samples_per_second"] = pairs / (now - self._since)
        row["peak_memory_mb"] = peak_memory_mb(accelerator.device)
        self._norms, self._losses, self._sums, self._pairs, self._since = [], [], None, 0, now
        return row

    def _require_finite(self, losses: list[float], norms: list[float], step: int) -> None:
        first = step - len(norms)
        for number, (loss, norm) in enumerate(zip(losses, norms, strict=True)):
            if not _finite(loss) or (self.check_gradients and not _finite(norm)):
                raise DivergedError(
                    f"step {first + number}: the loss is {loss}, the gradient's norm {norm}. "
                    "Lower lr or kappa, add warm-up, or train in 'no' or 'bf16' precision."
                )


def _finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")


def peak_memory_mb(device: torch.device) -> float:
    """Return the highest memory use so far in MiB: the device's, or the process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
