"""Pictures for the reward models, with what is wrong with each known exactly.

A picture's faults are words of its prompt that it does not follow, and how far down the quality
axis it lies. No detector and no scorer is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL

from bench.tiny.build.vae import to_tensor
from bench.tiny.grammar import to_text
from bench.tiny.render import render
from bench.tiny.scenes import pick, random_description, scene_for
from bench.tiny.world import (
    COLORS,
    FILLS,
    HELD_OUT,
    LETTERS,
    QUALITIES_LOW,
    RELATIONS,
    SHAPES,
    SIZES,
    Description,
    Scene,
)

log = logging.getLogger("bench.assets")

HELD_OUT_PROMPTS = 1000
"""The last prompts of a set, which no training sees."""
WORST = {"blur": 1.6, "noise": 26.0, "wash": 0.6}
"""Strength of each fault at severity 1: the worst the world's words mean."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Pictures that compete under a prompt.

    Attributes:
        texts: N prompts.
        pixels: (N, K, 32, 32, 3) uint8.
        errors: (N, K) words of the prompt that the picture does not follow.
        severity: (N, K) how degraded the picture is, 0 to 1.
    """

    texts: list[str]
    pixels: np.ndarray
    errors: np.ndarray
    severity: np.ndarray

    @property
    def train_size(self) -> int:
        """How many prompts come before the held-out ones."""
        return len(self.texts) - HELD_OUT_PROMPTS


def altered(meaning: Description, rng: np.random.Generator) -> Description:
    """Return `meaning` with one word exchanged; never one of the world's held-out pairs."""
    while True:
        changed = _exchange(meaning, rng)
        pairs = [(noun.color, noun.shape) for noun in changed.nouns]
        if changed != meaning and not any(pair in HELD_OUT for pair in pairs):
            return changed


def _exchange(meaning: Description, rng: np.random.Generator) -> Description:
    if meaning.letters:
        at = int(rng.integers(len(meaning.letters)))
        text = meaning.letters
        return replace(meaning, letters=text[:at] + pick(rng, LETTERS) + text[at + 1 :])
    if meaning.relation and rng.random() < 0.35:
        return replace(meaning, relation=pick(rng, RELATIONS))
    nouns = list(meaning.nouns)
    at = int(rng.integers(len(nouns)))
    noun = nouns[at]
    if len(nouns) == 2 and nouns[0].color and rng.random() < 0.25:  # the right words, elsewhere
        nouns = [
            replace(a, color=b.color) for a, b in zip(nouns, reversed(meaning.nouns), strict=True)
        ]
        return replace(meaning, nouns=tuple(nouns))
    said = ["shape", *(name for name in ("color", "fill", "size") if getattr(noun, name))]
    if noun.count > 1:
        said.append("count")
    name = pick(rng, said)
    values: Sequence[Any] = {
        "shape": SHAPES, "color": tuple(COLORS), "fill": FILLS[1:], "size": SIZES,
        "count": (2, 3, 4),
    }[name]  # fmt: skip
    said_instead: dict[str, Any] = {name: pick(rng, values)}
    nouns[at] = replace(noun, **said_instead)
    return replace(meaning, nouns=tuple(nouns))


def degraded(scene: Scene, severity: float, rng: np.random.Generator) -> Scene:
    """Return the scene with one fault of the quality axis at `severity` (0 to 1) of the worst."""
    fault = pick(rng, sorted(WORST))
    strength: dict[str, Any] = {fault: severity * WORST[fault]}
    return replace(scene, noise_seed=int(rng.integers(2**31)), **strength)


def clean_scene(meaning: Description, rng: np.random.Generator) -> Scene:
    """Return a flawless scene of `meaning`."""
    while True:
        try:
            return scene_for(meaning, rng, clean=True)
        except RuntimeError:  # no room for these sizes: draw the picture anew
            continue


Draw = Callable[[Description, np.random.Generator], list[tuple[Scene, int, float]]]
"""Draws the K pictures of a prompt: scene, errors, severity."""


