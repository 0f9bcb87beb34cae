"""Lines that other programs wrote, or for other readers: none of them is one prompt.

A list of a program's source, a log, subtitles, the notes of an image's making, a table with signs
of its own between the cells: each line would be sampled with its marks, and nothing would tell.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence

_OPENS = re.compile(r"\s*(?:[A-Za-z_]\w*\s*=\s*)?[\[({]\s*")
_CLOSES = re.compile(r"\s*[\])}]\s*[;,]?\s*")
_KEY = re.compile(r"\s*[\"']?([^\W\d]\w*)[\"']?\s*[:=]\s*\S")
_INFOTEXT = re.compile(r"\s*(?:Negative prompt:|Steps:\s*\d+\s*,\s*Sampler:)", re.IGNORECASE)
_BULLET = re.compile(r"\s*(?:[-*+\u2022\u2013\u2014\u25cf\u25aa\u00b7]|\[[ xX]\])\s+\S")
_NUMBER = re.compile(
    r"\s*(?:prompt|caption|text|image|no\.?|#)?[\s_-]*[(\[]?(\d+)"
    r"\s*(?:[.):\]]\s+|:(?!\d)\s*|[,;|]\s*|\s[-\u2013\u2014]\s+)\S",
    re.IGNORECASE,
)
_LETTER = re.compile(r"\s*[(\[]?([A-Za-z]|[ivxIVX]{2,5})[.)\]]\s+\S")
_TIME = re.compile(r"\s*\[?(?:\d{4}-\d\d-\d\d[T ,]|\d{1,2}:\d\d:\d\d)")
_SUBTITLE = re.compile(r"\s*\d\d:\d\d:\d\d[,.]\d+\s*-->")
_PICTURE = re.compile(r"\s*[\"']?[^\s,;|]*\.(?:png|jpe?g|webp|bmp|gif|tiff?)\b", re.IGNORECASE)
_CHANGE = re.compile(r"(?:<{7}|={7}|>{7})(?:\s|$)|@@ -\d")
_CELLS = (";", "###", "|||", " => ")
_KEYS = ("prompt", "prompts", "caption", "text")


def _are_a_program_s(lines: Sequence[str]) -> bool:
    return len(lines) > 1 and bool(_OPENS.fullmatch(lines[0]) and _CLOSES.fullmatch(lines[-1]))


def _begin_with_one_key(lines: Sequence[str]) -> bool:
    found = {match[1].lower() if match else "" for match in map(_KEY.match, lines)}
    if len(found) != 1 or found == {""}:
        return False
    return len(lines) > 1 or found.pop() in _KEYS


def _have(pattern: re.Pattern[str]) -> Callable[[Sequence[str]], bool]:
    return lambda lines: any(map(pattern.match, lines))


def _all_have(pattern: re.Pattern[str]) -> Callable[[Sequence[str]], bool]:
    return lambda lines: len(lines) > 1 and all(map(pattern.match, lines))


def _are_ordered(pattern: re.Pattern[str], lines: Sequence[str]) -> bool:
    """Whether each line begins with a number or letter of its own."""
    found = [match[1] for match in map(pattern.match, lines) if match]
    return 1 < len(lines) == len(found) == len(set(found))


def are_numbered(lines: Sequence[str]) -> bool:
    """Whether all lines, or all but a heading, are numbered or lettered."""
    return any(_are_ordered(p, some) for p in (_NUMBER, _LETTER) for some in _with_heading(lines))


def have_bullets(lines: Sequence[str]) -> bool:
    """Whether all lines, or all but a heading, begin with a dash, a bullet or a box."""
    return any(_all_have(_BULLET)(some) for some in _with_heading(lines))


def _with_heading(lines: Sequence[str]) -> list[Sequence[str]]:
    return [lines, lines[1:]] if len(lines) > 2 else [lines]


def _have_cells(lines: Sequence[str]) -> bool:
    counts = ({line.strip(" ;").count(mark) for line in lines} for mark in _CELLS)
    return len(lines) > 1 and any(len(found) == 1 and found != {0} for found in counts)


def _hold_signs_alone(lines: Sequence[str]) -> bool:
    return any(set(line.strip()) <= set(string.punctuation) for line in lines)


def _are_numbers(lines: Sequence[str]) -> bool:
    return all(line.strip().isdigit() for line in lines)


FOREIGN: dict[str, Callable[[Sequence[str]], bool]] = {
    "its lines are a list of a program's source; write the texts alone, one a line": (
        _are_a_program_s
    ),
    "it holds lines that begin with 'Negative prompt:' or 'Steps: ..., Sampler:', as programs note "
    "how an image was made; write the prompts alone, one a line": _have(_INFOTEXT),
    "it holds the times of subtitles; write the prompts alone, one a line": _have(_SUBTITLE),
    "it holds marks of changes (<<<<<<<, @@), of which somebody must choose": _have(_CHANGE),
    "each line begins with the same word and a colon or an equals sign; is it part of the prompts? "
    "Take it out, or write the prompts as .jsonl": _begin_with_one_key,
    "each line begins with a date or a time; write the prompts alone, one a line": _all_have(_TIME),
    "each line begins with the name of a picture; name a table (.csv, .jsonl), or write the "
    "prompts alone, one a line": _all_have(_PICTURE),
    "each line has as many ; or ### as the others, as cells of a table have between them; name a "
    "table (.csv, .jsonl), or write one prompt a line": _have_cells,
    "it holds lines of signs alone (---, ***); are they prompts? Take them out, or write the "
    "prompts as .jsonl": _hold_signs_alone,
    "its lines are numbers alone; are they prompts? Write them as .jsonl": _are_numbers,
}
"""What lines are that are no prompts, in words, and how it is seen. Asked in this order."""
