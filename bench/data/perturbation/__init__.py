"""Rules that turn a prompt into a degraded one, by name. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from bench.data.perturbation import rand_removal


@dataclass(frozen=True, kw_only=True, slots=True)
class Perturbation:
    """A rule.

    Attributes:
        name: what it is asked for by.
        version: bumped when its texts may change.
        pick: (prompt, random numbers) -> a degraded prompt, or None where there is none.
    """

    name: str
    version: int
    pick: Callable[[str, Random], str | None]


PERTURBATIONS: Mapping[str, Perturbation] = {
    "rand-removal": Perturbation(
        name="rand-removal", version=rand_removal.VERSION, pick=rand_removal.pick
    ),
}
