"""Every reader of pictures, each with a folder of its own form in which one picture is tried."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.api.errors import ProtocolError
from bench.api.folder import read_flat
from bench.api.generation import ImageSet
from bench.api.prompts import Prompt, PromptSuite
from bench.data.curation.picture import UnusableError, read_square
from bench.data.readers import ImageReader, ImageRef
from bench.generation.folder import read_manifest
from bench.generation.pictures import check_pictures
from bench.steps.imported import import_images
from bench.store import Store
from evaluators.compbench.folder import import_layout as read_compbench
from evaluators.dpg.folder import import_layout as read_dpg
from evaluators.geneval.folder import read_official as read_geneval
from evaluators.grids import PNG
from evaluators.models.images import read_batches
from evaluators.oneig.folder import import_layout as read_oneig
from evaluators.rewards.hpsv2_folder import read_official as read_hpsv2
from evaluators.whole_folder import copy_as_png
from tests.read.bring import SIDE


def suite(*ids: str, tag: str = "x") -> PromptSuite:
    prompts = tuple(Prompt(id=i, text="a red circle", tag=tag) for i in ids)
    return PromptSuite(name="s", version="1", prompts=prompts)


def _stored(images: ImageSet, root: Path) -> np.ndarray:
    """Check and take a folder as `score` does, and look at its one picture as back-ends do."""
    found = check_pictures(images, any_size=True)
    store = Store(root / "store")
    artifact = import_images(store, images, changed=found.changed)
    (record,) = [name for name in artifact.files if name.startswith("images/")]
    with Image.open(artifact.file(record)) as picture:
        assert picture.format == "PNG" and picture.getexif().get(0x0112) not in range(2, 9)
        return np.asarray(picture.convert("RGB"))


def _flat(root: Path) -> np.ndarray:
    return _stored(read_flat(root / "in"), root)


def _manifest(root: Path) -> np.ndarray:
    (file,) = list((root / "in").iterdir())
    line = {"file": file.name, "prompt": "a red circle"}
    (root / "in" / "manifest.jsonl").write_text(json.dumps(line))
    return _stored(read_manifest(root / "in"), root)


def _backend(root: Path) -> np.ndarray:
    """What a back-end sees of pictures that were never taken into a store: a reference's."""
    ((_, (pixels,)),) = list(read_batches(read_flat(root / "in"), 4))
    return pixels


def _labelled(root: Path) -> np.ndarray:
    (file,) = list((root / "in").iterdir())
    reader, ref = ImageReader(), ImageRef(file=file)
    fault = reader.fault(ref)
    if fault:
        raise ProtocolError(f"{file}: {fault}")
    return reader.pixels(ref, SIDE)


def _curated(root: Path) -> np.ndarray:
    (file,) = list((root / "in").iterdir())
    try:
        return read_square(file, SIDE)[0]
    except UnusableError as error:
        raise ProtocolError(f"{file}: {error}") from error


def _copied(root: Path) -> np.ndarray:
    (file,) = list((root / "in").iterdir())
    copy_as_png(file, root / "out.png")
    with Image.open(root / "out.png") as picture:
        return np.asarray(picture)


def _moved(root: Path, place: str) -> Path:
    """Give the picture its place in a layout; the suffix is the layout's, whatever is inside."""
    (file,) = list((root / "in").iterdir())
    target = root / "layout" / place
    target.parent.mkdir(parents=True)
    return file.rename(target)


def _geneval(root: Path) -> np.ndarray:
    file = _moved(root, "00000/samples/00000.png")
    line = {"tag": "x", "prompt": "a red circle"}
    (file.parents[1] / "metadata.jsonl").write_text(json.dumps(line))
    return _stored(read_geneval(root / "layout"), root)


def _compbench(root: Path) -> np.ndarray:
    _moved(root, "color/samples/a red circle_000000.png")
    return _stored(read_compbench(root / "layout"), root)


def _hpsv2(root: Path) -> np.ndarray:
    _moved(root, "anime/00000.jpg")
    return _stored(read_hpsv2(root / "layout", suite=suite("a", tag="anime")), root)


def _tile(images: ImageSet) -> np.ndarray:
    """Put the four tiles of a grid together again."""
    tiles = []
    for record in images.records:
        with Image.open(images.root / record.path) as picture:
            tiles.append(np.asarray(picture))
    return np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])


def _dpg(root: Path) -> np.ndarray:
    _moved(root, "a.png")
    given = {"suite": suite("a"), "resolution": SIDE // 2}
    return _tile(read_dpg(root / "layout", root / "tiles", **given))  # type: ignore[arg-type]


def _oneig(root: Path) -> np.ndarray:
    _moved(root, "anime/m/000.webp")
    found = read_oneig(
        root / "layout", root / "tiles", suite=suite("anime-000"), model="m", tile_format=PNG
    )
    return _tile(found)


@dataclass(frozen=True, kw_only=True)
class PictureReader:
    """A reader: `strict` takes RGB alone, others make RGB of whatever has a meaning in it."""

    read: Callable[[Path], np.ndarray]
    strict: bool = False


READERS: dict[str, PictureReader] = {
    "score, a flat folder": PictureReader(read=_flat, strict=True),
    "score, a manifest": PictureReader(read=_manifest, strict=True),
    "score, GenEval's folders": PictureReader(read=_geneval, strict=True),
    "score, T2I-CompBench's folders": PictureReader(read=_compbench, strict=True),
    "score, HPSv2's folders": PictureReader(read=_hpsv2, strict=True),
    "score, DPG-Bench's grids": PictureReader(read=_dpg),
    "score, OneIG's grids": PictureReader(read=_oneig),
    "a back-end, a reference": PictureReader(read=_backend),
    "labelled pairs": PictureReader(read=_labelled),
    "curation": PictureReader(read=_curated),
    "what is written for others": PictureReader(read=_copied),
}
