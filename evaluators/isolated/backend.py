"""A back-end whose model runs in another Python environment."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import bench.torchvision_guard
from bench.api.evaluator import Backend, Record
from bench.api.files import blob_sha256, file_hash
from bench.api.generation import ImageRecord, ImageSet
from bench.api.prompts import Prompt
from evaluators.isolated.environments import Environment, environment
from evaluators.isolated.process import (
    Limits,
    OutOfMemoryError,
    WorkerCrashError,
    WorkerError,
    WorkerProcess,
)
from evaluators.workers.serve import PROTOCOL, content_sha256

LOG = logging.getLogger(__name__)

RESTARTS = 2
"""How often a worker that crashed is started again, in one pass over the images."""


class IsolatedBackend(Backend):
    """Runs a worker of `evaluators/workers` in its environment and stores what it answers.

    A batch that does not fit in memory is halved, and so are the following ones. After a crash
    the worker is started again and its batch is scored image by image, so that the image that
    brings it down is named; an image that does so twice ends the run.

    Attributes:
        environment_name: see `evaluators.isolated.environments`.
        limits: how long a worker may take.
    """

    environment_name: ClassVar[str]
    limits: ClassVar[Limits] = Limits()

    @property
    def environment(self) -> Environment:
        """Where its worker runs."""
        return environment(self.environment_name)

    @abstractmethod
    def weights(self) -> Mapping[str, Path]:
        """Return the files and folders the worker loads, by name.

        Raises:
            PrerequisiteError: they are not on this machine.
        """

    def options(self) -> dict[str, Any]:
        """Return what the worker's `load` is told; part of the identity."""
        return {}

    def pinned(self) -> Mapping[str, str]:
        """Return the sha256 that weights must have, by name, where it is known."""
        return {}

    def asks(self, prompt: Prompt, texts: Sequence[str]) -> Mapping[str, Any]:
        """Return what the worker is told of an image of `prompt`, beside its path."""
        return {"texts": list(texts) or [prompt.text]}

    @abstractmethod
    def answer(
        self, value: Any, asked: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
        """Return a record's fields and arrays from the worker's value of an image.

        Args:
            value: what the worker answered.
            asked: what it was asked: `id`, `image` (a path) and what `asks` returned.

        Raises:
            WorkerError: the value is not what the worker of this version answers.
        """

    def identity(self) -> dict[str, Any]:
        """Return name, version, protocol, worker source, package versions, options and weights.

        Raises:
            PrerequisiteError: the environment or the weights are not on this machine.
            WorkerError: the environment's packages are not those of its lock file.
        """
        hello = self.environment.describe()
        return {
            **super().identity(),
            "protocol": PROTOCOL,
            "environment": self.environment_name,
            "worker": {"version": hello["version"], "sha256": self.environment.worker_sha256()},
            "packages": dict(hello["packages"]),
            "options": self.options(),
            "weights": self._hashes(),
        }

    def _hashes(self) -> dict[str, str]:
        found = {name: weights_sha256(path) for name, path in self.weights().items()}
        for name, expected in self.pinned().items():
            if not found[name].startswith(expected):
                raise WorkerError(
                    f"{self.weights()[name]} has sha256 {found[name]}, expected {expected}: it is "
                    f"not the checkpoint of {self.name}. Remove it and fetch it again."
                )
        return found

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield the record and arrays of each image; see the back-end's `answer`.

        Raises:
            PrerequisiteError: the environment or the weights are not on this machine.
            WorkerError: the worker failed; the message names the images it was at.
        """
        prompts = {prompt.id: prompt for prompt in images.suite}
        wanted = [
            (
                record,
                {
                    "id": record.key,
                    "image": str((images.root / record.path).resolve()),
                    **self.asks(prompts[record.prompt_id], queries.get(record.prompt_id, ())),
                },
            )
            for record in images.records
            if not queries or record.prompt_id in queries
        ]
        if not wanted:
            return
        run = _Run(self, batch_size)
        try:
            yield from run.records(wanted)
        finally:
            run.close()

    def start(self) -> WorkerProcess:
        """Return a worker with its model loaded (errors as `predict`)."""
        environment = self.environment
        process = WorkerProcess(environment.command(), self.limits)
        try:
            environment.check_versions(process.hello)
            process.load(
                options=self.options(),
                weights=self.weights(),
                expected=self._hashes(),
                device=self.device,
                guard=Path(bench.torchvision_guard.__file__) if environment.shares else None,
            )
        except BaseException:
            process.close()
            raise
        return process


Wanted = tuple[ImageRecord, Mapping[str, Any]]


class _Run:
    """One pass over the images: the worker, its restarts, and the size of its batches."""

    def __init__(self, backend: IsolatedBackend, batch_size: int) -> None:
        self.backend, self.batch_size = backend, batch_size
        self.restarts = RESTARTS
        self.process: WorkerProcess | None = None

    def records(
        self, wanted: Sequence[Wanted]
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        position, alone = 0, 0
        while position < len(wanted):
            size = 1 if alone else self.batch_size
            batch = wanted[position : position + size]
            try:
                values = self._values([item for _, item in batch])
            except OutOfMemoryError as error:
                if len(batch) == 1:
                    raise
                self.batch_size = len(batch) // 2
                LOG.warning(
                    "%s: a batch of %d does not fit; going on with %d (%s)",
                    self.backend.name,
                    len(batch),
                    self.batch_size,
                    str(error).splitlines()[0],
                )
                continue
            except WorkerCrashError as error:
                self.close()
                if not self.restarts:
                    raise
                self.restarts -= 1
                alone = max(alone, len(batch))
                LOG.warning("%s; starting it again, image by image", str(error).splitlines()[0])
                continue
            for (record, asked), value in zip(batch, values, strict=True):
                fields, arrays = self._answer(value, asked)
                yield (
                    {"prompt_id": record.prompt_id, "ordinal": record.ordinal, **fields},
                    arrays,
                )
            position += len(batch)
            alone = max(0, alone - len(batch))

    def _answer(
        self, value: Any, asked: Mapping[str, Any]
    ) -> tuple[Record, Mapping[str, np.ndarray]]:
        """Return what a worker's value says (WorkerError where it is rubbish)."""
        try:
            return self.backend.answer(value, asked)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            raise WorkerError(
                f"{self.backend.name}: the worker answered {str(value)[:200]} for {asked['id']} "
                f"({type(error).__name__}: {error}); its worker file is not the one this back-end "
                "is for."
            ) from error

    def _values(self, items: Sequence[Mapping[str, Any]]) -> list[Any]:
        if self.process is None:
            self.process = self.backend.start()
        return self.process.score(items)

    def close(self) -> None:
        if self.process is not None:
            self.process.close()
            self.process = None


def weights_sha256(path: Path) -> str:
    """Return what the worker must find at `path`; a file is read again only when it has changed.

    The hub's cache names large files by their sha256, which stands for it: the worker reads them.
    """
    return content_sha256(path, _known)


def _known(path: Path) -> str:
    return blob_sha256(path) or file_hash(path)
