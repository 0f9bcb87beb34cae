"""Rows of images with captions and labels, from Parquet, CSV or JSON lines. No torch.

Layouts, told apart by their columns (the first name of each list that is there is taken):

| layout       | images                                    | label                         |
|--------------|-------------------------------------------|-------------------------------|
| two images   | jpg_0, image_0 and jpg_1, image_1         | label_0: 1, 0, or 0.5 (a tie) |
| winner/loser | winner, chosen and loser, rejected        | none                          |
| single       | image, file_path, file_name               | label, or none: winners       |

The caption is `caption`, `prompt` or `text`; a `uid` is kept as text, leading zeros and all. An
image is a path relative to the table's folder, or bytes inside a Parquet file (Pick-a-Pic v2).
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api.errors import IncompleteError, PrerequisiteError, UsageError
from bench.data.images import resize_and_crop
from bench.read.folders import few, listed_below, named
from bench.read.json_text import parse_json, read_json_lines
from bench.read.oddities import Oddities
from bench.read.pictures import Picture, PictureError, read_picture
from bench.read.table_text import read_text_table
from bench.read.text import head_of, kind_of_bytes, shown

LOG = logging.getLogger(__name__)

if TYPE_CHECKING:
    from PIL.Image import Image

CAPTION = ("caption", "prompt", "text")
FIRST, SECOND = ("jpg_0", "image_0"), ("jpg_1", "image_1")
WINNER, LOSER = ("winner", "chosen"), ("loser", "rejected")
IMAGE = ("image", "file_path", "file_name")
_IMAGES = (*FIRST, *SECOND, *WINNER, *LOSER, *IMAGE)
_SHARD = re.compile(
    r"(?P<split>.*?)(?:[-_.]?(?P<part>\d+)(?:-of-(?P<count>\d+))?(?:-[0-9a-f]{16})?)?"
)
"""`train`, `train-00000-of-00645`, with the hash that the hub's older files have."""
TABLES = (".parquet", ".csv", ".jsonl")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRef:
    """An image file, or the image in a column of a Parquet file's row."""

    file: Path
    row: int | None = None
    column: str = ""

    def __str__(self) -> str:
        inside = "" if self.row is None else f", row {self.row}, column {self.column}"
        return f"{self.file}{inside}"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """One row as it stands in its file; images are references."""

    file: Path
    number: int
    values: Mapping[str, Any] = field(hash=False)

    @property
    def where(self) -> str:
        """File and row, for messages."""
        return f"{self.file}, row {self.number}"

    def first(self, names: Sequence[str]) -> Any:
        """Return the value of the first of these columns that the table has, or None."""
        return next((self.values[name] for name in names if name in self.values), None)


