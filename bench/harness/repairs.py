"""Where something reads a damaged artifact, it is done again, which makes that one anew."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from bench.api.errors import CorruptArtifactError

LOG = logging.getLogger("bench.harness")

T = TypeVar("T")

_INSIDE: ContextVar[bool] = ContextVar("inside with_repairs", default=False)


def with_repairs(action: Callable[[], T]) -> T:
    """Do something; where it reads a damaged artifact, do it again, which makes that one anew.

    Inside itself it does nothing more: the outermost action is the one done again, and the one
    before which what back-ends are is looked up anew.

    Raises:
        PrerequisiteError: the action does not make the artifact.
        CorruptArtifactError: it was made anew and is damaged again.
    """
    if _INSIDE.get():
        return action()
    if "bench.steps.backends" in sys.modules:  # else nothing was looked up; slow to import
        from bench.steps.backends import look_again

        look_again()
    token = _INSIDE.set(True)
    try:
        return _repairing(action)
    finally:
        _INSIDE.reset(token)


def _repairing(action: Callable[[], T]) -> T:
    seen: dict[Path, int | None] = {}
    while True:
        try:
            return action()
        except CorruptArtifactError as error:
            from bench.store import FOUND, nobody_makes, state_of

            path = error.artifact_path
            if path is None or not path.is_dir():
                raise
            reason = str(error).partition("\n")[0].rstrip(".")
            if path in seen:
                if seen[path] != state_of(path):
                    raise  # it was made anew, and is damaged again
                raise nobody_makes(path, reason) from error
            seen[path] = state_of(path)
            FOUND.add(path)
            LOG.warning("%s; it is made anew", reason)
