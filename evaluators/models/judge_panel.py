"""The vision-language judges of a file, as one back-end; every reply is kept as it comes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Protocol

import numpy as np

from bench.api.errors import IncompleteError
from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageRecord, ImageSet
from evaluators.models.images import prediction
from evaluators.models.judge_cache import ReplyCache
from evaluators.models.judge_endpoint import EndpointJudge
from evaluators.models.judge_settings import JudgeMember, chosen_judges
from evaluators.models.judge_transformers import TransformersJudge


class Judge(Protocol):
    """What a panel asks of a judge; `ask` takes a question and the paths of two images."""

    member: JudgeMember

    def identity(self) -> dict[str, Any]: ...  # noqa: D102

    def ask(self, question: str, first: Any, second: Any) -> str: ...  # noqa: D102


class JudgePanel(Backend):
    """Asks each judge of `BENCH_JUDGES` of each image of a pair, the other image second."""

    name: ClassVar[str] = "vlm-judge"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "random-weights"

    def identity(self) -> dict[str, Any]:
        """Return name, version and the judges by name.

        Raises:
            PrerequisiteError: no judge is chosen, or a model is not on this machine.
        """
        judges = {member.name: self._judge(member).identity() for member in chosen_judges()}
        return {**super().identity(), "judges": judges}

    def _judge(self, member: JudgeMember) -> Judge:
        if member.kind == "endpoint":
            return EndpointJudge(member)
        return TransformersJudge(member, device=self.device)

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `replies` by judge, when each image is shown first.

        `batch_size` images are asked about before the first of them is yielded; an endpoint has
        several requests open at once.

        Raises:
            IncompleteError: the prompts have other than two images.
            PrerequisiteError, UsageError, BenchError: as the judges; what was answered is kept.
        """
        if images.images_per_prompt != 2:
            raise IncompleteError(
                f"{self.name}: {images.images_per_prompt} images per prompt; expected pairs"
            )
        judges = [self._judge(member) for member in chosen_judges()]
        caches = [ReplyCache(judge.identity()) for judge in judges]
        other = {(r.prompt_id, r.ordinal): r for r in images.records}
        for start in range(0, len(images.records), batch_size):
            some = images.records[start : start + batch_size]
            asked = [(queries[r.prompt_id][0], r, other[r.prompt_id, 1 - r.ordinal]) for r in some]
            columns = [
                _answers(judge, cache, images, asked)
                for judge, cache in zip(judges, caches, strict=True)
            ]
            for place, record in enumerate(some):
                replies = {
                    judge.member.name: column[place]
                    for judge, column in zip(judges, columns, strict=True)
                }
                yield prediction(record, replies=replies)


def _answers(
    judge: Judge,
    cache: ReplyCache,
    images: ImageSet,
    asked: Sequence[tuple[str, ImageRecord, ImageRecord]],
) -> list[str]:
    def answer(one: tuple[str, ImageRecord, ImageRecord]) -> str:
        question, first, second = one
        key = reply_key(question, first.sha256, second.sha256)
        kept = cache.get(key)
        if kept is not None:
            return kept
        reply = judge.ask(question, images.root / first.path, images.root / second.path)
        cache.put(key, reply)
        return reply

    if judge.member.kind != "endpoint":
        return [answer(one) for one in asked]
    with ThreadPoolExecutor(judge.member.workers) as pool:
        return list(pool.map(answer, asked))


def reply_key(question: str, first: str, second: str) -> str:
    """Return the name of a request: hash of the question and of both images' sha256, in order."""
    return hashlib.sha256(json.dumps([question, first, second]).encode()).hexdigest()