def dataset_folder(repository: str, revision: str | None) -> Path:
    """Return the snapshot of a hub data set in the local cache; the network is not asked.

    Raises:
        PrerequisiteError: it is not there.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = snapshot_download(
            repository, repo_type="dataset", revision=revision, local_files_only=True
        )
    except (LocalEntryNotFoundError, OSError) as error:
        at = f" --revision {revision}" if revision else ""
        raise PrerequisiteError(
            f"the data set {repository} is not in the Hugging Face cache",
            fix=f"hf download --repo-type dataset {repository}{at}  (with the network on)",
        ) from error
    return Path(found)


def tables_of(place: Path, split: str | None) -> list[Path]:
    """Return the tables of a folder (or the one file), sorted by name.

    Args:
        place: a file, or a folder that holds Parquet files at any depth, or else one table.
        split: of Parquet files, those whose name begins so (`train-00000-of-00645.parquet`).

    Raises:
        PrerequisiteError: there is nothing there.
        UsageError: it is not clear which files are meant, or they cannot be listed.
        IncompleteError: parts of a split are missing, or links in the folder lead nowhere.
    """
    if place.is_file():
        if place.suffix.lower() not in TABLES:
            raise UsageError(f"{shown(place)} is no table; expected {', '.join(TABLES)}.")
        return [place]
    listings = listed_below(place) if place.is_dir() else []
    below = [path for listing in listings for path in listing.files]
    parquet = sorted(path for path in below if path.suffix.lower() == ".parquet")
    wanted = [file for file in parquet if split is None or _is_of(file, split)]
    require_whole(wanted)
    others = [p for p in below if p.parent == place and p.suffix.lower() in TABLES[1:]]
    if wanted and not others:
        if len(wanted) < len(parquet):
            left = few([file.name for file in parquet if file not in wanted])
            LOG.info("%s: %d files of split %s; not counted: %s", place, len(wanted), split, left)
        return wanted
    if len(others) == 1 and not parquet:
        return others
    arrow = [p for p in below if p.suffix.lower() == ".arrow"]
    if arrow and not others and not parquet:
        raise UsageError(
            f"{shown(place)} holds {few([p.name for p in arrow])}, as save_to_disk of datasets "
            "writes; save it as Parquet (to_parquet), and name that"
        )
    if not others and not parquet:
        raise PrerequisiteError(
            f"{shown(place)} holds no table of images",
            fix="name a folder with a .parquet, .csv or .jsonl",
        )
    names = few([file.name for file in [*parquet, *others]], 10)
    raise UsageError(f"{shown(place)} holds {names}; name the one file, or a split that is there.")


def _is_of(file: Path, split: str) -> bool:
    """Whether a Parquet file is of a split: `train.parquet`, `train-00000-of-00645.parquet`.

    Raises:
        UsageError: its name begins with the split's and goes on in another way.
    """
    match = _SHARD.fullmatch(file.stem)
    if match is not None and match["split"] == split:
        return True
    rest = file.stem[len(split) :]
    if file.stem.startswith(split) and (not rest or not rest[0].isalnum()):
        raise UsageError(
            f"{shown(file)}: is it a part of the split {split}, a copy, or something else? Parts "
            f"are named {split}.parquet or {split}-00000-of-00003.parquet; rename it, move it "
            "away, or name one file"
        )
    return False


def require_whole(files: Sequence[Path]) -> None:
    """Make sure that Parquet files are all parts of one set, each once.

    Raises:
        IncompleteError: parts are missing, as the names of the others tell.
        UsageError: they lie in several folders, or are of two divisions into parts.
    """
    folders = sorted({shown(file.parent) for file in files})
    if len(folders) > 1:
        raise UsageError(
            f"Parquet files lie in {len(folders)} folders, {few(folders)}: are they one data set, "
            "or several configurations or splits? Name the folder that is meant, or put the files "
            "into one."
        )
    found: dict[tuple[str, int], set[int]] = {}
    for file in files:
        match = _SHARD.fullmatch(file.stem)
        count = int(match["count"]) if match and match["count"] else 0
        part = int(match["part"]) if match and match["part"] else -1
        found.setdefault((match["split"] if match else file.stem, count), set()).add(part)
    for (split, count), parts in found.items():
        others = [n for name, n in found if name == split and n != count]
        if others and split:
            raise UsageError(
                f"{folders[0]} holds {split} as {_division(count)} and as {_division(others[0])}: "
                "the rows would come twice. Keep one"
            )
        lacking = [n for n in range(count) if n not in parts]
        if lacking:
            named = few([f"{split}-{n:05d}-of-{count:05d}" for n in lacking])
            raise IncompleteError(
                f"{folders[0]} lacks {len(lacking)} of the {count} parts of {split}: {named}. "
                "Fetch them, or name the one file that is meant"
            )


def _division(count: int) -> str:
    return f"{count} parts" if count else "files without a number of parts"


def read_table(file: Path) -> Iterator[TableRow]:
    """Yield the rows of a table; the bytes of images stay where they are.

    Raises:
        UsageError: the file cannot be parsed.
    """
    if file.suffix.lower() == ".parquet":
        try:
            yield from _parquet_rows(file)
        except (ValueError, OSError) as error:
            raise UsageError(f"{shown(file)} cannot be read as Parquet: {error}") from error
    elif file.suffix.lower() == ".csv":
        # row 1 is the line below the heading
        for number, row in enumerate(read_text_table(file).whole(), start=1):
            yield TableRow(file=file, number=number, values=_with_paths(file, row.values))
    else:
        for number, values in read_json_lines(file):
            where = f"{shown(file)}, line {number}"
            if not isinstance(values, dict):
                raise UsageError(f"{where}: a {type(values).__name__}; expected an object")
            yield TableRow(file=file, number=number, values=_with_paths(file, values))


def _with_paths(file: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(values)
    for name in set(_IMAGES) & set(found):
        path = found[name]
        there = isinstance(path, str) and path and "\0" not in path
        found[name] = ImageRef(file=named(file.parent, str(path))) if there else None
    return found


def _parquet_rows(file: Path) -> Iterator[TableRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _require_parquet(file)
    parquet = pq.ParquetFile(file)
    schema = parquet.schema_arrow
    inside = [
        name
        for name in schema.names
        if pa.types.is_binary(schema.field(name).type)
        or pa.types.is_large_binary(schema.field(name).type)
        or pa.types.is_struct(schema.field(name).type)
    ]
    light = [name for name in schema.names if name not in inside]
    classes = _classes(schema.metadata)
    number = 0
    for batch in parquet.iter_batches(columns=light):
        for values in batch.to_pylist() if light else ():
            for name, names in classes.items():  # a class's number is no label of ours
                if isinstance(at := values.get(name), int) and 0 <= at < len(names):
                    values[name] = names[at]
            refs = {
                name: ImageRef(file=file, row=number, column=name)
                for name in inside
                if name in _IMAGES
            }
            yield TableRow(file=file, number=number, values={**_with_paths(file, values), **refs})
            number += 1


def _classes(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the names of the classes in columns that `datasets` wrote as `ClassLabel`."""
    try:
        told = parse_json((metadata or {}).get(b"huggingface", b"{}").decode(), "huggingface")
        features = told["info"]["features"]
        return {
            str(name): [str(one) for one in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (UsageError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return {}


def _require_parquet(file: Path) -> None:
    """Look at the head of a file before the library does (UsageError where it is another kind)."""
    head = head_of(file)
    if head[:4] != b"PAR1":
        told = kind_of_bytes(head) or ("of another kind" if head else "empty")
        raise UsageError(f"{shown(file)} is no Parquet file: it is {told}")


class ImageReader:
    """Opens images; rows of a Parquet file are read a row group at a time."""

    def __init__(self) -> None:
        # winners and losers come from two columns in turn
        self._columns: dict[tuple[Path, str], tuple[int, list[Any]]] = {}
        self._files: dict[Path, list[int]] = {}
        self.odd = Oddities()
        """Of the images that were looked at."""

    def pixels(self, ref: ImageRef, size: int, *, flip: bool = False) -> np.ndarray:
        """Return (size, size, 3) uint8, resized and cropped; `flip` mirrors left and right.

        Raises:
            ProtocolError: the image is missing, or one that `bench.read.pictures` refuses.
        """
        from PIL import ImageOps

        picture = resize_and_crop(self._read(ref), size)
        return np.asarray(ImageOps.mirror(picture) if flip else picture)

    def fault(self, ref: ImageRef) -> str:
        """Return what is wrong with an image, or nothing."""
        return self.looked_at(ref)[1]

    def looked_at(self, ref: ImageRef) -> tuple[bytes, str]:
        """Return a hash of an image's pixels, and what is wrong with it, or nothing."""
        try:
            found = self._picture(ref)
            self.odd.look(ref.file.name if ref.row is None else str(ref), found)
            image = found.image
            return hashlib.sha256(repr(image.size).encode() + image.tobytes()).digest()[:16], ""
        except PictureError as error:
            return b"", error.reason
        except (OSError, ValueError) as error:  # of the Parquet file
            return b"", f"it cannot be read ({type(error).__name__}: {error})"[:200]

    def _read(self, ref: ImageRef) -> Image:
        return self._picture(ref).image

    def _picture(self, ref: ImageRef) -> Picture:
        data = self._bytes(ref)
        return read_picture(ref.file if data is None else data, shown(str(ref)))

    def _bytes(self, ref: ImageRef) -> bytes | None:
        if ref.row is None:
            return None
        import pyarrow.parquet as pq

        if ref.file not in self._files:
            meta = pq.read_metadata(ref.file)
            sizes = [meta.row_group(n).num_rows for n in range(meta.num_row_groups)]
            self._files[ref.file] = [0, *np.cumsum(sizes).tolist()]
        starts = self._files[ref.file]
        group = int(np.searchsorted(starts, ref.row, side="right")) - 1
        key = (ref.file, ref.column)
        if key not in self._columns or self._columns[key][0] != group:
            if key not in self._columns and len(self._columns) >= 2:
                self._columns.clear()  # another file: let go of the images of the last
            table = pq.ParquetFile(ref.file).read_row_group(group, columns=[ref.column])
            self._columns[key] = (group, table.column(0).to_pylist())
        value = self._columns[key][1][ref.row - starts[group]]
        found = value.get("bytes") if isinstance(value, dict) else value
        if not found:
            raise ValueError("there are no bytes")
        return bytes(found)
