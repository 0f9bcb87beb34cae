"""GenEval's 553 prompts, generated.

The official list is the output of a seeded generator, so it is made here rather than shipped:
`metadata_jsonl(official_metadata())` has the sha256 `METADATA_SHA256`, that of
djghosh13/geneval@af4902f:prompts/evaluation_metadata.jsonl. The order in which random numbers
are drawn is therefore part of the format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.api import Prompt, PromptSuite, ProtocolError
from evaluators.geneval.rules import COLORS, RELATIONS

SEED = 43
DRAWS_PER_TASK = 100
METADATA_SHA256 = "5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13"
PROMPTS_SHA256 = "55b6e3650e980c13daf30569eb666e000faf19bfc2b7b4cbe999fcdb7aa9d680"

TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
NUMBER_WORDS = {2: "two", 3: "three", 4: "four"}

# The 80 COCO classes in COCO's order. A detector's classes map to these by index, never by name:
# GenEval renames "mouse", "remote" and "keyboard".
_OBJECTS = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light,
fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow,
elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee,
skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard,
tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich,
orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed,
dining table, toilet, tv, laptop, computer mouse, tv remote, computer keyboard, cell phone,
microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear,
hair drier, toothbrush
"""
OBJECT_NAMES: tuple[str, ...] = tuple(name.strip() for name in _OBJECTS.split(","))

Metadata = dict[str, Any]
"""One line of the metadata file: tag, include, perhaps exclude, prompt."""


def with_article(name: str) -> str:
    """Return `name` with "a" or "an" (by its first letter only, as upstream)."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def plural(name: str) -> str:
    """Return the plural: "es" after an s, else "s" (so "knifes" and "sandwichs", as upstream)."""
    return name + ("es" if name.endswith("s") else "s")


def _clause(name: str, count: int = 1, **extra: Any) -> dict[str, Any]:
    return {"class": name, "count": count, **extra}


def _single_object(name: str) -> Metadata:
    return {
        "tag": "single_object",
        "include": [_clause(name)],
        "prompt": f"a photo of {with_article(name)}",
    }


def _two_object(rng: np.random.Generator, names: Sequence[str]) -> Metadata:
    first, second = (names[i] for i in rng.choice(len(names), size=2, replace=False))
    return {
        "tag": "two_object",
        "include": [_clause(first), _clause(second)],
        "prompt": f"a photo of {with_article(first)} and {with_article(second)}",
    }


def _counting(rng: np.random.Generator, names: Sequence[str]) -> Metadata:
    name = names[rng.choice(len(names))]
    count = int(rng.integers(2, max(NUMBER_WORDS), endpoint=True))
    return {
        "tag": "counting",
        "include": [_clause(name, count)],
        "exclude": [_clause(name, count + 1)],
        "prompt": f"a photo of {NUMBER_WORDS[count]} {plural(name)}",
    }


def _without_person(names: Sequence[str]) -> list[str]:
    """Return the classes after "person", then those before it: no person is asked in a colour."""
    at = names.index("person")
    return [*names[at + 1 :], *names[:at]]


def _colors(rng: np.random.Generator, names: Sequence[str]) -> Metadata:
    things = _without_person(names)
    name = things[rng.choice(len(things))]
    color = COLORS[rng.choice(len(COLORS))]
    return {
        "tag": "colors",
        "include": [_clause(name, color=color)],
        "prompt": f"a photo of {with_article(color)} {name}",
    }


def _position(rng: np.random.Generator, names: Sequence[str]) -> Metadata:
    subject, target = (names[i] for i in rng.choice(len(names), size=2, replace=False))
    relation = RELATIONS[rng.choice(len(RELATIONS))]
    return {
        "tag": "position",
        "include": [_clause(target), _clause(subject, position=[relation, 0])],
        "prompt": f"a photo of {with_article(subject)} {relation} {with_article(target)}",
    }


def _color_attr(rng: np.random.Generator, names: Sequence[str]) -> Metadata:
    things = _without_person(names)
    first, second = (things[i] for i in rng.choice(len(things), size=2, replace=False))
    one, other = (COLORS[i] for i in rng.choice(len(COLORS), size=2, replace=False))
    return {
        "tag": "color_attr",
        "include": [_clause(first, color=one), _clause(second, color=other)],
        "prompt": f"a photo of {with_article(one)} {first} and {with_article(other)} {second}",
    }


_DRAWN: tuple[Callable[[np.random.Generator, Sequence[str]], Metadata], ...] = (
    _two_object,
    _counting,
    _colors,
    _position,
    _color_attr,
)


def generate_metadata(
    *,
    seed: int = SEED,
    draws_per_task: int = DRAWS_PER_TASK,
    names: Sequence[str] = OBJECT_NAMES,
) -> list[Metadata]:
    """Return the metadata of a GenEval prompt list, without repetitions.

    Args:
        seed: of numpy's default generator.
        draws_per_task: draws of each task but single_object, which asks for every class once.
        names: classes; must hold "person", which is never asked in a colour.

    Source: djghosh13/geneval@af4902f:prompts/create_prompts.py `generate_suite`.
    """
    rng = np.random.default_rng(seed)
    drawn = [_single_object(names[i]) for i in rng.choice(len(names), len(names), replace=False)]
    for draw in _DRAWN:
        drawn += [draw(rng, names) for _ in range(draws_per_task)]
    return list({json.dumps(entry): entry for entry in drawn}.values())


def metadata_jsonl(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return `entries` as the text of evaluation_metadata.jsonl."""
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def suite_from_metadata(
    entries: Iterable[Mapping[str, Any]], *, name: str, version: str, licence: str = ""
) -> PromptSuite:
    """Return a suite whose prompt ids are the five-digit line numbers, from 00000."""
    prompts = tuple(
        Prompt(
            id=f"{index:05d}",
            text=entry["prompt"],
            tag=entry["tag"],
            meta={key: entry[key] for key in ("include", "exclude") if key in entry},
        )
        for index, entry in enumerate(entries)
    )
    return PromptSuite(name=name, version=version, prompts=prompts, licence=licence)


def geneval_suite() -> PromptSuite:
    """Return the official suite of 553 prompts.

    Raises:
        ProtocolError: numpy's generator no longer draws what the official list was drawn with.
    """
    entries = generate_metadata()
    found = hashlib.sha256(metadata_jsonl(entries).encode()).hexdigest()
    if found != METADATA_SHA256:
        raise ProtocolError(
            f"the generated GenEval prompts have sha256 {found[:12]}, the official list has "
            f"{METADATA_SHA256[:12]}: numpy {np.__version__} draws other numbers. Install the "
            "numpy version of the constraints file."
        )
    return suite_from_metadata(entries, name="geneval", version="af4902f", licence="MIT")
