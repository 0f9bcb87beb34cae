"""Images that this harness did not make, described by a manifest beside them. No torch.

`manifest.jsonl` has one JSON object per image:

    {"file": "a/1.png", "prompt": "a red circle", "prompt_id": "0001", "ordinal": 0,
     "tag": "colors", "meta": {...}, "sha256": "..."}

Only `file` and `prompt` are needed; images of one text are numbered as they come. Nothing is
written here. Folders without a manifest: `bench.api.folder`, and each evaluator's `read_folder`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bench.api.errors import IncompleteError, ProtocolError, UsageError, did_you_mean
from bench.api.folder import image_set
from bench.api.generation import ImageSet
from bench.api.prompts import Prompt, PromptSuite
from bench.read.folders import listed_below, named
from bench.read.json_text import json_lines, parse_json
from bench.read.markup import say_alike, say_markup
from bench.read.text import (
    MissingFileError,
    read_text,
    says_nothing,
    shown,
    stands_for_nothing,
)

MANIFEST_FILE = "manifest.jsonl"
LARGEST_ORDINAL = 1_000_000
"""The largest number that an image of a prompt may have."""
_KEYS = {
    "file": str,
    "prompt": str,
    "prompt_id": str,
    "ordinal": int,
    "tag": str,
    "meta": dict,
    "sha256": str,
}


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One line of the manifest: `number` counts from 1; `ordinal` None is filled in later."""

    number: int
    file: str
    prompt: Prompt
    ordinal: int | None
    sha256: str | None


def read_manifest(root: Path, *, suite: PromptSuite | None = None) -> ImageSet:
    """Read a folder with a `manifest.jsonl`.

    Args:
        root: holds the manifest; files are named from here.
        suite: the prompts that must be there, all of them; a line then names one by `prompt_id`
            or by its text. By default the prompts are those of the manifest.

    Returns:
        A complete image set without generation settings.

    Raises:
        UsageError: no such folder or manifest, or a line is wrong (its number is named).
        ProtocolError: two prompts have one id, or a prompt is not the suite's.
        IncompleteError: a file is missing, or prompts have unlike numbers of images.
    """
    path = root / MANIFEST_FILE
    if not root.is_dir():
        raise UsageError(f"{shown(root)} is no folder; expected one that holds {MANIFEST_FILE}")
    try:
        text = read_text(path)
    except MissingFileError:
        if path.is_symlink():
            raise
        raise UsageError(
            f"{shown(root)} holds no {MANIFEST_FILE}; expected one JSON object per image, such as "
            '{"file": "1.png", "prompt": "a red circle"}; or choose --layout official'
        ) from None
    lines = list(_lines(path, text, suite))
    if not lines:
        raise IncompleteError(f"{shown(path)} names no image")
    prompts: dict[str, Prompt] = {}
    taken: dict[str, dict[int, _Line]] = {}
    named_on: dict[str, int] = {}
    for line in lines:
        if line.file in named_on:
            raise UsageError(
                f"{path}, line {line.number}: {line.file!r} is named on line "
                f"{named_on[line.file]} already: of which prompt is it? Keep one of the lines"
            )
        named_on[line.file] = line.number
        known = prompts.setdefault(line.prompt.id, line.prompt)
        if known != line.prompt:
            raise ProtocolError(
                f"{path}, line {line.number}: two prompts have the id {line.prompt.id!r}: "
                f"{known.text!r} and {line.prompt.text!r}, or the same text with another tag or "
                "meta. Give each prompt an id of its own."
            )
        of_prompt = taken.setdefault(line.prompt.id, {})
        ordinal = len(of_prompt) if line.ordinal is None else line.ordinal
        if ordinal in of_prompt:
            raise UsageError(
                f"{path}, line {line.number}: image {ordinal} of prompt {line.prompt.id!r} is "
                f"named on line {of_prompt[ordinal].number} already"
            )
        of_prompt[ordinal] = line
    if suite is None:
        texts = [prompt.text for prompt in prompts.values()]
        say_markup(texts, shown(path))
        say_alike(texts, shown(path))
        version = hashlib.sha256(text.encode()).hexdigest()[:12]
        suite = PromptSuite(
            name=f"folder:{shown(root.name)}", version=version, prompts=tuple(prompts.values())
        )
    files = {
        (pid, ordinal): (line.file, line.sha256)
        for pid, of_prompt in taken.items()
        for ordinal, line in of_prompt.items()
    }
    return image_set(root, suite, files)


