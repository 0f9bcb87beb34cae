"""Studies drawn from committed records, with a true difference of 0: what verdicts are tried on.

A population is the paired difference of a trained row and its base, image by image, for each
training seed that was stored, less the mean of its task. A study draws prompts with replacement
within their tasks, and for each of its training seeds the images of

    shared  the same image noise for all seeds: the stored difference of the prompt's own image,
            of one of the stored seeds by lot (what seeds add of their own to single images);
    own     noise of its own for each seed: the difference of any image of the same task by lot,
            so that nothing but the training seed is common to a seed's images and no noise to two
            seeds;
    kept    as `own`, but images of the prompt: with few images stored, a prompt's mean is mostly
            noise, which all seeds then share;

and adds to each seed's images an effect of its training, normal with a given standard deviation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from bench.report.model import CellData
from bench.report.stored import read_report
from bench.stats.terms import Terms, crossed_terms

Floats = NDArray[np.float64]
NOISES = ("shared", "own", "kept")
_CHUNK = 3_000_000  # images drawn at once


@dataclass(frozen=True, kw_only=True)
class Population:
    """Paired differences of two rows.

    Attributes:
        name: table, row and column.
        images: shape (stored seeds, J, K), J prompts by task, K images each, NaN behind those of a
            task whose prompts have fewer.
        tasks: where each task's prompts begin, and J at the end.
        each: images of a prompt, by task.
    """

    name: str
    images: Floats
    tasks: tuple[int, ...]
    each: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Studies:
    """Simulated studies: values of shape (n, S), what prompts add of shape (n, S, J)."""

    values: Floats
    shares: Floats
    tasks: tuple[int, ...]
    largest_weight: float

    def terms(self) -> Terms:
        """Return the error terms of all."""
        return crossed_terms(
            self.values, self.shares, self.tasks, largest_weight=self.largest_weight
        )

    def p(self) -> Floats:
        """Return the p-values of the test of a difference of 0, shape (n,)."""
        terms = self.terms()
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.abs(self.values.mean(axis=1)) / np.sqrt(terms.total)
        return np.where(terms.total > 0.0, 2.0 * stdtr(terms.df, -t), 1.0)

    def p_by_seeds(self) -> Floats:
        """Return the p-values of the t test over training seeds alone."""
        seeds = self.values.shape[1]
        error = np.sqrt(self.values.var(axis=1, ddof=1) / seeds)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.abs(self.values.mean(axis=1)) / error
        return np.where(error > 0.0, 2.0 * stdtr(seeds - 1, -t), 1.0)


def populations(folder: Path, base: dict[str, str] | None = None) -> list[Population]:
    """Return all differences of trained rows from their bases in a stored table.

    Args:
        folder: of the table.
        base: row -> the row it is paired with; None takes the table's first row for all.
    """
    data = read_report(folder).data
    found = []
    for row in data.rows:
        cells = [c for c in data.cells if c.row == row["key"] and c.training_seed is not None]
        for column in sorted({c.column for c in cells if c.values}):
            partner = data.rows[0]["key"] if base is None else base[row["key"]]
            theirs = {cell.noise_seed: cell for cell in data.of(partner, column)}
            ours = [c for c in cells if c.column == column]
            pairs = [(cell, theirs[cell.noise_seed]) for cell in ours]
            found.append(_population(f"{data.table} {row['key']} {column}", pairs))
    return found


def _population(name: str, pairs: list[tuple[CellData, CellData]]) -> Population:
    """Return the differences of cells from those of their base with the same noise."""
    prompts: dict[str, dict[str, list[str]]] = {}
    for value in pairs[0][0].values:
        prompts.setdefault(value.tag, {}).setdefault(value.prompt_id, []).append(value.key)
    tasks = [sorted(prompts[tag].values()) for tag in sorted(prompts)]
    keys = [prompt for task in tasks for prompt in task]
    ends = np.cumsum([0, *(len(task) for task in tasks)])
    each = tuple(len(task[0]) for task in tasks)
    array = np.full((len(pairs), len(keys), max(each)), np.nan)
    for seed, (cell, base) in enumerate(pairs):
        own, theirs = ({v.key: v.value for v in c.values} for c in (cell, base))
        for place, prompt in enumerate(keys):
            array[seed, place, : len(prompt)] = [own[k] - theirs[k] for k in prompt]
    for a, b in pairwise(ends):
        array[:, a:b] -= np.nanmean(array[:, a:b])
    return Population(name=name, images=array, tasks=tuple(ends.tolist()), each=each)


def studies(
    population: Population,
    *,
    seeds: int,
    noise: str,
    training_sd: float,
    count: int,
    generator: np.random.Generator,
) -> Iterator[Studies]:
    """Yield `count` studies, some at a time.

    Args:
        population: what they are drawn from.
        seeds: training seeds of each.
        noise: one of `NOISES`.
        training_sd: standard deviation of a seed's effect.
        count: how many.
        generator: of all draws.
    """
    stored, prompts, images = population.images.shape
    least = max(1, _CHUNK // (seeds * prompts * images))
    for start in range(0, count, least):
        n = min(least, count - start)
        yield _drawn(population, (n, seeds, stored), noise, training_sd, generator)


def _drawn(
    population: Population,
    sizes: tuple[int, int, int],
    noise: str,
    training_sd: float,
    generator: np.random.Generator,
) -> Studies:
    n, seeds, stored = sizes
    tasks = population.tasks
    values = training_sd * generator.normal(size=(n, seeds))
    shares = np.empty((n, seeds, tasks[-1]))
    for (a, b), images in zip(pairwise(tasks), population.each, strict=True):
        shape = (n, seeds, b - a, images)
        kept = generator.integers(a, b, size=(n, 1, b - a, 1), dtype=np.int32)
        prompt = generator.integers(a, b, size=shape, dtype=np.int32) if noise == "own" else kept
        image = (
            np.arange(images)
            if noise == "shared"
            else generator.integers(images, size=shape, dtype=np.int32)
        )
        of = generator.integers(stored, size=shape, dtype=np.int32)
        means = population.images[of, prompt, image].mean(axis=-1)
        average = means.mean(axis=-1)
        values += average / (len(tasks) - 1)
        shares[:, :, a:b] = (means - average[..., None]) / ((b - a) * (len(tasks) - 1))
    weights = [1.0 / ((b - a) * (len(tasks) - 1)) for a, b in pairwise(tasks)]
    return Studies(values=values, shares=shares, tasks=tasks, largest_weight=max(weights))
