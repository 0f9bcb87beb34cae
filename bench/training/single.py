"""Single images with a label, for methods that take no pairs (Diffusion-KTO).

Each visit shows one image: a desirable one with probability gamma, an undesirable one otherwise,
as Diffusion-KTO's paper has it (section 4.2). Two kinds of sets give them:

- pairs: the visited pair's winner (label +1) or its loser (-1), so an epoch visits each pair once;
- sets that store a label for each image: any image of the drawn label, uniformly and with
  replacement, as the official program's weighted sampler does.

The draw is counted: a function of (seed, stream, optimiser step, visit).

Source: jacklishufan/diffusion-kto@226bbd0:train_kto_sd_v1.5.py `make_weights_for_balanced_classes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from bench.api.errors import UsageError
from bench.api.method import Batch, Method
from bench.training.randomness import CounterStream
from bench.training.source import PairSource, Visits, read_at, read_visits, source_identity


def for_method(source: PairSource, method: Method) -> PairSource:
    """Return the source as the method takes it: single images where it needs labels.

    Raises:
        UsageError: the set has neither losers nor labels.
    """
    if not method.needs.label:
        return source
    return SingleImages(pairs=source, share=method.desirable_share())


@dataclass(frozen=True, kw_only=True, eq=False)
class SingleImages:
    """Single images of a pair set; a `bench.training.source.VisitedSource`.

    Attributes:
        pairs: the set. Its attribute `labels`, where it has one that is not None, holds the label
            (+1 or -1) of each of its images.
        share: of desirable images, gamma.

    Raises:
        UsageError: the share is no probability, or no image has one of the labels asked for.
    """

    pairs: PairSource
    share: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise UsageError(f"the share of desirable images is {self.share}; expected 0 to 1.")
        if self._by_label is None:
            return
        for label, chance in ((1, self.share), (-1, 1.0 - self.share)):
            if chance > 0 and not len(self._by_label[label]):
                raise UsageError(
                    f"no image of the set has the label {label:+d}, and a share of {chance:g} of "
                    "such images is asked for; use a set with both labels, or set the share of "
                    "desirable images to 1 or 0."
                )

    @property
    def pairing(self) -> str:
        """The pairing of the set below; single images have none of their own."""
        return str(getattr(self.pairs, "pairing", "own"))

    @cached_property
    def _by_label(self) -> dict[int, np.ndarray] | None:
        labels = getattr(self.pairs, "labels", None)
        if labels is None:
            return None
        return {label: np.flatnonzero(np.asarray(labels) == label) for label in (1, -1)}

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def identity(self) -> dict[str, Any]:
        """The set's identity and the share."""
        return {"pairs": source_identity(self.pairs), "desirable_share": self.share}

    def batch(self, indices: Sequence[int], device: torch.device) -> Batch:
        """Raise UsageError: which image is shown depends on the visit; use `visited`."""
        raise UsageError(
            "single images depend on the visit: read them with bench.training.source.read_visits."
        )

    def visited(self, visits: Visits, device: torch.device) -> Batch:
        """Return B single images with their labels on `device`; no losers.

        Raises:
            UsageError: the set has neither losers nor labels.
        """
        drawn = CounterStream(visits.seed, "label", visits.step).uniform(visits.samples)
        desirable = drawn < self.share
        if self._by_label is None:
            batch = read_visits(self.pairs, visits, device)
            if batch.loser is None:
                raise UsageError(
                    "these pairs have neither losers nor labels, so there is no undesirable image; "
                    "use a set of pairs, or one with a label for each image."
                )
            shown = desirable.to(device).view(-1, *[1] * (batch.winner.ndim - 1))
            images = torch.where(shown, batch.winner, batch.loser)
        else:
            place = CounterStream(visits.seed, "image", visits.step).uniform(visits.samples)
            indices = []
            for good, where in zip(desirable.tolist(), place.tolist(), strict=True):
                among = self._by_label[1 if good else -1]
                indices.append(int(among[min(int(where * len(among)), len(among) - 1)]))
            batch = read_at(self.pairs, indices, visits, device)
            images = batch.winner
        label = torch.where(desirable, 1.0, -1.0).to(device, torch.float32)
        return replace(batch, winner=images, loser=None, label=label)
