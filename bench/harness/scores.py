"""Scores of images as a value: metrics, records, and who measured them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from bench.api.declared import verified_of
from bench.api.estimate import Estimate
from bench.api.registry import BACKENDS
from bench.harness.records import frame, write_results
from bench.report.circular import Selections
from bench.steps.scores import METRICS, RECORDS
from bench.steps.selectors import circular_names
from bench.store import Artifact, Store, read_jsonl
from bench.store.remarks import REMARKS, Remarks

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What `score` returns.

    Attributes:
        artifact: as it is stored.
        evaluator: who measured.
        images: id of what was measured.
        store: where they all are.
        declared: the metrics that the evaluator says it measures, in its order.
    """

    artifact: Artifact
    evaluator: str
    images: str
    store: Store
    declared: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`scores/NAME-HASH`."""
        return self.artifact.id

    @cached_property
    def metrics(self) -> dict[str, Estimate]:
        """By name, as they are stored."""
        found = self.artifact.read_json(METRICS)
        return {name: Estimate.from_json(data) for name, data in found.items()}

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """One per sample, as the evaluator made them."""
        return read_jsonl(self.artifact.file(RECORDS))

    @cached_property
    def measured_by(self) -> dict[str, dict[str, str]]:
        """By role, the back-end's name, how far it was verified, and its variant if it is one.

        Back-ends of others, and votes of people, are named alone.
        """
        known = BACKENDS.entries()
        found = {}
        for role, key in sorted(self.artifact.upstream.items()):
            kind, _, name = role.partition("/")
            if kind != "predictions":
                continue
            backend = self.store.get(str(key)).identity.get("backend")
            if not isinstance(backend, dict):
                continue
            entry = known.get(str(backend["backend"]))
            word = None if entry is None else verified_of(entry, self.evaluator)
            found[name] = {"name": str(backend["backend"]), "verified": word or "not stated"}
            if "variant" in backend:
                found[name]["variant"] = str(backend["variant"])
        return found

    @cached_property
    def circular(self) -> list[str]:
        """The back-ends that measured the images and selected the data behind them."""
        selectors = Selections(store=self.store).behind(self.id)
        if not selectors:
            return []
        measured = {
            role: self.store.get(str(key)).identity["backend"]
            for role, key in self.artifact.upstream.items()
            if role.startswith("predictions/")
        }
        return circular_names(selectors, measured)

    @cached_property
    def remarks(self) -> list[str]:
        """What is to be known beside the numbers, of the images and of how they were measured."""
        return list(Remarks(store=self.store).behind(self.id))

    @property
    def about(self) -> dict[str, Any]:
        """What was measured, and by what."""
        return {
            "evaluator": self.evaluator,
            "artifact": self.id,
            "images": self.images,
            **({"circular": self.circular} if self.circular else {}),
            **({"backends": self.measured_by} if self.measured_by else {}),
            **({REMARKS: self.remarks} if self.remarks else {}),
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Return the records as a frame, one line per sample.

        Raises:
            PrerequisiteError: pandas is not installed.
        """
        return frame(self.records)

    def save(self, folder: Path | str) -> list[Path]:
        """Write metrics and records, as `metrics.json`, `records.jsonl` and `records.parquet`.

        Raises:
            StoreError: the folder cannot be written.
        """
        metrics = self.artifact.read_json(METRICS)
        return write_results(Path(folder), metrics, self.records, about=self.about)

    def _repr_markdown_(self) -> str:
        known = [(name, self.metrics[name]) for name in self.declared if name in self.metrics]
        rows = [
            (name, *("-" if v is None else f"{v:.4f}" for v in (m.value, m.low, m.high)), m.n)
            for name, m in known
        ]
        heads = ("metric", "value", "low", "high", "n")
        return tabulate(rows, headers=heads, tablefmt="pipe", disable_numparse=True)
