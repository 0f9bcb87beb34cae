"""Pictures of a prompt pasted into one grid file, and grids split into an image set.

OneIG-Bench and DPG-Bench keep the images of a prompt in one file. Every loss on that way is named
here: the format and quality of the grid's file, and those of the tiles taken out of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import (
    ImageRecord,
    ImageSet,
    IncompleteError,
    PromptSuite,
    ProtocolError,
    UsageError,
)
from bench.api.files import file_hash
from bench.api.folder import UNKNOWN_SEED
from bench.read.pictures import read_picture
from bench.read.text import shown
from evaluators.whole_folder import appearing

if TYPE_CHECKING:
    from PIL import Image

LOG = logging.getLogger(__name__)

_FORMATS = {"png": "PNG", "webp": "WEBP", "jpg": "JPEG"}
_SHOWN = 5
_SEAM = 1.5
"""A line between two tiles differs at least so much more than lines inside them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFormat:
    """How pixels are written.

    Attributes:
        ending: "png", "webp" or "jpg".
        quality: 0 to 100, of lossy files.
        lossless: for "webp".
    """

    ending: str
    quality: int | None = None
    lossless: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown endings, and a quality that is missing or means nothing (UsageError)."""
        if self.ending not in _FORMATS:
            raise UsageError(f"unknown format {self.ending!r}; expected {', '.join(_FORMATS)}")
        lossy = self.ending == "jpg" or (self.ending == "webp" and not self.lossless)
        if lossy != (self.quality is not None) or (self.lossless and self.ending != "webp"):
            raise UsageError(
                f"{self}: a lossy file needs its quality, a lossless one has none; only webp is "
                "both"
            )

    def save(self, picture: Image.Image, path: Path) -> None:
        """Write an RGB picture."""
        options: dict[str, int | bool] = {}
        if self.quality is not None:
            options["quality"] = self.quality
        if self.ending == "webp":
            options["lossless"] = self.lossless
        picture.save(path, format=_FORMATS[self.ending], **options)


PNG = FileFormat(ending="png")
WEBP_DEFAULT = FileFormat(ending="webp", quality=80)
"""What PIL writes for a name that ends in .webp."""
JPEG_DEFAULT = FileFormat(ending="jpg", quality=75)
"""What PIL writes for a name that ends in .jpg."""


def paste(tiles: Sequence[Image.Image], *, columns: int, rows: int) -> Image.Image:
    """Return tiles of one size row by row in a grid; places without a tile are black.

    Raises:
        UsageError: more tiles than places, no tile, or tiles of different sizes.
    """
    from PIL import Image

    if not 1 <= len(tiles) <= columns * rows:
        raise UsageError(f"{len(tiles)} images for a grid of {columns} x {rows}")
    sizes = {tile.size for tile in tiles}
    if len(sizes) > 1:
        raise UsageError(f"the images of a grid have different sizes: {sorted(sizes)}")
    width, height = tiles[0].size
    grid = Image.new("RGB", (columns * width, rows * height))
    for index, tile in enumerate(tiles):
        grid.paste(tile.convert("RGB"), (index % columns * width, index // columns * height))
    return grid


def split(grid: Image.Image, *, columns: int, rows: int) -> list[Image.Image]:
    """Return the tiles row by row; what the division leaves over right and below is lost."""
    width, height = grid.width // columns, grid.height // rows
    if min(width, height) < 1:
        raise UsageError(f"a grid of {grid.width} x {grid.height} pixels has no {columns} x {rows}")
    return [
        grid.crop((c * width, r * height, (c + 1) * width, (r + 1) * height)).convert("RGB")
        for r in range(rows)
        for c in range(columns)
    ]


def export_grids(
    images: ImageSet,
    root: Path,
    names: Mapping[str, str],
    *,
    columns: int = 2,
    rows: int = 2,
    file_format: FileFormat,
) -> Path:
    """Write one grid per prompt at `root / names[prompt id]` (no ending) and return `root`.

    Raises:
        IncompleteError: images are missing, naming them.
        UsageError: the images of a prompt do not fit into the grid.
        StoreError: `root` exists, or cannot be written.
    """
    images.require_complete()
    sources: dict[str, list[Path]] = {prompt.id: [] for prompt in images.suite}
    for record in sorted(images.records, key=lambda r: r.ordinal):
        sources[record.prompt_id].append(images.root / record.path)
    with appearing(root) as target:
        for prompt_id, paths in sources.items():
            tiles = [read_picture(path).image for path in paths]
            file = target / f"{names[prompt_id]}.{file_format.ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file_format.save(paste(tiles, columns=columns, rows=rows), file)
    return root


def import_grids(
    suite: PromptSuite,
    find: Callable[[str], Sequence[Path]],
    target: Path,
    *,
    columns: int = 2,
    rows: int = 2,
    tile_format: FileFormat,
    size: int | None = None,
    count: int | None = None,
) -> ImageSet:
    """Split the grids of a suite into tiles under `target`, a folder that is not there yet.

    Args:
        suite: the prompts; each must have exactly one grid.
        find: the files that may be the grid of a prompt id.
        target: where the tiles go; it appears when it is whole.
        columns: tiles side by side.
        rows: tiles one below another.
        tile_format: how tiles are written; a lossy one is a second loss.
        size: what each side of a tile must have, or None for any.
        count: how many tiles are taken, from the first; None takes all.

    Raises:
        IncompleteError: prompts without a grid, naming them.
        ProtocolError: two grids for a prompt, a grid of another size, or one that cannot be read.
        UsageError: `count` is more than the grid has.
        StoreError: `target` exists, or cannot be written.
    """
    tiles = columns * rows if count is None else count
    if not 1 <= tiles <= columns * rows:
        raise UsageError(f"{tiles} tiles of a grid of {columns} x {rows}")
    sources = _sources(suite, find)
    records: list[ImageRecord] = []
    seams: list[float] = []
    with appearing(target) as folder:
        for prompt in suite:
            grid = _read(sources[prompt.id], columns, rows, size)
            seams.append(seam(grid, columns=columns, rows=rows))
            parts = split(grid, columns=columns, rows=rows)
            for ordinal, tile in enumerate(parts[:tiles]):
                path = f"{len(records):06d}.{tile_format.ending}"
                tile_format.save(tile, folder / path)
                digest = file_hash(folder / path)
                records.append(
                    ImageRecord(
                        prompt_id=prompt.id,
                        ordinal=ordinal,
                        path=path,
                        sha256=digest,
                        seed=UNKNOWN_SEED,
                    )
                )
    _say_seamless(next(iter(sources.values())).parent, seams, columns, rows)
    described = [suite.sha256, asdict(tile_format), [[r.key, r.sha256] for r in records]]
    return ImageSet(
        root=target,
        suite=suite,
        images_per_prompt=tiles,
        records=tuple(records),
        identity=hashlib.sha256(json.dumps(described).encode()).hexdigest(),
    )


def seam(grid: Image.Image, *, columns: int, rows: int) -> float:
    """Return how much pixels differ across the lines between tiles, by how much beside them.

    About 1 inside a picture that goes on there, several times that between two pictures.
    """
    import numpy as np

    pixels = np.asarray(grid.convert("RGB"), dtype=np.float32)
    across, beside = [], []
    for turned, count in ((pixels, rows), (pixels.swapaxes(0, 1), columns)):
        step = len(turned) // count
        for line in range(step, step * count, step) if step > 2 else ():
            gaps = np.abs(np.diff(turned[line - 3 : line + 3], axis=0)).mean(axis=(1, 2))
            across.append(float(gaps[2]))
            beside += [float(gap) for place, gap in enumerate(gaps) if place != 2]
    if not across:
        return _SEAM
    return (float(np.mean(across)) + 1e-3) / (float(np.mean(beside)) + 1e-3)


def _say_seamless(root: Path, seams: Sequence[float], columns: int, rows: int) -> None:
    """Log that files look like single pictures, where most of them have no seam."""
    without = sum(value < _SEAM for value in seams)
    if columns * rows > 1 and 2 * without > len(seams):
        LOG.warning(
            "%s: in %d of %d files no edge is seen between tiles: are they single pictures? Each "
            "is taken for a grid of %d x %d and measured in parts",
            *(shown(root), without, len(seams), columns, rows),
        )


def _sources(suite: PromptSuite, find: Callable[[str], Sequence[Path]]) -> dict[str, Path]:
    found = {prompt.id: sorted(find(prompt.id)) for prompt in suite}
    missing = [prompt_id for prompt_id, paths in found.items() if not paths]
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (" ..." if len(missing) > _SHOWN else "")
        raise IncompleteError(
            f"{len(missing)} of {len(found)} prompts have no grid: {shown}. The official scripts "
            "skip them; a score over some of the prompts is not the metric."
        )
    for prompt_id, paths in found.items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise ProtocolError(f"prompt {prompt_id} has several grids: {names}; keep one")
    return {prompt_id: paths[0] for prompt_id, paths in found.items()}


def _read(path: Path, columns: int, rows: int, size: int | None) -> Image.Image:
    picture = read_picture(path).image
    lost = picture.width % columns, picture.height % rows
    if any(lost):
        raise ProtocolError(
            f"{shown(path)} has {picture.width} x {picture.height} pixels, which {columns} x "
            f"{rows} tiles do not divide; is it a grid?"
        )
    if size is not None and picture.size != (columns * size, rows * size):
        raise ProtocolError(
            f"{path} has {picture.width} x {picture.height} pixels; expected {columns} x {rows} "
            f"tiles of {size} x {size}"
        )
    return picture
