"""Each case of a picture that people bring, tried on every reader of pictures."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bench.api.errors import BenchError
from tests.read.bring import SIDE, film, halves, mpo, picture, png, turned, within
from tests.read.picture_readers import READERS, PictureReader

Make = Callable[[Path], None]
UPRIGHT = halves()[::-1]
PLAIN = np.asarray(picture(1))


def _saved(form: str, mode: str = "RGB", **options: object) -> Make:
    return lambda path: picture(1).convert(mode).save(path, format=form, **options)


def _bytes(data: bytes) -> Make:
    return lambda path: path.write_bytes(data) and None  # type: ignore[return-value]


def _sixteen(path: Path) -> None:
    """A PNG of three channels of 16 bits, as raw converters write them."""
    deep = np.repeat(PLAIN.astype(">u2") * 257, 1, axis=2)
    lines = b"".join(b"\0" + row.tobytes() for row in deep)

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def _odd_exif(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    picture(1).save(path, format="PNG", exif=exif)


def _palette(path: Path) -> None:
    picture(1).quantize(16).save(path, format="PNG")


def _opaque(path: Path) -> None:
    picture(1).convert("RGBA").save(path, format="PNG")


def _comment(path: Path) -> None:
    about = PngImagePlugin.PngInfo()
    about.add_text("parameters", "a red circle\nSteps: 20, Sampler: Euler a")
    picture(1).save(path, format="PNG", pnginfo=about)


# name in the folder, how it is made, and the pixels that are right (None: near enough to PLAIN)
READ: dict[str, tuple[str, Make, np.ndarray | None]] = {
    "PNG": ("x.png", _saved("PNG"), PLAIN),
    "PNG with a generator's text": ("x.png", _comment, PLAIN),
    "an ending in capitals": ("x.PNG", _saved("PNG"), PLAIN),
    "PNG called .jpg": ("x.jpg", _saved("PNG"), PLAIN),
    "JPEG called .png": ("x.png", _saved("JPEG", quality=95), None),
    "WebP called .png": ("x.png", _saved("WEBP", lossless=True), PLAIN),
    "BMP": ("x.bmp", _saved("BMP"), PLAIN),
    "TIFF": ("x.tiff", _saved("TIFF"), PLAIN),
    "turned by EXIF": ("x.png", turned, UPRIGHT),
    "an orientation that there is not": ("x.png", _odd_exif, PLAIN),
    "a phone's two photographs": ("x.jpg", mpo, None),
    "colours of 16 bits": ("x.png", _sixteen, PLAIN),
    "interlaced": ("x.png", _saved("PNG", interlace=1), PLAIN),
    "a progressive JPEG": ("x.jpg", _saved("JPEG", progressive=True, quality=95), None),
    "bytes behind the end": ("x.png", _bytes(png(picture(1)) + b"\0" * 512), PLAIN),
}
# read where RGB can be made of it, refused by `score`, which measures what was sampled
LOOSE: dict[str, tuple[str, Make]] = {
    "grey": ("x.png", _saved("PNG", "L")),
    "black and white": ("x.png", _saved("PNG", "1")),
    "a palette": ("x.png", _palette),
    "CMYK": ("x.jpg", _saved("JPEG", "CMYK")),
    "alpha that hides nothing": ("x.png", _opaque),
}


def _see_through(path: Path) -> None:
    whole = picture(1).convert("RGBA")
    whole.putpixel((3, 3), (255, 0, 0, 0))
    whole.save(path, format="PNG")


def _keyed(path: Path) -> None:
    """A palette with one colour that is not there."""
    image = picture(1).quantize(16)
    image.save(path, format="PNG", transparency=image.getpixel((0, 0)))


def _bomb(path: Path) -> None:
    """A file of 200 KB that would unpack into gigabytes."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head
    chunk += struct.pack(">I", zlib.crc32(b"IHDR" + head))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + chunk)


def _cut(form: str, share: float) -> Make:
    def make(path: Path) -> None:
        buffer = io.BytesIO()
        picture(1, (256, 256)).save(buffer, format=form)
        path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * share)])

    return make


