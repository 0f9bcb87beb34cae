"""A step makes one artifact; what all kinds of steps share. No torch.

A kind is a frozen dataclass in a file of its own: its fields are all that making needs, and its
`make` makes the artifact. A step is known by its identity before anything runs; a worker process
gets it as JSON and reads it back by the types of its fields.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self

from bench.api.registry import import_target
from bench.config import read
from bench.generation.held import HeldWeights
from bench.store import Artifact, Source, Store, nobody_makes
from bench.store.identity import artifact_id, plain
from bench.store.shards import shard_identity, shard_name

Progress = Callable[[int, int], None]
"""(done, all)."""


PART = "part/"
"""Begins the roles of the parts that a whole waits for."""


def _silent(_done: int, _total: int) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How the work is done; no number depends on it beyond float rounding.

    Attributes:
        device: `"cpu"`, `"cuda"`, or None to choose.
        generation_batch, prediction_batch: images per forward.
        ranks: processes that share a training, each with a device of its own.
        gpus: what `CUDA_VISIBLE_DEVICES` calls those that the ranks are given; where there are
            none, they see what this process sees.
        progress: told how far the step is.
    """

    device: str | None = None
    generation_batch: int = 32
    prediction_batch: int = 32
    ranks: int = 1
    gpus: tuple[str, ...] = ()
    progress: Progress = _silent

    def to_json(self) -> dict[str, Any]:
        """Return what another process can be told."""
        here = ("gpus", "progress")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in here}


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

    def places(self, runtime: Runtime) -> int:
        """Return how many processes work at it at the same time."""
        return 1

    def require_unchanged(self, store: Store) -> None:
        """Compare what it is made with, and the store does not seal, with what it was.

        Raises:
            BenchError: it was changed since the step was asked for.
        """
        for held in self.weights:
            held.require_unchanged(store)

    @abstractmethod
    def make(self, store: Store, runtime: Runtime) -> Artifact:
        """Make the artifact, resuming what an interrupted run left.

        Raises:
            BenchError: it failed in a way the user can act on.
        """


@dataclass(frozen=True, kw_only=True)
class DivisibleStep(Step):
    """A step that may be made in parts, each in a worker of its own, and joined.

    The parts are cut between batches, so every batch holds what it would hold, and the whole has
    the bytes, and the id, that it has when it is made at once.

    Attributes:
        shards: into how many parts it is cut; 1 where it is made at once.
        shard: which of them this step makes; None is the whole, which joins them.
        of: name of the whole's artifact, of a part.
    """

    shards: int = 1
    shard: int | None = None
    of: str = ""

    @property
    def whole(self) -> str:
        """Name of the whole's artifact."""
        return self.of or self.name

    @abstractmethod
    def batches(self, runtime: Runtime) -> int:
        """Return between how many batches it can be cut, at most; 1 where it cannot be."""

    def cut(self, shards: int) -> tuple[list[Self], Self]:
        """Return the parts, and the whole that waits for them and is otherwise this step."""
        parts = [
            replace(
                self,
                name=shard_name(self.name),
                identity=shard_identity(self.identity, number, shards),
                shards=shards,
                shard=number,
                of=self.name,
                label=f"{self.label}, part {number + 1} of {shards}",
                seconds=self.seconds / shards,
                bytes=self.bytes // shards,
            )
            for number in range(shards)
        ]
        waits = {f"{PART}{number}": part.id for number, part in enumerate(parts)}
        whole = replace(
            self, upstream={**self.upstream, **waits}, shards=shards, seconds=self.seconds / 20
        )
        return parts, whole

    def is_joined(self, store: Store) -> bool:
        """Whether this is a part of what is there as a whole: another run may have joined it."""
        if self.shard is None:
            return False
        own = {key: value for key, value in self.identity.items() if key != "shard"}
        return store.find(self.kind, self.of, own) is not None

    @property
    def made_from(self) -> dict[str, str]:
        """`upstream` without the parts: what the artifact says it was made from."""
        return {role: key for role, key in self.upstream.items() if not role.startswith(PART)}


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
