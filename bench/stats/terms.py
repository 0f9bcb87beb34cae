"""The arithmetic of `bench.stats.crossed`, for one study or many at once (simulations)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SEEDS_FOR_INTERACTION = 5
# The variance is at least that of so many prompts as large as the one that differs most: what one
# or two prompts show is no measure of a spread.
LEAST_PROMPTS = 4.0
# Numbers that agree to this share of their size are the same number, rounded differently.
_SAME = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """Variances of means over seeds and their degrees of freedom; shape (...), one a study.

    Attributes:
        seeds: V_s; 0 with one seed.
        prompts: V_p.
        interaction: V_i; 0 with one seed.
        total: V.
        df_prompts: f_p.
        df: f.
    """

    seeds: Floats
    prompts: Floats
    interaction: Floats
    total: Floats
    df_prompts: Floats
    df: Floats


def clustered_terms(shares: Floats, tasks: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return the variance over prompts of sums of shares, and its degrees of freedom.

    Prompts are drawn within their tasks; Satterthwaite's formula over tasks, all of which have
    many prompts.

    Args:
        shares: shape (..., J), with sum 0 in every task.
        tasks: where each task's prompts begin, and J at the end; two prompts or more each.

    Returns:
        Both of shape (...).
    """
    prompts = np.diff(tasks)
    parts = prompts / (prompts - 1) * np.add.reduceat(shares**2, tasks[:-1], axis=-1)
    total: Floats = parts.sum(axis=-1)
    spread = (parts**2 / (prompts - 1)).sum(axis=-1)
    return total, _ratio(total**2, spread, float((prompts - 1).sum()))


def crossed_terms(
    values: Floats,
    shares: Floats,
    tasks: tuple[int, ...],
    *,
    largest_weight: float = 0.0,
    span: float | None = None,
) -> Terms:
    """Return V and f, with their parts, of the mean over seeds.

    Args:
        values: shape (..., S), one a seed.
        shares: shape (..., S, J), what each prompt adds to them.
        tasks: as `clustered_terms`.
        largest_weight: largest share that one prompt has in a value; 0 where the shares are of
            blocks of many prompts, which need no least variance.
        span: width of the scale, which prompts that all agree may hide; None leaves 0.
    """
    seeds = values.shape[-1]
    value, mean = values.mean(axis=-1), shares.mean(axis=-2)
    prompts, df_prompts = clustered_terms(mean, tasks)
    largest = np.abs(mean).max(axis=-1)
    flat = largest <= _SAME * np.abs(value)
    hidden = 0.0 if span is None else span * largest_weight
    largest = np.where(flat, hidden, largest if largest_weight else 0.0)
    prompts = np.maximum(np.where(flat, 0.0, prompts), LEAST_PROMPTS * largest**2)
    if seeds == 1:
        none = np.zeros_like(prompts)
        return Terms(
            seeds=none, prompts=prompts, interaction=none, total=prompts,
            df_prompts=df_prompts, df=df_prompts,
        )  # fmt: skip
    same = np.ptp(values, axis=-1) <= _SAME * np.abs(values).max(axis=-1)
    over = np.where(same, 0.0, values.var(axis=-1, ddof=1)) / seeds
    left, _ = clustered_terms(shares - mean[..., None, :], tasks)
    interaction = left.sum(axis=-1) / (seeds * (seeds - 1))
    total, df = total_and_df(over, prompts, interaction, df_prompts, seeds)
    return Terms(
        seeds=over, prompts=prompts, interaction=interaction, total=total,
        df_prompts=df_prompts, df=df,
    )  # fmt: skip


def total_and_df(
    over: Floats, prompts: Floats, interaction: Floats, df_prompts: Floats, seeds: int
) -> tuple[Floats, Floats]:
    """Return V and f from their parts; all of shape (...).

    Args:
        over: V_s.
        prompts: V_p.
        interaction: V_i.
        df_prompts: f_p.
        seeds: training seeds, two or more.
    """
    total, own = over + prompts, np.ones_like(over, dtype=bool)
    if seeds >= SEEDS_FOR_INTERACTION:
        own = over > interaction  # seeds have a variance of their own
        total = np.maximum(np.maximum(over, prompts), total - interaction)
    weight = np.where(own, _ratio(over, total, 0.0), 0.0)
    df: Floats = 1.0 / (weight / (seeds - 1) + (1.0 - weight) / df_prompts)
    return total, df


def _ratio(a: Floats, b: Floats, otherwise: float) -> Floats:
    """Return a / b, and `otherwise` where b is 0."""
    found: Any = np.where(b > 0.0, a / np.where(b > 0.0, b, 1.0), otherwise)
    return np.asarray(found, dtype=np.float64)
