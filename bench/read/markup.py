"""Prompts that are written for another program: marks that it takes out, and nothing here does.

Here a prompt is encoded as it stands. Weights in brackets, switches behind two dashes, wildcards
and the escapes of web pages are words of it, and the images of another prompt than was meant.
"""

from __future__ import annotations

import logging
import re
import unicodedata
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
    "tokens of text encoders (<|endoftext|>, <s>)": re.compile(
        r"<\|[^|<>\s]{1,40}\|>|</?(?:s|pad|unk)>|\[/?INST\]"
    ),
    "names of trained embeddings (<cat-toy>)": re.compile(
        r"<(?!/?(?:br|p|b|i|em|strong|div|span|a|s|pad|unk)\b)[\w-]+>|\bembedding:\S+"
    ),
    "places that were not filled ({}, {colour}, $colour, %s)": re.compile(
        r"\$?\{\w*\}|%\(\w+\)s|(?<![\d%])%[sd]\b|(?<!\w)\$[A-Za-z_]\w*"
    ),
    "weights by brackets (((word)), [[word]])": re.compile(r"\(\([^()]*\)\)|\[\[[^\[\]]*\]\]"),
    "several prompts in one (AND, ::2)": re.compile(r"[a-z)\]]\s+AND\s+(?=[a-z(\[])|::\s*-?\d"),
    "marks of Markdown (**word**, `word`)": re.compile(r"\*\*[^*]+\*\*|`[^`]+`"),
    "escapes of addresses (%20)": re.compile(r"%(?:20|2[CF]|3[AF]|C3%)", re.IGNORECASE),
    "underscores in place of blanks (a_red_circle)": re.compile(r"^[^\s_]+(?:_[^\s_]+){2,}$"),
    "quotation marks around the whole": re.compile(
        r"^(?:\"[^\"]*\"|'[^']*'|\u201c[^\u201d]*\u201d)$"
    ),
    "letters that were decoded wrongly (\u00c3\u00a9, \u00e2\u20ac\u2122, \ufffd)": re.compile(
        r"[\u00c2\u00c3][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc"
        r"\u2013-\u203a\u20ac\u2122]|\u00e2\u20ac|\ufffd"
    ),
    "characters that nobody sees (controls, directions, soft hyphens)": re.compile(
        r"[\x00-\x08\x0e-\x1f\x7f\x80-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060"
        r"\u2066-\u2069\ufeff]"
    ),
    "an end as of a text that was cut (...)": re.compile(r"(?:\u2026|\.\.\.)$"),
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


def say_alike(texts: Sequence[str], where: str) -> None:
    """Log how many texts differ from an earlier one in case, blanks or the last sign alone.

    Args:
        texts: prompts, each another one.
        where: they come from.
    """
    first: dict[str, str] = {}
    found = []
    for text in dict.fromkeys(texts):
        plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(".,;!")
        if first.setdefault(plain, text) != text:
            found.append(repr(text[:_LONGEST]))
    if found:
        LOG.warning(
            "%s: %d of %d prompts differ from an earlier one in case, blanks or the last sign "
            "alone (%s); each counts",
            *(where, len(found), len(texts), few(found)),
        )
