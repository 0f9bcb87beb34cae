"""Intervals *over training seeds*: what training again would have said.

One number per training seed; Student's t with n-1 degrees of freedom. Kept apart from the
intervals *given these checkpoints* (`bench.stats.bootstrap`), which know nothing of training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.api.errors import ProtocolError
from bench.api.estimate import Estimate
from bench.stats.bootstrap import DEFAULT_REPLICATES, clustered_mean, require_same_keys
from bench.stats.clusters import mean_of_means, stratify
from bench.stats.student import half_width_factor, two_sided_p

# Differences that agree to this share of their size are the same number, rounded differently.
_SAME = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedEstimate:
    """A mean over training seeds with its t interval.

    Attributes:
        value: mean over seeds.
        stderr: standard deviation (n-1) over sqrt(n); None with one seed.
        low, high: t interval with n-1 degrees of freedom; None with one seed.
        n_seeds: number of training seeds.
    """

    value: float
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    n_seeds: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RowValues:
    """One row's values of one column.

    Attributes:
        by_seed: value by training seed; for a row without training, by sampling seed.
        trained: False for a row nothing was trained for (the base): a constant as far as
            training seeds go.
    """

    by_seed: Mapping[int, float]
    trained: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedSummary:
    """A paired difference with its two intervals, side by side.

    Attributes:
        over_seeds: one difference per training seed, t interval.
        given_checkpoints: differences averaged over seeds image by image, prompt bootstrap.
    """

    over_seeds: SeedEstimate
    given_checkpoints: Estimate


def over_seeds(by_seed: Mapping[int, float], *, level: float = 0.95) -> SeedEstimate:
    """Return the mean over training seeds with its t interval.

    Raises:
        ValueError: no seed, or a value that is NaN or infinite (the seed is named).
    """
    if not by_seed:
        raise ValueError("no training seed: a mean over nothing is not a number")
    for seed, value in by_seed.items():
        if not math.isfinite(value):
            raise ValueError(f"training seed {seed}: the value is {value}, expected a number")
    n = len(by_seed)
    mean = math.fsum(by_seed.values()) / n
    if n == 1:
        return SeedEstimate(value=mean, n_seeds=1)
    squares = math.fsum((v - mean) ** 2 for v in by_seed.values())
    stderr = math.sqrt(squares / (n - 1) / n)
    half = half_width_factor(level, n - 1) * stderr
    return SeedEstimate(value=mean, stderr=stderr, low=mean - half, high=mean + half, n_seeds=n)


def seed_differences(a: RowValues, b: RowValues) -> dict[int, float]:
    """Return a less b for each training seed that both sides have.

    A row without training is a constant: its value for the sampling seed of the same number,
    or, where it has a single one, that. Empty when neither row was trained.
    """
    seeds = [set(row.by_seed) for row in (a, b) if row.trained]
    if not seeds:
        return {}
    differences: dict[int, float] = {}
    for seed in sorted(set.intersection(*seeds)):
        x, y = _value_at(a, seed), _value_at(b, seed)
        if x is not None and y is not None:
            differences[seed] = x - y
    return differences


def _value_at(row: RowValues, seed: int) -> float | None:
    if not row.trained and len(row.by_seed) == 1:
        return next(iter(row.by_seed.values()))
    return row.by_seed.get(seed)


def paired_over_seeds(a: RowValues, b: RowValues, *, level: float = 0.95) -> SeedEstimate:
    """Return the mean of a less b over training seeds with its t interval.

    Raises:
        ProtocolError: some training seed is missing on one side, or neither row was trained.
        ValueError: as `over_seeds`.
    """
    differences = seed_differences(a, b)
    wanted = {seed for row in (a, b) if row.trained for seed in row.by_seed}
    missing = sorted(wanted - differences.keys())
    if missing or not differences:
        raise ProtocolError(
            f"training seeds {missing} are not on both sides of the paired difference"
            if missing
            else "neither row was trained: there are no training seeds to pair"
        )
    return over_seeds(differences, level=level)


def all_equal(differences: Sequence[float]) -> bool:
    """Whether the numbers agree up to rounding (also: there is at most one)."""
    spread = max(differences) - min(differences) if differences else 0.0
    return spread <= _SAME * max((abs(d) for d in differences), default=0.0)


def paired_p_value(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the one-sample t test of mean zero, n-1 df.

    Args:
        differences: one paired difference per training seed.

    Raises:
        ValueError: fewer than two, one that is NaN or infinite, or all equal: identical
            differences carry no spread to test against.
    """
    if len(differences) < 2:
        raise ValueError(f"a t test needs two differences or more, got {len(differences)}")
    summary = over_seeds(dict(enumerate(differences)))
    if all_equal(differences) or not summary.stderr:
        raise ValueError(f"all {len(differences)} differences are {differences[0]}: no spread")
    return two_sided_p(summary.value / summary.stderr, len(differences) - 1)


