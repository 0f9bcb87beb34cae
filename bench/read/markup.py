"""Prompts that are written for another program: marks that it takes out, and nothing here does.

Here a prompt is encoded as it stands. Weights in brackets, switches behind two dashes, wildcards
and the escapes of web pages are words of it, and the images of another prompt than was meant.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from bench.read.folders import few

LOG = logging.getLogger(__name__)

_MARKUP = {
    "networks of other programs (<lora:name:1>)": re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>"),
    "weights in brackets (word:1.3)": re.compile(
        r"[(\[][^()\[\]]*[^\W\d][^()\[\]:]*:\s*-?\d*\.?\d+\s*[)\]]"
    ),
    "switches (--ar 16:9)": re.compile(r"(?:^|\s)--[a-z]\w*(?:[ =]\S+)?"),
    "wildcards (__colour__, {a|b})": re.compile(r"__\w+__|\{[^{}|]*\|[^{}]*\}"),
    "breaks (BREAK)": re.compile(r"(?:^|\s)BREAK(?=\s|$)"),
    "escapes of web pages (&amp;)": re.compile(r"&(?:[a-z]{2,8}|#\d{2,5}|#x[0-9a-f]{2,5});"),
    "written escapes (\\n, \\u00e9)": re.compile(r"(?<![:\\])\\(?:[ntr]|u[0-9a-fA-F]{4})"),
    "tags of web pages (<br>)": re.compile(r"</?(?:br|p|b|i|em|strong|div|span|a)\b[^<>]*>"),
}
_LONGEST = 60


def say_markup(texts: Sequence[str], where: str) -> None:
    """Log how many texts hold marks of other programs, by kind; each is encoded as it stands.

    Args:
        texts: prompts or captions.
        where: they come from.
    """
    for kind, pattern in _MARKUP.items():
        found = [match for match in map(pattern.search, texts) if match]
        if found:
            LOG.warning(
                "%s: %d of %d prompts hold %s; here they are words like any other: %s",
                *(where, len(found), len(texts), kind),
                few([repr(match[0].strip()[:_LONGEST]) for match in found]),
            )
