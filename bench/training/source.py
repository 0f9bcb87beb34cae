"""Where the training loop gets its pairs from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from bench.api.errors import UsageError
from bench.api.method import Batch, Condition
from bench.backbones.condition import condition_to, select_condition
from bench.training.randomness import Sample, coin

_HASHED_AT_ONCE = 256


class PairSource(Protocol):
    """Random access to preference pairs.

    A source may also have an `identity` attribute, a JSON-able mapping of what can change its
    content (a hash of the pairs, say); a run resumes only on a source with an equal one. Of a
    source without it all pairs are read and hashed, see `source_identity`.
    """

    def __len__(self) -> int:
        """Return the number of pairs."""

    def batch(self, indices: Sequence[int], device: torch.device) -> Batch:
        """Return the pairs at `indices` on `device`, in that order; an index may occur twice.

        Latents are float32 and already multiplied by the VAE's scaling factor.
        """


@dataclass(frozen=True, kw_only=True)
class Visits:
    """Which pairs an optimiser step visits: what a source's random choices are keyed by.

    Attributes:
        seed: of the run.
        step: optimiser step.
        samples: B visits.
    """

    seed: int
    step: int
    samples: Sequence[Sample]

    @property
    def indices(self) -> list[int]:
        """The pairs, in order."""
        return [sample.index for sample in self.samples]


@runtime_checkable
class VisitedSource(Protocol):
    """A source whose batch depends on the visit, not on the pairs alone.

    Attributes:
        pairing: see `bench.api.method.DataNeeds`.
    """

    pairing: str

    def visited(self, visits: Visits, device: torch.device) -> Batch:
        """Return the pairs of B visits on `device`, in that order: a function of the visits."""


@runtime_checkable
class AugmentedSource(Protocol):
    """A source that may draw its images anew at every visit (`bench.data.augmentation`)."""

    def augmented(
        self, indices: Sequence[int], visits: Visits, device: torch.device, *, stream: str = ""
    ) -> Batch:
        """Return the pairs at `indices` on `device`, in that order, drawn for as many visits.

        Args:
            indices: B pairs, those of the visits or others.
            visits: B visits: with `stream`, what the draws are keyed by.
            device: where the batch goes.
            stream: prefix of the random streams; another one for further images of a visit.
        """


def read_visits(source: PairSource, visits: Visits, device: torch.device) -> Batch:
    """Return the pairs of B visits, from any kind of source."""
    if isinstance(source, VisitedSource):
        return source.visited(visits, device)
    return read_at(source, visits.indices, visits, device)


def read_at(
    source: PairSource,
    indices: Sequence[int],
    visits: Visits,
    device: torch.device,
    *,
    stream: str = "",
) -> Batch:
    """Return B given pairs as B visits find them; arguments as `AugmentedSource.augmented`."""
    if isinstance(source, AugmentedSource):
        return source.augmented(indices, visits, device, stream=stream)
    return source.batch(indices, device)


def source_identity(source: PairSource) -> Mapping[str, Any]:
    """Return what can change a source's content: what it says of itself, else a hash of all pairs.

    Two sources of unlike pairs never have an equal one, so a run does not go on with other pairs.
    """
    own: Mapping[str, Any] | None = getattr(source, "identity", None)
    return {"pairs_sha256": pairs_sha256(source)} if own is None else own


def pairs_sha256(source: PairSource) -> str:
    """Return a hash over the tensors of all pairs of a source, in their order."""
    digest = hashlib.sha256()
    for start in range(0, len(source), _HASHED_AT_ONCE):
        samples = [Sample(n, 0) for n in range(start, min(start + _HASHED_AT_ONCE, len(source)))]
        visits = Visits(seed=0, step=0, samples=samples)
        batch = read_visits(source, visits, torch.device("cpu"))
        for field in fields(batch):
            _hash_into(digest, field.name, getattr(batch, field.name))
    return digest.hexdigest()


def _hash_into(digest: Any, name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for key in sorted(value):
            _hash_into(digest, f"{name}.{key}", value[key])
    elif isinstance(value, Tensor):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        flat = value.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    elif value is not None:
        digest.update(f"{name} {value!r}\n".encode())


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorPairs:
    """N pairs in memory.

    Attributes:
        winner, loser: (N, C, H, W) scaled latents; `loser` may be None.
        condition: of the prompts c; each tensor's first axis has length N.
        degraded: of the degraded prompts c⁻, or None.
        identity_degraded: control row: c⁻ is c, so DDSPO has nothing to learn.
        shuffle_seed: control row: winner and loser change places in a random half of the pairs.
    """

    winner: Tensor
    loser: Tensor | None
    condition: Condition
    degraded: Condition | None = None
    identity_degraded: bool = False
    shuffle_seed: int | None = None

    def __post_init__(self) -> None:
        sizes = {"winner": len(self.winner)}
        sizes |= {} if self.loser is None else {"loser": len(self.loser)}
        sizes |= {f"condition.{k}": len(v) for k, v in self.condition.items()}
        sizes |= {f"degraded.{k}": len(v) for k, v in (self.degraded or {}).items()}
        if len(set(sizes.values())) != 1:
            raise UsageError(f"the tensors of a pair set have unlike lengths: {sizes}.")

    def __len__(self) -> int:
        return len(self.winner)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The options and a hash of the tensors, which must not change from here on."""
        digest = hashlib.sha256()
        for name in ("winner", "loser", "condition", "degraded"):
            _hash_into(digest, name, getattr(self, name))
        return {
            "pairs": len(self),
            "sha256": digest.hexdigest(),
            "identity_degraded": self.identity_degraded,
            "shuffle_seed": self.shuffle_seed,
        }

    def batch(self, indices: Sequence[int], device: torch.device) -> Batch:
        """Return the pairs at `indices` on `device`."""
        rows = torch.as_tensor(list(indices), dtype=torch.long)
        pairs = Batch(
            winner=self.winner.index_select(0, rows).to(device),
            loser=None if self.loser is None else self.loser.index_select(0, rows).to(device),
            condition=condition_to(select_condition(self.condition, rows), device),
            degraded=None
            if self.degraded is None
            else condition_to(select_condition(self.degraded, rows), device),
            index=rows.to(device),
        )
        return controlled(
            pairs, identity_degraded=self.identity_degraded, shuffle_seed=self.shuffle_seed
        )


def controlled(
    batch: Batch, *, identity_degraded: bool = False, shuffle_seed: int | None = None
) -> Batch:
    """Return the batch as a control row of a table needs it.

    Args:
        batch: B pairs.
        identity_degraded: put c in the place of c⁻: the very same tensors, so that the
            reference's two predictions are one and the gradient at the start is exactly zero.
        shuffle_seed: exchange the images of winner and loser in each pair with probability
            one half, keyed by (seed, pair index). c and c⁻ stay with their slots.

    Raises:
        UsageError: there are no losers to exchange winners with.
    """
    if identity_degraded:
        batch = replace(batch, degraded=batch.condition)
    if shuffle_seed is not None:
        if batch.loser is None:
            raise UsageError(
                "winners and losers cannot be shuffled: these pairs have no losers; leave this "
                "control out for them."
            )
        swap = torch.tensor(
            [coin(shuffle_seed, "shuffle", int(i)) for i in batch.index.tolist()],
            device=batch.winner.device,
        ).view(-1, *[1] * (batch.winner.ndim - 1))
        batch = replace(
            batch,
            winner=torch.where(swap, batch.loser, batch.winner),
            loser=torch.where(swap, batch.winner, batch.loser),
        )
    return batch
