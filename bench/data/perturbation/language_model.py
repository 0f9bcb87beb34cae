"""Degraded prompts written by a language model: `llm-ta` (text alignment) and `llm-aq` (quality).

One reply is asked for each prompt; one of the versions it holds becomes the degraded prompt. Raw
replies are an artifact of kind `"replies"`: they are asked for once, and what is made of them can
be looked at and made again. What it holds:

    replies.jsonl   one row per prompt: text, reply, outcome, versions
    report.json     how many replies were usable, and how many were not, by outcome
    template.txt    the question; `{prompt}` stands for the prompt

No torch is imported before a model is loaded.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, Protocol, Unpack

from bench.api.errors import UsageError
from bench.data.perturbation import rand_removal
from bench.data.perturbation.options import ModelOptions, read_options
from bench.data.perturbation.replies import EMPTY, OK, UNPARSABLE, parse_reply
from bench.data.perturbation.rule import How, Pick
from bench.read.text import read_text
from bench.store import Artifact, Store, Work, read_jsonl, write_jsonl

KIND = "replies"
VERSION = 1
"""Bumped when the replies of unchanged settings may change."""

REPLIES_FILE, REPORT_FILE, TEMPLATE_FILE = "replies.jsonl", "report.json", "template.txt"
PROMPTS_PER_PART = 256
TEMPLATES = Path(__file__).parent / "templates"


class Chat(Protocol):
    """A language model that answers questions."""

    def answer(self, questions: Sequence[str], seeds: Sequence[int]) -> list[str]:
        """Return a reply to each question; a reply is a function of question and seed."""


@dataclass(frozen=True, kw_only=True)
class LanguageModelRule:
    """A rule whose degraded prompts a language model writes; a `bench.data.perturbation.Rule`.

    Attributes:
        name, version: see `Rule`.
        template: file of the question in `TEMPLATES`; it is part of the identity by its bytes.
    """

    name: str
    version: int
    template: str

    @cached_property
    def question(self) -> str:
        """The template's text."""
        return read_text(TEMPLATES / self.template)

    def identity(self, options: Mapping[str, Any], store: Store | None = None) -> dict[str, Any]:
        """Return rule, template and model; see `Rule.identity`."""
        read = read_options(self.name, options)
        found: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "template_sha256": hashlib.sha256(self.question.encode()).hexdigest(),
            "model": read.identity(),
        }
        if store is not None and read.backend == "transformers":
            from bench.data.perturbation.local import model_sha256

            found["model_sha256"] = model_sha256(read, store)
            del found["model"]["model"], found["model"]["revision"]  # its bytes say it all
        return found

    def prepare(
        self, store: Store, texts: Sequence[str], options: Mapping[str, Any], **how: Unpack[How]
    ) -> Pick:
        """Return what picks one version of each reply; see `Rule.prepare`."""
        read = read_options(self.name, options)
        artifact = self.replies(store, texts, options, **how)
        rows = read_jsonl(artifact.file(REPLIES_FILE))
        versions: dict[str, tuple[str, ...]] = {r["text"]: tuple(r["versions"]) for r in rows}

        def pick(text: str, rng: Random) -> str | None:
            if text not in versions:
                raise UsageError(
                    f"the model was not asked about {text!r}; prepare {self.name} with all prompts."
                )
            if versions[text]:
                return rng.choice(versions[text])
            return rand_removal.pick(text, rng) if read.fallback == "rand-removal" else None

        return pick

    def replies(
        self, store: Store, texts: Sequence[str], options: Mapping[str, Any], **how: Unpack[How]
    ) -> Artifact:
        """Return the artifact of the replies to distinct `texts`, asking for what is missing.

        Raises:
            UsageError, PrerequisiteError, StoreError: as `Rule.prepare`.
        """
        read = read_options(self.name, options)
        asked = list(dict.fromkeys(texts))
        rule = self.identity(options, store)
        del rule["model"]["fallback"]  # decides what is made of a reply, not the reply
        identity = {
            "version": VERSION,
            "rule": rule,
            "seed": how["seed"],
            "texts_sha256": hashlib.sha256(json.dumps(asked).encode()).hexdigest(),
        }

        def make(work: Work) -> None:
            _ask_all(work, self, read, asked, **how)

        label = re.sub(r"[^A-Za-z0-9._+=-]+", "-", f"{self.name}.{read.model}").strip("-._+=")
        return store.build(
            KIND,
            label[:120],
            identity,
            make,
            seeds={"replies": how["seed"]},
            config={"rule": rule, "model": read.model, "revision": read.revision},
            exclude=("parts/*",),
        )


def _ask_all(
    work: Work,
    rule: LanguageModelRule,
    options: ModelOptions,
    texts: Sequence[str],
    **how: Unpack[How],
) -> None:
    chat: Chat | None = None
    rows: list[Mapping[str, Any]] = []
    from bench.data.parts import Parts

    parts = Parts(work, "replies", "jsonl")
    for number, start in enumerate(range(0, len(texts), PROMPTS_PER_PART)):
        some = texts[start : start + PROMPTS_PER_PART]
        part = parts.find(number)
        if part is None:
            chat = chat or open_chat(options, how.get("device"))
            questions = [rule.question.replace("{prompt}", text) for text in some]
            seeds = [_seed(how["seed"], rule.name, text) for text in some]
            answers = chat.answer(questions, seeds)
            write_jsonl(
                work,
                parts.name(number),
                ({"text": t, "reply": r} for t, r in zip(some, answers, strict=True)),
            )
            part = parts.seal(number)
        rows += read_jsonl(part)
        if progress := how.get("progress"):
            progress(len(rows), len(texts))
    parsed = [(row, *parse_reply(row["reply"], row["text"])) for row in rows]
    write_jsonl(
        work,
        REPLIES_FILE,
        ({**row, "outcome": outcome, "versions": list(v)} for row, outcome, v in parsed),
    )
    work.write_json(REPORT_FILE, _report([(outcome, v) for _, outcome, v in parsed]))
    work.write_bytes(TEMPLATE_FILE, rule.question.encode())


def _report(parsed: Sequence[tuple[str, tuple[str, ...]]]) -> dict[str, Any]:
    counts = Counter(outcome for outcome, _ in parsed)
    total = len(parsed)
    return {
        "prompts": total,
        **{outcome: counts[outcome] for outcome in (OK, UNPARSABLE, EMPTY)},
        "unusable_share": (total - counts[OK]) / total if total else 0.0,
        "versions_mean": sum(len(v) for _, v in parsed) / total if total else 0.0,
    }


def _seed(seed: int, rule: str, text: str) -> int:
    digest = hashlib.sha256(f"{seed}\x1f{rule}\x1f{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def open_chat(options: ModelOptions, device: str | None = None) -> Chat:
    """Return the model the options name.

    Raises:
        PrerequisiteError: it is not on this machine.
        UsageError: it cannot answer questions.
    """
    if options.backend == "endpoint":
        from bench.data.perturbation.endpoint import EndpointChat

        return EndpointChat(options)
    from bench.data.perturbation.local import LocalChat

    return LocalChat(options, device)
