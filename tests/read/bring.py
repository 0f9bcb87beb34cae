"""What people bring: pictures of phones, broken files, odd names. Written by hand for the tests."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

CAPTIONS = ("a red circle", "a blue square", "a green triangle")
SIDE = 32
UPSIDE_DOWN = 3


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail a test that hangs (AssertionError)."""

    def over(*_: object) -> None:
        raise AssertionError(f"it took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def picture(number: int, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """A picture of noise, another one for each number."""
    rng = np.random.default_rng(number)
    return Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), np.uint8))


def pictures(
    folder: Path, count: int, *, name: Callable[[int], str] = lambda n: f"{n:05d}.png"
) -> Path:
    """A folder with so many pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture(number).save(folder / name(number), format="PNG")
    return folder


def halves(size: int = SIDE) -> np.ndarray:
    """White above, black below."""
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[: size // 2] = 255
    return pixels


def turned(path: Path) -> None:
    """`halves`, which EXIF turns upside down: upright, the white half is below."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = UPSIDE_DOWN
    Image.fromarray(halves()).save(path, exif=exif)


def mpo(path: Path) -> None:
    """Two photographs in one JPEG, as phones write them."""
    picture(1).save(path, format="MPO", save_all=True, append_images=[picture(2)])


def film(path: Path, form: str = "GIF") -> None:
    """Three frames."""
    frames = [picture(n) for n in range(3)]
    frames[0].save(path, format=form, save_all=True, append_images=frames[1:])


def broken(path: Path) -> None:
    """A file of no bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
