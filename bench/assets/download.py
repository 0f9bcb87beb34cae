"""Downloading one file: resumed where it broke off, checked before it is in its place. No torch.

The bytes go to `<target>.part`; what they are of (address, entity tag) to `<target>.part.json`.
A next attempt, also of another process and day, asks for the rest; a server that has another
file by then, or knows no ranges, sends all of it. Only a file with the right sha256 gets its name.
"""

from __future__ import annotations

import http.client
import json
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError, CorruptArtifactError, PrerequisiteError
from bench.assets.places import offline
from bench.network import RedirectError, opened, shown_url
from bench.store import DISK, file_hash, writing_to
from bench.store.writer import kernel_lock

LOG = logging.getLogger(__name__)

AGAIN = (408, 425, 429, 500, 502, 503, 504)
FIRST_WAIT, LONGEST_WAIT = 0.5, 20.0
CHUNK = 1 << 16
LARGEST = 64 * 2**30
"""Bytes; the largest single file of the models and suites known here has 20 GB."""
SLOWEST = 256
"""Bytes a second below which a connection counts as stalled."""

Progress = Callable[[int, int | None], None]
"""(bytes here, bytes in all where known)."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """One file to fetch.

    Attributes:
        url: http or https.
        target: where it goes; its folder is made.
        sha256: of the content: 64 hex digits, or the first 8 or more of them; None pins nothing.
        fix: the command, or what else to do, that the messages name.
        timeout_seconds: without a byte, or with fewer than `SLOWEST` a second, before the
            connection is given up and taken up again.
        retries: further attempts; one that brought bytes is not counted.
        largest_bytes: of the file; a server that says or sends more is refused.
    """

    url: str
    target: Path
    sha256: str | None
    fix: str
    timeout_seconds: float = 30.0
    retries: int = 4
    largest_bytes: int = LARGEST

    @property
    def shown(self) -> str:
        """The address as it may be shown."""
        return shown_url(self.url)


class _BrokenError(Exception):
    """A connection that may be taken up again; `wait` is what the server asked for, seconds."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


def download(
    order: Order, *, progress: Progress | None = None, wait: Callable[[float], None] = time.sleep
) -> str:
    """Make sure that the file is there and return its sha256.

    Raises:
        PrerequisiteError: it is not there and cannot be fetched: offline, unreachable, refused.
        CorruptArtifactError: its content is not that of the sha256; nothing is put in its place.
        BenchError: the server goes on failing.
        StoreError: the disk fails.
    """
    if order.target.is_file():
        return check(order.target, order.sha256, fix=f"remove it, then {order.fix}")
    if urllib.parse.urlsplit(order.url).scheme not in ("http", "https"):
        raise BenchError(f"{order.shown!r}: expected an address with http:// or https://")
    if offline():
        raise PrerequisiteError(
            f"{order.target} is not there, and the network is off (HF_HUB_OFFLINE, --offline)",
            fix=order.fix,
        )
    DISK.makedirs(order.target.parent)
    part = order.target.with_name(f"{order.target.name}.part")
    lock = order.target.with_name(f"{order.target.name}.lock")
    with writing_to(lock):
        held = lock.open("w")
    with held as file:
        kernel_lock(file.fileno(), wait=True)
        if order.target.is_file():  # another process was quicker
            return check(order.target, order.sha256, fix=f"remove it, then {order.fix}")
        found = _until_whole(order, part, progress, wait)
        DISK.fsync(part)
        DISK.replace(part, order.target)
        DISK.unlink(_card(part))
        DISK.unlink(lock)
        DISK.fsync_directory(order.target.parent)
        return found


def _until_whole(
    order: Order, part: Path, progress: Progress | None, wait: Callable[[float], None]
) -> str:
    """Fetch in as many connections as it takes, and return the sha256 of the whole `part`."""
    failures = 0
    while True:
        before = _size(part)
        try:
            _fetch(order, part, progress)
            break
        except _BrokenError as error:
            failures = 0 if _size(part) > before else failures + 1
            if failures > order.retries:
                raise PrerequisiteError(
                    f"cannot fetch {order.shown}: {error} (after {failures} attempts without a "
                    f"byte; {_size(part)} bytes are kept in {part})",
                    fix=order.fix,
                ) from error
            pause = FIRST_WAIT * 2**failures if error.wait is None else error.wait
            LOG.info("%s: %s; going on in %.1f s", order.shown, error, min(pause, LONGEST_WAIT))
            wait(min(pause, LONGEST_WAIT))
    found = file_hash(part)
    if not agrees(found, order.sha256):
        _discard(part)
        raise CorruptArtifactError(
            f"{order.shown} has sha256 {found}, expected {order.sha256}: it is not the file this "
            "version of the harness was made for, or it was changed on its way. It was not kept."
        )
    return found


