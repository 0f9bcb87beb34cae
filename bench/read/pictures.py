"""Picture files of users, whatever wrote them: one way from bytes to upright RGB of 8 bits.

Taken: PNG, JPEG, WebP, BMP, TIFF, GIF of one frame; of a phone's MPO (two photographs in one JPEG)
the first. Turned upright as EXIF says. Grey, palette, CMYK and opaque alpha become RGB; of a colour
PNG's 16 bits the upper 8 are read. Refused, with the reason: several frames, pixels one can see
through (over which colour?), grey of more than 8 bits (it would be cut off), floating point,
what is broken, and what would unpack into all of the memory.
"""

from __future__ import annotations

import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import ProtocolError
from bench.read.colours import colour_space
from bench.read.holes import jpeg_hole, jpeg_scan
from bench.read.rasters import raster_fault
from bench.read.text import shown

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""Endings of files that are taken for pictures."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
"""What may be inside, by PIL's names, whatever the ending; no other decoder is tried (that of JPEG
finds an MPO)."""

MOST_PIXELS = 170_000_000
"""Larger pictures are refused: a small file may unpack into all of the memory."""

_EIGHT_BIT = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
_ORIENTATION, _BITS = 0x0112, 0x0102
_ZEROS, _SHORT = 64, 16
_COMPRESSION, _JPEG_IN_TIFF = 259, (6, 7)
_ENDINGS = {
    **{".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"},
    **{f".{name.lower()}": name for name in ("PNG", "WEBP", "BMP", "GIF")},
}


class PictureError(ProtocolError):
    """A picture that cannot be used.

    Attributes:
        reason: why, in a few words, without the file's name.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture that was read.

    Attributes:
        image: mode RGB, upright, decoded.
        format: PIL's name of the file's, `"MPO"` a JPEG of several photographs.
        mode: PIL's name of the mode in the file; `"RGB;16B"` of 16 bits, `"RGB;5B"` of 5 or 6.
        orientation: EXIF's, 1 where the file is upright.
        frames: photographs in the file, of which the first was taken.
        misnamed: whether the file's ending is of another format.
        profile: name of the colour space that the file says its pixels are of, where that is not
            sRGB; they are not converted.
        lossy: whether the file keeps other pixels than were saved.
    """

    image: Image
    format: str
    mode: str
    orientation: int
    frames: int
    misnamed: bool
    profile: str = ""
    lossy: bool = False

    @property
    def flat(self) -> bool:
        """Whether all pixels are of one colour."""
        import numpy as np

        lowest_highest = np.asarray(self.image.getextrema())
        return bool((lowest_highest[:, 0] == lowest_highest[:, 1]).all())

    @property
    def plain(self) -> bool:
        """Whether the file holds just these pixels: any reader sees the same."""
        return self.mode == "RGB" and self.orientation == 1 and self.frames == 1

    def pixels(self) -> np.ndarray:
        """Return (H, W, 3) uint8."""
        import numpy as np

        return np.asarray(self.image)


def read_picture(source: Path | bytes, name: str | None = None, *, upright: bool = True) -> Picture:
    """Read one picture.

    Args:
        source: a file, or its content.
        name: in messages, in place of the path.
        upright: turned as EXIF says; otherwise the pixels as they are stored.

    Raises:
        PictureError: it is missing, broken, or one of those that are refused.
    """
    from PIL import Image, ImageOps

    where = name or ("a picture" if isinstance(source, bytes) else shown(source))
    data = source if isinstance(source, bytes) else _content(source, where)
    ending = source.suffix.lower() if isinstance(source, Path) else ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # half-broken metadata; the pixels decide
            with Image.open(io.BytesIO(data), formats=FORMATS) as file:
                format_ = file.format or "?"
                mode = _require_readable(file, data, where)
                frames = int(getattr(file, "n_frames", 1)) if format_ == "MPO" else 1
                with _whole():
                    file.load()
                told = file.getexif().get(_ORIENTATION)
                orientation = told if isinstance(told, int) and 1 <= told <= 8 else 1
                _require_opaque(file, where)
                profile, lossy = colour_space(file, data), _is_lossy(file, data)
                shown_so = ImageOps.exif_transpose(file) if upright else file.copy()
                shown_so.info.pop("exif", None)
                image = shown_so if shown_so.mode == "RGB" else shown_so.convert("RGB")
    except PictureError:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if "cannot identify image file" in reason:
            reason = _what_it_is(data)
        raise PictureError(where, f"broken: {reason[:200]}") from None
    return Picture(
        image=image,
        format=format_,
        mode=mode,
        orientation=orientation,
        frames=frames,
        misnamed=bool(ending) and _ENDINGS.get(ending) != ("JPEG" if format_ == "MPO" else format_),
        profile=profile,
        lossy=lossy,
    )


