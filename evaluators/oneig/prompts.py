"""OneIG-Bench's official prompt files, read from a checkout of its repository.

The prompts (CC-BY-NC-4.0 by the data card; the repository states no licence) are read where the
user has them, never shipped.
Source: OneIG-Bench/OneIG-Benchmark@41b4983.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api import (
    PrerequisiteError,
    Prompt,
    PromptSuite,
    ProtocolError,
    UsageError,
    did_you_mean,
)
from bench.read.table_text import plain_table
from bench.read.text import read_bytes

REPOSITORY = "https://github.com/OneIG-Bench/OneIG-Benchmark"
LICENCE = "CC-BY-NC-4.0 (data card)"
CLASSES = {
    "Anime_Stylization": "anime",
    "Portrait": "human",
    "General_Object": "object",
    "Text_Rendering": "text",
    "Knowledge_Reasoning": "reasoning",
    "Multilingualism": "multilingualism",
}
DIMENSIONS = ("alignment", "text", "reasoning", "style")
"""What `dimensions` can name; diversity looks at every prompt there is."""
_META_OF_DIMENSION = {
    "alignment": ("questions", "parents"),
    "text": ("text",),
    "reasoning": ("answer",),
    "style": ("style",),
}
_STYLE_FILE = "scripts/style/style.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Language:
    prompts: str
    column: str
    text: str
    answers: str
    graphs: dict[str, str]


def _graphs(suffix: str, *classes: str) -> dict[str, str]:
    return {name: f"scripts/alignment/Q_D/{name}{suffix}.json" for name in classes}


LANGUAGES = {
    "EN": _Language(
        prompts="OneIG-Bench.csv",
        column="prompt_en",
        text="scripts/text/text_content.csv",
        answers="scripts/reasoning/gt_answer.json",
        graphs=_graphs("", "anime", "human", "object"),
    ),
    "ZH": _Language(
        prompts="OneIG-Bench-ZH.csv",
        column="prompt_cn",
        text="scripts/text/text_content_zh.csv",
        answers="scripts/reasoning/gt_answer_zh.json",
        graphs=_graphs("_zh", "anime", "human", "object", "multilingualism"),
    ),
}

SHA256 = {
    "OneIG-Bench-ZH.csv": "8fc4ae1403db32dbb1203cc457361c3215500b34e741194a53f5002c9d824700",
    "OneIG-Bench.csv": "e06c65b32252d82406fb1a27f13022b38d432c899a2486eb49ab0c100f83b3e1",
    "scripts/alignment/Q_D/anime.json": (
        "21ea3d0360e69d72bc5f4cbb93b203d293d16f5c2f626634a52b990119e0a6e3"
    ),
    "scripts/alignment/Q_D/anime_zh.json": (
        "171740d2d7158f0da2d907481b5cd97380398e4a45b53f0976ad4d91e01151d4"
    ),
    "scripts/alignment/Q_D/human.json": (
        "0e92b25c6bc4091cac05fa0f4269b3b37465a7cd43ca2768f55f56149cdbf13b"
    ),
    "scripts/alignment/Q_D/human_zh.json": (
        "819f13b1efab67bdfba9ca633a37e009013350d148323f5d65b2a467f1789c64"
    ),
    "scripts/alignment/Q_D/multilingualism_zh.json": (
        "63614e72dbd86f1e56ed625a55f73d509323d34b68fb27d8fed0f87a49f69db9"
    ),
    "scripts/alignment/Q_D/object.json": (
        "350dfdf72c2da143c78a7544d4c554faf6698c1ba4fcd27c7a9cc9199d487e0e"
    ),
    "scripts/alignment/Q_D/object_zh.json": (
        "19f69cfdf17119ff5400919341c930468a0de5ee06b9c91d8f16ba2365f51498"
    ),
    "scripts/reasoning/gt_answer.json": (
        "e46733770fc0b99632e77e54f59316bcc7f170752680dd0c24d43c722bae402b"
    ),
    "scripts/reasoning/gt_answer_zh.json": (
        "faaf0849de1fb62829ed49ec5de7f582562847fb01f390b7a4bb106e48f0c116"
    ),
    "scripts/style/style.csv": "6add59b8a5791b97c3abaec4b193d8a1635ef6377e2b2edbbf7730beaa097761",
    "scripts/text/text_content.csv": (
        "ffbf0b588c617b77caf1e9a733496ff5b4704b6534df5fba13201a83f21e0512"
    ),
    "scripts/text/text_content_zh.csv": (
        "6250b3be96e9c4fd4c9cb858dd36b5b2dc4fc8fccb8e4ed0317f5da392db9a1a"
    ),
}
"""sha256 of the official files at the pinned commit."""


def read_official(
    folder: Path,
    language: str = "EN",
    *,
    dimensions: Collection[str] = DIMENSIONS,
    pinned: bool = True,
) -> PromptSuite:
    """Return the prompts of a language, ids `<class>-<number>`, with what their dimensions need.

    Args:
        folder: a checkout of the repository.
        language: "EN" or "ZH".
        dimensions: keep the prompts that count in one of these, and what these need alone.
        pinned: refuse any other content than the pinned commit's.

    Raises:
        PrerequisiteError: a file is not there.
        ProtocolError: a file has another sha256.
        UsageError: unknown language or dimension, or a file is not what it should be.
    """
    if language not in LANGUAGES:
        raise UsageError(f"unknown language {language!r}.{did_you_mean(language, LANGUAGES)}")
    for name in dimensions:
        if name not in DIMENSIONS:
            raise UsageError(f"unknown dimension {name!r}.{did_you_mean(name, DIMENSIONS)}")
    found = _Reader(folder, language, pinned=pinned)
    kept = {key for name in dimensions for key in _META_OF_DIMENSION[name]}
    dropped = {key for keys in _META_OF_DIMENSION.values() for key in keys} - kept
    prompts = []
    for prompt in found.prompts():
        meta = {key: value for key, value in prompt.meta.items() if key not in dropped}
        if any(meta.get(key) for key in kept):
            prompts.append(Prompt(id=prompt.id, text=prompt.text, tag=prompt.tag, meta=meta))
    parts = "" if set(dimensions) == set(DIMENSIONS) else "-" + "-".join(sorted(dimensions))
    return PromptSuite(
        name=f"oneig-{language.lower()}{parts}",
        version="41b4983" if pinned else "unpinned",
        prompts=tuple(prompts),
        licence=LICENCE,
    )


def official_suite(
    folder: str, *, language: str = "EN", dimensions: Collection[str] = DIMENSIONS
) -> PromptSuite:
    """Return `read_official(folder, ...)`, for a profile's `suite: {function: ...}`."""
    return read_official(Path(folder).expanduser(), language, dimensions=dimensions)


