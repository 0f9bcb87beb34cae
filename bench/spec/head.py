"""What every profile says, whatever a table's samples are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.api.errors import UsageError
from bench.read.names import one_line
from bench.spec.noise import SHARED


@dataclass(frozen=True, kw_only=True)
class ProfileHead:
    """The part of a profile that all tables read.

    Attributes:
        name: file name without ending; with it where a shipped profile is called so.
        title: one line.
        protocol: name of the protocol used unless `--protocol` says otherwise.
        sampling_seed: of all samples of the table; the first of them with noise per seed.
        noise: `"shared"` by all training seeds, or `"per-seed"`; see `bench.spec.noise`.
        orientation: the published numbers are of another world and stand for orientation only.
        device: `"auto"`, `"cpu"`, `"cuda"`.
        batch_sizes: `generation` and `prediction`: no number depends on them beyond rounding.
        overrides: what `--set` changed.
    """

    name: str
    title: str
    protocol: str
    sampling_seed: int = 0
    noise: str = SHARED
    orientation: bool = False
    device: str = "auto"
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what in ("name", "title", "protocol"):
            one_line(str(getattr(self, what)), f"the profile's {what}")
        if self.sampling_seed < 0:
            raise UsageError(f"sampling_seed is {self.sampling_seed}; expected a number from 0.")

    def batch_size(self, what: str) -> int:
        """Return samples per forward in `"generation"` or `"prediction"`."""
        return int(self.batch_sizes.get(what, 32))

    def nested(self) -> dict[str, Any]:
        """Return the settings that `--set` may change, for suggestions."""
        return {k: v for k, v in asdict(self).items() if k not in ("name", "overrides", "asked")}

    def to_json(self) -> dict[str, Any]:
        """Return what a table says of its profile."""
        return {
            "name": self.name,
            "title": self.title,
            "protocol": self.protocol,
            "noise": self.noise,
            "overrides": list(self.overrides),
        }
