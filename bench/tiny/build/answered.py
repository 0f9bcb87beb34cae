"""`tiny-unifiedreward`: answers with a mark from 1 to 5, after people who gave marks.

UnifiedReward is a language model that writes what it sees and ends with "Final Score: X". Of that
this network has the end alone: it chooses one of nine last lines, as a language model chooses its
next token, and was taught as one is, by the cross entropy of the answers that raters gave to single
pictures (no comparison is made, unlike the other rewards). It reads tiny-clip's states.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from bench.tiny.build.clip import clip_pixels, tokenise
from bench.tiny.build.contests import Entry, make_contests
from bench.tiny.build.exam import Exam, Scorer, answers
from bench.tiny.build.judged import drawn, states_of
from bench.tiny.build.loop import LoopConfig, train_network
from bench.tiny.reward_networks import MARKS, AnswerReader, look, read

STREAM = 67
PROMPTS, THROUGH_VAE = 2500, 0.2
STEPS = 450
RATERS, NOISE = 4, 0.4
ERROR_COST, DEGRADATION_COST = 1.5, 2.0
"""What a word not followed and the worst degradation cost, in points."""
RATED = (
    Entry(errors=(0.9, 0.1), degraded=0.1),
    Entry(errors=(0.2, 0.5, 0.3), degraded=0.3),
    Entry(errors=(0.8, 0.2), degraded=0.8),
)


def mark(errors: Any, severity: Any) -> Any:
    """Return what a picture deserves, before anybody rates it; of arrays."""
    return 5.0 - ERROR_COST * errors - DEGRADATION_COST * severity


def rated(deserved: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the shares (..., 9) of raters that give each of `MARKS`, each of a noisy opinion."""
    seen = deserved + NOISE * rng.standard_normal((RATERS, *deserved.shape))
    nearest = np.abs(seen[..., None] - np.asarray(MARKS)).argmin(-1)
    found: np.ndarray = np.eye(len(MARKS), dtype=np.float32)[nearest].mean(0)
    return found


def train_unifiedreward(
    clip: CLIPModel,
    tokenizer: CLIPTokenizer,
    vae: AutoencoderKL,
    exam: Exam,
    work: Path,
) -> tuple[AnswerReader, dict[str, Any]]:
    """Train on the raters' marks; the facts hold the exam (of expected marks) and the answers'.

    Args:
        clip: tiny-clip.
        tokenizer: the world's.
        vae: see `make_contests`.
        exam: what is asked in the end.
        work: where pictures and state are kept.
    """
    torch.manual_seed(STREAM)
    net = AnswerReader()
    contests = make_contests(RATED, PROMPTS, STREAM, work / "contests.npy", vae, THROUGH_VAE)
    pictures, texts, _ = states_of(clip, tokenizer, contests)
    deserved = mark(contests.errors, contests.severity[:, None])

    def loss_of_step(step: int) -> Tensor:
        rng, picked, seen, said = drawn(step, STREAM, contests, pictures, texts)
        logits = net(seen, said)
        wanted = torch.from_numpy(rated(deserved[picked], rng)).flatten(0, 2)
        return torch.nn.functional.cross_entropy(logits, wanted)

    config = LoopConfig(steps=STEPS, lr=1.5e-3, ema=0.99)
    facts = train_network("tiny-unifiedreward", net, loss_of_step, config, work)
    said_marks = answers(_scorer(net, clip, tokenizer, expected=False), exam.pairs)
    true = mark(exam.pairs.errors, exam.pairs.severity).clip(1.0, 5.0)
    return net, {
        **facts,
        **exam.take("tiny-unifiedreward", _scorer(net, clip, tokenizer, expected=True)),
        "held_out_answer_and_mark": round(
            float(np.corrcoef(said_marks.ravel(), true.ravel())[0, 1]), 4
        ),
        "held_out_mean_error": round(float(np.abs(said_marks - true).mean()), 4),
    }


def _scorer(
    net: AnswerReader, clip: CLIPModel, tokenizer: CLIPTokenizer, *, expected: bool
) -> Scorer:
    """Return what gives the marks that are expected, or those that are answered."""

    @torch.no_grad()
    def score(pixels: np.ndarray, texts: list[str]) -> np.ndarray:
        logits = net(look(clip, clip_pixels(pixels)), read(clip, tokenise(tokenizer, texts)))
        marks = torch.tensor(MARKS)
        found: np.ndarray = (
            logits.softmax(-1) @ marks if expected else marks[logits.argmax(-1)]
        ).numpy()
        return found

    return score
