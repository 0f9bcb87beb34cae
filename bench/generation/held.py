"""Weights that a step is made with, compared again before it is published. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.api.errors import BenchError
from bench.generation.checkpoint import CheckpointRef
from bench.store import Store


class WeightsChangedError(BenchError):
    """A checkpoint was changed since the step that is made with it was asked for (exit 1)."""


@dataclass(frozen=True, kw_only=True)
class HeldWeights:
    """A checkpoint as it was when a step was asked for. Plain JSON-able data.

    Attributes:
        checkpoint: which.
        identity: what it hashed to, see `CheckpointRef.identity`.
    """

    checkpoint: CheckpointRef
    identity: Mapping[str, Any]

    def require_unchanged(self, store: Store) -> None:
        """Compare the checkpoint with what it was; unchanged files are not read again.

        Raises:
            WeightsChangedError: its files hash to something else now.
            PrerequisiteError: it is gone.
        """
        if self.checkpoint.identity(store) != self.identity:
            raise WeightsChangedError(
                f"the weights of {self.checkpoint.location} were changed since the command began; "
                "nothing was published that may have been made with others.\n"
                "  to mend it: leave them alone, and run the same command again"
            )
