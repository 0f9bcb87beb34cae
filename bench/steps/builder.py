"""The graph while it is made: profile, store, rows, and what is missing on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.api.errors import BenchError, PrerequisiteError
from bench.generation.checkpoint import CheckpointRef
from bench.generation.held import HeldWeights
from bench.spec.profile import Profile
from bench.spec.table import RowSpec
from bench.steps.graph import Graph
from bench.store import Source, Store


class NotExpressibleError(BenchError):
    """The profile has nothing this cell could be measured with: it is `n/a`, not a failure."""


class NotRunError(NotExpressibleError):
    """Weights of others that the row needs are not on this machine: it is not run."""


@dataclass(kw_only=True)
class GraphBuilder:
    """A graph that grows: what every kind of step needs to add its own.

    Attributes:
        profile: see `bench.spec.profile`.
        store: where hashes of checkpoints are remembered.
        graph: where steps go.
        rows: of the table, by key: what a row's `start` may name.
        missing: prerequisites that were not there, by what they are for. Steps made from them
            carry a placeholder in their identity: the graph can be shown, not run.
        made: ids of steps by what asked for them, for all columns of a row ask for one training.
    """

    profile: Profile
    store: Store
    graph: Graph
    rows: Mapping[str, RowSpec] = field(default_factory=dict)
    missing: dict[str, PrerequisiteError] = field(default_factory=dict)
    made: dict[tuple[Any, ...], str] = field(default_factory=dict, repr=False)
    _identities: dict[CheckpointRef, Mapping[str, Any] | None] = field(
        default_factory=dict, repr=False
    )

    def base(self) -> CheckpointRef:
        """Return the profile's checkpoint."""
        spec = self.profile.checkpoint
        return CheckpointRef(kind=spec.kind, location=spec.location, revision=spec.revision)

    def known(self, checkpoint: CheckpointRef) -> bool:
        """Whether the checkpoint is on this machine; remembers what is missing otherwise."""
        return self._identity(checkpoint) is not None

    def _identity(self, checkpoint: CheckpointRef) -> Mapping[str, Any] | None:
        """Return what a checkpoint hashes to, looked at once a graph; None where it is missing."""
        if checkpoint not in self._identities:
            try:
                self._identities[checkpoint] = checkpoint.identity(self.store)
            except PrerequisiteError as error:
                self.missing.setdefault(checkpoint.location, error)
                self._identities[checkpoint] = None
        return self._identities[checkpoint]

    def held(self, *checkpoints: CheckpointRef | None) -> tuple[HeldWeights, ...]:
        """Return what is to be compared again of the checkpoints that a step is made with.

        A training's result is sealed in the store; what it is put into is compared. What is
        missing is left out: such a step is not made.
        """
        found: dict[CheckpointRef, HeldWeights] = {}
        for checkpoint in checkpoints:
            ref = checkpoint
            while ref is not None and ref.kind == "train":
                ref = ref.base
            if ref is not None and (identity := self._identity(ref)) is not None:
                found[ref] = HeldWeights(checkpoint=ref, identity=identity)
        return tuple(found.values())

    def adapters(self, *checkpoints: CheckpointRef | None) -> tuple[Source, ...]:
        """Return the code of third parties by which a step loads checkpoints, see `Step.sources`.

        A training without a base of its own is of the profile's. What is missing is left out.
        """
        found: dict[tuple[str, ...], Source] = {}
        for checkpoint in checkpoints:
            whole = checkpoint
            while whole is not None and whole.base is not None:
                whole = whole.base
            if whole is not None and whole.kind == "train":
                whole = self.base()
            if whole is not None and self.known(whole):
                found |= {source.roots: source for source in whole.sources()}
        return tuple(found.values())
