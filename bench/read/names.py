"""How words of users become names of artifacts and files: one rule."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from urllib.parse import quote

from bench.errors import UsageError

LONGEST_NAME = 120
"""Characters of an artifact's name."""
LONGEST_FILE = 255
"""Bytes of a file's name that file systems take."""

_STRANGE = re.compile(r"[^A-Za-z0-9._+=-]+")
_KEPT = 120
_UNSEEN = ("Cc", "Zl", "Zp")
"""Control characters, and the separators of lines and of paragraphs."""
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Of the characters without a shape, those that change the direction of others; emoji and several
scripts need the rest."""


def artifact_name(text: str, *, otherwise: str = "unnamed") -> str:
    """Return a text as the name of an artifact: letters, digits and `._+=-`, the first one a letter
    or a digit; all else becomes a dash. A name that is one already stays as it is.

    Two texts may become one name: what tells artifacts apart is the hash behind it.

    >>> artifact_name("folder-my images #1 (v2)")
    'folder-my-images-1-v2-'
    """
    return _STRANGE.sub("-", text).lstrip("._+=-")[:LONGEST_NAME] or otherwise


def one_line(text: str, what: str) -> str:
    """Return a text that a user calls something by, which reads as it is and on one line.

    Raises:
        UsageError: it has a line break, a tab, an escape or another control character, or one
            that turns the direction of what follows; e.g. a row that shows as two.
    """
    for character in text:
        if unicodedata.category(character) in _UNSEEN or character in _TURNING:
            raise UsageError(
                f"{what} {text!r} has the character U+{ord(character):04X}, which would show as "
                "something else than it is; write it on one line, without control characters."
            )
    return text


def file_stem(text: str, *, behind: int = 0) -> str:
    """Return any text as the stem of a file's name; unlike texts give unlike stems.

    Args:
        text: e.g. the id of a prompt.
        behind: bytes that will follow the stem.
    """
    quoted = quote(text, safe="", errors="surrogatepass")
    if len(quoted) + behind <= LONGEST_FILE:
        return quoted
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{quoted[:_KEPT]}={digest[:32]}"  # "=" is in no quoted text
