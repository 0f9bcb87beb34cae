"""What a table of points says: its rows, its columns and its settings. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from bench.api.errors import UsageError, unknown
from bench.read.names import one_line
from bench.spec.head import ProfileHead
from bench.spec.noise import PER_SEED
from bench.spec.request import Request
from bench.spec.table import ColumnSpec, RowSpec
from bench.toy.settings import ToySettings

REFERENCES = {"learned": "", "exact": "exact-"}
"""Where a row's reference comes from -> prefix of the keys of rows that are added."""
METRICS = (
    *("overlap", "accuracy", "energy", "sliced", "outside", "std_ratio", "shift"),
    *("energy_noisy", "energy_best", "energy_equal_cost"),
)
"""What is measured of samples; see `bench.toy.metrics` and `bench.toy.samples`."""


@dataclass(frozen=True, kw_only=True)
class PointRow(RowSpec):
    """A row: a reference network, or a method trained from it.

    Attributes:
        reference: `"learned"` from the noisy data, or `"exact"`: its closed form.
        pairs_per_class: N that the method is trained on.
        tuned: with the settings' `tuned` beta and learning rate, which stand before its note.
    """

    reference: str = "learned"
    pairs_per_class: int = 0
    tuned: bool = False

    def __post_init__(self) -> None:
        one_line(str(self.key), "the row key")
        one_line(str(self.label), "the row label")
        where = f"row {self.key!r}"
        _only(self, RowSpec, {"key", "label", "method", "note", "added"}, where)
        if self.reference not in REFERENCES:
            raise unknown(f"reference of {where}", self.reference, REFERENCES)
        if (self.method is None) != (self.pairs_per_class == 0) or self.pairs_per_class < 0:
            raise UsageError(
                f"{where} has method {self.method} and pairs_per_class {self.pairs_per_class}; "
                "expected at least 1 with a method, and none without."
            )
        if self.tuned and self.method is None:
            raise UsageError(f"{where} is tuned and has no method.")

    @property
    def trained(self) -> bool:
        """Whether the row's network was trained: the closed form alone was not."""
        return self.method is not None or self.reference == "learned"

    @property
    def origin(self) -> str:
        """What makes the row's samples, in a word."""
        return self.method or f"{self.reference} reference"


@dataclass(frozen=True, kw_only=True)
class PointColumn(ColumnSpec):
    """A column: one of `METRICS`, its label the meaning in a sentence."""

    evaluator: str = "toy"

    def __post_init__(self) -> None:
        one_line(str(self.key), "the column key")
        one_line(str(self.label), "the column label")
        where = f"column {self.key!r}"
        kept = {"key", "label", "metric", "higher_is_better", "decimals", "evaluator"}
        _only(self, ColumnSpec, kept, where)
        if self.metric not in METRICS:
            raise unknown(f"metric of {where}", self.metric, METRICS)

    @property
    def shows_parts(self) -> bool:
        """The other metrics of the samples are columns themselves."""
        return False


@dataclass(frozen=True, kw_only=True)
class PointProfile(ProfileHead):
    """The settings of a table of points."""

    name: str = "toy"
    title: str = "2D points"
    protocol: str = "toy"
    noise: str = PER_SEED
    device: str = "cpu"
    settings: ToySettings

    def nested(self) -> dict[str, Any]:
        """Return the settings that `--set` may change, for suggestions."""
        return asdict(self.settings)

    def to_json(self) -> dict[str, Any]:
        """Return what a table says of its profile."""
        tuning = self.settings.finetune
        title = (
            f"{self.title}, beta_half_mean {self.settings.beta:g}, {tuning.steps} steps of "
            f"{tuning.batch} pairs, lr {tuning.lr:g}"
        )
        return {**super().to_json(), "title": title, "checkpoint": "the reference of the same seed"}

    def of_row(self, row: PointRow) -> tuple[dict[str, Any], float | None]:
        """Return what a row's method is made with, and its learning rate where it has its own.

        A method that was added has the settings it comes with.
        """
        if row.method is None or row.added:
            return {}, None
        if not row.tuned:
            return {"beta_half_mean": self.settings.beta}, None
        chosen = self.settings.tuned[row.method]
        return {"beta_half_mean": chosen.beta}, chosen.lr


def points_of(rows: Sequence[RowSpec]) -> list[PointRow]:
    """Return the rows of a table of points."""
    return [row for row in rows if isinstance(row, PointRow)]


def settings_of(request: Request) -> PointProfile:
    """Return the settings of a request for a table of points."""
    assert isinstance(request.profile, PointProfile)
    return request.profile


def _only(entry: RowSpec | ColumnSpec, cls: type, kept: set[str], where: str) -> None:
    """Raise UsageError where an entry has a field that points have no use for."""
    for field in fields(cls):
        if field.name in kept or getattr(entry, field.name) in (field.default, {}, ()):
            continue
        raise UsageError(f"{where}: {field.name} means nothing where samples are points.")
