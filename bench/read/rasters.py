"""Zeros in the place of pixels, in the formats that are no JPEG: BMP, TIFF, WebP without loss.

Where a format packs its pixels, a long run of zero bytes is nothing that its writers make. Deflate
has a check sum, at which the decoders of TIFF do not look. Where pixels lie as they are, zeros are
black: there only such a run is taken for a hole as begins and ends where the blocks of disks and of
downloads do, which by chance one black area in sixteen million does.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bench.read.holes import HOLE, jpeg_hole, webp_hole

if TYPE_CHECKING:
    from PIL.Image import Image

BLOCK = 4096
"""Bytes: what files are fetched and written in is a multiple of it."""

_COMPRESSION, _TABLES = 259, 347
_PLACES, _LENGTHS = (273, 324), (279, 325)
"""Of strips, of tiles."""
_PLAIN, _LZW, _JPEG, _PACKBITS, _DEFLATE = (1,), (5,), (7,), (32773,), (8, 32946)
_RUN = re.compile(rb"\0{%d,}" % BLOCK)


def raster_fault(file: Image, data: bytes) -> str:
    """Return what a BMP, TIFF or WebP lacks inside, nothing where none of it is seen to lack.

    Args:
        file: opened, not yet decoded.
        data: its bytes.
    """
    place: int | None = None
    if file.format == "WEBP":
        place = webp_hole(data)
    elif file.format == "BMP":
        if int.from_bytes(data[30:34], "little") in (0, 3):  # not run-length encoded
            place = _whole_blocks(data, int.from_bytes(data[10:14], "little"), len(data))
    elif file.format == "TIFF":
        found = _tiff(file, data)
        if isinstance(found, str):
            return found
        place = found
    return "" if place is None else f"zeros in place of its pixels from byte {place} on"


def _tiff(file: Image, data: bytes) -> int | str | None:
    tags: Any = getattr(file, "tag_v2", {})
    kind = tags.get(_COMPRESSION, 1)
    for begins, length in _parts(tags):
        part = data[begins : begins + length]
        place: int | None = None
        if kind in _PLAIN:
            place = _whole_blocks(data, begins, begins + length)
        elif kind in (*_LZW, *_PACKBITS):
            zeros = part.find(bytes(HOLE))
            place = None if zeros < 0 else begins + zeros
        elif kind in _JPEG:
            tables = bytes(tags.get(_TABLES, b""))
            shift = max(len(tables) - 4, 0)  # without the end of the tables, the begin of the part
            found = jpeg_hole(tables[:-2] + part[2:] if shift else part)
            place = None if found is None else begins + found - shift
        elif kind in _DEFLATE and not _inflates(part):
            return "its check sum is not that of its pixels"
        if place is not None:
            return place
    return None


def _parts(tags: Any) -> Iterator[tuple[int, int]]:
    """Yield (place, length) of the strips or tiles."""
    for places, lengths in zip(_PLACES, _LENGTHS, strict=True):
        found, count = tags.get(places, ()), tags.get(lengths, ())
        found = found if isinstance(found, tuple) else (found,)
        count = count if isinstance(count, tuple) else (count,)
        yield from ((int(at), int(n)) for at, n in zip(found, count, strict=False))


def _inflates(part: bytes) -> bool:
    stream = zlib.decompressobj()
    try:
        stream.decompress(part)
    except zlib.error:
        return False
    return stream.eof


def _whole_blocks(data: bytes, begins: int, ends: int) -> int | None:
    """Return where zeros fill blocks between two places, from border to border or to the end.

    None where they are all that is there (a black picture), or begin or end elsewhere.
    """
    for match in _RUN.finditer(data, begins, min(ends, len(data))):
        first, last = match.span()
        bordered = last % BLOCK == 0 or last == len(data)
        if first > begins and first % BLOCK == 0 and bordered:
            return first
    return None
