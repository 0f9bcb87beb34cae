"""Official folder layouts as `read_folder` asks for them: a root and perhaps a suite."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.errors import UsageError

if TYPE_CHECKING:
    from bench.api.generation import ImageSet
    from bench.api.prompts import PromptSuite


def read_oneig(root: Path, *, suite: PromptSuite) -> ImageSet:
    """Read OneIG's grids, ROOT/<class>/<model>/<id>.webp; the tiles live as long as the process.

    Raises:
        UsageError: the folders are of no model, or of several.
        IncompleteError, ProtocolError: as `evaluators.grids.import_grids`.
    """
    from evaluators.oneig_layout import import_layout

    models = sorted({path.name for path in root.glob("*/*") if path.is_dir()})
    if len(models) != 1:
        raise UsageError(
            f"{root}: expected <class>/<model>/<id>.webp of one model; found "
            f"{', '.join(models) or 'none'}"
        )
    return import_layout(root, _scratch() / "tiles", suite=suite, model=models[0])


def read_dpg(root: Path, *, suite: PromptSuite) -> ImageSet:
    """Read DPG-Bench's grids, ROOT/<item id>.png of 2 x 2 tiles; tiles as `read_oneig`'s.

    Raises:
        UsageError: there is no picture.
        IncompleteError, ProtocolError: as `evaluators.grids.import_grids`.
    """
    from PIL import Image

    from bench.api.folder import is_picture
    from evaluators.dpg_prompts import import_layout

    first = next((path for path in sorted(root.iterdir()) if is_picture(path)), None)
    if first is None:
        raise UsageError(f"{root} holds no picture; expected <item id>.png")
    with Image.open(first) as picture:
        side = picture.width // 2
    return import_layout(root, _scratch() / "tiles", suite=suite, resolution=side)


def _scratch() -> Path:
    """Return a new folder that is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="bench-tiles-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
