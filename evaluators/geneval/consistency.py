"""Prompts whose parts say unlike things: the text, the tag and the clauses that are looked for.

The official metadata are written by one program and agree. Those of others may be copied, sorted
anew or edited: the images are then of one thing, and another is looked for in them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench.api import Prompt, PromptSuite, UsageError
from bench.read.folders import few
from bench.read.text import says_nothing, shown, stands_for_nothing

LOG = logging.getLogger(__name__)

Clauses = Sequence[Mapping[str, Any]]


def _number_of(key: str, clauses: Clauses) -> int:
    return sum(key in clause for clause in clauses)


_FITS: dict[str, Callable[[Clauses, Clauses], bool]] = {
    "single_object": lambda these, _: len(these) == 1 and not _number_of("position", these),
    "two_object": lambda these, _: len(these) > 1,
    "counting": lambda these, others: bool(others) or any(c["count"] > 1 for c in these),
    "colors": lambda these, _: _number_of("color", these) > 0,
    "position": lambda these, _: _number_of("position", these) > 0,
    "color_attr": lambda these, _: _number_of("color", these) > 1,
}
"""Whether clauses that include and exclude are of a task, by its tag."""


def require_possible(prompt: Prompt) -> None:
    """Make sure that a picture can be right, and that the prompt has a text.

    Args:
        prompt: whose clauses `require_clauses` has looked at.

    Raises:
        UsageError: what must be there may not be there, or the prompt says nothing.
    """
    where = f"prompt {prompt.id} {prompt.text!r}"
    if says_nothing(prompt.text) or stands_for_nothing(prompt.text):
        raise UsageError(f"{where} has no text; write the one that the images were made from")
    least = {clause["class"]: clause["count"] for clause in prompt.meta["include"]}
    for clause in prompt.meta.get("exclude", ()):
        name, count = clause["class"], clause["count"]
        if count <= least.get(name, 0):
            raise UsageError(
                f"{where} asks for {least[name]} of {name!r} and excludes {count} or more: every "
                "image would score 0. Mend one of the clauses"
            )


def say_unlike(suite: PromptSuite, where: str) -> None:
    """Log prompts whose text or tag is of something else than their clauses, and repeated ones.

    Args:
        suite: prompts whose clauses `require_clauses` has looked at.
        where: they come from.
    """
    for what, found in (
        ("name none of the classes that they ask for", _ids(suite, _names_none)),
        ("have clauses of another task than their tag", _ids(suite, _of_another_task)),
        ("ask twice for one class: one object may be both", _ids(suite, _asks_twice)),
        ("are equal to an earlier one; each counts", list(_repeated(suite))),
    ):
        if found:
            told = f"{len(found)} of {len(suite)} prompts {what}"
            LOG.warning("%s: %s: %s", shown(where), told, few(found))


def _ids(suite: PromptSuite, which: Callable[[Prompt], bool]) -> list[str]:
    return [f"{prompt.id} {prompt.text[:40]!r}" for prompt in suite if which(prompt)]


def _names_none(prompt: Prompt) -> bool:
    text = prompt.text.casefold()
    return not any(clause["class"].casefold() in text for clause in prompt.meta["include"])


def _of_another_task(prompt: Prompt) -> bool:
    fits = _FITS.get(prompt.tag)
    return fits is not None and not fits(prompt.meta["include"], prompt.meta.get("exclude", ()))


def _asks_twice(prompt: Prompt) -> bool:
    asked = [(c["class"], c.get("color"), json.dumps(c.get("position"))) for c in _include(prompt)]
    return len(set(asked)) < len(asked)


def _include(prompt: Prompt) -> Clauses:
    found: Clauses = prompt.meta["include"]
    return found


def _repeated(suite: PromptSuite) -> Iterator[str]:
    seen: dict[str, str] = {}
    for prompt in suite:
        key = json.dumps([prompt.text, dict(prompt.meta)], sort_keys=True, default=str)
        if key in seen:
            yield f"{prompt.id} as {seen[key]}"
        seen.setdefault(key, prompt.id)
