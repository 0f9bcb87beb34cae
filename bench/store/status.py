"""What the store knows about one artifact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["complete", "partial", "missing", "corrupt", "stale"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What the store knows about one artifact.

    Attributes:
        state: `complete`; `corrupt` (published, but damaged); `partial` (interrupted, or being
            made); `stale` (only results of another identity under the same name exist, or
            what it was made from has changed, see `bench.store.surroundings`); `missing`.
        reason: one sentence; empty when complete.
        changes: for `stale`, the lines of `diff_identity` against the newest such result.
    """

    state: State
    reason: str = ""
    changes: tuple[str, ...] = ()