class _Reader:
    def __init__(self, folder: Path, language: str, *, pinned: bool) -> None:
        self._folder, self._language, self._pinned = folder, language, pinned
        self._files = LANGUAGES[language]

    def prompts(self) -> list[Prompt]:
        graphs = {name: json.loads(self._read(path)) for name, path in self._files.graphs.items()}
        texts = {row["id"]: row["text_content"] for row in self._rows(self._files.text)}
        styles = {row["id"]: row["class"] for row in self._rows(_STYLE_FILE)}
        answers = json.loads(self._read(self._files.answers))
        prompts = []
        for row in self._rows(self._files.prompts):
            name = CLASSES.get(row["category"])
            if name is None:
                known = did_you_mean(row["category"], CLASSES)
                raise UsageError(f"{self._files.prompts}: category {row['category']!r}.{known}")
            number = row["id"]
            meta: dict[str, Any] = {"language": self._language}
            for key, column in (("type", "type"), ("length", "prompt_length"), ("class", "class")):
                if row.get(column):
                    meta[key] = row[column]
            if number in graphs.get(name, {}):
                meta |= read_graph(graphs[name][number])
            if name == "text":
                meta["text"] = texts[number]
            if name == "reasoning":
                meta["answer"] = answers[number]
            if name == "anime" and styles.get(number):
                meta["style"] = styles[number].lower().replace(" ", "_")
            text = row[self._files.column]
            prompts.append(Prompt(id=f"{name}-{number}", text=text, tag=name, meta=meta))
        return prompts

    def _rows(self, name: str) -> list[dict[str, str]]:
        return plain_table(self._read(name), name)[1]

    def _read(self, name: str) -> str:
        try:
            data = read_bytes(self._folder / name)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise PrerequisiteError(
                f"OneIG-Bench's {name} is not in {self._folder}",
                fix=f"git clone {REPOSITORY} and name its folder",
            ) from None
        found = hashlib.sha256(data).hexdigest()
        if self._pinned and found != SHA256[name]:
            raise ProtocolError(
                f"{self._folder / name} has sha256 {found[:12]}, the pinned file "
                f"{SHA256[name][:12]}: take the file of commit 41b4983"
            )
        return data.decode("utf-8-sig")


def read_graph(entry: dict[str, Any]) -> dict[str, Any]:
    """Return `questions` and `parents` of an official entry, whose values are JSON in strings."""
    found = {}
    for key, name in (("questions", "question"), ("parents", "dependency")):
        value = entry[name]
        found[key] = json.loads(value) if isinstance(value, str) else value
    return found
