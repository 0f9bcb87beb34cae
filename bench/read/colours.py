"""What a picture's file says of its colours, where that is not sRGB. Nothing is converted."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

_SRGB = ("srgb", "iec61966", "c2")
"""What the names of sRGB's profiles hold; `c2` is the short one that photograph services write."""
_EXIF, _COLOUR_SPACE, _ADOBE = 0x8769, 0xA001, 2
_INTEROP, _INDEX = 0xA005, 0x0001
_GAMMA = (0.4, 0.5)
"""sRGB's is 1/2.2 in a PNG; programs round it, and some write 1/2."""
_POINTS = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_NEAR = 0.02


def colour_space(file: Image, data: bytes) -> str:
    """Return the name of the colour space that a file names, nothing for sRGB or none.

    A colour profile counts before a PNG's `cICP`, and that before its `gAMA` and `cHRM`; of
    photographs EXIF's tags count.

    Args:
        file: decoded.
        data: its bytes.
    """
    icc = file.info.get("icc_profile")
    if icc:
        return _of_profile(icc)
    if file.format == "PNG":
        return _of_png(file.info, data)
    return _of_exif(file)


def _of_profile(profile: bytes) -> str:
    try:
        from PIL import ImageCms

        told = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except Exception:  # littlecms is an option of PIL's, and profiles may be damaged
        return "one that cannot be read"
    name = " ".join(str(told).split())
    return "" if any(word in name.lower() for word in _SRGB) else name or "one without a name"


def _of_png(info: dict[Any, Any], data: bytes) -> str:
    head = data[: max(data.find(b"IDAT"), 0)]
    place = head.find(b"cICP")
    if place >= 0:
        primaries, transfer = head[place + 4], head[place + 5]
        same = primaries == 1 and transfer in (1, 6, 13)  # BT.709's curve, and sRGB's
        return "" if same else f"cICP {primaries}/{transfer}"
    if "srgb" in info:
        return ""
    gamma, points = info.get("gamma"), info.get("chromaticity")
    if gamma is not None and not _GAMMA[0] <= float(gamma) <= _GAMMA[1]:
        return f"gAMA {float(gamma):.5g}"
    if points is not None and any(abs(a - b) > _NEAR for a, b in zip(points, _POINTS, strict=True)):
        return "cHRM of other primaries"
    return ""


def _of_exif(file: Image) -> str:
    with suppress(Exception):  # tags may be damaged; the pixels are not
        exif = file.getexif()
        more = exif.get_ifd(_EXIF)
        index = exif.get_ifd(_INTEROP).get(_INDEX) or more.get(_INTEROP, {})
        named = more.get(_COLOUR_SPACE)
        if named == _ADOBE or (isinstance(index, str) and index.strip("\0 ") == "R03"):
            return "Adobe RGB, by EXIF"
    return ""
