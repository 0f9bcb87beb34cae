"""What back-ends are: looked up once a call of the harness, for it hashes weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from bench.api.registry import BACKENDS
from bench.store import plugin_code


def backend_identity(name: str) -> Mapping[str, Any]:
    """Return what of a back-end enters an identity: its own, and the source of a third party's.

    Raises:
        UsageError: it is unknown.
        PrerequisiteError: its weights are missing.
    """
    return {**_own_identity(name), **plugin_code(BACKENDS.entry(name), BACKENDS.load(name))}


@lru_cache
def unfit(name: str, evaluator: str) -> str:
    """Return why a back-end cannot serve an evaluator on this machine, or nothing."""
    return BACKENDS.load(name)().unfit_for(evaluator)


@lru_cache
def _own_identity(name: str) -> Mapping[str, Any]:
    return BACKENDS.load(name)().identity()


def look_again() -> None:
    """Forget what was looked up: a notebook's process lives on while weights are exchanged."""
    unfit.cache_clear()
    _own_identity.cache_clear()
