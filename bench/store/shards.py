"""Parts of an artifact that is made in several places at once, and how the whole takes them.

A part is an artifact of its own, named after the whole, with the whole's identity and the number it
has of how many. Whoever makes the whole takes what finished parts hold, and removes them when the
whole is published; a part that is not there is made by the whole itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.api.errors import CorruptArtifactError
from bench.store.artifact import Artifact
from bench.store.identity import plain
from bench.store.listing import Listing
from bench.store.owner import live_owner
from bench.store.provenance import scrubbed
from bench.store.store import Store
from bench.store.writer import writing_to

_LONGEST = 115
"""Characters that are kept of the whole's name; `.part` comes behind."""

_MOST = 64
"""Parts that work which was begun is looked for among."""


def shard_name(name: str) -> str:
    """Return what the parts of an artifact are called."""
    return f"{name[:_LONGEST]}.part"


def shard_identity(identity: Mapping[str, Any], shard: int, shards: int) -> dict[str, Any]:
    """Return the identity of a part; the order of the parts is that of `shard`."""
    return {**identity, "shard": [shard, shards]}


def finished_shards(
    store: Store,
    kind: str,
    name: str,
    identity: Mapping[str, Any],
    *,
    listing: Listing | None = None,
) -> Iterator[Artifact]:
    """Yield the parts of an artifact that are there, into however many it was cut."""
    wanted = scrubbed(plain(identity))
    for folder in (listing or Listing(store.root)).named(kind, shard_name(name)):
        try:
            found = Artifact(folder)
        except CorruptArtifactError:
            continue
        own = found.identity
        if own.pop("shard", None) is not None and own == wanted and found.fault() is None:
            yield found


def remove_shards(store: Store, kind: str, name: str, identity: Mapping[str, Any]) -> None:
    """Remove the parts of an artifact, which is there itself: finished ones, and such as were begun
    by a process that is gone.
    """
    listing = Listing(store.root)
    for part in finished_shards(store, kind, name, identity, listing=listing):
        store.disk.remove_tree(part.path)
    begun = listing.begun(kind, shard_name(name))
    if not begun:
        return
    own = {
        store.path(kind, shard_name(name), shard_identity(identity, shard, shards))
        for shards in range(2, _MOST + 1)
        for shard in range(shards)
    }
    for folder in begun:
        part_path = folder.with_name(folder.name.partition(".partial")[0])
        lock = part_path.with_name(f"{part_path.name}.lock")
        if part_path in own and live_owner(lock) is None:
            store.disk.remove_tree(folder)
            store.disk.unlink(lock)


def take_file(part: Artifact, name: str, target: Path) -> None:
    """Make `target` another name of a part's file, or a copy where the file system has no such.

    Raises:
        CorruptArtifactError: the file is not as it was published.
        StoreError: the disk fails.
    """
    source = part.file(name)
    with writing_to(target):
        target.unlink(missing_ok=True)
        try:
            target.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, target)
