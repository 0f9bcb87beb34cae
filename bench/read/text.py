r"""Texts of users: their encodings and line ends.

UTF-8 is read with and without its mark, UTF-16 and UTF-32 with theirs; nothing is guessed. A line
ends at "\n" or "\r\n": a form feed, U+0085 or U+2028 may stand in a prompt.
"""

from __future__ import annotations

import codecs
import stat
import unicodedata
from pathlib import Path

from bench.errors import UsageError

MOST_BYTES = 1 << 30
"""Longer texts are refused: a text is read whole."""

_MARKS = (  # the longer ones first: UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SHOWN = 24
MARK = "\ufeff"
"""The byte order mark: at the begin of a file alone."""
PLACEHOLDERS = (
    *("nan", "none", "null", "nil", "nat", "na", "n/a", "<na>", "<none>", "(null)", "undefined"),
    *("#n/a", "#value!", "#ref!", "#name?", "#div/0!", "#num!", "#null!"),
    *("-", "--", "\u2013", "\u2014"),
)
"""What people and programs write where a cell was empty or cannot be computed, in lower case."""
_OTHERS = (
    (b"version https://git-lfs", "a pointer of git LFS; fetch the file itself (git lfs pull)"),
    (b"PK\x03\x04", "a zip archive, or a document of an office program; export its text"),
    (b"PAR1", "a Parquet file"),
    (b"%PDF", "a PDF document; export its text"),
    (b"{\\rtf", "a document in rich text; save it as plain text"),
    (b"\x1f\x8b", "compressed (gzip); unpack it"),
    (b"SQLite format 3", "a data base"),
)
"""How files begin that are no text, though some of them could be read as one."""
_PAGES = (b"<!doctype html", b"<html")


class UnreadableFileError(UsageError, OSError):
    """A file cannot be read, or is none."""


class MissingFileError(UnreadableFileError, FileNotFoundError):
    """There is no file of that name."""

    strerror = "there is no such file"


class NoTextError(UsageError, ValueError):
    """The bytes of a file are not what they should be."""


def read_bytes(path: Path, *, limit: int = MOST_BYTES) -> bytes:
    """Return the content of an ordinary file.

    Raises:
        MissingFileError: there is none; a link that leads nowhere says where it leads.
        UnreadableFileError: it is a folder, a device or a pipe, it cannot be read, or is too long.
    """
    size = _require_ordinary(path)
    if size > limit:
        raise UnreadableFileError(f"{shown(path)} has {size:,} bytes; expected {limit:,} at most")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"{shown(path)} cannot be read: {error.strerror}") from None


def _require_ordinary(path: Path) -> int:
    """Return the size of an ordinary file; a pipe would keep its reader waiting for ever."""
    try:
        found = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise MissingFileError(
                f"{shown(path)} is a link that leads nowhere, to {shown(path.readlink())}"
            ) from None
        raise MissingFileError(f"there is no file {shown(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableFileError(f"{shown(path)} cannot be read: {reason}") from None
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "no ordinary file"
        raise UnreadableFileError(f"{shown(path)} is {what}; expected a file")
    return found.st_size


def kind_of_bytes(head: bytes, *, page: bool = False) -> str:
    """Return what a file is that begins so, as far as is known; nothing where it may be text.

    Args:
        head: its first bytes.
        page: whether a web page is what is wanted.
    """
    told = next((what for begins, what in _OTHERS if head.startswith(begins)), "")
    if not told and not page and head[:64].lstrip().lower().startswith(_PAGES):
        return "a web page (an error page in place of the file?)"
    return told


def head_of(path: Path, count: int = 64) -> bytes:
    """Return the first bytes of an ordinary file, which another library is going to open.

    Raises:
        MissingFileError, UnreadableFileError: as `read_bytes`.
    """
    _require_ordinary(path)
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise UnreadableFileError(f"{shown(path)} cannot be read: {error.strerror}") from None


def read_text(path: Path, *, page: bool = False) -> str:
    """Return the text of a file; its line ends stay as they are.

    Args:
        path: the file.
        page: whether it may be a web page.

    Raises:
        MissingFileError, UnreadableFileError, NoTextError: as `read_bytes` and `decoded`.
    """
    return decoded(read_bytes(path), shown(path), page=page)


def decoded(data: bytes, where: str, *, page: bool = False) -> str:
    """Return the text that bytes are.

    Args:
        data: of a whole file.
        where: its name, for messages.
        page: whether it may be a web page.

    Raises:
        NoTextError: it is of another kind, of no encoding that is read, or holds a NUL; byte and
            line are named.
    """
    if other := kind_of_bytes(data, page=page):
        raise NoTextError(f"{where} is no plain text: it is {other}")
    mark, encoding = next(((m, e) for m, e in _MARKS if data.startswith(m)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        place = len(mark) + error.start
        line = data.count(b"\n", 0, place) + 1
        begins = data[max(0, place - _SHOWN) : place].decode("ascii", "replace").splitlines()
        behind = f" behind {begins[-1]!r}" if begins and begins[-1] else ""
        raise NoTextError(
            f"{where}, line {line}: byte {place} ({data[place]:#04x}){behind} is no "
            f"{encoding.upper()}; save the file as UTF-8"
        ) from None
    if "\0" in text:
        before = text[: text.index("\0")]
        hint = " (UTF-16 without its mark?)" if data[1:2] == b"\0" or data[:1] == b"\0" else ""
        raise NoTextError(
            f"{where}, line {before.count(chr(10)) + 1}: a NUL character{hint}; expected text. "
            "Save the file as UTF-8"
        )
    return text


def lines_of(text: str, where: str) -> list[str]:
    r"""Return the lines of a text, without their ends; the last may lack one.

    Raises:
        UsageError: lines end in "\r" alone, or it stands inside one: that can be read in two ways;
            or a line begins with a byte order mark.
    """
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    lines = [line.removesuffix("\r") for line in lines]
    for number, line in enumerate(lines, start=1):
        if line.startswith(MARK):
            raise UsageError(
                f"{where}, line {number} begins with the byte order mark of a file: were two files "
                "joined there? Take it out"
            )
        if "\r" in line:
            raise UsageError(
                f"{where}, line {number}: a carriage return inside the line, as old Macs end "
                "lines; expected lines that end in LF or CR LF. Save the file with such"
            )
    return lines


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file; see `lines_of`.

    Raises:
        MissingFileError, UsageError: as `read_text` and `lines_of`.
    """
    return lines_of(read_text(path), shown(path))


def require_characters(text: str, where: str) -> str:
    r"""Return the text, which may hold no half of a surrogate pair (`"\ud83d"` in JSON).

    Raises:
        UsageError: it does: there is no such character, so it can neither be written nor encoded.
    """
    half = next((c for c in text if "\ud800" <= c <= "\udfff"), None)
    if half is None:
        return text
    place = text.index(half)
    raise UsageError(
        f"{where}: character {place} is {half.encode('unicode_escape').decode()}, half of a "
        "character; write the whole one"
    )


def says_nothing(text: str) -> bool:
    """Whether a text has no character that one sees: blanks, zero-width spaces, marks."""
    return not any(unicodedata.category(c)[0] in "LMNPS" for c in text)


def stands_for_nothing(text: str) -> bool:
    """Whether a text is what is written where there was none: `nan`, `None`, `N/A`, `#REF!`."""
    return text.strip().casefold() in PLACEHOLDERS


def shown(path: Path | str) -> str:
    """Return a path as it may be printed: bytes of its name that are no UTF-8 are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
