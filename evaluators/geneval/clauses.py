"""What a prompt asks GenEval for, checked before anything is looked at.

The official rules read a word that nobody knows (a class, a colour, a relation) as "not found":
each image scores 0. A key that they do not read makes the task easier than was meant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from bench.api import Prompt, PromptSuite, UsageError
from bench.api.errors import did_you_mean
from evaluators.geneval.prompts import OBJECT_NAMES, TASKS
from evaluators.geneval.rules import COLORS, RELATIONS

INCLUDE, EXCLUDE = ("class", "count", "color", "position"), ("class", "count")
_SHOWN = 5


def require_clauses(prompt: Prompt, *, tasks: Collection[str]) -> None:
    """Make sure that a prompt's clauses say what they mean.

    Args:
        prompt: with `include` and perhaps `exclude` in its meta.
        tasks: those that its tag may name.

    Raises:
        UsageError: its tag is none, there is no clause to be met, a key is unknown, or a value is
            of another kind.
    """
    where = f"prompt {prompt.id} {prompt.text!r}"
    if prompt.tag not in tasks:
        raise UsageError(
            f"{where} has the tag {prompt.tag!r}, which is no GenEval task. Its tasks are "
            f"{', '.join(tasks)}.{did_you_mean(prompt.tag, tasks)}"
        )
    if not prompt.meta.get("include"):
        raise UsageError(
            f"{where} has no 'include' clauses in its meta; any image would count as correct. Add "
            "what must be there."
        )
    for key, known in (("include", INCLUDE), ("exclude", EXCLUDE)):
        clauses = prompt.meta.get(key, [])
        if not isinstance(clauses, Sequence) or isinstance(clauses, str):
            raise UsageError(f"{where}: {key} is {clauses!r}; expected a list of clauses")
        for number, clause in enumerate(clauses):
            _require_clause(clause, known, number, f"{where}, {key} clause {number + 1}")


def _require_clause(clause: Any, known: Sequence[str], number: int, where: str) -> None:
    if not isinstance(clause, Mapping):
        raise UsageError(f"{where} is {clause!r}; expected an object with {', '.join(known)}")
    for key in clause:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}.{did_you_mean(str(key), known)}")
    count = clause.get("count")
    if type(count) is not int or count < 1:
        raise UsageError(f"{where}: count is {count!r}; expected a whole number from 1")
    for key in ("class", "color"):
        if (key == "class" or key in clause) and not _is_word(clause.get(key)):
            raise UsageError(f"{where}: {key} is {clause.get(key)!r}; expected a name")
    if "position" in clause:
        _require_position(clause["position"], number, where)


def _require_position(position: Any, number: int, where: str) -> None:
    pair = isinstance(position, Sequence) and not isinstance(position, str) and len(position) == 2
    relation, target = position if pair else (None, None)
    if type(target) is not int or not 0 <= target < number:
        raise UsageError(
            f"{where}: position is {position!r}; expected a relation, and the number of an earlier "
            "clause, counted from 0"
        )
    if relation not in RELATIONS:
        hint = did_you_mean(str(relation), RELATIONS)
        raise UsageError(f"{where}: unknown relation {relation!r}.{hint}")


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def unknown_words(
    suite: PromptSuite, *, classes: Collection[str], colors: Collection[str], who: str
) -> str:
    """Return why a detector cannot look for what a suite asks for, or nothing.

    Clauses that say nothing are a reason, too.

    Args:
        suite: whose clauses ask.
        classes: what the detector finds.
        colors: which it tells apart.
        who: the detector.
    """
    try:
        for prompt in suite:
            require_clauses(prompt, tasks=TASKS)
    except UsageError as error:
        return str(error)
    lacking = {
        **{f"class {word!r}": classes for word in _asked(suite, "class") if word not in classes},
        **{f"colour {word!r}": colors for word in _asked(suite, "color") if word not in colors},
    }
    if not lacking:
        return ""
    first = next(iter(lacking))
    hint = did_you_mean(first.split("'")[1], lacking[first])
    more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
    return (
        f"{who} does not know {', '.join([*lacking][:_SHOWN])}{more}, which prompts of "
        f"{suite.name} ask for: every image would score 0.{hint}"
    )


def unofficial_words(evaluator: str, suite: PromptSuite, *, who: str) -> str:
    """Return `unknown_words` of a detector of COCO's classes and GenEval's colours.

    Args:
        evaluator: that is to be measured; only GenEval asks by these words.
        suite, who: as there.
    """
    if evaluator != "geneval":
        return ""
    return unknown_words(suite, classes=OBJECT_NAMES, colors=COLORS, who=who)


def _asked(suite: PromptSuite, key: str) -> list[str]:
    found = (str(clause[key]) for clause in _clauses(suite) if key in clause)
    return list(dict.fromkeys(found))


def _clauses(suite: PromptSuite) -> Iterator[Mapping[str, Any]]:
    for prompt in suite:
        for key in ("include", "exclude"):
            clauses = prompt.meta.get(key)
            for clause in clauses if isinstance(clauses, Sequence) else ():
                if isinstance(clause, Mapping):
                    yield clause
