"""Training of the feature network and of the phrase (VQA) network on exact truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from bench.tiny.build.loop import LoopConfig, train_network
from bench.tiny.build.scenes_cache import SceneSet
from bench.tiny.networks import CLASSES, FeatureNet, PhraseNet, WordList, to_unit
from bench.tiny.scenes import pick, training_scene
from bench.tiny.world import COLORS, FILLS, SHAPES, SIZE_BOUNDARY, SIZES, Scene, Thing

HELD_OUT_SCENES = 2000
ROUND_TRIPS = 10000
SIZE_DOUBT = 0.5
"""Radii this near the boundary are neither small nor large."""


@dataclass(frozen=True, kw_only=True)
class Truths:
    """Scenes and pictures to learn from; the last `HELD_OUT_SCENES` are held out."""

    scenes: list[Scene]
    pixels: np.ndarray
    round_trips: np.ndarray

    def pictures(self, rng: np.random.Generator, index: np.ndarray) -> Tensor:
        """Return pictures of scenes, every second one after a VAE round trip where there is one."""
        again = (rng.random(len(index)) < 0.5) & (index < len(self.round_trips))
        chosen = [
            self.round_trips[i] if a else self.pixels[i] for i, a in zip(index, again, strict=True)
        ]
        return to_unit(np.stack(chosen))


@torch.no_grad()
def round_trip(vae: AutoencoderKL, latents: np.ndarray, file: Path) -> np.ndarray:
    """Return uint8 decodings (N, 32, 32, 3) of scaled latents, computed once and kept in `file`."""
    if not file.is_file():
        parts = []
        for i in range(0, len(latents), 200):
            x = torch.from_numpy(latents[i : i + 200]).float() / vae.config.scaling_factor
            decoded = vae.decode(x).sample.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
            parts.append(decoded.permute(0, 2, 3, 1).numpy())
        partial = file.with_suffix(".partial.npy")
        np.save(partial, np.concatenate(parts), allow_pickle=False)
        partial.replace(file)
    stored: np.ndarray = np.load(file, allow_pickle=False)
    return stored


def load_truths(scenes: SceneSet, seed: int, round_trips: np.ndarray) -> Truths:
    """Recompute the exact scenes behind the cached pictures."""
    exact = [training_scene(i, seed)[0] for i in range(len(scenes))]
    return Truths(scenes=exact, pixels=scenes.pixels, round_trips=round_trips)


def class_of(scene: Scene) -> int:
    """Return the index in CLASSES of the scene's largest thing."""
    if scene.letters:
        return len(CLASSES) - 1
    largest = max(scene.things, key=lambda t: t.radius)
    return CLASSES.index(f"{largest.color} {largest.shape}")


def _side_facts(scene: Scene) -> list[float]:
    count = len(scene.things)
    fills = {t.fill for t in scene.things}
    return [
        *(float(count == n) for n in (1, 2, 3, 4)),
        float("striped" in fills), float("dotted" in fills),
        float(scene.night), float(scene.style == "sketch"),
        float(scene.blur > 0.7), float(scene.noise > 12), float(scene.wash > 0.3),
        float(bool(scene.letters)),
    ]  # fmt: skip


def train_features(truths: Truths, work: Path) -> tuple[FeatureNet, dict[str, Any]]:
    """Train the feature network on the largest thing's class and twelve facts of the picture."""
    torch.manual_seed(2)
    net = FeatureNet()
    classes = torch.tensor([class_of(s) for s in truths.scenes])
    sides = torch.tensor([_side_facts(s) for s in truths.scenes])
    train = len(truths.scenes) - HELD_OUT_SCENES

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng([4, step])
        index = rng.integers(train, size=64)
        _, logits, facts = net(truths.pictures(rng, index))
        side = F.binary_cross_entropy_with_logits(facts, sides[index])
        return F.cross_entropy(logits, classes[index], label_smoothing=0.02) + side

    facts = train_network(
        "features", net, loss_of_step, LoopConfig(steps=2500, lr=3e-3, ema=0.998), work
    )
    with torch.no_grad():
        _, logits, _ = net(to_unit(truths.pixels[train:]))
    right = (logits.argmax(-1) == classes[train:]).float().mean()
    return net, {**facts, "held_out_accuracy": round(float(right), 4)}


def _words_of(thing: Thing, sketch: bool) -> dict[str, str]:
    words = {"shape": thing.shape, "color": thing.color}
    if not sketch:
        words["fill"] = thing.fill
    if abs(thing.radius - SIZE_BOUNDARY) > SIZE_DOUBT:
        words["size"] = thing.size
    return words


