"""Images that this harness did not make, read from a folder without a manifest. No torch."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from bench.api.errors import IncompleteError, ProtocolError, UsageError
from bench.api.files import file_hash
from bench.api.generation import ImageRecord, ImageSet
from bench.api.prompts import Prompt, PromptSuite
from bench.read.folders import few, listed, one_each
from bench.read.pictures import PICTURES as PICTURES
from bench.read.text import shown

LOG = logging.getLogger(__name__)

UNKNOWN_SEED = -1
"""Seed of an image of others."""

_SHOWN = 5


def read_flat(root: Path, *, suite: PromptSuite | None = None) -> ImageSet:
    """Read the pictures that lie in `root`, sorted by name; each is a prompt without a text.

    What else lies there is said (`bench.read.folders`).

    Raises:
        UsageError: no such folder, or a suite was asked for: a flat folder names no prompts.
        ProtocolError: two files differ in their ending only.
        IncompleteError: there is no picture, or a link leads nowhere.
    """
    if suite is not None:
        raise UsageError("a flat folder names no prompts; write a manifest.jsonl to use --suite")
    listing = listed(root)
    found = listing.pictures()
    if not found:
        listing.say(())
        raise IncompleteError(f"{shown(root)} holds no picture ({', '.join(PICTURES)})")
    by_stem = one_each(found)
    listing.say(found)
    files: dict[tuple[str, int], tuple[str, str | None]] = {
        (stem, 0): (path.name, None) for stem, path in by_stem.items()
    }
    prompts = tuple(Prompt(id=stem, text="", tag="image") for stem in by_stem)
    suite = PromptSuite(name=f"folder:{shown(root.name)}", version="flat", prompts=prompts)
    return image_set(root, suite, files)


def say_copies(images: ImageSet) -> None:
    """Log how many files are copies of another one of the set: they count as often."""
    seen: set[str] = set()
    copies = []
    for record in images.records:
        if record.sha256 in seen:
            copies.append(record.path)
        seen.add(record.sha256)
    if copies:
        LOG.warning(
            "%s: %d of %d pictures are copies of another one (%s); each counts",
            *(shown(images.root), len(copies), len(images.records), few(copies)),
        )


def image_set(
    root: Path, suite: PromptSuite, files: Mapping[tuple[str, int], tuple[str, str | None]]
) -> ImageSet:
    """Return the complete image set of files named by (prompt id, ordinal).

    Args:
        root: the files are named from here.
        suite: the prompts; every file is of one of them.
        files: path and, where it is known, the sha256 that the file must have.

    Raises:
        IncompleteError: a file is missing, or prompts have unlike numbers of images.
        ProtocolError: a file has another sha256.
    """
    largest: dict[str, int] = {}
    for prompt_id, ordinal in files:
        largest[prompt_id] = max(ordinal, largest.get(prompt_id, 0))
    count = suite.images_per_prompt(largest)
    here = {key for key, (name, _) in files.items() if (root / name).is_file()}
    _require_all(root, suite, max(count, 1), here)
    records = []
    for pid, k in ((p.id, k) for p, k in suite.images(count)):
        name, expected = files[pid, k]
        found = file_hash(root / name)
        if expected is not None and found != expected.lower():
            raise ProtocolError(
                f"{shown(root / name)} has sha256 {found[:12]}, its manifest says "
                f"{expected[:12]}: the picture was changed. Take the original, or correct the "
                "manifest."
            )
        records.append(
            ImageRecord(prompt_id=pid, ordinal=k, path=name, sha256=found, seed=UNKNOWN_SEED)
        )
    listing = json.dumps([suite.sha256, [[r.key, r.sha256] for r in records]])
    return ImageSet(
        root=root,
        suite=suite,
        images_per_prompt=count,
        records=tuple(records),
        identity=hashlib.sha256(listing.encode()).hexdigest(),
    )


def _require_all(root: Path, suite: PromptSuite, count: int, here: set[tuple[str, int]]) -> None:
    """Refuse a set that lacks images (IncompleteError); `count` may be any number at all."""
    ids = {prompt.id for prompt in suite}
    lacking = suite.count(count) - sum(pid in ids for pid, _ in here)
    if lacking > 0:
        wanted = ((p.id, k) for p, k in suite.images(count))
        some = [f"{pid}/{k}" for pid, k in islice((w for w in wanted if w not in here), _SHOWN)]
        more = " ..." if lacking > _SHOWN else ""
        raise IncompleteError(
            f"{shown(root)} lacks {lacking} of {suite.count(count)} images (prompt/number): "
            f"{', '.join(some)}{more}. Every prompt needs {count} images, numbered from 0, as the "
            "best-filled has."
        )
