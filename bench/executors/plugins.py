"""Whose code a process has imported, and whose a step may be made with. No torch.

A module can patch a library when it is imported. So a step is made only where nothing but its own
plug-ins was imported: what names none has the same bytes, whichever plug-ins others are made with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import lru_cache

from bench.api.loading import IMPORTED
from bench.steps.step import Step
from bench.store.source.modules import OURS, Modules

HARMLESS: set[str] = set()
"""Top-level packages that are known to patch nothing. The tests name their own here."""


def plugins_of(step: Step) -> frozenset[str]:
    """Return the modules of third parties that a step's artifact is made with, by its sources."""
    named = (root.partition(":")[0] for source in step.sources for root in source.plugin)
    return foreign(named)


def imported() -> frozenset[str]:
    """Return the modules of third parties that plug-ins were taken from in this process."""
    return foreign(IMPORTED)


def foreign(modules: Iterable[str]) -> frozenset[str]:
    """Return those of the modules that are third parties': neither ours nor of Python itself."""
    harmless = HARMLESS | sys.stdlib_module_names
    return frozenset(
        name for name in modules if name.partition(".")[0] not in harmless and not _is_ours(name)
    )


def may_be_made_here(steps: Iterable[Step]) -> bool:
    """Whether all of the steps can be made in this process, one after another."""
    wanted = {plugins_of(step) for step in steps}
    return all(imported().union(*wanted) <= one for one in wanted)


@lru_cache(maxsize=1024)
def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS and Modules().find(name).kind == "ours"
