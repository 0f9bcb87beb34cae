"""A server that stalls, drips, redirects, lies about lengths, sends too much and echoes keys."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.api.errors import BenchError, PrerequisiteError, UsageError
from bench.assets.download import Order, download
from bench.endpoint import LARGEST_ANSWER, Advice, ChatEndpoint
from bench.network import hidden, secrets_of, shown_url

KEY = "sk-very-secret-0123"
ADVICE = Advice(url="mend url", request="Look.", again="Later.")
BODY = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
Answer = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """A server at loopback that does what `answer` does, and remembers what it was told."""

    def __init__(self, answer: Answer) -> None:
        self.seen: list[tuple[str, str, str | None]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def _any(self) -> None:
                site.seen.append((self.command, self.path, self.headers.get("Authorization")))
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                answer(self)

            def do_GET(self) -> None:
                self._any()

            def do_POST(self) -> None:
                self._any()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"


@contextmanager
def serving(answer: Answer) -> Iterator[Site]:
    site = Site(answer)
    thread = threading.Thread(target=site.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("TOY_KEY", KEY)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def client(url: str, **changes: Any) -> ChatEndpoint:
    given = {"retries": 0, "timeout_seconds": 1.0, "wait": lambda _: None, **changes}
    return ChatEndpoint(url=url, key_env="TOY_KEY", advice=ADVICE, **given)


def drip(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    try:
        for at in range(len(data)):
            handler.wfile.write(data[at : at + 1])
            handler.wfile.flush()
            time.sleep(0.1)
    except OSError:
        pass


def headed(handler: BaseHTTPRequestHandler, status: int, **headers: object) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_no_key_to_another_host(status: int) -> None:
    with serving(lambda handler: headed(handler, 200, Content_Length=0)) as other:
        place = f"http://user:pw@127.0.0.1:{other.port}/stolen?q=1"
        with (
            serving(lambda h: headed(h, status, Location=place, Content_Length=0)) as site,
            pytest.raises(PrerequisiteError, match="redirected to") as caught,
        ):
            client(site.url).complete(BODY)
        assert other.seen == []
    assert "pw" not in str(caught.value) and "q=1" not in str(caught.value)


def test_a_key_that_the_server_repeats_is_not_shown() -> None:
    def echo(handler: BaseHTTPRequestHandler) -> None:
        said = f"bad key {handler.headers['Authorization']}".encode()
        headed(handler, 401, Content_Length=len(said))
        handler.wfile.write(said)

    def nonsense(handler: BaseHTTPRequestHandler) -> None:
        said = f"<html>{handler.headers['Authorization']}</html>".encode()
        headed(handler, 200, Content_Length=len(said))
        handler.wfile.write(said)

    for answer, error in ((echo, PrerequisiteError), (nonsense, BenchError)):
        with serving(answer) as site, pytest.raises(error) as caught:
            client(site.url).complete(BODY)
        assert KEY not in str(caught.value) and "***" in str(caught.value)


@pytest.mark.parametrize(("status", "error"), [(401, PrerequisiteError), (200, BenchError)])
@pytest.mark.parametrize("before", [180, 280])
def test_no_part_of_a_key_is_shown_where_an_answer_is_cut(
    status: int, error: type[BenchError], before: int
) -> None:
    def echo(handler: BaseHTTPRequestHandler) -> None:
        said = b"x" * before + handler.headers["Authorization"].encode() + b"y" * 400
        headed(handler, status, Content_Length=len(said))
        handler.wfile.write(said)

    with serving(echo) as site, pytest.raises(error) as caught:
        client(site.url).complete(BODY)
    assert KEY[:4] not in str(caught.value)


def test_a_password_in_the_address_is_sent_where_it_belongs_and_never_shown() -> None:
    with serving(lambda handler: headed(handler, 404, Content_Length=0)) as site:
        url = f"http://me:hunter2@127.0.0.1:{site.port}/v1?api_key=abcdef"
        with pytest.raises((UsageError, PrerequisiteError)) as caught:
            client(url).complete(BODY)
    assert "hunter2" not in str(caught.value) and "abcdef" not in str(caught.value)
    assert shown_url(url) == f"http://127.0.0.1:{site.port}/v1"
    assert hidden("hunter2 abcdef", *secrets_of(url)) == "*** ***"


def test_secrets_are_hidden_as_they_stand_in_an_address_and_as_they_are_meant() -> None:
    url = "http://me:hun%40ter@host/v1?api_key=ab%2Bcd&v=1%2F2%2F3"
    for said in ("hun%40ter", "hun@ter", "ab%2Bcd", "ab+cd", "1%2F2%2F3", "1/2/3"):
        assert hidden(f"no {said}.", *secrets_of(url)) == "no ***."


@pytest.mark.parametrize("where", ["body", "head"])
def test_an_answer_that_drips_ends_with_the_time_limit(where: str) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if where == "body":
            headed(handler, 200, Content_Length=1000)
            drip(handler, b"x" * 1000)
        else:
            drip(handler, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 1000)

    began = time.monotonic()
    with serving(answer) as site, pytest.raises(PrerequisiteError, match="within 1 s"):
        client(site.url).complete(BODY)
    assert time.monotonic() - began < 15


def test_an_endless_answer_is_cut() -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        headed(handler, 200)
        try:
            while True:
                handler.wfile.write(b" " * 65536)
        except OSError:
            pass

    with serving(endless) as site, pytest.raises(PrerequisiteError, match="more than") as caught:
        client(site.url, timeout_seconds=60.0).complete(BODY)
    assert f"{LARGEST_ANSWER:,}" in str(caught.value)


def order(url: str, folder: Path, **changes: Any) -> Order:
    given = {"sha256": None, "fix": "get it", "timeout_seconds": 1.0, "retries": 0, **changes}
    return Order(url=url, target=folder / "file", **given)


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_a_download_is_redirected_to_no_other_scheme(place: str, tmp_path: Path) -> None:
    with (
        serving(lambda h: headed(h, 302, Location=place, Content_Length=0)) as site,
        pytest.raises((PrerequisiteError, BenchError)),
    ):
        download(order(f"{site.url}/a", tmp_path), wait=lambda _: None)
    assert not (tmp_path / "file").exists()


def test_a_download_follows_to_another_host_without_what_was_for_the_first(tmp_path: Path) -> None:
    def give(handler: BaseHTTPRequestHandler) -> None:
        headed(handler, 200, Content_Length=4)
        handler.wfile.write(b"data")

    with serving(give) as other:
        place = f"{other.url}/b"
        with serving(lambda h: headed(h, 302, Location=place, Content_Length=0)) as site:
            download(order(f"{site.url}/a", tmp_path), wait=lambda _: None)
    assert (tmp_path / "file").read_bytes() == b"data"


@pytest.mark.parametrize("said", [True, False])
def test_a_download_that_is_too_large_is_refused_whether_it_says_so_or_not(
    said: bool, tmp_path: Path
) -> None:
    def give(handler: BaseHTTPRequestHandler) -> None:
        headed(handler, 200, **({"Content_Length": 5000} if said else {}))
        handler.wfile.write(b"x" * 5000)

    with serving(give) as site, pytest.raises(PrerequisiteError, match="at most 1,000"):
        download(order(f"{site.url}/a", tmp_path, largest_bytes=1000), wait=lambda _: None)
    assert list(tmp_path.glob("file")) == [] and list(tmp_path.glob("*.part")) == []


def test_a_length_that_is_a_lie_gives_no_file(tmp_path: Path) -> None:
    def give(handler: BaseHTTPRequestHandler) -> None:
        headed(handler, 200, Content_Length=100)
        handler.wfile.write(b"short")

    with serving(give) as site, pytest.raises(PrerequisiteError, match="5 bytes are kept"):
        download(order(f"{site.url}/a", tmp_path), wait=lambda _: None)
    assert not (tmp_path / "file").exists()
