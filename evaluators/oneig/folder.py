"""OneIG-Bench's official layout: ROOT/<class>/<MODEL>/<id>.webp, one 2 x 2 grid per prompt.

Two losses are the protocol's own: the grid is a lossy webp, and its tiles are scored after PIL's
default JPEG. Both are explicit here, and both can be left out (`evaluators.grids.PNG`). A black
tile stays in the image set: what becomes of it is a rule of `evaluators.oneig.metric`.
Source: OneIG-Bench/OneIG-Benchmark@41b4983: text2image.py, scripts/utils/utils.py.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from bench.api import ImageSet, PromptSuite, UsageError
from bench.read.folders import listed
from bench.read.text import shown
from evaluators.grids import (
    JPEG_DEFAULT,
    WEBP_DEFAULT,
    FileFormat,
    export_grids,
    import_grids,
)
from evaluators.whole_folder import scratch

LOG = logging.getLogger(__name__)

MODEL = "bench"
"""The model's folder in what is written here."""
_ID = re.compile(r"(?P<name>[a-z]+)-(?P<number>\d{3})")


def grid_names(suite: PromptSuite, model: str) -> dict[str, str]:
    """Return `<class>/<model>/<number>` of each prompt id `<class>-<number>`.

    Raises:
        UsageError: an id is not of this form.
    """
    names = {}
    for prompt in suite:
        parts = _ID.fullmatch(prompt.id)
        if parts is None:
            raise UsageError(
                f"prompt id {prompt.id!r} has no place in OneIG's layout; expected e.g. anime-007"
            )
        names[prompt.id] = f"{parts['name']}/{model}/{parts['number']}"
    return names


def export_layout(
    images: ImageSet,
    root: Path,
    *,
    model: str,
    columns: int = 2,
    rows: int = 2,
    file_format: FileFormat = WEBP_DEFAULT,
) -> Path:
    """Write an image set as the official scripts read it; see `grids.export_grids`."""
    names = grid_names(images.suite, model)
    return export_grids(images, root, names, columns=columns, rows=rows, file_format=file_format)


def import_layout(
    root: Path,
    target: Path,
    *,
    suite: PromptSuite,
    model: str,
    columns: int = 2,
    rows: int = 2,
    tile_format: FileFormat = JPEG_DEFAULT,
) -> ImageSet:
    """Split official grids into tiles under `target`; see `grids.import_grids`.

    The official reader takes (columns, rows) of the grid here, its generator (rows, columns).
    """
    listed(root, expected="one holding anime, human, object, ...")
    places = {prompt_id: root / name for prompt_id, name in grid_names(suite, model).items()}
    folders = dict.fromkeys(place.parent for place in places.values())
    listings = {folder: listed(folder) for folder in folders if folder.is_dir()}
    files = {
        prompt_id: [
            path
            for path in (listings[place.parent].pictures() if place.parent in listings else ())
            # the official reader takes 007_x.webp, too, and 0071.webp, which is another number
            if re.match(rf"{place.name}(?!\d)", path.name)
        ]
        for prompt_id, place in places.items()
    }
    taken = [path for found in files.values() for path in found]
    for listing in listings.values():
        listing.say(taken)
    return import_grids(
        suite, files.__getitem__, target, columns=columns, rows=rows, tile_format=tile_format
    )


def read_official(root: Path, *, suite: PromptSuite) -> ImageSet:
    """Read OneIG's grids, ROOT/<class>/<model>/<id>.webp; the tiles live as long as the process.

    Raises:
        UsageError: the folders are of no model, or of several.
        IncompleteError, ProtocolError: as `evaluators.grids.import_grids`.
    """
    top = listed(root, expected="one holding anime, human, object, ...")
    classes = {name.partition("/")[0] for name in grid_names(suite, MODEL).values()}
    top.say(folder for folder in top.folders if folder.name in classes)
    models = sorted(
        {
            path.name
            for folder in top.folders
            if folder.name in classes
            for path in listed(folder).folders
        }
    )
    if len(models) != 1:
        raise UsageError(
            f"{shown(root)}: expected <class>/<model>/<id>.webp of one model; found "
            f"{', '.join(models) or 'none'}"
        )
    LOG.info("%s: read as grids of 2 x 2 of the model %s", shown(root), models[0])
    return import_layout(root, scratch() / "tiles", suite=suite, model=models[0])
