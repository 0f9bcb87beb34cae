"""Prompts and prompt suites: data objects with a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """One prompt of a suite.

    Attributes:
        id: unique in the suite; also the key of every image generated from it.
        text: what the text encoder sees.
        tag: the stratum (GenEval task, CompBench category, ...).
        meta: what the scoring rules need (GenEval's include/exclude, phrases, the tiny scene).
        times: images of it for each one that a protocol asks of a prompt. A task with few texts
            has as many images as the others by asking each of them more often.
    """

    id: str
    text: str
    tag: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    times: int = 1

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"prompt {self.id}: times is {self.times!r}; expected at least 1")

    def ordinals(self, images_per_prompt: int) -> range:
        """Return the ordinals of its images."""
        return range(images_per_prompt * self.times)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        data = {"id": self.id, "text": self.text, "tag": self.tag, "meta": dict(self.meta)}
        # a prompt that is asked once is what it was before there was such a field
        return data if self.times == 1 else {**data, "times": self.times}


@dataclass(frozen=True, kw_only=True)
class PromptSuite:
    """An ordered set of prompts with a name, a version and a content hash."""

    name: str
    version: str
    prompts: tuple[Prompt, ...]
    licence: str = ""

    def __post_init__(self) -> None:
        ids = [p.id for p in self.prompts]
        if len(set(ids)) != len(ids):
            twice = sorted({i for i in ids if ids.count(i) > 1})[:3]
            raise ValueError(f"suite {self.name}: prompt ids are not unique, e.g. {twice}")

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    def images(self, images_per_prompt: int) -> Iterator[tuple[Prompt, int]]:
        """Yield (prompt, ordinal) of every image of a set, in suite order, ordinals inside."""
        for prompt in self.prompts:
            for ordinal in prompt.ordinals(images_per_prompt):
                yield prompt, ordinal

    def count(self, images_per_prompt: int) -> int:
        """Return the number of images of a set."""
        return images_per_prompt * sum(prompt.times for prompt in self.prompts)

    def images_per_prompt(self, ordinals: Mapping[str, int]) -> int:
        """Return how many images a protocol asked of a prompt, judged by the largest ordinals.

        Args:
            ordinals: largest one by prompt id; prompts of other suites are passed over.
        """
        return max(
            (-(-(ordinals[p.id] + 1) // p.times) for p in self.prompts if p.id in ordinals),
            default=0,
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """The distinct tags, in order of first appearance."""
        return tuple(dict.fromkeys(p.tag for p in self.prompts))

    @cached_property
    def sha256(self) -> str:
        """Hash over ids, texts, tags, meta and times: the suite's identity."""
        digest = hashlib.sha256()
        for prompt in self.prompts:
            line = json.dumps(prompt.to_json(), sort_keys=True, ensure_ascii=False)
            digest.update(line.encode() + b"\n")
        return digest.hexdigest()

    def limited(self, n: int | None, seed: int = 0) -> PromptSuite:
        """Return a stratified subset of about `n` prompts, at least one for each tag.

        The subset is seeded and monotone: that of `n` is contained in that of `n + k`. Prompts
        of each tag are ranked by a hash; the subset takes turns over the tags in proportion to
        their sizes. `None`, or an `n` not below the size, returns the suite itself.
        """
        if n is None or n >= len(self.prompts):
            return self
        by_tag: dict[str, list[Prompt]] = {}
        for prompt in self.prompts:
            by_tag.setdefault(prompt.tag, []).append(prompt)
        priority: list[tuple[float, int, str]] = []
        for order, (_tag, members) in enumerate(by_tag.items()):
            ranked = sorted(members, key=lambda p: _rank(seed, p.id))
            # first of each tag first; then the k-th of m members comes at fraction k/m
            priority += [(k / len(ranked), order, p.id) for k, p in enumerate(ranked)]
        priority.sort()
        keep = {pid for _, _, pid in priority[: max(n, len(by_tag))]}
        kept = tuple(p for p in self.prompts if p.id in keep)
        return PromptSuite(name=self.name, version=self.version, prompts=kept, licence=self.licence)


def _rank(seed: int, prompt_id: str) -> str:
    return hashlib.sha256(f"{seed}:{prompt_id}".encode()).hexdigest()
