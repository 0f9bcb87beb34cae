"""The kind `tiny-picks`: a Pick-a-Pic in small. Two pictures of the base model for each prompt,
and a noisy judge who says which is better.

The judge is a Bradley-Terry oracle on the true world score (`bench.data.oracle`):

    P(first preferred) = sigmoid((score of first - score of second) / temperature)

Two pictures whose scores differ by no more than `tie_margin` are a tie, and dropped, as the ties
of Pick-a-Pic are by those who train on it. The report states the measured noise: the share of
labels that contradict the scores, and the share of ties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from bench.api.errors import BenchError, UsageError
from bench.api.generation import image_seed
from bench.data.kinds import How, read_settings
from bench.data.oracle import VERSION as ORACLE_VERSION
from bench.data.oracle import world_score
from bench.data.spec import KIND
from bench.data.stored import StoredRow, write_set
from bench.generation.checkpoint import (
    CheckpointRef,
    device_name,
    load_pipeline_backbone,
    pick_device,
)
from bench.generation.image_set import read_spec, read_suite, spec_identity, suite_identity
from bench.read.names import artifact_name
from bench.store import Artifact, Store, Work, read_safetensors, write_safetensors
from bench.tiny.detect import DETECT_VERSION
from bench.tiny.suites import meaning_of

if TYPE_CHECKING:
    from bench.api.prompts import Prompt

VERSION = 1
"""Bumped when the pairs of unchanged settings may change."""

PROMPTS_PER_PART = 32


@dataclass(frozen=True, kw_only=True)
class PickSettings:
    """The settings.

    Attributes:
        suite: prompts of the tiny world, as `suite_json` gives them.
        generation: how the pictures are sampled, as `GenerationSpec.identity()`.
        temperature: of the judge, in units of the score (0 to 1.5); 0 never errs.
        tie_margin: difference of scores up to which the judge sees none.
        seed: of pictures and judgements.

    Raises:
        UsageError: a value is out of range.
    """

    suite: Mapping[str, Any]
    generation: Mapping[str, Any]
    temperature: float = 0.15
    tie_margin: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("temperature", "tie_margin"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} is {getattr(self, name)}; expected 0 or more.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the judge says of two pictures.

    Attributes:
        label_0: 1 if the first is preferred, 0 if the second, 0.5 for a tie, as in Pick-a-Pic.
        flipped: whether that contradicts the scores.
    """

    label_0: float
    flipped: bool


def judge(first: float, second: float, uniform: float, settings: PickSettings) -> Verdict:
    """Return the verdict on two scores; `uniform` in [0, 1) is the judge's mood."""
    gap = first - second
    if abs(gap) <= settings.tie_margin:
        return Verdict(label_0=0.5, flipped=False)
    argument = math.copysign(math.inf, gap)
    if settings.temperature > 0:
        argument = max(-700.0, min(700.0, gap / settings.temperature))
    chance = 1.0 / (1.0 + math.exp(-argument))
    prefers_first = uniform < chance
    return Verdict(label_0=float(prefers_first), flipped=prefers_first != (gap > 0))