def unnamed(images: ImageSet) -> list[Path]:
    """Return the pictures in and below a folder that its image set does not have."""
    known = {images.root / record.path for record in images.records}
    return [p for one in listed_below(images.root) for p in one.pictures() if p not in known]


def _lines(path: Path, text: str, suite: PromptSuite | None) -> Iterator[_Line]:
    numbered: dict[str, str] = {}
    for number, row in json_lines(text, shown(path)):
        where = f"{shown(path)}, line {number}"
        data = _checked(where, row)
        file = PurePosixPath(data["file"])
        if file.is_absolute() or ".." in file.parts or "\0" in data["file"]:
            raise UsageError(f"{where}: {data['file']!r} leads out of the folder")
        if "\\" in data["file"] and not (path.parent / file).exists():
            raise UsageError(f"{where}: {data['file']!r} is separated by \\; expected /")
        file = PurePosixPath(named(path.parent, file.as_posix()).relative_to(path.parent))
        if suite is not None:
            prompt = _of_suite(where, data, suite)
        elif "prompt" not in data:
            raise UsageError(f"{where}: it has no `prompt`; write the text, or name a --suite")
        else:
            text_id = numbered.setdefault(data["prompt"], f"{len(numbered):05d}")
            prompt = Prompt(
                id=data.get("prompt_id", text_id),
                text=data["prompt"],
                tag=data.get("tag", ""),
                meta=data.get("meta", {}),
            )
        yield _Line(
            number=number,
            file=file.as_posix(),
            prompt=prompt,
            ordinal=data.get("ordinal"),
            sha256=data.get("sha256"),
        )


def _checked(where: str, row: str) -> dict[str, Any]:
    data = parse_json(row, where)
    if not isinstance(data, dict):
        raise UsageError(f"{where}: a {type(data).__name__}; expected a JSON object")
    for key, value in data.items():
        if key not in _KEYS:
            raise UsageError(f"{where}: unknown key {key!r}.{did_you_mean(key, _KEYS)}")
        expected = _KEYS[key]
        if not isinstance(value, expected) or isinstance(value, bool):
            raise UsageError(f"{where}: {key} is {value!r}; expected {expected.__name__}")
    if "prompt" in data and (says_nothing(data["prompt"]) or stands_for_nothing(data["prompt"])):
        raise UsageError(
            f"{where}: the prompt is {data['prompt']!r}; write its text, or take the line out"
        )
    if "file" not in data:
        raise UsageError(f"{where}: it names no `file`")
    if not 0 <= data.get("ordinal", 0) <= LARGEST_ORDINAL:
        raise UsageError(
            f"{where}: ordinal is {data['ordinal']}; expected 0 or more, "
            f"{LARGEST_ORDINAL:,} at most"
        )
    return data


def _of_suite(where: str, data: Mapping[str, Any], suite: PromptSuite) -> Prompt:
    if "prompt_id" in data:
        found = [p for p in suite if p.id == data["prompt_id"]]
        asked = data["prompt_id"]
        known: Sequence[str] = [p.id for p in suite]
    elif "prompt" in data:
        found = [p for p in suite if p.text == data["prompt"]]
        asked = data["prompt"]
        known = [p.text for p in suite]
    else:
        raise UsageError(f"{where}: it names neither `prompt_id` nor `prompt`")
    if not found:
        hint = did_you_mean(str(asked), known)
        raise ProtocolError(f"{where}: suite {suite.name} has no prompt {asked!r}.{hint}")
    if len(found) > 1:
        raise ProtocolError(
            f"{where}: suite {suite.name} has {len(found)} prompts with the text {asked!r}; name "
            "one by `prompt_id`"
        )
    if data.get("prompt", found[0].text) != found[0].text:
        raise ProtocolError(
            f"{where}: prompt {found[0].id!r} of suite {suite.name} is {found[0].text!r}, the line "
            f"says {data['prompt']!r}"
        )
    return found[0]
