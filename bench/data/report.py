"""What a pair set is worth, told without any training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.api.prompts import Prompt
from bench.backbones.base import Backbone
from bench.backbones.condition import concatenate_conditions, condition_to
from bench.backbones.lengths import token_counts
from bench.data.spec import PairPlan
from bench.training.checks import LATENT_STD
from bench.training.randomness import CounterStream, Sample

LOG = logging.getLogger(__name__)

STOP_WORDS = frozenset(
    {"a", "an", "the", "of", "and", "or", "at", "in", "on", "with", "by", "to", "for", "from"}
    | {"as", "is", "are", "its", "this", "that"}
)
"""Words whose loss leaves a prompt's meaning as it is."""

WORLD_FILLERS = frozenset({"picture"})
"""More of them in the tiny world, where every image without the word is a picture too."""

TIMESTEP_BINS = 10
GAP_PAIRS = 64
"""Pairs the score gap is averaged over: enough for two digits, at the cost of a few images."""

_GAP_BATCH = 32


def pair_report(
    plan: PairPlan,
    backbone: Backbone,
    *,
    winner: np.ndarray,
    loser: np.ndarray | None,
    conditions: Callable[[Sequence[str]], Mapping[str, Tensor]],
) -> dict[str, Any]:
    """Return the report of a pair set.

    Args:
        plan: its N pairs.
        backbone: the reference they were sampled from.
        winner, loser: (N, C, h, w) scaled latents. Without losers the score gap is measured at
            the winners, whose images stand for losers in such sets.
        conditions: texts -> their condition.
    """
    lengths = [len(row.prompt.split()) for row in plan.rows]
    removed = [
        1 - len(row.degraded.split()) / count for row, count in zip(plan.rows, lengths, strict=True)
    ]
    same = [
        meaning_kept(prompt, row.degraded)
        for prompt, row in zip(plan.prompts, plan.rows, strict=True)
    ]
    latents = {"winner": winner} | ({} if loser is None else {"loser": loser})
    std = {name: spread(values) for name, values in latents.items()}
    low, high = LATENT_STD
    expected = all(low <= value <= high for value in std.values())
    if not expected:
        LOG.warning(
            "the latents have standard deviations %s; expected %g to %g: was the VAE's scaling "
            "factor applied exactly once?", std, low, high
        )  # fmt: skip
    return {
        "pairs": len(plan.rows),
        "prompts_left_out": plan.dropped,
        "distinct_texts": len(plan.texts),
        "words_mean": float(np.mean(lengths)),
        "removed_share_mean": float(np.mean(removed)),
        "meaning_unchanged_share": float(np.mean(same)),
        "over_length_share": over_length_share(backbone, [row.prompt for row in plan.rows]),
        "latent_std": std,
        "latent_std_expected": expected,
        "score_gap": score_gap(plan, backbone, winner if loser is None else loser, conditions),
    }


def meaning_kept(prompt: Prompt, degraded: str) -> bool:
    """Whether a degraded prompt still says all that the prompt says."""
    fillers = STOP_WORDS | WORLD_FILLERS if "meaning" in prompt.meta else STOP_WORDS
    return content_words(degraded, fillers) == content_words(prompt.text, fillers)


def content_words(text: str, fillers: frozenset[str]) -> list[str]:
    """Return the words that carry meaning, in order, in lower case without punctuation."""
    words = (word.strip(".,;:!?\"'()[]").lower() for word in text.split())
    return [word for word in words if word and word not in fillers]


def over_length_share(backbone: Backbone, prompts: Sequence[str]) -> float | None:
    """Return the share of prompts with more tokens than the text encoder reads.

    None where the backbone names no tokenizer.
    """
    limit, counts = token_counts(backbone, prompts)
    return None if limit is None else float(np.mean([count > limit for count in counts]))


def spread(latents: np.ndarray) -> float:
    """Return the standard deviation over all numbers, in float64, without copying the whole."""
    count, total, squares = 0, 0.0, 0.0
    for start in range(0, len(latents), 256):
        some = np.asarray(latents[start : start + 256], dtype=np.float64)
        count += some.size
        total += float(some.sum())
        squares += float(np.square(some).sum())
    return float(np.sqrt(max(0.0, squares / count - (total / count) ** 2)))


@torch.no_grad()
def score_gap(
    plan: PairPlan,
    backbone: Backbone,
    loser: np.ndarray,
    conditions: Callable[[Sequence[str]], Mapping[str, Tensor]],
) -> dict[str, Any]:
    """Return mean |ref(x_l, c) − ref(x_l, c⁻)|² over C, h, w by timestep.

    It is what DDSPO's loser target differs by from the reference, so it sets the scale of beta
    (1 / mean g²). Each bin takes a tenth of the timesteps, each pair one timestep of each bin.

    Returns:
        `bins` (lists `low`, `high` in shares of T, `mean`, `stderr`), `mean` over all, `pairs`.
    """
    count = min(GAP_PAIRS, len(plan.rows))
    chosen = np.linspace(0, len(plan.rows) - 1, count).round().astype(int)
    gaps = np.zeros((TIMESTEP_BINS, count))
    for number in range(TIMESTEP_BINS):
        samples = [Sample(int(index), 0) for index in chosen]
        noise = CounterStream(0, "pair-report-noise", number).normal(samples, loser.shape[1:])
        inside = CounterStream(0, "pair-report-t", number).uniform(samples)
        t = backbone.timesteps((number + inside) / TIMESTEP_BINS)
        for start in range(0, count, _GAP_BATCH):
            part = slice(start, start + _GAP_BATCH)
            rows = [plan.rows[int(index)] for index in chosen[part]]
            clean = torch.from_numpy(np.asarray(loser[chosen[part]]))
            texts = [row.prompt for row in rows], [row.degraded for row in rows]
            gaps[number, part] = _gap(
                backbone, clean, noise[part], t[part], *(conditions(some) for some in texts)
            )
    return {
        "pairs": count,
        "mean": float(gaps.mean()),
        "bins": {
            "low": [number / TIMESTEP_BINS for number in range(TIMESTEP_BINS)],
            "high": [(number + 1) / TIMESTEP_BINS for number in range(TIMESTEP_BINS)],
            "mean": [float(row.mean()) for row in gaps],
            "stderr": [
                float(row.std(ddof=1) / np.sqrt(count)) if count > 1 else None for row in gaps
            ],
        },
    }


def _gap(
    backbone: Backbone,
    clean: Tensor,
    noise: Tensor,
    t: Tensor,
    condition: Mapping[str, Tensor],
    degraded: Mapping[str, Tensor],
) -> np.ndarray:
    """Return the squared gap of each of B pairs (B,)."""
    parameter = next(backbone.denoiser.parameters())
    device, dtype = parameter.device, parameter.dtype
    t = t.to(device)
    x_t = backbone.add_noise(clean.to(device, dtype), noise.to(device, dtype), t)
    both = condition_to(concatenate_conditions([condition, degraded]), device, dtype)
    prediction = backbone.predict(backbone.denoiser, torch.cat([x_t, x_t]), torch.cat([t, t]), both)
    under_c, under_degraded = prediction.float().chunk(2)
    gap: np.ndarray = (under_c - under_degraded).square().flatten(1).mean(1).double().cpu().numpy()
    return gap
