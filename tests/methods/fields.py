"""Predictors and batches whose formulas can be written down: no network, float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.api.method import Batch, Condition, Method, StepContext
from bench.training.objective import Evaluation, evaluate_halves

PAIRS, SHAPE = 5, (2, 3, 4)
ELEMENTS = 24


def draw(seed: int, *, pairs: int = PAIRS) -> Tensor:
    """(pairs, *SHAPE) normal numbers, float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((pairs, *SHAPE), generator=generator, dtype=torch.float64)


def reference_field(x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
    """A reference that is nonlinear in x_t and depends on t and condition."""
    return 0.7 * torch.sin(x_t) + 0.01 * t.view(-1, 1, 1, 1) + condition["shift"]


@dataclass
class Setting:
    """A batch, its step and the two predictors; the policy is the reference plus `moves`.

    Attributes:
        moves: (2 * pairs, *SHAPE), what the policy adds to the reference: winners, then losers.
    """

    winner: Tensor = field(default_factory=lambda: draw(1))
    loser: Tensor = field(default_factory=lambda: draw(2))
    noise: Tensor = field(default_factory=lambda: draw(3))
    prompt: Condition = field(default_factory=lambda: {"shift": 0.3 * draw(4)})
    degraded: Condition = field(default_factory=lambda: {"shift": 0.3 * draw(5)})
    moves: Tensor = field(default_factory=lambda: 0.1 * torch.cat([draw(6), draw(7)]))
    predict: Callable[[Tensor, Tensor, Condition], Tensor] = reference_field
    calls: list[tuple[str, Tensor, Condition]] = field(default_factory=list)

    @property
    def t(self) -> Tensor:
        return torch.arange(len(self.winner)) * 100

    def batch(self) -> Batch:
        return Batch(
            winner=self.winner,
            loser=self.loser,
            condition=self.prompt,
            degraded=self.degraded,
            index=torch.arange(len(self.winner)),
        )

    def step(self) -> StepContext:
        def add_noise(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
            share = (t.view(-1, 1, 1, 1) + 1) / 1000
            return (1 - share).sqrt() * clean + share.sqrt() * noise

        return StepContext(
            t=self.t,
            noise=self.noise,
            add_noise=add_noise,
            true_target=lambda clean, noise, t: noise,
        )

    def policy(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        self.calls.append(("policy", x_t, condition))
        return self.predict(x_t, t, condition) + self.moves[: len(x_t)]

    def reference(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        self.calls.append(("reference", x_t, condition))
        return self.predict(x_t, t, condition)

    def evaluate(self, method: Method, **options: Any) -> Evaluation:
        return evaluate_halves(
            method,
            self.batch(),
            self.step(),
            policy=self.policy,
            reference=self.reference,
            **options,
        )

    def noised(self) -> tuple[Tensor, Tensor]:
        step = self.step()
        return (
            step.add_noise(self.winner, self.noise, self.t),
            step.add_noise(self.loser, self.noise, self.t),
        )

    def gap(self) -> Tensor:
        """g = ref(x_l, c⁻) - ref(x_l, c)."""
        _, loser = self.noised()
        return self.predict(loser, self.t, self.degraded) - self.predict(loser, self.t, self.prompt)


def per_pair(values: Tensor) -> Tensor:
    """Sum over all axes but the first."""
    return values.flatten(1).sum(dim=1)
