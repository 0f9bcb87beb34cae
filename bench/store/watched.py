"""Plug-ins at work: what they read is recorded in what they make. No torch."""

from __future__ import annotations

from collections.abc import Iterable

from bench.api.observed import SEEN, watch, watch_module
from bench.store.source import Source
from bench.store.store import Store


def watching(store: Store, plugins: Iterable[str], sources: Iterable[Source]) -> Store:
    """Return the store that records what plug-ins read from now on in all that it publishes.

    Args:
        store: where things are made.
        plugins: their modules; none leaves the store as it is.
        sources: their code, which is in identities already.
    """
    modules = list(plugins)
    if not modules:
        return store
    for module in modules:
        watch_module(module)
    SEEN.begin()
    files = {path for source in sources for path in source.files}
    watch(path for path in files if path.endswith(".py"))
    return store.observing(SEEN, files)


def modules_of(sources: Iterable[Source]) -> set[str]:
    """Return the modules that sources are of: of the part itself, and of what it was asked by."""
    return {root.partition(":")[0] for source in sources for root in source.plugin}
