"""One image file as the square of pixels that is used everywhere, or the reason why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bench.read.pictures import PictureError, read_picture

VERSION = 1
READER = 4
"""Of files of users; 2: an MPO is one photograph, what one can see through is refused; 3: zeros in
place of pixels are damage; 4: in BMP, TIFF and WebP without loss, too; what a file says of its
colours is noted."""


class UnusableError(Exception):
    """An image that cannot be used; the message is the reason, in a few words."""


def read_square(path: Path, size: int, *, min_side: int = 1) -> tuple[np.ndarray, dict[str, str]]:
    """Return (size, size, 3) uint8 pixels of an image file, and what was odd about it.

    Turned upright as its EXIF says; RGB; the short side is resized to `size` by LANCZOS, and the
    centre is cut out (Cwyxx/RealAlign@158ce28:data_curation/construct_pairs/runner.py,
    where EXIF is not looked at).

    Args:
        path: of the file.
        size: side of the square.
        min_side: shortest side that is accepted.

    Raises:
        UnusableError: it is too small, or one that `bench.read.pictures` refuses.
    """
    try:
        found = read_picture(path)
    except PictureError as error:
        raise UnusableError(error.reason) from error
    width, height = found.image.size
    if min(width, height) < min_side:
        raise UnusableError(
            f"too small: {width}x{height} pixels, expected a side of at least {min_side}"
        )
    odd: dict[str, str] = {}
    if found.mode not in ("RGB", "P"):
        odd["mode"] = found.mode
    if found.orientation != 1:
        odd["exif"] = f"orientation {found.orientation}"
    if found.frames > 1:
        odd["frames"] = f"the first of {found.frames}"
    if found.profile:
        odd["colours"] = found.profile
    pixels = np.asarray(centre_square(found.image, size))
    return pixels, odd


def centre_square(picture: Image.Image, size: int) -> Image.Image:
    """Return the picture with its short side resized to `size` and its centre cut out."""
    width, height = picture.size
    if width <= height:
        wanted = (size, int(size * height / width))
    else:
        wanted = (int(size * width / height), size)
    if wanted != picture.size:
        picture = picture.resize(wanted, Image.Resampling.LANCZOS)
    left, top = round((wanted[0] - size) / 2.0), round((wanted[1] - size) / 2.0)
    return picture.crop((left, top, left + size, top + size))
