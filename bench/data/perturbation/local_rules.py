"""Rules that ask no model and have options, or look at the other prompts. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Unpack

from bench.api.errors import UsageError
from bench.config import construct
from bench.data.perturbation import rand_removal
from bench.data.perturbation.rule import How, Pick, identity_without_options
from bench.store import Store


@dataclass(frozen=True, kw_only=True)
class RemovalOptions:
    """The share of words that rand-removal takes out: uniform from `least` to `most`.

    Raises:
        UsageError: they are no shares, or in the wrong order.
    """

    least: float = rand_removal.LEAST_RATIO
    most: float = rand_removal.MOST_RATIO

    def __post_init__(self) -> None:
        if not 0.0 <= self.least <= self.most < 1.0:
            raise UsageError(
                f"rand-removal: least is {self.least!r} and most {self.most!r}; expected shares of "
                "the words, 0 <= least <= most < 1."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class RandRemoval:
    """`rand_removal.pick` as a rule, with `RemovalOptions`."""

    name: str = "rand-removal"
    version: int = rand_removal.VERSION

    def identity(self, options: Mapping[str, Any], store: Store | None = None) -> dict[str, Any]:
        """Return name, version and shares that are not the published; see `Rule.identity`."""
        found = self._options(options)
        own = {} if found == RemovalOptions() else {"least": found.least, "most": found.most}
        return {"name": self.name, "version": self.version, **own}

    def prepare(
        self, store: Store, texts: Sequence[str], options: Mapping[str, Any], **how: Unpack[How]
    ) -> Pick:
        """Return what degrades one prompt; see `Rule.prepare`."""
        return self.picked(options)

    def picked(self, options: Mapping[str, Any]) -> Pick:
        """Return `rand_removal.pick` with the options' shares; see `Immediate.picked`."""
        found = self._options(options)
        return partial(rand_removal.pick, least=found.least, most=found.most)

    def _options(self, options: Mapping[str, Any]) -> RemovalOptions:
        return construct(RemovalOptions, dict(options), f"perturbation {self.name}")


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherPrompt:
    """Another prompt of the set in the degraded one's place, each with the same chance.

    What a degraded prompt is worth beside one that is merely wrong; published by nobody.
    """

    name: str = "other-prompt"
    version: int = 1

    def identity(self, options: Mapping[str, Any], store: Store | None = None) -> dict[str, Any]:
        """Return name and version; see `Rule.identity`."""
        return identity_without_options(self, options)

    def prepare(
        self, store: Store, texts: Sequence[str], options: Mapping[str, Any], **how: Unpack[How]
    ) -> Pick:
        """Return what draws another of `texts`; see `Rule.prepare`."""
        self.identity(options)
        all_texts = tuple(dict.fromkeys(texts))

        def pick(prompt: str, rng: Random) -> str | None:
            others = len(all_texts) - (prompt in all_texts)
            if others == 0:
                return None
            while (drawn := rng.choice(all_texts)) == prompt:
                pass
            return drawn

        return pick
