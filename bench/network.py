"""Requests to servers that nobody has to trust: limits of time and size, redirects, secrets.

What a server may do to who asks it: send more than was asked for, send it a byte at a time, send
the request elsewhere, and repeat in its answer what it was told. All requests of the harness go
through here, so that each of these has one answer.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_CHUNK = 1 << 16
_HIDDEN = "***"
_SHORTEST_SECRET = 4


def shown_url(url: str) -> str:
    """Return an address as it may be shown: without user, password, query and fragment."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))


def hidden(text: str, *secrets: str) -> str:
    """Return a text without the secrets that a server repeated in it."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, _HIDDEN)
    return text


def secrets_of(url: str) -> tuple[str, ...]:
    """Return what of an address is nobody else's business: user, password, values of its query;
    each as it stands there and as it is meant (`%40` is `@`).
    """
    parts = urllib.parse.urlsplit(url)
    found = [parts.username, parts.password, parts.query]
    found += [field.partition("=")[2] for field in parts.query.split("&")]
    found += [value for _, value in urllib.parse.parse_qsl(parts.query)]
    every = [form for text in found if text for form in (text, urllib.parse.unquote(text))]
    return tuple(dict.fromkeys(every))


class RedirectError(urllib.error.URLError):
    """A server sent the request to a place that it may not go to."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, *, follow: bool) -> None:
        self._follow = follow

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        where = f"redirected to {shown_url(newurl)}"
        if not self._follow:
            raise RedirectError(f"{where}; requests that carry a key are not sent on")
        if new.scheme not in ("http", "https") or (old.scheme, new.scheme) == ("https", "http"):
            raise RedirectError(f"{where}; expected an address with {old.scheme}://")
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None and old.netloc != new.netloc:
            made.remove_header("Authorization")
        return made


@contextmanager
def opened(
    request: urllib.request.Request,
    *,
    silence_seconds: float,
    all_seconds: float | None = None,
    follow_redirects: bool = False,
) -> Iterator[Any]:
    """Send a request and yield the answer, an `http.client.HTTPResponse`.

    Args:
        request: http or https.
        silence_seconds: without a byte, before the connection is given up.
        all_seconds: for the whole block, head and body, however the bytes come; None sets no end.
        follow_redirects: to http and https, never from https to http. Not for requests with a key.

    Raises:
        TimeoutError: either time is over.
        RedirectError: the server sends the request where it may not go.
        OSError, http.client.HTTPException: the connection failed; urllib's errors are among them.
    """
    sockets: list[socket.socket] = []
    over = threading.Event()

    def end() -> None:
        over.set()
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(all_seconds, end) if all_seconds is not None else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    try:
        opener = urllib.request.build_opener(
            _Redirects(follow=follow_redirects), *_watched(sockets)
        )
        with opener.open(request, timeout=silence_seconds) as answer:
            yield answer
            if over.is_set():
                raise TimeoutError(f"no whole answer within {all_seconds:g} s")
    except (OSError, http.client.HTTPException, ValueError) as error:
        if over.is_set() and not isinstance(error, TimeoutError):
            raise TimeoutError(f"no whole answer within {all_seconds:g} s") from error
        raise
    finally:
        if timer is not None:
            timer.cancel()


def read_at_most(answer: Any, limit: int) -> bytes:
    """Return the body of an answer (OSError where it has more than `limit` bytes)."""
    parts, size = [], 0
    while data := answer.read1(_CHUNK):
        size += len(data)
        if size > limit:
            raise OSError(f"the answer has more than {limit:,} bytes")
        parts.append(data)
    return b"".join(parts)


def _watched(sockets: list[socket.socket]) -> tuple[urllib.request.BaseHandler, ...]:
    """Return handlers whose connections are put down in `sockets`."""

    class Plain(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    class Secure(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, req)

    class SecureHandler(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Secure, req, context=ssl.create_default_context())

    return PlainHandler(), SecureHandler()
