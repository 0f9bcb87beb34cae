"""A step makes one artifact; what all kinds of steps share. No torch.

A kind is a frozen dataclass in a file of its own: its fields are all that making needs, and its
`make` makes the artifact. A step is known by its identity before anything runs; a worker process
gets it as JSON and reads it back by the types of its fields.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from bench.api.registry import import_target
from bench.config import read
from bench.generation.held import HeldWeights
from bench.store import Artifact, Source, Store, nobody_makes
from bench.store.identity import artifact_id, plain

Progress = Callable[[int, int], None]
"""(done, all)."""


def _silent(_done: int, _total: int) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How the work is done; no number depends on it beyond float rounding.

    Attributes:
        device: `"cpu"`, `"cuda"`, or None to choose.
        generation_batch, prediction_batch: images per forward.
        progress: told how far the step is.
    """

    device: str | None = None
    generation_batch: int = 32
    prediction_batch: int = 32
    progress: Progress = _silent


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """One artifact to be made.

    Attributes:
        kind, name: of the artifact, see `bench.store`; a subclass says its kind.
        identity: all that can change the artifact's numbers, the ids of `upstream` among it.
        upstream: role -> id of the step it is made from.
        sources: of the parts whose code is in the identity, what it was; compared again where the
            artifact is made.
        weights: checkpoints it is made with, as they were; compared again as `sources` are.
        label: what the progress shows.
        seconds, bytes: estimates.
    """

    kind: str
    name: str
    identity: Mapping[str, Any]
    upstream: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    weights: tuple[HeldWeights, ...] = ()
    label: str = ""
    seconds: float = 0.0
    bytes: int = 0

    @cached_property
    def id(self) -> str:
        """`<kind>/<name>-<hash12>`: also the artifact's path in the store."""
        return artifact_id(self.kind, self.name, self.identity)

    @property
    def calls(self) -> str:
        """The plug-in that is called when it is made, e.g. `method mine.py:Mine`, for messages."""
        return self.label or self.id

    @abstractmethod
    def make(self, store: Store, runtime: Runtime) -> Artifact:
        """Make the artifact, resuming what an interrupted run left.

        Raises:
            BenchError: it failed in a way the user can act on.
        """


@dataclass(frozen=True, kw_only=True)
class StoredStep(Step):
    """An artifact that was in the store when the graph was made, of any kind.

    Attributes:
        images: of an image set, their number.
    """

    images: int = 1

    def make(self, store: Store, runtime: Runtime) -> Artifact:
        """Return the artifact.

        Raises:
            UsageError: it is gone.
            PrerequisiteError: it is damaged, and nothing here makes it.
        """
        artifact = store.get(self.id)
        fault = artifact.fault()
        if fault is not None:
            raise nobody_makes(artifact.path, fault)
        return artifact


def stored_step(artifact: Artifact, *, images: int = 1) -> StoredStep:
    """Return the step of an artifact that is in the store already."""
    return StoredStep(
        kind=artifact.kind,
        name=artifact.name,
        identity=artifact.identity,
        label=artifact.id,
        images=images,
    )


def step_to_json(step: Step) -> dict[str, Any]:
    """Return a step as JSON-able data for another process."""
    cls = type(step)
    values = {f.name: plain(getattr(step, f.name), f.name) for f in fields(step)}
    return {"type": f"{cls.__module__}:{cls.__qualname__}", "fields": values}


def step_from_json(data: Mapping[str, Any]) -> Step:
    """Return the step that `step_to_json` wrote (UsageError: it is none)."""
    cls: type[Step] = import_target(data["type"], kind="step")  # type: ignore[assignment]
    return read(cls, data["fields"], f"step {data['fields'].get('name')}")


def image_count(step: Step) -> int:
    """Return the number of images of a step that makes an image set, for estimates."""
    return int(getattr(step, "images", 1))
