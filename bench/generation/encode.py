"""Pixels as image files, in this process or in worker processes. No torch."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bench.store import DISK, Disk, Work
from bench.store.writer import UNFINISHED_SUFFIX

if TYPE_CHECKING:
    import numpy as np

POOL_PIXELS = 256 * 256
"""Images of fewer pixels are encoded faster than they are handed to another process."""

MOST_PROCESSES = 4
_IN_FLIGHT = 64  # images; bounds the memory that waits for an encoder

OnWritten = Callable[[Mapping[str, str]], None]
"""Called with the sha256 by path of images that are now on disk."""


def encode(pixels: np.ndarray, file_format: str) -> bytes:
    """Return (H, W, 3) uint8 pixels as a PNG file, or as JPEG of quality 75.

    Equal pixels give equal bytes.
    """
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if file_format == "jpeg75":
        image.save(buffer, format="JPEG", quality=75)
    else:
        image.save(buffer, format="PNG")
    return buffer.getvalue()


def write_image(path: Path, pixels: np.ndarray, file_format: str, disk: Disk = DISK) -> str:
    """Write an image so that a reader sees all of it or nothing; return the file's sha256.

    The bytes are synced to the device when the set is published.

    Raises:
        StoreError: the disk fails.
    """
    data = encode(pixels, file_format)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED_SUFFIX}")
    disk.write_bytes(unfinished, data)
    disk.replace(unfinished, path)
    return hashlib.sha256(data).hexdigest()


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _write_in_worker(path: Path, pixels: np.ndarray, file_format: str) -> str:
    return write_image(path, pixels, file_format)


class ImageWriter:
    """Writes images into the working folder of a set; a context manager.

    Args:
        work: the working folder.
        file_format: `"png"` or `"jpeg75"`.
        pixels_per_image: decides whether worker processes pay.
        on_written: told of the images that are on disk, in the order they were given.
        processes: encoders; 0 encodes in this process, None decides by the image's size.
    """

    def __init__(
        self,
        work: Work,
        file_format: str,
        *,
        pixels_per_image: int,
        on_written: OnWritten,
        processes: int | None = None,
    ) -> None:
        if processes is None:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
            processes = min(MOST_PROCESSES, cores) if pixels_per_image >= POOL_PIXELS else 0
        self._work = work
        self._format = file_format
        self._on_written = on_written
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: deque[tuple[str, Future[str]]] = deque()

    def __enter__(self) -> Self:
        if self._processes:
            # forking a process that runs torch's threads may hang
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self._processes, mp_context=context, initializer=_begin_worker
            )
        return self

    def write(self, paths: Sequence[str], pixels: Sequence[np.ndarray]) -> None:
        """Write images (H, W, 3) uint8 under paths relative to the set.

        With worker processes the call returns before all of them are on disk.

        Raises:
            StoreError: the disk fails, perhaps at an image given earlier.
        """
        if self._pool is None:
            disk = self._work.disk
            self._on_written(
                {
                    path: write_image(self._work.file(path), image, self._format, disk)
                    for path, image in zip(paths, pixels, strict=True)
                }
            )
            return
        for path, image in zip(paths, pixels, strict=True):
            target = self._work.file(path)
            future = self._pool.submit(_write_in_worker, target, image, self._format)
            self._waiting.append((path, future))
        self._collect(_IN_FLIGHT)

    def _collect(self, allowed: int) -> None:
        """Take in results until at most `allowed` images are waited for."""
        done: dict[str, str] = {}
        while self._waiting and (len(self._waiting) > allowed or self._waiting[0][1].done()):
            path, future = self._waiting.popleft()
            done[path] = future.result()
        if done:
            self._on_written(done)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is None:
            return
        try:
            if error is None:
                self._collect(0)
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
