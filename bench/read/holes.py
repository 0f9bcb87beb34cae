"""Zeros in the place of pixels: what a download that was never finished leaves inside a file.

Programs that fetch a file in parts reserve its space first; where a part never came, zeros stay.
The decoders of JPEG and of WebP make grey or streaks of them, and give no error. (PNG carries check
sums; of BMP and TIFF see `bench.read.rasters`.)

A run of zero bytes is no sign by itself: in a JPEG of one flat colour, whose codes were fitted to
it, a block takes two bits, both 0. So the code tables are looked at: only where zeros alone cannot
stand for blocks without content is a long run taken for a hole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

HOLE = 512
"""Bytes of zeros that are taken for a hole: the least that a disk gives out."""

_START_OF_SCAN, _TABLES, _PROGRESSIVE, _END = 0xDA, 0xC4, 0xC2, 0xD9
_BARE = (0x01, *range(0xD0, 0xD9))
"""Markers without a length."""
_NEXT = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""The end of a scan: a marker that is neither a stuffed zero nor a restart."""
_WEBP = (b"VP8 ", b"VP8L")
"""Chunks with pixels, with loss and without."""
_NO_MORE = 0x0F
"""In the low half of a symbol of an AC table: bits of the coefficient; 0 ends blocks (or skips)."""
_SKIP = 0xF0


@dataclass(frozen=True, kw_only=True)
class _Scan:
    """One scan of a JPEG: its bytes, and whether zeros there may stand for flat blocks."""

    begins: int
    ends: int
    may_be_zeros: bool


def jpeg_hole(data: bytes) -> int | None:
    """Return where a run of zeros stands in the place of a JPEG's pixels, None without one."""
    zeros = bytes(HOLE)
    if zeros not in data:
        return None
    for scan in _scans(data):
        place = -1 if scan.may_be_zeros else data.find(zeros, scan.begins, scan.ends)
        if place >= 0:
            return place
    return None


def webp_hole(data: bytes) -> int | None:
    """Return where a run of zeros stands in the place of a WebP's pixels, None without one.

    With loss its arithmetic coder fits itself to what it writes, without loss repeated pixels are
    one code: long runs of zeros are written in neither way.
    """
    if bytes(HOLE) not in data:
        return None
    at = 12
    while at + 8 <= len(data):
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        place = data.find(bytes(HOLE), at + 8, at + 8 + length) if name in _WEBP else -1
        if place >= 0:
            return place
        at += 8 + length + length % 2
    return None


def jpeg_scan(data: bytes) -> int:
    """Return where the first scan of a JPEG begins, behind segments that may hold other JPEGs."""
    return next((at for at, kind, _ in _segments(data) if kind == _START_OF_SCAN), 0)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (place, marker, end) of the segments of a JPEG; a scan's end is that of its pixels."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 2 <= len(data):
        kind = data[at + 1]
        if kind == 0xFF:  # fill bytes may stand before a marker
            at += 1
            continue
        if kind == _END:
            return
        if kind in _BARE:
            at += 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if kind == _START_OF_SCAN:
            found = _NEXT.search(data, end)
            end = len(data) if found is None else found.start()
        yield at, kind, end
        if end <= at:
            return
        at = end


def _scans(data: bytes) -> Iterator[_Scan]:
    progressive, shortest = False, dict[int, int]()
    for at, kind, end in _segments(data):
        if kind == _PROGRESSIVE:
            progressive = True
        elif kind == _TABLES:
            shortest |= _shortest(data[at + 4 : end])
        elif kind == _START_OF_SCAN:
            yield _scan(data, at, end, shortest, progressive=progressive)


def _shortest(body: bytes) -> dict[int, int]:
    """Return the symbol whose code is zeros alone, by class and number of each table."""
    found = {}
    while len(body) > 17:
        symbols = sum(body[1:17])
        found[body[0]] = body[17]
        body = body[17 + symbols :]
    return found


def _scan(
    data: bytes, at: int, end: int, shortest: Mapping[int, int], *, progressive: bool
) -> _Scan:
    head = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
    count = head[0] if head else 0
    selected = head[2 : 1 + 2 * count : 2]  # a byte for each component: its DC and its AC table
    first, _, steps = head[1 + 2 * count : 4 + 2 * count].ljust(3, b"\0")
    with_dc, with_ac = first == 0, not progressive or first > 0
    if with_dc and progressive and steps >> 4:
        flat = True  # a further bit of each block's level: of one colour all are 0
    else:
        symbols = [shortest.get(0x10 | (one & 0x0F), 0) for one in selected] if with_ac else []
        ends = all(s & _NO_MORE == 0 and s != _SKIP for s in symbols)
        level = all(shortest.get(one >> 4, 0) == 0 for one in selected) if with_dc else True
        flat = ends and level
    begins = at + 4 + len(head)
    return _Scan(begins=begins, ends=end, may_be_zeros=flat)
