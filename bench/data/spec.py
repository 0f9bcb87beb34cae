"""Which pairs a set holds and what it is, before anything is sampled. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from bench.api.errors import UsageError, unknown
from bench.api.generation import GenerationSpec, image_seed
from bench.api.prompts import Prompt, PromptSuite
from bench.data.perturbation import PERTURBATIONS, Rule
from bench.data.perturbation.rule import Immediate, Pick
from bench.generation.checkpoint import CheckpointRef
from bench.generation.image_set import spec_identity, suite_identity
from bench.read.names import artifact_name
from bench.store import Store

VERSION = 1
"""Bumped when the pairs of unchanged settings may change."""

KIND = "pairs"

TEXTS_AUTO, TEXTS_STORED, TEXTS_MADE = TEXTS = ("auto", "stored", "encoded")
"""Whether a set stores embeddings of its texts, or they are made when it is read: by default they
are stored where they take no more than `STORED_BYTES`. No number depends on it."""

STORED_BYTES = 4_000_000_000


def texts_fit(choice: str, size: int) -> bool:
    """Whether embeddings of `size` bytes are stored.

    Raises:
        UsageError: the choice is none of `TEXTS`.
    """
    if choice not in TEXTS:
        raise unknown("texts", choice, TEXTS)
    return choice == TEXTS_STORED or (choice == TEXTS_AUTO and size <= STORED_BYTES)


@dataclass(frozen=True, kw_only=True)
class PairSpec:
    """How pairs are made from prompts.

    Attributes:
        generation: how winners and losers are sampled.
        min_words: shorter prompts are left out.
        perturbation: name of the rule that makes the degraded prompt.
        seed: of the rule and of the images; 0 is a seed like any other.
        perturbation_options: settings of the rule; see `bench.data.perturbation.options`.
        losers: whether losers are sampled. Methods whose pairing makes losers out of winners
            need none, and the set costs half.
    """

    generation: GenerationSpec
    min_words: int = 6
    perturbation: str = "rand-removal"
    seed: int = 0
    perturbation_options: Mapping[str, Any] = field(default_factory=dict)
    losers: bool = True

    def rule(self) -> Rule:
        """Return the perturbation.

        Raises:
            UsageError: there is none of that name.
        """
        if self.perturbation not in PERTURBATIONS:
            raise unknown("perturbation", self.perturbation, PERTURBATIONS)
        return PERTURBATIONS[self.perturbation]

    def identity(self, store: Store | None = None) -> dict[str, Any]:
        """Return the JSON-able mapping that enters an artifact's hash.

        Args:
            store: where hashes of a language model's files are remembered; without one they are
                left out, and the model enters by its name.

        Raises:
            UsageError: a setting is unknown or out of range.
            PrerequisiteError: the rule's model is not on this machine.
        """
        if self.generation.negative != "none":
            raise UsageError(
                f"pairs are sampled with negative {self.generation.negative!r}; that is a setting "
                "of images that are scored. Leave it out of pairs.generation."
            )
        return {
            "generation": spec_identity(self.generation),
            "min_words": self.min_words,
            "perturbation": self.rule().identity(self.perturbation_options, store),
            "seed": self.seed,
            # sets with losers keep the identity they had before there were others
            **({} if self.losers else {"losers": False}),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRow:
    """One pair before its images: `seed` is that of both images."""

    id: str
    prompt_id: str
    prompt: str
    degraded: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class PairPlan:
    """The pairs of a set, in order.

    Attributes:
        rows: one per pair.
        prompts: the suite's prompt of each row.
        texts: the distinct prompts and degraded prompts, in order of first appearance.
        dropped: prompts left out, because they are short or the rule gives nothing.
    """

    rows: tuple[PairRow, ...]
    prompts: tuple[Prompt, ...]
    texts: tuple[str, ...]
    dropped: int


def long_enough(suite: PromptSuite, spec: PairSpec) -> list[Prompt]:
    """Return the prompts that are not left out for their length."""
    return [prompt for prompt in suite if len(prompt.text.split()) >= spec.min_words]


def plan_pairs(suite: PromptSuite, spec: PairSpec, pick: Pick | None = None) -> PairPlan:
    """Return the pairs of a suite: a function of each prompt's text and the seed alone.

    Args:
        suite: the prompts.
        spec: the settings.
        pick: what the rule prepared; a rule that asks no model needs none.

    Raises:
        UsageError: no prompt is left, or the perturbation is unknown.
    """
    rule = spec.rule()
    if pick is None:
        if not isinstance(rule, Immediate):
            raise UsageError(
                f"perturbation {rule.name} is prepared first: call its prepare(), and pass on "
                "what it returns."
            )
        pick = rule.picked(spec.perturbation_options)
    rows: list[PairRow] = []
    prompts: list[Prompt] = []
    for prompt in long_enough(suite, spec):
        degraded = pick(prompt.text, Random(f"{spec.seed}\x1f{rule.name}\x1f{prompt.text}"))
        if degraded is None:
            continue
        rows.append(
            PairRow(
                id=f"{len(rows):06d}",
                prompt_id=prompt.id,
                prompt=prompt.text,
                degraded=degraded,
                seed=image_seed(prompt.text, 0, spec.seed),
            )
        )
        prompts.append(prompt)
    if not rows:
        raise UsageError(
            f"none of the {len(suite)} prompts of {suite.name} has {spec.min_words} words and a "
            f"version degraded by {rule.name}; lower min_words or choose another suite."
        )
    return PairPlan(
        rows=tuple(rows),
        prompts=tuple(prompts),
        texts=distinct(text for row in rows for text in (row.prompt, row.degraded)),
        dropped=len(suite) - len(rows),
    )


def distinct(texts: Iterable[str]) -> tuple[str, ...]:
    """Return each text once, in order of first appearance."""
    return tuple(dict.fromkeys(texts))


def pair_set_name(reference: CheckpointRef, suite: PromptSuite, spec: PairSpec) -> str:
    """Return the name a pair set is given where the caller gives none."""
    return artifact_name(f"{reference.label}.{suite.name}.{spec.perturbation}.s{spec.seed}")


def pair_set_identity(
    store: Store, reference: CheckpointRef, suite: PromptSuite, spec: PairSpec
) -> dict[str, Any]:
    """Return the identity of a pair set.

    Raises:
        PrerequisiteError: the checkpoint is not on this machine.
        UsageError: a setting is unknown or out of range.
    """
    return {
        "version": VERSION,
        "reference": reference.identity(store),
        "suite": suite_identity(suite),
        "spec": spec.identity(store),
    }
