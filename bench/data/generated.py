"""The kind `generated`: winners and losers sampled from the base model (`bench.data.pairs`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Unpack

from bench.api.prompts import PromptSuite
from bench.data.kinds import How, read_settings
from bench.data.spec import TEXTS_AUTO, PairSpec, pair_set_identity, texts_fit
from bench.generation.checkpoint import CheckpointRef
from bench.generation.image_set import read_spec, read_suite
from bench.store import Artifact, Store


@dataclass(frozen=True, kw_only=True)
class GeneratedSettings:
    """The settings; but for `suite`, those of `bench.data.spec.PairSpec`.

    Attributes:
        suite: the prompts, as `bench.generation.image_set.suite_json` gives them.
        generation: how winners and losers are sampled, as `GenerationSpec.identity()`.
        texts: see `bench.data.spec.TEXTS`.
    """

    suite: Mapping[str, Any]
    generation: Mapping[str, Any]
    min_words: int = 6
    perturbation: str = "rand-removal"
    seed: int = 0
    perturbation_options: Mapping[str, Any] = field(default_factory=dict)
    losers: bool = True
    texts: str = TEXTS_AUTO

    def __post_init__(self) -> None:
        texts_fit(self.texts, 0)


def _read(settings: Mapping[str, Any]) -> tuple[PromptSuite, PairSpec]:
    found = read_settings(GeneratedSettings, settings, "generated")
    spec = PairSpec(
        generation=read_spec(found.generation),
        min_words=found.min_words,
        perturbation=found.perturbation,
        seed=found.seed,
        perturbation_options=found.perturbation_options,
        losers=found.losers,
    )
    return read_suite(found.suite), spec


def identity(
    store: Store, checkpoint: CheckpointRef, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the identity of the pair set; see `bench.data.kinds.PairKind`."""
    return pair_set_identity(store, checkpoint, *_read(settings))


def build(
    store: Store,
    checkpoint: CheckpointRef,
    settings: Mapping[str, Any],
    **how: Unpack[How],
) -> Artifact:
    """Return the pair set, made, or a share of it; see `bench.data.pairs.build_pairs`."""
    from bench.data.pairs import build_pairs

    return build_pairs(
        store,
        checkpoint,
        *_read(settings),
        texts_are=read_settings(GeneratedSettings, settings, "generated").texts,
        **how,
    )
