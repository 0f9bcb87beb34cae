"""What every scorer of pictures is asked before it is shipped, on pictures that none learnt from.

Two sets: a right and clean picture, the same degraded, and a clean one of a prompt that differs in
a word; and two pictures of a prompt with faults of their own. The scores on the second are kept, so
that each card can say how the scorers agree.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import AutoencoderKL

from bench.tiny.build.choices import Choices, make_choices, noisy_choice, ranked_three

THREES_STREAM, PAIRS_STREAM = 70, 71
PROMPTS = 1000
THROUGH_VAE = 0.35
ERROR_COST, DEGRADATION_COST = 2.0, 2.5
"""What a word not followed and the worst degradation cost a judge's utility, in logits."""
CLEAR = 0.5
"""Utilities this far apart are told apart."""

Scorer = Callable[[np.ndarray, list[str]], np.ndarray]
"""Scores (M,) of pictures (M, 32, 32, 3), each under its text."""


def utility(errors: Any, severity: Any) -> Any:
    """Return what a judge thinks of a picture, in logits; of arrays or tensors."""
    return -ERROR_COST * errors - DEGRADATION_COST * severity


@dataclass(frozen=True)
class Exam:
    """The two sets of pictures, and where scorers' answers are kept.

    Attributes:
        work: folder.
        vae: through which a share of the pictures goes.
    """

    work: Path
    vae: AutoencoderKL

    @cached_property
    def threes(self) -> Choices:
        """Right and clean, degraded, wrong."""
        file = self.work / "threes.npy"
        return make_choices(ranked_three, PROMPTS, THREES_STREAM, file, self.vae, THROUGH_VAE)

    @cached_property
    def pairs(self) -> Choices:
        """Two pictures with faults of their own."""
        file = self.work / "pairs.npy"
        return make_choices(noisy_choice, PROMPTS, PAIRS_STREAM, file, self.vae, THROUGH_VAE)

    def take(self, name: str, scorer: Scorer) -> dict[str, float]:
        """Return the shares of what a scorer decides as it should, and keep its answers."""
        self.work.mkdir(parents=True, exist_ok=True)
        threes = answers(scorer, self.threes)
        pairs = answers(scorer, self.pairs)
        np.save(self.work / f"{name}.npy", pairs, allow_pickle=False)
        worth = utility(self.pairs.errors, self.pairs.severity)
        told = np.abs(worth[:, 0] - worth[:, 1]) > CLEAR
        agrees = (pairs[:, 0] > pairs[:, 1]) == (worth[:, 0] > worth[:, 1])
        return {
            "held_out_clean_above_degraded": share(threes[:, 0] > threes[:, 1]),
            "held_out_right_above_wrong": share(threes[:, 0] > threes[:, 2]),
            "held_out_better_of_two": share(agrees[told]),
        }

    def note(self, name: str, facts: Mapping[str, Any]) -> None:
        """Keep what a scorer's card says, for cards written anew later."""
        (self.work / f"{name}.json").write_text(json.dumps(facts))

    def noted(self) -> dict[str, dict[str, Any]]:
        """Return the kept facts by scorer, each with its agreement with the others."""
        names = sorted(file.stem for file in self.work.glob("*.json"))
        gaps = {}
        for name in names:
            kept = np.load(self.work / f"{name}.npy", allow_pickle=False)
            gaps[name] = kept[:, 0] - kept[:, 1]
        found = {}
        for name in names:
            facts = json.loads((self.work / f"{name}.json").read_text())
            others = {other: agreement(gaps[name], gaps[other]) for other in names if other != name}
            found[name] = {**facts, "agreement": others} if others else facts
        return found


def answers(scorer: Scorer, asked: Choices) -> np.ndarray:
    """Return scores (N, K) of the pictures, each under its prompt."""
    count, each = asked.pixels.shape[:2]
    flat = asked.pixels.reshape(-1, *asked.pixels.shape[2:])
    texts = [text for text in asked.texts for _ in range(each)]
    parts = [scorer(flat[i : i + 120], texts[i : i + 120]) for i in range(0, len(flat), 120)]
    return np.concatenate(parts).reshape(count, each)


def agreement(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Return how two scorers agree on the differences (N,) between two pictures of a prompt."""
    return {
        "correlation": round(float(np.corrcoef(one, other)[0, 1]), 4),
        "same_choice": share((one > 0) == (other > 0)),
    }


def share(true: np.ndarray) -> float:
    """Return the share of true values, to four digits."""
    return round(float(np.mean(true)), 4)
