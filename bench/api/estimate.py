"""A measured number with its uncertainty."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A value, its standard error and a 95 % interval *given these images*.

    Attributes:
        value: the point estimate.
        stderr: standard error, or None where none can be given.
        low, high: 95 % interval, or None.
        n: number of images behind the value.
        clusters: number of independent clusters (prompts), or None.
        interval: how the interval was made, e.g. `"prompt-bootstrap"`, `"block-jackknife"`.
    """

    value: float
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    clusters: int | None = None
    interval: str = "none"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Estimate:
        """Read what `to_json` wrote; unknown keys raise TypeError."""
        return cls(**data)
