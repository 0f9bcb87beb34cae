"""From a picture to what FID's network sees: the steps in which the published FIDs differ.

Resize rules, which also fix the scale:

    clean         each channel by PIL's bicubic filter in float32, not rounded     (x - 128) / 128
    pytorch-fid   bilinear of four neighbours, no antialias                        2 x / 255 - 1
    tensorflow    TensorFlow 1's bilinear: pixel i is at i times the scale         (x - 128) / 128

Source: GaParmar/clean-fid@e88c4d6:cleanfid/resize.py; mseitzer/pytorch-fid@b9c1811:
src/pytorch_fid/inception.py; toshas/torch-fidelity@5e211a9:
torch_fidelity/interpolate_compat_tensorflow.py. Parmar et al., CVPR 2022, on what they change.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.api.errors import UsageError, did_you_mean
from bench.read.pictures import read_pixels

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]

RULES = ("clean", "pytorch-fid", "tensorflow")
PREPARATIONS = ("none", "squash-256-jpeg75", "centre-256-lanczos")
"""What is done to a picture before: nothing; BK-SDM's resize to 256 x 256 by PIL's default filter
and JPEG of quality 75; GigaGAN's middle square and Lanczos to 256 x 256."""

SMALL = 256


def prepare(picture: Picture, how: str) -> Picture:
    """Return the picture (H, W, 3) as the protocol stores it.

    Raises:
        UsageError: the preparation is unknown.
    """
    if how == "none":
        return picture
    image = Image.fromarray(picture)
    if how == "squash-256-jpeg75":
        buffer = io.BytesIO()
        image.resize((SMALL, SMALL), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=75)
        return read_pixels(buffer.getvalue())
    if how == "centre-256-lanczos":
        side = min(image.size)
        left, top = (round((length - side) / 2) for length in image.size)
        square = image.crop((left, top, left + side, top + side))
        return np.asarray(square.resize((SMALL, SMALL), Image.Resampling.LANCZOS))
    raise UsageError(f"unknown preparation {how!r}.{did_you_mean(how, PREPARATIONS)}")


def network_input(picture: Picture, rule: str, side: int = 299) -> Floats:
    """Return (3, side, side) of a picture (H, W, 3), scaled for the network.

    Raises:
        UsageError: the rule is unknown.
    """
    if rule == "clean":
        return (_resized_clean(picture, side) - np.float32(128)) / np.float32(128)
    if rule == "pytorch-fid":
        # fractions first: interpolation and scale round as they do upstream
        unit = picture.astype(np.float32) / np.float32(255)
        return np.float32(2) * _bilinear(unit, side, centred=True) - np.float32(1)
    if rule == "tensorflow":
        resized = _bilinear(picture.astype(np.float32), side, centred=False)
        return (resized - np.float32(128)) / np.float32(128)
    raise UsageError(f"unknown resize rule {rule!r}.{did_you_mean(rule, RULES)}")


def _resized_clean(picture: Picture, side: int) -> Floats:
    """Return (3, side, side), 0 to 255: bicubic overshoot is cut."""
    channels = []
    for channel in np.moveaxis(picture, 2, 0):
        image = Image.fromarray(channel.astype(np.float32)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
        channels.append(np.asarray(image).clip(0, 255))
    return np.stack(channels).astype(np.float32)


def _bilinear(picture: Floats, side: int, *, centred: bool) -> Floats:
    """Return (3, side, side) of (H, W, 3); `centred` has pixel centres at half-integers."""
    rows = _neighbours(picture.shape[0], side, centred)
    columns = _neighbours(picture.shape[1], side, centred)
    x = np.moveaxis(picture, 2, 0)
    low, high, share = columns
    # columns first, then rows: the order of the sums is upstream's
    x = x[:, :, low] + (x[:, :, high] - x[:, :, low]) * share
    low, high, share = rows
    found: Floats = x[:, low] + (x[:, high] - x[:, low]) * share[:, None]
    return found


def _neighbours(
    length: int, side: int, centred: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return both neighbours of each output pixel and the share of the second."""
    scale = np.float32(length / side)
    at = np.arange(side, dtype=np.float32)
    if centred:
        at = np.maximum((at + np.float32(0.5)) * scale - np.float32(0.5), np.float32(0))
    else:
        at = at * scale
    low = at.astype(np.int64).clip(max=length - 1)
    return low, (low + 1).clip(max=length - 1), at - low.astype(np.float32)
