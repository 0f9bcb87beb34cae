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
from bench.steps.own_packages import require_own_packages
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

    Raises:
        ContractError: methods or evaluators would be taken from a package of another.
    """

    profile: Profile
    store: Store
    graph: Graph
    rows: Mapping[str, RowSpec] = field(default_factory=dict)
    missing: dict[str, PrerequisiteError] = field(default_factory=dict)
    made: dict[tuple[Any, ...], str] = field(default_factory=dict, repr=False)
    _identities: dict[CheckpointRef, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        require_own_packages()

    def base(self) -> CheckpointRef:
        """Return the profile's checkpoint."""
        spec = self.profile.checkpoint
        return CheckpointRef(kind=spec.kind, location=spec.location, revision=spec.revision)

    def identity(self, checkpoint: CheckpointRef) -> Mapping[str, Any]:
        """Return what a checkpoint hashes to, looked at once a graph.

        Raises:
            PrerequisiteError: it is not on this machine.
            CorruptArtifactError: a shipped one is not what was shipped.
        """
        if checkpoint not in self._identities:
            self._identities[checkpoint] = checkpoint.identity(self.store)
        return self._identities[checkpoint]

    def known(self, checkpoint: CheckpointRef) -> bool:
        """Whether the checkpoint is on this machine; remembers what is missing otherwise."""
        try:
            self.identity(checkpoint)
        except PrerequisiteError as error:
            self.missing.setdefault(checkpoint.location, error)
            return False
        return True

    def loaded(
        self, *checkpoints: CheckpointRef | None
    ) -> tuple[tuple[Source, ...], tuple[HeldWeights, ...]]:
        """Return what is compared again of the checkpoints a step loads: `Step.sources`, the code
        of third parties that loads them, and `Step.weights`.

        A training's result is sealed in the store; what it is put into is compared, the profile's
        base where it says no other. What is missing is left out: such a step is not made.
        """
        sources: dict[tuple[str, ...], Source] = {}
        weights: dict[CheckpointRef, HeldWeights] = {}
        for checkpoint in checkpoints:
            whole = checkpoint
            while whole is not None and whole.kind == "train":
                whole = whole.base or self.base()
            if whole is not None and self.known(whole):
                weights[whole] = HeldWeights(checkpoint=whole, identity=self.identity(whole))
                sources |= {source.roots: source for source in whole.sources()}
        return tuple(sources.values()), tuple(weights.values())