def identity(
    store: Store, checkpoint: CheckpointRef, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the identity of the set; see `bench.data.kinds.PairKind`."""
    found = read_settings(PickSettings, settings, "tiny-picks")
    return {
        "kind": "tiny-picks",
        "version": VERSION,
        "oracle": [ORACLE_VERSION, DETECT_VERSION],
        "checkpoint": checkpoint.identity(store),
        "suite": suite_identity(read_suite(found.suite)),
        "generation": spec_identity(read_spec(found.generation)),
        "temperature": float(found.temperature),
        "tie_margin": float(found.tie_margin),
        "seed": found.seed,
    }


def build(
    store: Store,
    checkpoint: CheckpointRef,
    settings: Mapping[str, Any],
    **how: Unpack[How],
) -> Artifact:
    """Return the set, made; see `bench.data.kinds.PairKind`.

    Raises:
        BenchError: every pair is a tie.
    """
    found = read_settings(PickSettings, settings, "tiny-picks")
    suite, spec = read_suite(found.suite), read_spec(found.generation)
    prompts = tuple(suite)
    foreign = [prompt.id for prompt in prompts if "meaning" not in prompt.meta]
    if foreign:
        raise UsageError(
            f"suite {suite.name}: the meaning of prompt {foreign[0]} is not known, so its pictures "
            "cannot be judged; use a suite of bench.tiny.suites."
        )
    where = pick_device(how.get("device"))

    def make(work: Work) -> None:
        from bench.generation.sample import Sampler, default_batch_size

        backbone = load_pipeline_backbone(checkpoint, store, dtype=spec.dtype, device=where)
        sampler = Sampler(backbone, spec)
        size = how.get("batch_size") or default_batch_size(spec)
        drawn = _sampled(work, sampler, prompts, found.seed, size, how.get("progress"))
        rows, places, facts = _judged(prompts, drawn["scores"], found)

        def latents(start: int, end: int) -> dict[str, Any]:
            import torch

            some = places[start:end]
            return {
                side: torch.from_numpy(np.stack([drawn[slots[rank]][row] for row, slots in some]))
                for rank, side in enumerate(("winner", "loser"))
            }

        write_set(work, backbone, rows, latents, facts)

    return store.build(
        KIND,
        how.get("name")
        or artifact_name(f"tiny-picks.{checkpoint.label}.{suite.name}.s{found.seed}"),
        identity(store, checkpoint, settings),
        make,
        upstream={"reference": checkpoint.location} if checkpoint.kind == "train" else None,
        seeds={"pairs": found.seed},
        config={"checkpoint": checkpoint.to_json(), "temperature": found.temperature},
        device=device_name(where),
        exclude=("parts/*",),
    )


def _sampled(
    work: Work,
    sampler: Any,
    prompts: tuple[Prompt, ...],
    seed: int,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, np.ndarray]:
    """Return `first`, `second` (N, C, h, w) and `scores` (N, 2) of all prompts."""
    import torch

    from bench.data.parts import Parts
    from bench.data.texts import stored

    parts: list[dict[str, np.ndarray]] = []
    drawn = Parts(work, "drawn")
    for number, start in enumerate(range(0, len(prompts), PROMPTS_PER_PART)):
        some = prompts[start : start + PROMPTS_PER_PART]
        part = drawn.read(number, len(some))
        if part is None:
            jobs = [(prompt, ordinal) for ordinal in (0, 1) for prompt in some]
            latents, scores = [], []
            for first in range(0, len(jobs), batch_size):
                batch = jobs[first : first + batch_size]
                condition = sampler.texts.many([prompt.text for prompt, _ in batch])
                seeds = [image_seed(prompt.text, ordinal, seed) for prompt, ordinal in batch]
                made = sampler.latents(condition, seeds)
                latents.append(made)
                pictures = sampler.pixels(made)
                scores += [
                    world_score(picture, meaning_of(prompt))
                    for picture, (prompt, _) in zip(pictures, batch, strict=True)
                ]
            both = stored(torch.cat(latents))
            marks = np.array(scores, dtype=np.float64).reshape(2, len(some)).T
            arrays = {"first": both[: len(some)], "second": both[len(some) :], "scores": marks}
            write_safetensors(work, drawn.name(number), arrays)
            part = read_safetensors(drawn.seal(number))
        parts.append(part)
        if progress:
            progress(start + len(some), len(prompts))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _judged(
    prompts: tuple[Prompt, ...], scores: np.ndarray, settings: PickSettings
) -> tuple[list[StoredRow], list[tuple[int, tuple[str, str]]], dict[str, Any]]:
    """Return the rows, where the winner and loser of each are, and the measured noise."""
    from bench.training.randomness import CounterStream, Sample

    moods = CounterStream(settings.seed, "judge", 0).uniform(
        [Sample(n, 0) for n in range(len(prompts))]
    )
    rows: list[StoredRow] = []
    places: list[tuple[int, tuple[str, str]]] = []
    flipped = 0
    for n, (prompt, mood) in enumerate(zip(prompts, moods.tolist(), strict=True)):
        first, second = (float(score) for score in scores[n])
        verdict = judge(first, second, mood, settings)
        if verdict.label_0 == 0.5:
            continue
        slots = ("first", "second") if verdict.label_0 == 1.0 else ("second", "first")
        marks = (first, second) if verdict.label_0 == 1.0 else (second, first)
        flipped += verdict.flipped
        rows.append(
            StoredRow(
                id=f"{len(rows):06d}",
                prompt=prompt.text,
                prompt_id=prompt.id,
                notes={
                    "score_winner": round(marks[0], 6),
                    "score_loser": round(marks[1], 6),
                    "flipped": verdict.flipped,
                },
            )
        )
        places.append((n, slots))
    if not rows:
        raise BenchError(
            f"all {len(prompts)} pairs are ties; lower tie_margin ({settings.tie_margin}), or take "
            "more prompts."
        )
    facts = {
        "compared": len(prompts),
        "ties": len(prompts) - len(rows),
        "tie_share": 1.0 - len(rows) / len(prompts),
        "flipped": flipped,
        "flipped_share": flipped / len(rows),
        "temperature": settings.temperature,
        "tie_margin": settings.tie_margin,
        "score_mean": float(scores.mean()),
        "score_gap_mean": float(np.abs(scores[:, 0] - scores[:, 1]).mean()),
    }
    return rows, places, facts
