"""Questions about a prompt that depend on one another: read from its meta, and their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.api import Prompt, Record, UsageError
from evaluators.records import finite

YES_ABOVE = 0.5
"""A soft answer above this is a yes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionGraph:
    """A prompt's questions.

    Attributes:
        numbers: ascending; the order in which answers come.
        texts: in that order.
        parents: by question number, ascending; 0 is no parent.
    """

    numbers: tuple[int, ...]
    texts: tuple[str, ...]
    parents: Mapping[int, tuple[int, ...]]


def graph_of(prompt: Prompt, *, orphans: bool = False) -> QuestionGraph:
    """Read `questions` {"1": text, ...} and `parents` {"1": [0], ...} of a prompt's meta.

    Args:
        prompt: whose meta holds them.
        orphans: allow parents that are no question.

    Raises:
        UsageError: a number is not a whole one, or a parent is no question of the prompt.
    """
    questions, parents = prompt.meta.get("questions"), prompt.meta.get("parents", {})
    if not isinstance(questions, Mapping) or not isinstance(parents, Mapping) or not questions:
        raise UsageError(
            f"prompt {prompt.id} has no 'questions' and 'parents' by number in its meta; read it "
            "with the benchmark's own reader"
        )
    try:
        texts = {int(number): str(text) for number, text in questions.items()}
        above = {int(n): tuple(int(p) for p in found) for n, found in parents.items()}
    except (TypeError, ValueError) as error:
        raise UsageError(f"prompt {prompt.id}: questions and parents by number: {error}") from None
    unknown = sorted(set(above) - set(texts))
    unknown += sorted({p for found in above.values() for p in found} - set(texts) - {0})
    if unknown and not orphans:
        raise UsageError(
            f"prompt {prompt.id}: {unknown[0]} stands among the parents and is no question "
            f"(there are {', '.join(map(str, sorted(texts)))})"
        )
    numbers = tuple(sorted(texts))
    return QuestionGraph(
        numbers=numbers,
        texts=tuple(texts[number] for number in numbers),
        parents=dict(sorted(above.items())),
    )


def answers_of(
    record: Record, numbers: Sequence[int], *, is_yes: Callable[[str], bool]
) -> dict[int, bool]:
    """Return which questions were answered yes.

    Args:
        record: `answers`, the texts a model gave, or `yes`, a probability for each question.
        numbers: of the questions, in their order.
        is_yes: the benchmark's rule on texts.

    Raises:
        ValueError: neither is there, or not one for each question; the image is named.
    """
    name = f"image {record['prompt_id']}/{record['ordinal']}"
    texts, soft = record.get("answers"), record.get("yes")
    given = texts if texts is not None else soft
    if not isinstance(given, Sequence) or len(given) != len(numbers):
        raise ValueError(
            f"{name}: answers are {given!r}, expected one for each of {len(numbers)} questions"
        )
    if texts is not None:
        return {n: is_yes(str(text)) for n, text in zip(numbers, texts, strict=True)}
    return {
        n: finite(value, record, "yes") > YES_ABOVE
        for n, value in zip(numbers, soft or (), strict=True)
    }


def dependent_scores(
    yes: Mapping[int, bool], parents: Mapping[int, Sequence[int]], *, transitive: bool = False
) -> dict[int, float]:
    """Return each question's score: 1 where it and its parents are answered yes.

    Args:
        yes: raw answers by question number.
        parents: by question number, what it depends on; 0 stands for nothing.
        transitive: zero a question below any ancestor that is not yes. The official code looks
            at direct parents' raw answers only, so a grandchild of a no survives.

    Raises:
        KeyError: a parent is no question of this prompt.
        ValueError: the parents go in a circle.
    """
    found: dict[int, float] = {}

    def holds(question: int, above: tuple[int, ...]) -> bool:
        if question in above:
            raise ValueError(f"question {question} depends on itself")
        direct = [p for p in parents.get(question, ()) if p != 0]
        if not transitive:
            return yes[question] and all(yes[p] for p in direct)
        return yes[question] and all(holds(p, (*above, question)) for p in direct)

    for question in yes:
        found[question] = float(holds(question, ()))
    return found
