"""How often verdicts are wrong where nothing is: `python benchmarks/false_positives.py`.

Prints the tables of docs/reliability.md, section Verdicts: the share of studies without a true
difference whose test says one at .05, for means (drawn from committed records), FID and inception
score (Gaussian features); the coverage of intervals of means near the ends of their scale; and
what other degrees of freedom would give. All draws are seeded.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from set_studies import METRICS, study
from studies import NOISES, Population, populations, studies

from bench.stats import crossed_mean
from bench.stats.terms import crossed_terms

Floats = NDArray[np.float64]
ALPHA = 0.05
SEEDS = (3, 5, 8)
TRAINING_SD = (0.0, 0.005, 0.010)
SHARES = (0.01, 0.02, 0.1, 0.3, 0.97, 0.99)
CLUSTERING = (0.0, 0.3, 0.6, 1.0)


def committed(results: Path) -> list[Population]:
    """Return the differences of trained rows and bases in the committed tables 1a and guidance."""
    scales = (1, 2, 3, 4)
    base = {f"{m}-cfg{c}": f"base-cfg{c}" for m in ("ddspo", "diffusion-dpo") for c in scales}
    return [*populations(results / "table-1a"), *populations(results / "table-guidance", base)]


def false_positives(
    population: Population, *, seeds: int, noise: str, training_sd: float, count: int, draw: int = 0
) -> tuple[float, float]:
    """Return the shares of false positives: of the error term, and of training seeds alone."""
    generator = np.random.default_rng([draw, seeds, NOISES.index(noise), round(1e4 * training_sd)])
    some = list(
        studies(
            population, seeds=seeds, noise=noise, training_sd=training_sd, count=count,
            generator=generator,
        )
    )  # fmt: skip
    p = np.concatenate([s.p() for s in some])
    by_seeds = np.concatenate([s.p_by_seeds() for s in some])
    return float(np.mean(p < ALPHA)), float(np.mean(by_seeds < ALPHA))


def coverage(
    share: float, clustering: float, *, count: int, tasks: int = 1, prompts: int = 50,
    images: int = 4, draw: int = 0,
) -> tuple[float, float]:  # fmt: skip
    """Return how often the interval of a mean of tasks holds the true share, and its mean length.

    Args:
        share: true share of images that are right, in all tasks.
        clustering: correlation of a prompt's images; prompts' shares are beta distributed.
        count: number of studies.
        tasks, prompts, images: tasks, prompts of each, images of a prompt.
        draw: seed.
    """
    generator = np.random.default_rng([draw, round(1e4 * share), round(10 * clustering), tasks])
    keys = [f"{t}.{p}/{k}" for t in range(tasks) for p in range(prompts) for k in range(images)]
    prompt_of = {key: key.partition("/")[0] for key in keys}
    task_of = {key: key.partition(".")[0] for key in keys}
    hits, length = 0, 0.0
    for _ in range(count):
        true = _prompt_shares(share, clustering, tasks * prompts, generator)
        right = generator.random((tasks * prompts, images)) < true[:, None]
        values = dict(zip(keys, right.ravel().astype(float).tolist(), strict=True))
        found = crossed_mean({0: values}, prompt_of, task_of, bounds=(0.0, 1.0))
        assert found.low is not None and found.high is not None
        hits += found.low <= share <= found.high
        length += found.high - found.low
    return hits / count, length / count


def _prompt_shares(
    share: float, clustering: float, prompts: int, generator: np.random.Generator
) -> Floats:
    if clustering == 0.0:
        return np.full(prompts, share)
    if clustering == 1.0:
        return (generator.random(prompts) < share).astype(np.float64)
    strength = (1.0 - clustering) / clustering
    return generator.beta(share * strength, (1.0 - share) * strength, prompts)


def degrees_of_freedom(seeds: int, ratio: float, count: int = 100_000) -> tuple[float, float]:
    """Return the false positives of normal studies: with our degrees of freedom, Satterthwaite's.

    Args:
        seeds: training seeds.
        ratio: true variance over seeds of the mean, to that over 300 prompts; no interaction.
        count: number of studies.
    """
    generator = np.random.default_rng([seeds, round(100 * ratio)])
    prompts = 300
    rejected = np.zeros(2)
    for _ in range(count // 2000):
        shares = generator.normal(size=(2000, 1, prompts)) / prompts
        prompt_mean = shares.sum(axis=-1)
        values = prompt_mean + np.sqrt(ratio * seeds / prompts) * generator.normal(
            size=(2000, seeds)
        )
        shares = np.repeat(shares - shares.mean(axis=-1, keepdims=True), seeds, axis=1)
        terms = crossed_terms(values, shares, (0, prompts))
        parts = terms.seeds**2 / (seeds - 1) + terms.prompts**2 / terms.df_prompts
        t = np.abs(values.mean(axis=1)) / np.sqrt(terms.total)
        for i, df in enumerate((terms.df, terms.total**2 / parts)):
            rejected[i] += float(np.mean(t > stdtrit(df, 1.0 - ALPHA / 2.0)))
    ours, satterthwaite = rejected / (count // 2000)
    return float(ours), float(satterthwaite)


def means_lines(found: Sequence[Population], count: int) -> Iterator[str]:
    """Yield the table of false positives of means."""
    yield f"false positives at {ALPHA}, {len(found)} differences, {count} studies of each"
    yield "mean (least to most over differences); the last number: by training seeds alone"
    yield "| noise | training SD | " + " | ".join(f"{s} seeds" for s in SEEDS) + " |"
    yield "|---|---|" + "---|" * len(SEEDS)
    for noise, sd in product(NOISES, TRAINING_SD):
        cells = []
        for seeds in SEEDS:
            all_ = np.array(
                [
                    false_positives(
                        p, seeds=seeds, noise=noise, training_sd=sd, count=count, draw=i
                    )
                    for i, p in enumerate(found)
                ]
            )
            ours, by_seeds = all_[:, 0], all_[:, 1]
            cells.append(
                f"{ours.mean():.3f} ({ours.min():.3f} to {ours.max():.3f}); {by_seeds.mean():.2f}"
            )
        yield f"| {noise} | {sd:g} | " + " | ".join(cells) + " |"


def set_lines(count: int) -> Iterator[str]:
    """Yield the table of false positives of FID and inception score."""
    yield f"false positives at {ALPHA}, Gaussian features, {count} studies of each"
    yield "| metric | noise | training SD | " + " | ".join(f"S = {s}" for s in (1, *SEEDS)) + " |"
    yield "|---|---|---|" + "---|" * (1 + len(SEEDS))
    for metric, noise, sd in product(METRICS, NOISES[:2], (0.0, 0.05)):
        cells = []
        for seeds in (1, *SEEDS):
            if seeds == 1 and (noise, sd) != ("shared", 0.0):
                cells.append("")  # of these checkpoints: nothing else to vary
                continue
            generator = np.random.default_rng([seeds, noise == "own", round(100 * sd)])
            p = [
                study(metric, seeds=seeds, noise=noise, training_sd=sd, generator=generator).p
                for _ in range(count)
            ]
            cells.append(f"{np.mean([x is not None and x < ALPHA for x in p]):.3f}")
        yield f"| {metric} | {noise} | {sd:g} | " + " | ".join(cells) + " |"


def coverage_lines(count: int) -> Iterator[str]:
    """Yield the table of coverage."""
    yield f"coverage of .95 intervals (mean length), 50 prompts x 4 images a task, {count} studies"
    yield "| share | tasks | " + " | ".join(f"clustering {c:g}" for c in CLUSTERING) + " |"
    yield "|---|---|" + "---|" * len(CLUSTERING)
    for share, tasks in product(SHARES, (1, 6)):
        cells = []
        for clustering in CLUSTERING:
            held, length = coverage(share, clustering, count=count, tasks=tasks)
            cells.append(f"{held:.3f} ({length:.3f})")
        yield f"| {share:g} | {tasks} | " + " | ".join(cells) + " |"


def degrees_lines() -> Iterator[str]:
    """Yield the table of degrees of freedom."""
    ratios = (0.1, 0.5, 1.0, 2.0, 4.0, 10.0)
    yield f"false positives at {ALPHA} by V_s / V_p, normal numbers: ours, Satterthwaite's"
    yield "| seeds | " + " | ".join(f"{r:g}" for r in ratios) + " |"
    yield "|---|" + "---|" * len(ratios)
    for seeds in (3, 4, 5, 8):
        cells = ["{:.3f}, {:.3f}".format(*degrees_of_freedom(seeds, r)) for r in ratios]
        yield f"| {seeds} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--parts", default="means,sets,coverage,degrees", help="which tables")
    arguments = parser.parse_args()
    count = arguments.studies
    lines = {
        "means": lambda: means_lines(committed(arguments.results), count),
        "sets": lambda: set_lines(count // 3),
        "coverage": lambda: coverage_lines(count // 2),
        "degrees": degrees_lines,
    }
    for part in arguments.parts.split(","):
        for line in lines[part]():
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
