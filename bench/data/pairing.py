"""Which image stands for the loser: the efficient variants of DDSPO (section 3.3, Table 3b).

For pair i another pair j != i is drawn, uniformly and anew at each visit, and its winner becomes
the loser of i; nothing is sampled for it. The draw is counted, not stored: it is a function of
(seed, `"pairing"`, optimiser step, visit), so that it does not depend on interruptions,
micro-batches or ranks.

Source of the rules: dohyun-as/DDSPO@cadb5f0:training/dataset.py (`replace_neg_img_with_other_pos`,
`replace_neg_prompt_with_other_pos`, `replace_neg_img_with_same_pos`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from bench.api.errors import UsageError, unknown
from bench.api.method import PAIRINGS, Batch
from bench.data.on_disk import PairsOnDisk
from bench.data.texts import Conditions
from bench.store import Artifact
from bench.training.randomness import CounterStream
from bench.training.source import PairSource, Visits, controlled, read_at, source_identity

STREAM = "pairing"


def open_pairs(
    artifact: Artifact,
    pairing: str = "own",
    *,
    identity_degraded: bool = False,
    shuffle_seed: int | None = None,
    encode: Conditions | None = None,
) -> PairSource:
    """Return a stored pair set as a method that needs `pairing` reads it.

    Args:
        artifact: of kind `"pairs"`.
        pairing: see `bench.api.method.DataNeeds`.
        identity_degraded, shuffle_seed: control rows; see `bench.training.source.controlled`.
        encode: see `PairsOnDisk`.

    Raises:
        UsageError: the artifact or the pairing is of another kind, or a single pair has no other.
        CorruptArtifactError: the artifact's bytes were changed.
    """
    if pairing == "own":
        return PairsOnDisk(
            artifact,
            identity_degraded=identity_degraded,
            shuffle_seed=shuffle_seed,
            encode=encode,
        )
    return RePaired(
        pairs=PairsOnDisk(artifact, encode=encode),
        pairing=pairing,
        identity_degraded=identity_degraded,
        shuffle_seed=shuffle_seed,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class RePaired:
    """Pairs whose losers are winners; a `bench.training.source.VisitedSource`.

    Attributes:
        pairs: where winners, prompts and degraded prompts come from. Its losers are not looked
            at: it need not have any.
        pairing: one of `PAIRINGS` but `"own"`.
        identity_degraded, shuffle_seed: controls, applied to the pairs that were made.

    Raises:
        UsageError: the pairing is unknown, or a single pair has no other.
    """

    pairs: PairSource
    pairing: str
    identity_degraded: bool = False
    shuffle_seed: int | None = None

    def __post_init__(self) -> None:
        if self.pairing not in PAIRINGS[1:]:
            raise unknown("pairing", self.pairing, PAIRINGS[1:])
        if self.pairing != "one-image" and len(self.pairs) < 2:
            raise UsageError(
                f"pairing {self.pairing!r} takes the loser from another pair, and the set holds "
                f"{len(self.pairs)}; expected two or more."
            )

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def identity(self) -> dict[str, Any]:
        """The inner source's identity, the pairing and the controls."""
        return {
            "pairs": source_identity(self.pairs),
            "pairing": self.pairing,
            "identity_degraded": self.identity_degraded,
            "shuffle_seed": self.shuffle_seed,
        }

    def batch(self, indices: Sequence[int], device: torch.device) -> Batch:
        """Raise UsageError: which image is the loser depends on the visit; use `visited`."""
        raise UsageError(
            f"pairs with pairing {self.pairing!r} depend on the visit: read them with "
            "bench.training.source.read_visits."
        )

    def visited(self, visits: Visits, device: torch.device) -> Batch:
        """Return the pairs of B visits on `device`, losers put in."""
        batch = read_at(self.pairs, visits.indices, visits, device)
        if self.pairing == "one-image":
            batch = replace(batch, loser=batch.winner)
        else:
            drawn = others(visits, len(self.pairs))
            other = read_at(self.pairs, drawn, visits, device, stream="other-")
            batch = replace(batch, loser=other.winner)
            if self.pairing == "rand-positive":
                batch = replace(batch, degraded=other.condition)
        return controlled(
            batch, identity_degraded=self.identity_degraded, shuffle_seed=self.shuffle_seed
        )


def others(visits: Visits, count: int) -> list[int]:
    """Return for each visit the pair j != i that lends its winner, uniform over the others.

    Args:
        visits: B visits.
        count: pairs in the set, at least 2.
    """
    uniform = CounterStream(visits.seed, STREAM, visits.step).uniform(visits.samples)
    drawn = (uniform * (count - 1)).long().clamp_(max=count - 2)
    # skipping i itself leaves the others equally likely, and no draw is thrown away
    return [
        j + (j >= sample.index) for j, sample in zip(drawn.tolist(), visits.samples, strict=True)
    ]