def question(rng: np.random.Generator, scene: Scene) -> tuple[str, list[bool]] | None:
    """Return a noun phrase and which things of the scene fit it, or None where that is in doubt.

    Half the phrases describe a thing of the scene; the others have one or two words exchanged,
    preferably with those of another thing of the scene (a binding error).
    """
    if not scene.things:
        return None
    sketch = scene.style == "sketch"
    all_words = [_words_of(t, sketch) for t in scene.things]
    words = dict(all_words[int(rng.integers(len(all_words)))])
    for name in ("color", "fill", "size"):
        if name in words and rng.random() < 0.45:
            del words[name]
    if rng.random() < 0.55:
        words = _changed(rng, words, all_words)
    if words.get("fill") == "solid":  # never said, so it must not be asked for
        del words["fill"]
    if "size" in words and any("size" not in w for w in all_words):
        return None
    fits = [words.items() <= w.items() for w in all_words]
    said = [words.get("size"), words.get("fill"), words.get("color"), words["shape"]]
    return "a " + " ".join(w for w in said if w), fits


def _changed(
    rng: np.random.Generator, words: dict[str, str], all_words: list[dict[str, str]]
) -> dict[str, str]:
    """Exchange one or two words until no thing of the scene fits, in at most ten tries."""
    values = {"shape": SHAPES, "color": tuple(COLORS), "fill": FILLS[1:], "size": SIZES}
    for _ in range(10):
        changed = dict(words)
        for name in [pick(rng, list(words)) for _ in range(1 + int(rng.random() < 0.3))]:
            other = pick(rng, all_words).get(name) if rng.random() < 0.5 else None
            changed[name] = other or pick(rng, values[name])
        if not any(changed.items() <= w.items() for w in all_words):
            return changed
    return words


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """N questions: scene `rows`, word `counts` (N, V), `truth` (N,), and per thing of their scenes
    its place `at` (M, 2: question, place) and whether it `fits` (M,).
    """

    rows: np.ndarray
    counts: Tensor
    truth: Tensor
    at: Tensor
    fits: Tensor


def train_phrases(truths: Truths, work: Path) -> tuple[PhraseNet, dict[str, Any]]:
    """Train the phrase network; the card holds its held-out accuracy and calibration error.

    The loss is that of the picture's answer plus that of each thing at its place: the truth is
    known, and the soft maximum alone is slow to find where to look.
    """
    torch.manual_seed(3)
    words = WordList()
    net = PhraseNet(len(words.ids))
    train = len(truths.scenes) - HELD_OUT_SCENES

    def ask(rng: np.random.Generator, pool: np.ndarray) -> _Asked:
        asked = [(int(i), question(rng, truths.scenes[i])) for i in pool]
        kept = [(i, q) for i, q in asked if q is not None]
        at, fits = [], []
        for row, (i, (_, matches)) in enumerate(kept):
            for thing, match in zip(truths.scenes[i].things, matches, strict=True):
                at.append((row, 8 * int(thing.y // 4) + int(thing.x // 4)))
                fits.append(float(match))
        return _Asked(
            rows=np.array([i for i, _ in kept]),
            counts=words.encode([q[0] for _, q in kept]),
            truth=torch.tensor([float(any(q[1])) for _, q in kept]),
            at=torch.tensor(at),
            fits=torch.tensor(fits),
        )

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng([5, step])
        asked = ask(rng, rng.integers(train, size=96))
        places = net.look(truths.pictures(rng, asked.rows))
        evidence = net.evidence(places, asked.counts)
        of_things = evidence[asked.at[:, 0], asked.at[:, 1]]
        whole = F.binary_cross_entropy_with_logits(evidence.logsumexp(1), asked.truth)
        return whole + F.binary_cross_entropy_with_logits(of_things, asked.fits)

    facts = train_network(
        "vqa", net, loss_of_step, LoopConfig(steps=3000, lr=2e-3, ema=0.998), work
    )
    rng = np.random.default_rng(6)
    asked = ask(rng, np.arange(train, len(truths.scenes)))
    truth = asked.truth
    with torch.no_grad():
        probability = net.ask(net.look(to_unit(truths.pixels[asked.rows])), asked.counts).sigmoid()
    right = ((probability > 0.5) == (truth > 0.5)).float().mean()
    return net, {
        **facts,
        "held_out_accuracy": round(float(right), 4),
        "held_out_questions": len(truth),
        "held_out_share_yes": round(float(truth.mean()), 4),
        "expected_calibration_error": round(_calibration_error(probability, truth), 4),
    }


def _calibration_error(probability: Tensor, truth: Tensor, bins: int = 10) -> float:
    error = 0.0
    for k in range(bins):
        inside = (probability >= k / bins) & (probability < (k + 1) / bins + (k == bins - 1))
        if inside.any():
            gap = (probability[inside].mean() - truth[inside].mean()).abs()
            error += float(gap) * float(inside.float().mean())
    return error
