"""Parts of a pair set that are sampled in several places at once; the whole joins them.

A part of the work holds every `shards`-th of the set's parts of fixed length, as files of those
names: `parts/latents-000003.safetensors`. The batches inside each are those of an unshared set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bench.data.parts import Parts
from bench.store import Artifact, Work
from bench.store.shards import take_file

LIST_FILE = "shard.json"
SCRATCH = ("texts*", "encoder.json", "parts/texts*", "parts/*.jsonl")
"""What a part of the work does not publish."""

_LATENTS = re.compile(r"parts/latents-(\d+)\.safetensors")


def numbers_of(count: int, shard: int | None, shards: int) -> Sequence[int]:
    """Return which of a set's `count` parts are made: all, or those of one shard."""
    return range(count) if shard is None else range(shard, count, shards)


def adopt(work: Work, found: Iterable[Artifact]) -> None:
    """Take the parts that finished shards hold into the set in the making.

    Raises:
        CorruptArtifactError: one was changed since it was published.
        StoreError: the disk fails.
    """
    parts = Parts(work, "latents")
    for shard in found:
        for name in shard.files:
            match = _LATENTS.fullmatch(name)
            if match is None or parts.find(int(match[1])) is not None:
                continue
            take_file(shard, name, work.file(name))
            parts.seal(int(match[1]))