def _is_lossy(file: Image, data: bytes) -> bool:
    if file.format == "WEBP":
        return b"VP8 " in data[12:64] or (b"VP8X" in data[12:16] and b"VP8L" not in data)
    compression = getattr(file, "tag_v2", {}).get(_COMPRESSION)
    return file.format in ("JPEG", "MPO") or compression in _JPEG_IN_TIFF


@contextmanager
def _whole() -> Iterator[None]:
    """Let no half of a picture be taken for it, for a while, whatever the process has set."""
    from PIL import ImageFile

    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def read_pixels(source: Path | bytes, name: str | None = None) -> np.ndarray:
    """Return (H, W, 3) uint8 of a picture; see `read_picture`."""
    return read_picture(source, name).pixels()


def is_turned(path: Path) -> bool:
    """Whether a picture's EXIF says that it is to be turned; nothing is decoded."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(_content(path, shown(path))), formats=FORMATS) as file:
                return file.getexif().get(_ORIENTATION, 1) in range(2, 9)
    except Exception:
        return False


def picture_format(path: Path) -> str:
    """Return PIL's name of a file's format, "no picture" of one that is not read; nothing is
    decoded.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(_content(path, shown(path))), formats=FORMATS) as file:
                return file.format or "?"
    except Exception:
        return "no picture"


def _content(path: Path, where: str) -> bytes:
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            raise PictureError(where, "no ordinary file")
        return path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            target = shown(path.readlink())
            raise PictureError(where, f"a link that leads nowhere, to {target}") from None
        raise PictureError(where, "the file is missing") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PictureError(where, f"the file cannot be read: {reason}") from None


def _require_readable(file: Image, data: bytes, where: str) -> str:
    """Return the mode in the file (PictureError where it is none that is read)."""
    width, height = file.size
    if width * height > MOST_PIXELS:
        raise PictureError(where, f"too large: {width}x{height} pixels")
    frames = int(getattr(file, "n_frames", 1))
    if frames > 1 and file.format != "MPO":
        raise PictureError(where, f"animated: {frames} frames; expected one")
    if file.mode in ("LAB", "HSV"):
        raise PictureError(where, f"colours of mode {file.mode}; save it as RGB")
    if file.mode not in _EIGHT_BIT:
        raise PictureError(where, f"not of 8 bits: pixels of mode {file.mode}")
    if lost := _cut_short(str(file.format), data) or raster_fault(file, data):
        raise PictureError(where, f"broken: {lost}")
    if file.format == "BMP" and int.from_bytes(data[28:30], "little") == _SHORT:
        return f"{file.mode};5B"
    bits = getattr(file, "tag_v2", {}).get(_BITS, ())
    sixteen = (file.format == "PNG" and data[24:25] == b"\x10") or max((8, *bits)) > 8
    return f"{file.mode};16B" if sixteen else str(file.mode)


def _cut_short(format_: str, data: bytes) -> str:
    """Return what a file lacks where zeros stand for a part of it, which decoders pass over.

    Programs that fetch files reserve their space first.
    """
    if format_ in ("JPEG", "MPO"):
        if data.find(b"\xff\xd9", jpeg_scan(data)) < 0:
            return "the JPEG does not end; zeros in place of its rest?"
        place = jpeg_hole(data)
    elif format_ == "WEBP":
        end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
        if not any(data[max(0, end - _ZEROS) : end]):
            return "the WebP ends in zeros alone"
        return ""
    else:
        return ""
    return "" if place is None else f"zeros in place of its pixels from byte {place} on"


def _require_opaque(file: Image, where: str) -> None:
    if not file.has_transparency_data:
        return
    alpha = file.convert("RGBA").getchannel("A")
    low, _ = alpha.getextrema()
    if isinstance(low, int | float) and low < 255:
        raise PictureError(
            where,
            "transparent: one can see through some of its pixels; lay it over the colour that is "
            "meant (mostly white) and save it without alpha",
        )


def _what_it_is(data: bytes) -> str:
    """Return what a file is that is no picture, as far as its head tells."""
    if not data:
        return "the file is empty"
    heads = {
        b"version https://git-lfs": "a pointer of git LFS, no picture; fetch it (git lfs pull)",
        b"<!doctype": "a web page, not a picture",
        b"<html": "a web page, not a picture",
        b"<svg": "SVG, which has no pixels",
        b"<?xml": "XML, not a picture",
        b"%pdf": "PDF, not a picture",
        b"pk\x03\x04": "a zip archive, not a picture",
    }
    start = data[:64].lstrip().lower()
    for head, what in heads.items():
        if start.startswith(head):
            return what
    if data[4:8] == b"ftyp":
        kind = data[8:12].decode("ascii", "replace")
        return f"HEIF, AVIF or film ({kind}); save it as PNG or JPEG"
    if not any(data[:4096]):
        return "the file holds zeros alone"
    return f"no picture of a known kind ({', '.join(FORMATS)})"
