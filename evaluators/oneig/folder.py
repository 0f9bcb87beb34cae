"""OneIG-Bench's official layout: ROOT/<class>/<MODEL>/<id>.webp, one 2 x 2 grid per prompt.

Two losses are the protocol's own: the grid is a lossy webp, and its tiles are scored after PIL's
default JPEG. Both are explicit here, and both can be left out (`evaluators.grids.PNG`). A black
tile stays in the image set: what becomes of it is a rule of `evaluators.oneig.metric`.
Source: OneIG-Bench/OneIG-Benchmark@41b4983: text2image.py, scripts/utils/utils.py.
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.api import ImageSet, PromptSuite, UsageError
from evaluators.grids import (
    JPEG_DEFAULT,
    WEBP_DEFAULT,
    FileFormat,
    export_grids,
    import_grids,
)
from evaluators.whole_folder import scratch

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
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; expected one holding anime, human, object, ...")
    names = grid_names(suite, model)

    def find(prompt_id: str) -> list[Path]:
        place = root / names[prompt_id]
        return list(place.parent.glob(f"{place.name}*"))

    return import_grids(suite, find, target, columns=columns, rows=rows, tile_format=tile_format)


def read_official(root: Path, *, suite: PromptSuite) -> ImageSet:
    """Read OneIG's grids, ROOT/<class>/<model>/<id>.webp; the tiles live as long as the process.

    Raises:
        UsageError: the folders are of no model, or of several.
        IncompleteError, ProtocolError: as `evaluators.grids.import_grids`.
    """
    models = sorted({path.name for path in root.glob("*/*") if path.is_dir()})
    if len(models) != 1:
        raise UsageError(
            f"{root}: expected <class>/<model>/<id>.webp of one model; found "
            f"{', '.join(models) or 'none'}"
        )
    return import_layout(root, scratch() / "tiles", suite=suite, model=models[0])
