"""`tiny-sd-noisy`: tiny-sd on captions of which most are wrong, so that more is left to align.

Its pictures are tiny-sd's and its words mean less: guidance is worth more to it, as to the models
that the papers align.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import StableDiffusionPipeline
from torch import Tensor

from bench.tiny.build.clip import tokenise
from bench.tiny.build.loop import LoopConfig, train_network
from bench.tiny.build.noised import noised_batch
from bench.tiny.build.scenes_cache import SceneSet
from bench.tiny.build.sd import TextAndUNet, loss_weights
from bench.tiny.grammar import with_wrong_word

BATCH = 48
STEPS = 1100
STREAM = 43
WRONG_CAPTION_SHARE = 0.6
"""Share of the captions that get one or two wrong words, as often one as two."""
LR, EMA = 1e-4, 0.995


def noisy_caption(text: str, index: int, seed: int) -> str:
    """Return the caption of training scene `index`: its true text, or one or two words wrong."""
    rng = np.random.default_rng([STREAM + 1, seed, index])
    if rng.random() >= WRONG_CAPTION_SHARE:
        return text
    return with_wrong_word(text, rng, count=1 + int(rng.integers(2)))


def train_noisy(
    scenes: SceneSet,
    latents: np.ndarray,
    start: StableDiffusionPipeline,
    work: Path,
    *,
    seed: int = 0,
    steps: int = STEPS,
) -> tuple[StableDiffusionPipeline, dict[str, Any]]:
    """Train copies of a base's UNet and text encoder further; its VAE stays as it is.

    The loss is the one that tiny-sd's training ended with.

    Args:
        scenes: pictures with their true texts.
        latents: their scaled latents (N, 4, h, w).
        start: tiny-sd.
        work: where the state is kept.
        seed: of the captions' errors and of the order, noise and timesteps.
        steps: of training.
    """
    both = TextAndUNet(copy.deepcopy(start.text_encoder), copy.deepcopy(start.unet))
    scheduler = start.scheduler
    _, weights = loss_weights(scheduler)
    captions = [noisy_caption(text, i, seed) for i, text in enumerate(scenes.texts)]
    ids = tokenise(start.tokenizer, captions)
    empty = tokenise(start.tokenizer, [""])[0]

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng([STREAM, seed, step])
        batch = noised_batch(latents, rng, BATCH, scheduler)
        states = both.text(batch.captions(ids, empty)).last_hidden_state
        return batch.loss(both.unet(batch.noisy, batch.t, states).sample, weights)

    # a new optimiser starts from a trained network: slowly, then at one small rate
    config = LoopConfig(steps=steps, lr=LR, last_rate=1.0, ema=EMA)
    facts: dict[str, Any] = train_network("tiny-sd-noisy", both, loss_of_step, config, work)
    pipeline = StableDiffusionPipeline(
        vae=start.vae, text_encoder=both.text, tokenizer=start.tokenizer, unet=both.unet,
        scheduler=scheduler, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    wrong = np.mean([c != t for c, t in zip(captions, scenes.texts, strict=True)])
    facts |= {"seed": seed, "captions_with_wrong_words": round(float(wrong), 4)}
    return pipeline, facts
