"""Variance components of a paired difference: what each of its sources adds.

The difference of one image at seed s, prompt p, image k is

    mean + seed[s] + prompt[p] + image[p, k] + interaction[s, p] + residual[s, p, k]

`image` is the noise that all training seeds share; where each seed has noise of its own, it is in
the residual. The components are those of a crossed design with images nested in prompts, by
equating mean squares with their expectations. They are noisy, that of seeds most of all: with 3
seeds it comes out between a fortieth and nearly four times of what it is (95 of 100). An estimate
below 0 is set to 0 and named.

Source: Searle, Casella and McCulloch, Variance Components (1992), ch. 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.api.estimate import Estimate
from bench.stats.bootstrap import require_same_keys
from bench.stats.contributions import Contributions, of_images, of_metric
from bench.stats.crossed import error_term


@dataclass(frozen=True, kw_only=True, slots=True)
class Components:
    """Variances of a paired difference, each of one unit, in the square of the column's unit.

    Attributes:
        seeds: of a training seed.
        prompts: of a prompt, within its task.
        images: of the image noise that seeds share; None where images cannot be told from their
            prompts (one image each; FID and its like): `prompts` then holds both.
        interaction: of a training seed at a prompt.
        residual: of an image at a training seed.
        df_lost: prompts less the degrees of freedom of their part: tasks.
        blocks: blocks of a metric of a whole set, which bound those degrees; 0 for means.
        n_seeds, n_prompts: what the estimates come from.
        negative: names of those whose estimate was below 0 and was set to 0.
    """

    seeds: float
    prompts: float
    images: float | None
    interaction: float
    residual: float
    df_lost: int
    blocks: int
    n_seeds: int
    n_prompts: int
    negative: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return {**asdict(self), "negative": list(self.negative)}


def components_of_means(
    a: Mapping[int, Mapping[str, float]],
    b: Mapping[int, Mapping[str, float]],
    prompts: Mapping[str, str],
    tasks: Mapping[str, str] | None = None,
) -> Components:
    """Return the components of row a less row b, a mean over images.

    Arguments and errors as `bench.stats.crossed_difference`.

    Raises:
        ValueError: fewer than two training seeds, or a task with one prompt: nothing is then
            known of others.
    """
    differences: dict[int, dict[str, float]] = {}
    for seed, values in a.items():
        require_same_keys(values, b[seed])
        differences[seed] = {key: value - b[seed][key] for key, value in values.items()}
    found = [of_images(values, prompts, tasks) for values in differences.values()]
    v_s, v_p, v_i = _parts(found)
    seeds, count = len(found), len(found[0].names)
    images, residual, per_prompt = _within(differences, prompts)
    noise = 0.0 if images is None else images
    estimates = {
        "seeds": seeds * (v_s - v_i),
        "prompts": count * (v_p - v_i) - max(0.0, noise) / per_prompt,
        "interaction": count * seeds * v_i - residual / per_prompt,
    }
    if images is not None:
        estimates["images"] = images
    return _components(
        estimates,
        residual=residual,
        df_lost=len(found[0].tasks) - 1,
        blocks=0,
        n_seeds=seeds,
        n_prompts=count,
    )


def components_of_metrics(a: Mapping[int, Estimate], b: Mapping[int, Estimate]) -> Components:
    """Return the components of row a less row b, a metric of a whole set.

    Its variance over prompts is taken to go down with their number. Prompts and noise cannot be
    told apart, so noise of its own for each seed is not credited with what it would gain.

    Arguments and errors as `bench.stats.crossed_metric_difference`.

    Raises:
        ValueError: fewer than two training seeds, or no values without blocks.
    """
    found = [of_metric(a[seed]).less(of_metric(b[seed])) for seed in a]
    v_s, v_p, v_i = _parts(found)
    seeds = len(found)
    count = min(e.clusters or e.n for e in [*a.values(), *b.values()])
    estimates = {
        "seeds": seeds * (v_s - v_i),
        "prompts": count * (v_p - v_i),
        "interaction": count * seeds * v_i,
    }
    return _components(
        estimates,
        residual=0.0,
        df_lost=1,
        blocks=len(found[0].names),
        n_seeds=seeds,
        n_prompts=count,
    )


def _parts(found: list[Contributions]) -> tuple[float, float, float]:
    if len(found) < 2:
        raise ValueError(
            f"{len(found)} training seed: components need two or more, and are rough below five"
        )
    parts = error_term(found).parts
    if parts.seeds is None or parts.prompts is None or parts.interaction is None:
        raise ValueError("nothing is known of other prompts: one prompt in a task, or no blocks")
    return parts.seeds.variance, parts.prompts.variance, parts.interaction


def _components(
    estimates: Mapping[str, float],
    *,
    residual: float,
    df_lost: int,
    blocks: int,
    n_seeds: int,
    n_prompts: int,
) -> Components:
    return Components(
        seeds=max(0.0, estimates["seeds"]),
        prompts=max(0.0, estimates["prompts"]),
        images=max(0.0, estimates["images"]) if "images" in estimates else None,
        interaction=max(0.0, estimates["interaction"]),
        residual=residual,
        df_lost=df_lost,
        blocks=blocks,
        n_seeds=n_seeds,
        n_prompts=n_prompts,
        negative=tuple(sorted(name for name, value in estimates.items() if value < 0.0)),
    )


def _within(
    differences: Mapping[int, Mapping[str, float]], prompts: Mapping[str, str]
) -> tuple[float | None, float, float]:
    """Return the components of images and residual, and the (harmonic) mean of images a prompt.

    With one image a prompt there is nothing within prompts: no component of images, no residual.
    """
    keys_of: dict[str, list[str]] = {}
    for key in sorted(next(iter(differences.values()))):
        keys_of.setdefault(prompts[key], []).append(key)
    seeds, squares, rest, df = len(differences), 0.0, 0.0, 0
    for keys in keys_of.values():
        x_SK = np.array([[values[k] for k in keys] for values in differences.values()])
        image, seed = x_SK.mean(axis=0), x_SK.mean(axis=1, keepdims=True)
        squares += seeds * float(np.sum((image - image.mean()) ** 2))
        rest += float(np.sum((x_SK - seed - image + image.mean()) ** 2))
        df += len(keys) - 1
    per_prompt = len(keys_of) / sum(1.0 / len(keys) for keys in keys_of.values())
    if df == 0:
        return None, 0.0, 1.0
    residual = rest / (df * (seeds - 1))
    return (squares / df - residual) / seeds, residual, per_prompt