def _damaged(path: Path) -> None:
    """A byte inside the compressed pixels is another one."""
    data = bytearray(png(picture(1)))
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


REFUSED: dict[str, tuple[str, Make, str]] = {
    "no bytes": ("x.png", _bytes(b""), "the file is empty"),
    "zeros": ("x.png", _bytes(b"\0" * 4096), "zeros alone"),
    "text": ("x.png", _bytes(b"not a picture"), "no picture of a known kind"),
    "a web page": ("x.jpg", _bytes(b"<!DOCTYPE html><html>404</html>"), "a web page"),
    "a pointer of LFS": (
        "x.png",
        _bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "git LFS",
    ),
    "SVG": ("x.png", _bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "SVG"),
    "HEIC called .jpg": ("x.jpg", _bytes(b"\0\0\0\x18ftypheic" + b"\0" * 99), "HEIF"),
    "PostScript called .png": ("x.png", _bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "no picture"),
    "a PNG cut short": ("x.png", _cut("PNG", 0.6), "broken"),
    "a JPEG cut short": ("x.jpg", _cut("JPEG", 0.6), "broken"),
    "a WebP cut short": ("x.webp", _cut("WEBP", 0.6), "broken"),
    "a head alone": ("x.png", _cut("PNG", 0.0002), "broken"),
    "a damaged byte": ("x.png", _damaged, "broken"),
    "a GIF that moves": ("x.gif", film, "animated: 3 frames"),
    "a PNG that moves": ("x.png", lambda p: film(p, "PNG"), "animated: 3 frames"),
    "a WebP that moves": ("x.webp", lambda p: film(p, "WEBP"), "animated: 3 frames"),
    "a TIFF of pages": ("x.tif", lambda p: film(p, "TIFF"), "animated: 3 frames"),
    "grey of 16 bits": (
        "x.png",
        lambda p: Image.new("I;16", (SIDE, SIDE), 40_000).save(p, format="PNG"),
        "not of 8 bits",
    ),
    "floating point": (
        "x.tif",
        lambda p: Image.new("F", (SIDE, SIDE), 0.5).save(p, format="TIFF"),
        "not of 8 bits",
    ),
    "a see-through pixel": ("x.png", _see_through, "transparent"),
    "a see-through colour": ("x.png", _keyed, "transparent"),
    "more pixels than memory": ("x.png", _bomb, ""),
}


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> PictureReader:
    (tmp_path / "in").mkdir()
    return READERS[request.param]


@pytest.mark.parametrize("case", READ)
def test_it_is_read_to_the_same_pixels(case: str, reader: PictureReader, tmp_path: Path) -> None:
    name, make, expected = READ[case]
    make(tmp_path / "in" / name)
    found = reader.read(tmp_path)
    assert found.dtype == np.uint8 and found.shape == (SIDE, SIDE, 3)
    if expected is None:  # a lossy file of PLAIN: its first picture, upright
        assert np.corrcoef(found.ravel(), PLAIN.ravel())[0, 1] > 0.5
    else:
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("case", LOOSE)
def test_other_modes_have_a_meaning_or_are_refused(
    case: str, reader: PictureReader, tmp_path: Path
) -> None:
    name, make = LOOSE[case]
    make(tmp_path / "in" / name)
    if reader.strict:
        with pytest.raises(BenchError, match="mode"):
            reader.read(tmp_path)
    else:
        assert reader.read(tmp_path).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_its_name(case: str, reader: PictureReader, tmp_path: Path) -> None:
    name, make, hint = REFUSED[case]
    make(tmp_path / "in" / name)
    with within(20), pytest.raises(BenchError) as caught:
        reader.read(tmp_path)
    told = str(caught.value)
    assert hint in told
    assert any(end in told for end in (".png", ".jpg", ".webp", ".gif", ".tif")), told


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: path.symlink_to("nowhere.png"), lambda path: path.symlink_to(path)],
    ids=["a pipe", "a link to nowhere", "a link to itself"],
)
def test_what_is_no_file_is_no_picture(make: Make, reader: PictureReader, tmp_path: Path) -> None:
    make(tmp_path / "in" / "x.png")
    with within(20), pytest.raises(BenchError):
        reader.read(tmp_path)
