"""A judge behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.endpoint import Advice, ChatEndpoint
from bench.read.text import read_bytes
from evaluators.models.judge_settings import JudgeMember


class EndpointJudge:
    """Asks `<url>/chat/completions` with both images as data URLs.

    Args:
        member: of kind `"endpoint"`.
        wait: sleeps for so many seconds.
    """

    def __init__(self, member: JudgeMember, *, wait: Callable[[float], None] = time.sleep) -> None:
        self.member = member
        self._endpoint = ChatEndpoint(
            url=str(member.url),
            key_env=member.key_env,
            retries=member.retries,
            timeout_seconds=member.timeout_seconds,
            advice=Advice(
                who=f"judge {member.name}: ",
                kept="; the replies so far are kept",
                url="start the endpoint, or correct its url in the judges file",
                request="Look at model, url and max_new_tokens in the judges file.",
                again="Run the same command again later: replies are kept.",
            ),
            wait=wait,
        )

    def identity(self) -> dict[str, Any]:
        """Return what can change a reply; what the endpoint does behind its name is its own."""
        return self.member.identity()

    def ask(self, question: str, first: Path, second: Path) -> str:
        """Return the reply to a question on two images.

        Raises:
            PrerequisiteError, UsageError, BenchError: as `ChatEndpoint.complete`.
        """
        content = [
            {"type": "image_url", "image_url": {"url": _data_url(first)}},
            {"type": "image_url", "image_url": {"url": _data_url(second)}},
            {"type": "text", "text": question},
        ]
        return self._endpoint.complete(
            {
                "model": self.member.model,
                "messages": [{"role": "user", "content": content}],
                "temperature": self.member.temperature,
                "max_tokens": self.member.max_new_tokens,
            }
        )


def _data_url(path: Path) -> str:
    data = read_bytes(path)
    kind = "jpeg" if data[:2] == b"\xff\xd8" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
