"""Images grouped by prompt, prompts grouped by task: the shape every interval here starts from.

The statistic is the unweighted mean over tasks of the mean over a task's images. Prompts are the
independent clusters; the images of one prompt are correlated.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stratum:
    """The images of one task, sorted by prompt and, inside a prompt, by value.

    The sorting makes every result independent of the order of the records.

    Attributes:
        name: the task tag.
        values: shape (n,), the images.
        offsets: shape (prompts,), where each prompt's images begin in `values`.
        sizes: shape (prompts,), images of each prompt.
    """

    name: str
    values: Floats
    offsets: Integers
    sizes: Integers

    @property
    def mean(self) -> float:
        """Mean over the task's images."""
        return float(self.values.mean())

    def residual_squares(self) -> float:
        """Sum over prompts of the squared summed deviations of its images from the task's mean."""
        sums = np.add.reduceat(self.values - self.values.mean(), self.offsets)
        return float(np.dot(sums, sums))

    def within_squares(self) -> float:
        """Sum over all images of the squared deviations from their own prompt's mean."""
        sums = np.add.reduceat(self.values, self.offsets)
        deviations = self.values - np.repeat(sums / self.sizes, self.sizes)
        return float(np.dot(deviations, deviations))

    def variance(self) -> float | None:
        """Unbiased variance of `mean` under sampling of prompts; None with fewer than 2 prompts.

        The linearised cluster variance of a ratio mean; with equally many images per prompt it is
        the variance of the prompt means over the number of prompts.
        Source: Särndal, Swensson and Wretman, Model Assisted Survey Sampling (1992), §4.3, 5.7.
        """
        prompts = len(self.sizes)
        if prompts < 2:
            return None
        return prompts / (prompts - 1) * self.residual_squares() / self.values.size**2


def stratify(
    values: ArrayLike,
    clusters: Sequence[Hashable],
    strata: Sequence[Hashable] | None = None,
) -> tuple[Stratum, ...]:
    """Group images by task and prompt, tasks in sorted order.

    Args:
        values: shape (n,), one number per image.
        clusters: n prompt ids.
        strata: n task tags; None puts all images in one task.

    Raises:
        ValueError: no images, unequal lengths, a value that is NaN or infinite (the prompt is
            named), or a prompt that stands in two tasks.
    """
    numbers = np.asarray(values, dtype=np.float64)
    tags = [""] * len(clusters) if strata is None else [str(s) for s in strata]
    prompts = [str(c) for c in clusters]
    if numbers.ndim != 1 or not numbers.size == len(prompts) == len(tags):
        raise ValueError(
            f"expected one prompt and one task per value; got values of shape {numbers.shape}, "
            f"{len(prompts)} prompts, {len(tags)} tasks"
        )
    if numbers.size == 0:
        raise ValueError("no values: a mean over nothing is not a number")
    broken = np.flatnonzero(~np.isfinite(numbers))
    if broken.size:
        named = sorted({prompts[i] for i in broken.tolist()})[:5]
        raise ValueError(
            f"{broken.size} of {numbers.size} values are NaN or infinite, in prompts {named}; "
            "score these images again, a missing value is never counted as 0"
        )
    task_of: dict[str, str] = {}
    for prompt, tag in zip(prompts, tags, strict=True):
        if task_of.setdefault(prompt, tag) != tag:
            raise ValueError(f"prompt {prompt!r} stands in tasks {task_of[prompt]!r} and {tag!r}")
    grouped: dict[str, dict[str, list[float]]] = {}
    for value, prompt, tag in zip(numbers.tolist(), prompts, tags, strict=True):
        grouped.setdefault(tag, {}).setdefault(prompt, []).append(value)
    return tuple(_stratum(tag, grouped[tag]) for tag in sorted(grouped))


def _stratum(name: str, images_by_prompt: dict[str, list[float]]) -> Stratum:
    ordered = [sorted(images_by_prompt[prompt]) for prompt in sorted(images_by_prompt)]
    sizes = np.array([len(images) for images in ordered], dtype=np.int64)
    return Stratum(
        name=name,
        values=np.array([v for images in ordered for v in images], dtype=np.float64),
        offsets=np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64),
        sizes=sizes,
    )


def mean_of_means(strata: Sequence[Stratum]) -> float:
    """Return the unweighted mean over tasks of the mean over images."""
    return float(np.mean([s.mean for s in strata]))


def clustered_variance(strata: Sequence[Stratum]) -> tuple[float, float] | None:
    """Return the variance of `mean_of_means` and its Satterthwaite degrees of freedom.

    None when a task has a single prompt: the spread between prompts is then unknown.
    """
    parts: list[float] = []
    for stratum in strata:
        variance = stratum.variance()
        if variance is None:
            return None
        parts.append(variance)
    total = sum(parts)
    prompts = [len(s.sizes) for s in strata]
    if total == 0.0:
        return 0.0, float(sum(prompts) - len(prompts))
    spread = sum(v * v / (p - 1) for v, p in zip(parts, prompts, strict=True))
    return total / len(strata) ** 2, total * total / spread


def clustered_stderr(
    values: ArrayLike,
    clusters: Sequence[Hashable],
    strata: Sequence[Hashable] | None = None,
) -> float | None:
    """Return the analytic standard error of the mean over tasks of the mean over images.

    Arguments and errors as `stratify`; None when a task has a single prompt.
    """
    found = clustered_variance(stratify(values, clusters, strata))
    return None if found is None else float(np.sqrt(found[0]))
