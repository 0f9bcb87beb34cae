"""DPG-Bench's official layout: one 2 x 2 grid `<item_id>.png` a prompt.

Source: TencentQQGYLab/ELLA@3c228f1:dpg_bench/ (Apache-2.0).
"""

from __future__ import annotations

import logging
from pathlib import Path

from bench.api import ImageSet, PromptSuite, UsageError
from bench.read.folders import listed
from bench.read.pictures import read_picture
from bench.read.text import shown
from evaluators.grids import PNG, FileFormat, export_grids, import_grids
from evaluators.whole_folder import scratch

LOG = logging.getLogger(__name__)


def export_layout(images: ImageSet, root: Path, *, file_format: FileFormat = PNG) -> Path:
    """Write 2 x 2 grids named by prompt; see `grids.export_grids`."""
    names = {prompt.id: prompt.id for prompt in images.suite}
    return export_grids(images, root, names, file_format=file_format)


def import_layout(
    root: Path,
    target: Path,
    *,
    suite: PromptSuite,
    resolution: int,
    images_per_prompt: int = 4,
    tile_format: FileFormat = PNG,
) -> ImageSet:
    """Split 2 x 2 grids of `resolution`-pixel tiles; see `grids.import_grids`.

    The official script crops without looking at the file's size; here it must fit. It takes
    `images_per_prompt` tiles from the first, one unless it is told otherwise.
    """
    listing = listed(root, expected="one holding <item_id>.png")
    by_stem: dict[str, list[Path]] = {}
    for path in listing.pictures():
        by_stem.setdefault(path.name.split(".")[0], []).append(path)
    listing.say(p for prompt in suite for p in by_stem.get(prompt.id, ()))
    return import_grids(
        suite,
        lambda prompt_id: by_stem.get(prompt_id, []),
        target,
        tile_format=tile_format,
        size=resolution,
        count=images_per_prompt,
    )


def read_official(root: Path, *, suite: PromptSuite) -> ImageSet:
    """Read DPG-Bench's grids, ROOT/<item id>.png; the tiles live as long as the process.

    Raises:
        UsageError: there is no picture.
        IncompleteError, ProtocolError: as `evaluators.grids.import_grids`.
    """
    pictures = listed(root, expected="one holding <item_id>.png").pictures()
    if not pictures:
        raise UsageError(f"{shown(root)} holds no picture; expected <item id>.png")
    side = read_picture(pictures[0]).image.width // 2
    told = f"2 x 2 tiles of {side} pixels a side, as in {pictures[0].name}; the first 4 of each"
    LOG.info("%s: read as %s", shown(root), told)
    return import_layout(root, scratch() / "tiles", suite=suite, resolution=side)