def noisy_choice(meaning: Description, rng: np.random.Generator) -> list[tuple[Scene, int, float]]:
    """Return two pictures with faults of their own, as two models might have drawn them."""
    found = []
    for _ in range(2):
        errors = int(rng.choice(3, p=(0.5, 0.35, 0.15)))
        drawn = meaning
        for _ in range(errors):
            drawn = altered(drawn, rng)
        errors = int(drawn != meaning) * errors  # a second exchange may undo the first
        scene = clean_scene(drawn, rng)
        severity = 0.0
        if meaning.quality not in QUALITIES_LOW and rng.random() < 0.5:
            severity = float(rng.uniform(0.2, 1.0))
            scene = degraded(scene, severity, rng)
        found.append((scene, errors, severity))
    return found


def ranked_three(meaning: Description, rng: np.random.Generator) -> list[tuple[Scene, int, float]]:
    """Return a right and clean picture, the same scene degraded, and a clean one that is wrong."""
    scene = clean_scene(meaning, rng)
    severity = float(rng.uniform(0.25, 1.0))
    wrong = clean_scene(altered(meaning, rng), rng)
    return [(scene, 0, 0.0), (degraded(scene, severity, rng), 0, severity), (wrong, 1, 0.0)]


def make_choices(
    draw: Draw, count: int, stream: int, file: Path, vae: AutoencoderKL, share: float
) -> Choices:
    """Return `count` prompts with their pictures; the pixels are kept in `file`.

    Args:
        draw: `noisy_choice` or `ranked_three`.
        count: prompts, the held-out ones included.
        stream: seed of prompts and pictures.
        file: where the pixels are kept between runs.
        vae: encodes and decodes the pictures of a share of the prompts, as all pictures are that
            a base model draws.
        share: of them.
    """
    texts, scenes, errors, severity = [], [], [], []
    for index in range(count):
        rng = np.random.default_rng([stream, index])
        meaning = random_description(rng)
        if draw is ranked_three and meaning.quality in QUALITIES_LOW:  # its best picture is poor
            meaning = replace(meaning, quality=None)
        drawn = draw(meaning, rng)
        texts.append(to_text(meaning))
        scenes.append([scene for scene, _, _ in drawn])
        errors.append([wrong for _, wrong, _ in drawn])
        severity.append([depth for _, _, depth in drawn])
    again = np.random.default_rng([stream, count]).random(count) < share
    return Choices(
        texts=texts,
        pixels=kept_pixels(file, lambda: through_vae(vae, rendered(scenes), again)),
        errors=np.array(errors),
        severity=np.array(severity),
    )


def rendered(scenes: Sequence[Sequence[Scene]]) -> np.ndarray:
    """Return the pictures (N, K, 32, 32, 3) uint8 of N rows of K scenes."""
    return np.stack([np.stack([render(scene) for scene in row]) for row in scenes])


def kept_pixels(file: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return what `make` gives, from `file` where an earlier run left it."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial.npy")
        np.save(partial, make(), allow_pickle=False)
        partial.replace(file)
        log.info("%s: pictures made", file.stem)
    stored: np.ndarray = np.load(file, allow_pickle=False)
    return stored


@torch.no_grad()
def through_vae(vae: AutoencoderKL, pixels: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Return pictures (N, K, 32, 32, 3), those of the rows `which` (N,) encoded and decoded."""
    found = pixels.copy()
    flat = pixels[which].reshape(-1, *pixels.shape[2:])
    parts = []
    for start in range(0, len(flat), 200):
        latents = vae.encode(to_tensor(flat[start : start + 200])).latent_dist.mean
        decoded = vae.decode(latents).sample.clamp(-1, 1).add(1).mul(127.5).round()
        parts.append(decoded.to(torch.uint8).permute(0, 2, 3, 1).numpy())
    if parts:
        found[which] = np.concatenate(parts).reshape(-1, *pixels.shape[1:])
    return found