def paired_summary(
    a: Mapping[int, Mapping[str, float]],
    b: Mapping[int, Mapping[str, float]] | Mapping[str, float],
    clusters: Mapping[str, str],
    strata: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
    replicates: int = DEFAULT_REPLICATES,
    level: float = 0.95,
) -> PairedSummary:
    """Summarise row a less row b at both levels: training seeds, and images given checkpoints.

    Args:
        a: per training seed, the value of each image by key.
        b: the same; or, for a row without training, values by image key only.
        clusters: prompt id by image key.
        strata: task tag by image key; None puts all images in one task.
        seed: of the bootstrap's counter-based generator.
        replicates: bootstrap replicates.
        level: confidence level of both intervals.

    Raises:
        ProtocolError: unlike training seeds, or a seed whose two sides, or two seeds that, were
            not measured on the same images.
        ValueError: no seed, a value that is NaN or infinite, an image without a prompt or task.
    """
    b_by_seed = _by_training_seed(b, list(a))
    if a.keys() != b_by_seed.keys():
        raise ProtocolError(f"unlike training seeds: {sorted(a)} against {sorted(b_by_seed)}")
    if not a:
        raise ValueError("no training seed: a mean over nothing is not a number")
    keys = sorted(next(iter(a.values())))
    differences: dict[int, list[float]] = {}
    for training_seed, values in a.items():
        require_same_keys(dict.fromkeys(keys, 0.0), values)
        require_same_keys(values, b_by_seed[training_seed])
        differences[training_seed] = [values[k] - b_by_seed[training_seed][k] for k in keys]
    unknown = [k for k in keys if k not in clusters or (strata is not None and k not in strata)]
    if unknown:
        raise ValueError(f"{len(unknown)} images have no prompt or task, e.g. {unknown[:5]}")
    prompts = [clusters[k] for k in keys]
    tags = None if strata is None else [strata[k] for k in keys]
    per_seed = {s: mean_of_means(stratify(d, prompts, tags)) for s, d in differences.items()}
    averaged = [math.fsum(d) / len(d) for d in zip(*differences.values(), strict=True)]
    return PairedSummary(
        over_seeds=over_seeds(per_seed, level=level),
        given_checkpoints=clustered_mean(
            averaged, prompts, tags, seed=seed, replicates=replicates, level=level
        ),
    )


def _by_training_seed(
    values: Mapping[int, Mapping[str, float]] | Mapping[str, float], seeds: Sequence[int]
) -> dict[int, Mapping[str, float]]:
    """Repeat a row without training for every seed; return a trained one as it is."""
    nested = {k: v for k, v in values.items() if isinstance(k, int) and isinstance(v, Mapping)}
    flat = {k: v for k, v in values.items() if isinstance(k, str) and not isinstance(v, Mapping)}
    if nested and flat:
        raise ValueError("a row is either keyed by training seed or by image, not by both")
    return dict.fromkeys(seeds, flat) if flat else nested