def check(path: Path, sha256: str | None, *, fix: str) -> str:
    """Return the sha256 of a file that is there.

    Raises:
        CorruptArtifactError: it is not the expected one.
    """
    found = file_hash(path)
    if not agrees(found, sha256):
        raise CorruptArtifactError(
            f"{path} has sha256 {found}, expected {sha256}.\n  to mend it: {fix}"
        )
    return found


def agrees(found: str, expected: str | None) -> bool:
    """Whether a sha256 is the expected one, of which the first digits may be all that is known."""
    return expected is None or (len(expected) >= 8 and found.startswith(expected.lower()))


def _fetch(order: Order, part: Path, progress: Progress | None) -> None:
    """Append what is missing to `part`; return when all of it is there (_BrokenError otherwise)."""
    card = _read_card(part, order.url)
    # without a tag only the sha256 can tell that two halves are of one file
    have = _size(part) if card and (card["tag"] or order.sha256) else 0
    headers = {"User-Agent": "align-bench", "Accept-Encoding": "identity"}
    if have and card:
        headers["Range"] = f"bytes={have}-"
        if card["tag"]:
            headers["If-Range"] = card["tag"]
    request = urllib.request.Request(order.url, headers=headers)
    try:
        patience = order.timeout_seconds
        with opened(request, silence_seconds=patience, follow_redirects=True) as answer:
            start, total = _place(answer, have)
            if total is not None and total > order.largest_bytes:
                raise _too_large(order, total)
            if start != have:
                have = 0
            _write_card(part, order.url, answer.headers.get("ETag"))
            _copy(answer, part, have, total, order, progress)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:  # nothing of the file is left, or it has become shorter
                whole = error.headers.get("Content-Range", "").rpartition("/")[2]
                if whole == str(have):
                    return
                _discard(part)
                raise _BrokenError("the file changed meanwhile; from the start again") from error
            if error.code in AGAIN:
                raise _BrokenError(f"status {error.code}", _seconds(error.headers)) from error
            raise PrerequisiteError(
                f"{order.shown} answered with status {error.code} ({error.reason}); the file is "
                f"expected at {order.target}",
                fix=order.fix,
            ) from error
    except RedirectError as error:
        raise PrerequisiteError(f"{order.shown} {error.reason}", fix=order.fix) from None
    except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
        reason = getattr(error, "reason", None) or error
        raise _BrokenError(str(reason) or type(error).__name__) from error


def _copy(
    answer: Any,
    part: Path,
    have: int,
    total: int | None,
    order: Order,
    progress: Progress | None,
) -> None:
    began, at_began, patience = time.monotonic(), have, order.timeout_seconds
    with writing_to(part):
        opened = part.open("r+b" if have else "wb", buffering=0)
    with opened as file:
        file.seek(have)
        file.truncate()
        while data := answer.read1(CHUNK):
            with writing_to(part):  # around this alone: a time-out of the network is no disk's
                file.write(data)
            have += len(data)
            if have > order.largest_bytes:
                raise _too_large(order, have)
            if progress:
                progress(have, total)
            now = time.monotonic()
            if now - began >= patience:
                if have - at_began < SLOWEST * (now - began):
                    raise _BrokenError(f"{have - at_began} bytes in {now - began:.0f} s")
                began, at_began = now, have
    if total is not None and have < total:
        raise _BrokenError(f"the connection ended after {have} of {total} bytes")


def _too_large(order: Order, size: int) -> PrerequisiteError:
    _discard(order.target.with_name(f"{order.target.name}.part"))
    return PrerequisiteError(
        f"{order.shown} sends {size:,} bytes or more; expected at most "
        f"{order.largest_bytes:,}. Nothing of it was kept.",
        fix=order.fix,
    )


def _place(answer: Any, have: int) -> tuple[int, int | None]:
    """Return where the body of an answer begins in the file, and the file's size."""
    length = answer.headers.get("Content-Length")
    if answer.status != 206:
        return 0, None if length is None else int(length)
    unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
    span, _, whole = rest.partition("/")
    begin = span.partition("-")[0]
    if unit != "bytes" or not begin.isdecimal() or int(begin) != have:
        raise _BrokenError(f"asked from byte {have}, got {rest!r}")
    return have, int(whole) if whole.isdecimal() else None


def _card(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_card(part: Path, url: str) -> dict[str, Any] | None:
    """Return what is known of an unfinished file; None where it is of another address."""
    with suppress(OSError, ValueError):
        card = json.loads(_card(part).read_text(encoding="utf-8"))
        if card["url"] == url and part.is_file():
            return {"tag": card["tag"]}
    return None


def _write_card(part: Path, url: str, tag: str | None) -> None:
    strong = tag if tag and not tag.startswith("W/") else None
    DISK.write_atomically(_card(part), json.dumps({"url": url, "tag": strong}).encode())


def _discard(part: Path) -> None:
    DISK.unlink(part)
    DISK.unlink(_card(part))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _seconds(headers: Any) -> float | None:
    try:
        return max(0.0, float(headers.get("Retry-After")))
    except (TypeError, ValueError):
        return None
