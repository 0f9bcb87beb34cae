"""What each prompt adds to a number: the form in which means, FID and their like are alike.

A mean over tasks of the mean over images is a sum over prompts; a metric of a whole set is one to
first order, over the blocks of prompts its jackknife left out. Both are linear in the values they
are made from: contributions of a difference are differences of contributions, and those of a mean
over training seeds are means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.api.errors import ProtocolError
from bench.api.estimate import Estimate
from bench.stats.jackknife import combine

Floats = NDArray[np.float64]
_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Contributions:
    """A value and what each prompt (or block of prompts) adds to it, less its task's average.

    Attributes:
        value: the mean or metric.
        names: J prompts or blocks, by task and name.
        shares: shape (J,), in the unit of `value`; they sum to 0 in every task.
        tasks: where each task's prompts begin in `shares`, and J at the end.
        largest_weight: largest share that one prompt has in `value`; 0 where the parts are blocks
            of many prompts.
        images: what the value was taken of, for messages.
    """

    value: float
    names: tuple[str, ...]
    shares: Floats
    tasks: tuple[int, ...]
    largest_weight: float
    images: int

    @property
    def least_prompts(self) -> int:
        """Number of prompts of the task that has fewest; 0 without shares."""
        return int(np.diff(self.tasks).min()) if self.names else 0

    def less(self, other: Contributions) -> Contributions:
        """Return the contributions to the difference of the two values.

        Raises:
            ProtocolError: as `require_alike`.
        """
        require_alike([self, other])
        return replace(self, value=self.value - other.value, shares=self.shares - other.shares)


def of_images(
    values: Mapping[str, float], prompts: Mapping[str, str], tasks: Mapping[str, str] | None
) -> Contributions:
    """Return what prompts add to the unweighted mean over tasks of the mean over images.

    Args:
        values: by image key.
        prompts: prompt id by image key.
        tasks: task tag by image key; None puts all images in one task.

    Raises:
        ValueError: no images, one without prompt or task, a value that is NaN or infinite, or a
            prompt in two tasks.
    """
    if not values:
        raise ValueError("no values: a mean over nothing is not a number")
    unknown = [k for k in values if k not in prompts or (tasks is not None and k not in tasks)]
    if unknown:
        raise ValueError(f"{len(unknown)} images have no prompt or task, e.g. {unknown[:_SHOWN]}")
    broken = sorted(k for k, v in values.items() if not math.isfinite(v))
    if broken:
        raise ValueError(
            f"{len(broken)} of {len(values)} values are NaN or infinite, in images "
            f"{broken[:_SHOWN]}; score these images again, a missing value is never counted as 0"
        )
    task_of: dict[str, str] = {}
    for key in values:
        prompt, task = prompts[key], "" if tasks is None else tasks[key]
        if task_of.setdefault(prompt, task) != task:
            raise ValueError(f"prompt {prompt!r} stands in tasks {task_of[prompt]!r} and {task!r}")
    names = sorted(task_of, key=lambda p: (task_of[p], p))
    place = {name: index for index, name in enumerate(names)}
    keys = sorted(values)  # sums that do not depend on the order of the records
    where = np.array([place[prompts[k]] for k in keys])
    sums = np.bincount(where, np.array([values[k] for k in keys]), minlength=len(names))
    sizes = np.bincount(where, minlength=len(names)).astype(np.float64)
    starts = [i for i, n in enumerate(names) if i == 0 or task_of[n] != task_of[names[i - 1]]]
    images = np.add.reduceat(sizes, starts)
    means = np.add.reduceat(sums, starts) / images
    repeated = np.diff([*starts, len(names)])
    scale = np.repeat(images, repeated) * len(starts)
    return Contributions(
        value=float(means.mean()),
        names=tuple(names),
        shares=(sums - sizes * np.repeat(means, repeated)) / scale,
        tasks=(*starts, len(names)),
        largest_weight=float((sizes / scale).max()),
        images=len(keys),
    )


def of_metric(estimate: Estimate) -> Contributions:
    """Return what blocks of prompts add to a jackknifed metric of a whole set.

    Their clustered variance is that of `bench.stats.jackknife.combine`. Without stored values
    for the blocks there are no shares, and the variance over prompts is unknown.

    Raises:
        ValueError: the value or one of the blocks' is NaN or infinite.
    """
    if not math.isfinite(estimate.value):
        raise ValueError(f"the value is {estimate.value}, expected a number; measure it again")
    if not estimate.leave_out:
        return Contributions(
            value=estimate.value, names=(), shares=np.zeros(0), tasks=(0,), largest_weight=0.0,
            images=estimate.n,
        )  # fmt: skip
    sizes = np.asarray(estimate.block_sizes, dtype=np.float64)
    found = combine(estimate.value, estimate.leave_out, estimate.block_sizes)
    share, blocks = sizes / sizes.sum(), len(sizes)
    without = np.asarray(estimate.leave_out, dtype=np.float64)
    pseudo = estimate.value / share - (1.0 / share - 1.0) * without
    deviations = (pseudo - (found.value - found.bias)) / np.sqrt(1.0 / share - 1.0)
    return Contributions(
        value=estimate.value,
        names=tuple(f"{j}: {n} images" for j, n in enumerate(estimate.block_sizes)),
        shares=deviations * math.sqrt((blocks - 1) / blocks) / math.sqrt(blocks),
        tasks=(0, blocks),
        largest_weight=0.0,
        images=estimate.n,
    )


def require_alike(found: Sequence[Contributions]) -> None:
    """Raise ProtocolError unless all are of the same prompts or blocks (ValueError for none)."""
    if not found:
        raise ValueError("no training seed: a mean over nothing is not a number")
    first = found[0]
    for other in found[1:]:
        if (other.names, other.tasks) == (first.names, first.tasks):
            continue
        alone = sorted(set(first.names) ^ set(other.names))
        raise ProtocolError(
            "seeds and rows can be compared over the same prompts only: "
            f"{len(first.names)} against {len(other.names)} prompts or blocks, "
            f"{len(alone)} of them on one side only {alone[:_SHOWN]}. "
            "Measure all with the same prompts and images per prompt."
        )
