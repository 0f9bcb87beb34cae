"""Whose code a process has imported, and whose a step may be made with. No torch.

A module can patch a library when it is imported. So a step is made only where nothing but its own
plug-ins was imported: what names none has the same bytes, whichever plug-ins others are made with.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from bench.api.loading import IMPORTED
from bench.steps.step import Step
from bench.store import modules_of
from bench.store.source.modules import OURS, Modules

_LIBRARY = Path(os.__file__).resolve().parent

HARMLESS: set[str] = set()
"""Top-level packages that are known to patch nothing. The tests name their own here."""


def plugins_of(step: Step) -> frozenset[str]:
    """Return the modules of third parties that a step's artifact is made with, by its sources."""
    return foreign(modules_of(step.sources))


def imported() -> frozenset[str]:
    """Return the modules of third parties that plug-ins were taken from in this process."""
    return foreign(IMPORTED)


def foreign(modules: Iterable[str]) -> frozenset[str]:
    """Return those of the modules that are third parties': neither ours nor of Python itself."""
    return frozenset(
        name
        for name in modules
        if (top := name.partition(".")[0]) not in HARMLESS
        and not _is_pythons(top)
        and not _is_ours(name)
    )


def may_be_made_here(steps: Iterable[Step]) -> bool:
    """Whether all of the steps can be made in this process, one after another."""
    wanted = {plugins_of(step) for step in steps}
    return all(imported().union(*wanted) <= one for one in wanted)


def _is_pythons(name: str) -> bool:
    """Whether a module is of Python itself: a file of the same name elsewhere is not."""
    if name not in sys.stdlib_module_names:
        return False
    try:
        found = find_spec(name)
    except (ImportError, ValueError):
        return False
    if found is None or found.origin in (None, "built-in", "frozen"):
        return True
    file = Path(found.origin).resolve()
    return file.is_relative_to(_LIBRARY) and "site-packages" not in file.parts


@lru_cache(maxsize=1024)
def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS and Modules().find(name).kind == "ours"
