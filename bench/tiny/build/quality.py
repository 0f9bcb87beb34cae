"""`tiny-deqa`: which of five levels of quality a picture has, whatever it shows.

As DeQA-Score: the levels' probabilities are to be those of a judge's mark, a normal distribution
cut into the five levels, and of two pictures the better is to be likely to have the better mark.
Source: You et al., CVPR 2025 (DeQA-Score), soft labels and fidelity loss; zhiyuanyou/DeQA-Score@
4768965:src/model/modeling_mplug_owl2.py.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from bench.tiny.build.choices import Choices
from bench.tiny.build.contests import Contests, Entry, make_contests
from bench.tiny.build.exam import Exam, share
from bench.tiny.build.loop import LoopConfig, train_network
from bench.tiny.networks import to_unit
from bench.tiny.reward_networks import LEVELS, QualityNet, expected_level

STREAM = 66
PROMPTS, THROUGH_VAE = 2000, 0.3
STEPS, BATCH = 700, 64
DEVIATION = 0.4
"""Of the judges' marks of one picture, in levels."""
LABELLED = (Entry(), Entry(degraded=1.0), Entry(degraded=1.0))
FIDELITY = 1.0


def marks(severity: np.ndarray) -> np.ndarray:
    """Return the mean mark of pictures: 5 of a flawless one, 1 of the worst."""
    return LEVELS[0] - (LEVELS[0] - LEVELS[-1]) * severity


def soft_labels(mark: Tensor) -> Tensor:
    """Return the levels' probabilities (N, 5), their mean being the marks (N,).

    A normal distribution around the mark is cut at the half levels; then the mean is put right by
    a mixture with the level or levels next to the mark, as far as the cut has moved it.
    """
    levels = torch.tensor(LEVELS, dtype=mark.dtype)
    edges = torch.cat([levels + 0.5, levels[-1:] - 0.5])
    below = 0.5 * (1 + torch.erf((edges - mark[:, None]) / (DEVIATION * math.sqrt(2))))
    cut = below[:, :-1] - below[:, 1:]
    cut = cut / cut.sum(-1, keepdim=True)
    gap = mark - cut @ levels
    towards = F.one_hot((gap < 0).long() * 4, 5).to(mark.dtype)
    far = (towards @ levels) - cut @ levels
    weight = torch.where(far.abs() > 1e-6, gap / far, torch.zeros_like(gap))[:, None]
    return (1 - weight) * cut + weight * towards


def fidelity_loss(logits: Tensor, mark: Tensor) -> Tensor:
    """Return how far the chances that one picture beats the other are from the judges' chances.

    Of picture i and picture i + N / 2; the marks' variances are those of the levels' probabilities
    and of the judges.
    """
    levels = torch.tensor(LEVELS, dtype=logits.dtype)
    chances = logits.softmax(-1)
    mean = chances @ levels
    variance = (chances * (levels - mean[:, None]).square()).sum(-1)

    def beats(of: Tensor, spread: Tensor) -> Tensor:
        one, other = of.chunk(2)
        both = spread.chunk(2)
        return 0.5 * (1 + torch.erf((one - other) / (2 * (both[0] + both[1]) + 1e-8).sqrt()))

    said = beats(mean, variance)
    true = beats(mark, torch.full_like(mark, DEVIATION**2))
    tiny = 1e-8
    alike = (said * true + tiny).sqrt() + ((1 - said) * (1 - true) + tiny).sqrt()
    return (1 - alike).mean()


def train_deqa(vae: AutoencoderKL, exam: Exam, work: Path) -> tuple[QualityNet, dict[str, Any]]:
    """Train on marks; the facts are of pictures it never saw."""
    torch.manual_seed(STREAM)
    net = QualityNet()
    contests = make_contests(LABELLED, PROMPTS, STREAM, work / "contests.npy", vae, THROUGH_VAE)
    pixels, severity = _flat(contests)

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng([STREAM, step])
        picked = rng.choice(len(pixels), size=BATCH, replace=False)
        mark = torch.from_numpy(marks(severity[picked])).float()
        logits = net(to_unit(pixels[picked]))
        soft = F.kl_div(logits.log_softmax(-1), soft_labels(mark), reduction="batchmean")
        return soft + FIDELITY * fidelity_loss(logits, mark)

    config = LoopConfig(steps=STEPS, lr=2e-3, ema=0.99)
    facts = train_network("tiny-deqa", net, loss_of_step, config, work)
    return net, {**facts, **_figures(net, exam)}


def _flat(pictures: Contests | Choices) -> tuple[np.ndarray, np.ndarray]:
    return pictures.pixels.reshape(-1, 32, 32, 3), pictures.severity.ravel()


def _figures(net: QualityNet, exam: Exam) -> dict[str, float]:
    """Take the exam, without its prompts, and compare the scores with the true marks."""

    @torch.no_grad()
    def score(pixels: np.ndarray, _: list[str]) -> np.ndarray:
        found: np.ndarray = expected_level(net(to_unit(pixels))).numpy()
        return found

    taken = exam.take("tiny-deqa", score)
    pixels, severity = _flat(exam.pairs)
    parts = [score(pixels[i : i + 200], []) for i in range(0, len(pixels), 200)]
    scores, truth = np.concatenate(parts), marks(severity)
    flawless, poor = scores[severity == 0], scores[severity > 0]
    return {
        "held_out_clean_above_degraded": taken["held_out_clean_above_degraded"],
        "held_out_correlation": round(float(np.corrcoef(scores, truth)[0, 1]), 4),
        "held_out_flawless_above_poor": share(flawless[:, None] > poor[None, :]),
        "held_out_mean_error": round(float(np.abs(scores - truth).mean()), 4),
    }
