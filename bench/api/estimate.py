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
        leave_out: for a jackknife, the metric without each block of prompts: two rows over the
            same blocks can then be compared block by block.
        block_sizes: images of each block.
    """

    value: float
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    clusters: int | None = None
    interval: str = "none"
    leave_out: tuple[float, ...] = ()
    block_sizes: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping; what a jackknife alone has is left out elsewhere."""
        data = asdict(self)
        for name in ("leave_out", "block_sizes"):
            data[name] = list(data[name])
            if not data[name]:
                del data[name]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Estimate:
        """Read what `to_json` wrote; unknown keys raise TypeError."""
        read: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**read)
