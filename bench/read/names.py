"""How words of users become names of artifacts and files: one rule."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

LONGEST_NAME = 120
"""Characters of an artifact's name."""
LONGEST_FILE = 255
"""Bytes of a file's name that file systems take."""

_STRANGE = re.compile(r"[^A-Za-z0-9._+=-]+")
_KEPT = 120


def artifact_name(text: str, *, otherwise: str = "unnamed") -> str:
    """Return a text as the name of an artifact: letters, digits and `._+=-`, the first one a letter
    or a digit; all else becomes a dash. A name that is one already stays as it is.

    Two texts may become one name: what tells artifacts apart is the hash behind it.

    >>> artifact_name("folder-my images #1 (v2)")
    'folder-my-images-1-v2-'
    """
    return _STRANGE.sub("-", text).lstrip("._+=-")[:LONGEST_NAME] or otherwise


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
