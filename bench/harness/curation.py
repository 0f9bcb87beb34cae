"""Real images with captions in, pairs of a real image and its degraded copy out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.api.registry import DEFAULT_PROFILE
from bench.data.curation.run import Curation as Steps
from bench.data.curation.run import Plan as Plan
from bench.data.curation.settings import CurationSettings, load_settings
from bench.data.curation.table import markdown, report
from bench.executors.numerics import usual_numerics
from bench.harness.repairs import with_repairs
from bench.spec.overrides import dotted_of, require_read
from bench.store import DISK, Store

Told = Callable[[str, int, int], None]
"""Of progress: a step's name, images done, images in all."""


@dataclass(frozen=True, kw_only=True)
class CurationRequest:
    """What is to be curated; None leaves a setting to the profile.

    Attributes:
        profile: a shipped name, or the path of a YAML file.
        images: a folder, or `hub:owner/name`.
        captions: a JSONL or CSV file.
        uids: a CSV file: take exactly these, and filter nothing.
        given: the captions name the degraded copies; nothing is painted.
        name: of the run.
        limit: the first so many images.
        overrides: changes to the settings, `"saliency.name=u2net"`.
        trust: whether YAML files may name code that nobody registered.
        store: the folder artifacts lie in.
    """

    profile: str = DEFAULT_PROFILE
    images: str | None = None
    captions: str | None = None
    uids: str | None = None
    given: bool = False
    name: str | None = None
    limit: int | None = None
    overrides: Sequence[str] = ()
    trust: bool = False
    store: Path | str = "outputs"

    def plan(self) -> Plan:
        """Return the run before it runs.

        Raises:
            UsageError: a setting is wrong, or nothing reads one of `overrides`.
            PrerequisiteError: weights or data are not on this machine.
        """
        store = Store(Path(self.store))
        plan = Plan(store, self._settings(self.overrides))
        require_read(
            self.overrides,
            self._settings,
            lambda settings: [Plan(store, settings).ids(), settings.name],
            lambda: asdict(self._settings(())),
        )
        return plan

    def _settings(self, overrides: Sequence[str]) -> CurationSettings:
        changes: dict[str, Any] = {}
        if self.images is not None:
            changes |= {"source.kind": "folder", "source.folder": self.images}
        if self.captions is not None:
            changes["source.captions"] = self.captions
        if self.uids is not None:
            changes |= {"source.uids": self.uids, "colour.rule": "none", "scores.min_gap": None}
            changes |= {"top_k": None, "judge.name": None}
        if self.given:
            changes["negatives.kind"] = "given"
        for key, value in (("name", self.name), ("source.limit", self.limit)):
            if value is not None:
                changes[key] = value
        changes |= dotted_of(overrides)
        return load_settings(self.profile, changes, trust=self.trust)


@dataclass(frozen=True, kw_only=True)
class Curated:
    """What `curate` returns.

    Attributes:
        steps: the artifacts, by step.
        folder: where its report lies.
        was_complete: whether all of it was there before.
    """

    steps: Steps
    folder: Path
    was_complete: bool

    @property
    def id(self) -> str:
        """The last artifact, which a data set of kind `curated` takes as `run`."""
        return self.steps.selection.id

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """What was kept and dropped by step, with which thresholds; see `curation.table`."""
        return report(self.steps.steps)

    def write_sheet(self, path: Path) -> None:
        """Write a contact sheet as PNG (StoreError: it cannot be written)."""
        from bench.data.curation.sheet import contact_sheet

        DISK.write_atomically(path, contact_sheet(self.steps.steps))


def curate(
    request: CurationRequest,
    *,
    device: str | None = None,
    batch_size: int | None = None,
    on_progress: Told = lambda *_: None,
) -> Curated:
    """Curate, or continue what was interrupted, and write the report into the store's tables.

    Args:
        request: of what.
        device: where models run; None is whatever is there.
        batch_size: images painted at once.
        on_progress: told of it.

    Raises:
        UsageError, PrerequisiteError: as `CurationRequest.plan`.
        StoreError: the store cannot be written.
    """

    def action() -> Curated:
        plan = request.plan()
        found = plan.found()
        with usual_numerics():
            steps = found or plan.run(device=device, batch_size=batch_size, progress=on_progress)
        store = plan.store
        done = Curated(
            steps=steps,
            folder=store.root / "tables" / f"curation-{plan.settings.name}",
            was_complete=found is not None,
        )
        text = json.dumps(done.report, indent=1, sort_keys=True) + "\n"
        for file, content in (("report.md", markdown(done.report)), ("report.json", text)):
            store.disk.write_atomically(done.folder / file, content.encode())
        return done

    return with_repairs(action)
