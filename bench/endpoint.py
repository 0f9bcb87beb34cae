"""Chat completions of an OpenAI-compatible endpoint: sent, sent again while it is busy, read.

The key is read from the environment when a request is sent; it stands in no message and no log,
also where the server repeats it, nor does what an address carries besides host and path. A
redirect is not followed: it would take the key to another host.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bench.api.errors import BenchError, PrerequisiteError, UsageError
from bench.network import RedirectError, hidden, opened, read_at_most, secrets_of, shown_url

LOG = logging.getLogger(__name__)

AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
"""Answers that may change when the request is sent again."""

LARGEST_ANSWER = 16 * 2**20
"""Bytes of an answer; a chat completion has some thousands."""

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before the first repetition, doubled with each one, and the longest there is."""


_BEGINNING = 4096
"""Bytes read of a refusal: a key in it is whole there, and hidden, before what is shown is cut."""
_SHOWN = 300


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What errors say in the words of who asks: its settings stand in a place of its own.

    Attributes:
        who: put before the URL, such as `"judge far: "`.
        kept: put behind the news that the endpoint cannot be reached.
        url: how to mend that.
        request: what to look at where a request is refused.
        again: what to do where the endpoint goes on failing.
    """

    who: str = ""
    kept: str = ""
    url: str
    request: str
    again: str


@dataclass(frozen=True, kw_only=True)
class ChatEndpoint:
    """An endpoint, asked at `<url>/chat/completions`. It may be asked by several threads at once.

    Attributes:
        url: up to and without `/chat/completions`.
        key_env: environment variable with the key; no key is sent where it is unset.
        retries: how often a failed request is sent again.
        timeout_seconds: of one request, however slowly its answer comes.
        advice: for errors.
        wait: sleeps for so many seconds.
    """

    url: str
    key_env: str
    retries: int
    timeout_seconds: float
    advice: Advice
    wait: Callable[[float], None] = time.sleep

    @property
    def address(self) -> str:
        """Where requests go, as it may be shown."""
        return shown_url(self._target)

    @property
    def _target(self) -> str:
        head, mark, query = self.url.partition("?")
        return f"{head.rstrip('/')}/chat/completions{mark}{query}"

    def _hidden(self, text: str) -> str:
        return hidden(text, os.environ.get(self.key_env, "").strip(), *secrets_of(self.url))

    def complete(self, body: Mapping[str, Any]) -> str:
        """Return what the first choice says; empty where it says no text.

        Args:
            body: the request: model, messages and settings, JSON-able.

        Raises:
            PrerequisiteError: the endpoint cannot be reached, refuses the key, or the key is none.
            UsageError: it refuses the request.
            BenchError: it goes on failing, or its answer is no chat completion.
        """
        reply = self._send(json.dumps(body).encode())
        try:
            content = json.loads(reply)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            shown = self._hidden(reply.decode(errors="replace"))[:200]  # a key is not cut in two
            raise BenchError(
                f"{self.address} answered {shown!r}; expected a chat completion with "
                "choices[0].message.content. Is it an OpenAI-compatible endpoint?"
            ) from error
        return content if isinstance(content, str) else ""

    def _send(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        key = os.environ.get(self.key_env, "").strip()
        if not (key.isascii() and key.isprintable()):  # http.client's own error would show it
            raise PrerequisiteError(
                f"{self.key_env} holds characters that no key has, such as a line break",
                fix=f"export {self.key_env}=<your key>",
            )
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._target, body, headers)
        attempts = self.retries + 1
        for attempt in range(attempts):
            last = attempt == attempts - 1
            try:
                limit = self.timeout_seconds
                with opened(request, silence_seconds=limit, all_seconds=limit) as answer:
                    return read_at_most(answer, LARGEST_ANSWER)
            except RedirectError as error:
                raise PrerequisiteError(
                    f"{self.advice.who}{self.address} {error.reason}", fix=self.advice.url
                ) from None
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in AGAIN or last:
                        raise self._refused(error) from error
                    seconds = _asked_for(error.headers.get("Retry-After"))
                fault = f"status {error.code}"
            except (OSError, http.client.HTTPException) as error:  # URLError and time-outs too
                if last:
                    raise PrerequisiteError(
                        f"{self.advice.who}{self.address} cannot be reached after {attempts} "
                        f"attempts ({self._hidden(str(error))}){self.advice.kept}",
                        fix=self.advice.url,
                    ) from error
                seconds, fault = None, self._hidden(str(error))
            pause = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt if seconds is None else seconds)
            LOG.info("%s: %s; asking again in %.1f s", self.address, fault, pause)
            self.wait(pause)
        raise AssertionError("the last attempt returns or raises")

    def _refused(self, error: urllib.error.HTTPError) -> Exception:
        said = self._hidden(_beginning(error))[:_SHOWN]
        what = f"{self.advice.who}{self.address} answered with status {error.code}: {said}"
        if error.code in (401, 403):
            return PrerequisiteError(what, fix=f"export {self.key_env}=<your key>")
        if error.code in AGAIN:
            return BenchError(f"{what}. {self.advice.again}")
        return UsageError(f"{what}. {self.advice.request}")


def _beginning(error: urllib.error.HTTPError) -> str:
    """Return the first characters of a refusal; nothing where it does not come."""
    with suppress(OSError, http.client.HTTPException, ValueError):
        data: bytes = error.read1(_BEGINNING)
        return data.decode(errors="replace").strip()
    return ""


def _asked_for(header: Any) -> float | None:
    """Return the seconds of a Retry-After header; None where it has none (or a date)."""
    try:
        return max(0.0, float(header))
    except (TypeError, ValueError):
        return None
