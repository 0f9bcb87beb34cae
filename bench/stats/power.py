"""What a run can see before it is made, from the variance components of one that was."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.stats.claims import POWER
from bench.stats.components import Components
from bench.stats.crossed import CrossedEstimate
from bench.stats.student import half_width_factor
from bench.stats.terms import total_and_df

_MOST = {"seeds": 64, "prompts": 1_000_000, "images": 4096}
_LEAST = {"seeds": 3, "prompts": 2, "images": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """Sizes of a planned run.

    Attributes:
        seeds: training seeds, two or more.
        prompts: prompts.
        images: images of each.
        shared_noise: all training seeds sample from one noise; else each from its own, paired
            with the base's images of that noise.
    """

    seeds: int
    prompts: int
    images: int = 1
    shared_noise: bool = True


def planned(components: Components, design: Design) -> CrossedEstimate:
    """Return the error term to be expected of a run, around a difference of 0.

    Raises:
        ValueError: a design of fewer than two seeds or prompts, or without images.
    """
    if design.seeds < 2 or design.prompts < 2 or design.images < 1:
        raise ValueError(
            f"a run needs two seeds, two prompts and an image or more, got {design.seeds}, "
            f"{design.prompts}, {design.images}"
        )
    shared, own = components.images or 0.0, components.residual
    if not design.shared_noise:
        shared, own = 0.0, shared + own
    v_i = (components.interaction + own / design.images) / (design.seeds * design.prompts)
    v_p = (components.prompts + shared / design.images) / design.prompts + v_i
    v_s = components.seeds / design.seeds + v_i
    df = max(1, design.prompts - components.df_lost)
    if components.blocks:
        df = min(df, components.blocks - 1)
    total, f = (
        float(x)
        for x in total_and_df(
            np.asarray(v_s), np.asarray(v_p), np.asarray(v_i), np.asarray(float(df)), design.seeds
        )
    )
    if total == 0.0:
        return CrossedEstimate(value=0.0, n_seeds=design.seeds, n_prompts=design.prompts)
    half = half_width_factor(0.95, f) * math.sqrt(total)
    return CrossedEstimate(
        value=0.0, stderr=math.sqrt(total), low=-half, high=half, df=f, n_seeds=design.seeds,
        n_prompts=design.prompts,
    )  # fmt: skip


def visible(
    components: Components, design: Design, *, alpha: float = 0.05, power: float = POWER
) -> float | None:
    """Return the smallest effect a run sees with this power; None where nothing varies."""
    return planned(components, design).detectable(alpha=alpha, power=power)


def needed(
    components: Components,
    effect: float,
    design: Design,
    *,
    alpha: float = 0.05,
    power: float = POWER,
) -> dict[str, int | None]:
    """Return how many seeds, prompts and images an effect needs, each alone changed.

    Args:
        components: of the difference.
        effect: size of the true difference; its sign does not matter.
        design: the run otherwise.
        alpha: level of the test, two-sided.
        power: share of runs that shall see it.

    Returns:
        Number by name, `seeds` (3 or more), `prompts`, `images`; None where no number up to 64
        seeds, a million prompts or 4096 images is enough, or images cannot be told from prompts.

    Raises:
        ValueError: an effect of 0.
    """
    if effect == 0.0:
        raise ValueError("an effect of 0 cannot be seen by any run")

    def least(name: str) -> int | None:
        def sees(number: int) -> bool:
            changed = _changed(design, name, number)
            reach = visible(components, changed, alpha=alpha, power=power)
            return reach is None or reach <= abs(effect)

        return _least(sees, _LEAST[name], _MOST[name])

    names = [name for name in _LEAST if name != "images" or components.images is not None]
    return {"images": None, **{name: least(name) for name in names}}


def _changed(design: Design, name: str, number: int) -> Design:
    return Design(
        seeds=number if name == "seeds" else design.seeds,
        prompts=number if name == "prompts" else design.prompts,
        images=number if name == "images" else design.images,
        shared_noise=design.shared_noise,
    )


def _least(enough: Callable[[int], bool], low: int, most: int) -> int | None:
    """Return the least number from `low` to `most` that is enough; more is taken to be better."""
    high = low
    while not enough(high):
        if high == most:
            return None
        low, high = high + 1, min(2 * high, most)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high
