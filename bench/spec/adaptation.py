"""What a table changes in a profile: the base it is about, the metric of a column.

Table 2b is about SDXL, the paper profile about SD-1.4; PickScore is named after its prompts, which
are others in the tiny world. A table file says so by profile:

    profiles:
      paper:
        settings: {checkpoint: {location: stabilityai/stable-diffusion-xl-base-1.0}}
      tiny:
        columns: {Pick: {metric: raw/tiny}}

The names are those of profiles; what is said of one holds for those that extend it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.api.errors import UsageError, did_you_mean
from bench.config import construct, mapping

COLUMN_KEYS = ("metric", "per_image", "decimals", "label")


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """What a table changes in one profile.

    Attributes:
        settings: of the profile, nested as in its file; mappings are merged, all else is replaced.
        columns: by column key, changes of `COLUMN_KEYS`.
        scales: by row key, the guidance scale at which its planned claims' metric is best.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for column, changes in self.columns.items():
            for key in changes:
                if key not in COLUMN_KEYS:
                    hint = did_you_mean(key, COLUMN_KEYS)
                    raise UsageError(f"unknown key 'columns.{column}.{key}'.{hint}")
        for row, scale in self.scales.items():
            if isinstance(scale, bool) or not isinstance(scale, int | float) or not scale >= 1:
                raise UsageError(f"scales.{row} is {scale!r}; expected a guidance scale from 1.")


def read_adaptations(data: Any, where: str) -> dict[str, Adaptation]:
    """Read a table's `profiles` (UsageError naming the key otherwise)."""
    found = {}
    for name, entry in mapping(data, where).items():
        given = mapping(entry, f"{where}.{name}")
        columns = mapping(given.get("columns", {}), f"{where}.{name}.columns")
        given["settings"] = mapping(given.get("settings", {}), f"{where}.{name}.settings")
        given["columns"] = {
            key: mapping(changes, f"{where}.{name}.columns.{key}")
            for key, changes in columns.items()
        }
        given["scales"] = mapping(given.get("scales", {}), f"{where}.{name}.scales")
        found[name] = construct(Adaptation, given, f"{where}.{name}")
    return found
