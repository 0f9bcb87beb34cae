"""A table as a value: cells, verdicts, pictures, and the forms it can be shown in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import unknown
from bench.executors.outcome import Failure, Outcome
from bench.harness.records import frame
from bench.read.pictures import read_picture
from bench.report.model import CellData, Summary
from bench.report.stored import Report, command_of, read_report, write_report
from bench.stats import Verdict
from bench.steps.graph import Graph

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure
    from PIL.Image import Image


@dataclass(frozen=True, kw_only=True)
class TableResult:
    """What `run` returns.

    Attributes:
        stored: the report as it was made or found.
        folder: where it lies.
        graph: the steps it was made by; empty for a table that was only opened.
        outcome: what was made, and what failed.
        pictures: PNG files by name, such as `samples.png`.
        written: whether it was written now; else it was there before.
    """

    stored: Report
    folder: Path
    graph: Graph = field(default_factory=Graph)
    outcome: Outcome = field(default_factory=Outcome)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    written: bool = False

    @cached_property
    def report(self) -> Report:
        """The report with its per-image values, read where they were not."""
        return self.stored if self.written else read_report(self.folder)

    @property
    def cells(self) -> tuple[CellData, ...]:
        """One per row, column, training seed and noise seed, in table order."""
        return self.report.data.cells

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What the numbers say of each claim of the paper, in the table's order."""
        return self.stored.statistics.verdicts

    def value(self, row: str, column: str) -> Summary:
        """Return the value of a row and column, over its seeds (KeyError: there is none)."""
        return self.stored.statistics.value(row, column)

    @property
    def failures(self) -> dict[str, Failure]:
        """What failed itself, by the step's label."""
        return {self.graph[key].label: found for key, found in self.outcome.causes.items()}

    def render(self, form: str = "terminal") -> str:
        """Return it as `"terminal"`, `"md"`, `"csv"`, `"json"`, `"tex"` or `"html"`."""
        if form == "html":
            from bench.report.stored import captioned

            return self.stored.render(form, captioned(self.pictures))
        return self.stored.render(form)

    def picture(self, name: str = "samples.png") -> Image:
        """Return one of its pictures.

        Raises:
            UsageError: it has none of that name.
        """
        if name not in self.pictures:
            raise unknown("picture", name, self.pictures)
        return read_picture(self.pictures[name], name).image

    def figure(self, column: str) -> Figure:
        """Return a column as a matplotlib figure: a point and its interval a row.

        Raises:
            PrerequisiteError: matplotlib is not installed.
            UsageError: there is no such column, or none of its rows was measured.
        """
        from bench.harness.figure import forest_figure

        return forest_figure(self.stored.data, self.stored.statistics, column)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the cells as a frame, one line each.

        Raises:
            PrerequisiteError: pandas is not installed.
        """
        return frame([_line(cell) for cell in self.cells])

    def save(self, folder: Path | str) -> list[Path]:
        """Write the table in all its forms, its records and pictures, and return the files.

        Raises:
            StoreError: the folder cannot be written.
            BenchError: the records are larger than may be committed.
        """
        command = command_of(self.report.data.command)
        return write_report(self.report, Path(folder), command, self.pictures)

    def __str__(self) -> str:
        return self.render()

    def _repr_markdown_(self) -> str:
        return self.render("md")


def _line(cell: CellData) -> dict[str, Any]:
    found = cell.estimate
    return {
        "row": cell.row,
        "column": cell.column,
        "training_seed": cell.training_seed,
        "noise_seed": cell.noise_seed,
        "state": cell.state,
        "value": None if found is None else found.value,
        "stderr": None if found is None else found.stderr,
        "low": None if found is None else found.low,
        "high": None if found is None else found.high,
        "images": None if found is None else found.n,
        "reason": cell.reason,
    }
