"""What is told of a cluster that is none, or whose machines are not alike; no Ray is needed."""

from __future__ import annotations

import importlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.executors.cluster import complaints
from bench.executors.ray_pool import RETRIES, RayPool
from bench.store import alike
from bench.store.provenance import PACKAGES

RUN = ["run", "--table", "1a", "--rows", "base", "--cols", "GE", "--executor", "ray"]


@pytest.fixture
def port() -> Iterator[int]:
    """One at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main([*RUN, *arguments])
    return code, capsys.readouterr().err


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "here", ":6379", "here:port"])
def test_an_address_of_another_form_is_refused(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = told(capsys, "--ray-address", address, "--store", str(tmp_path))
    assert code == 2 and "expected the HOST:PORT" in said and len(said.splitlines()) == 1


def test_an_address_that_does_not_answer(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = told(capsys, "--ray-address", f"127.0.0.1:{port}", "--store", str(tmp_path))
    assert code == 2 and "nothing answers there" in said and len(said.splitlines()) == 1
    assert {file.name for file in tmp_path.iterdir()} <= {".cache"}  # nothing was begun


def test_ray_that_is_not_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError("No module named 'ray'")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    code, said = told(capsys, "--store", str(tmp_path))
    assert code == 3 and 'pip install "align-bench[ray]"' in said


def look_of(store: Path, **changes: Any) -> tuple[dict[str, str], dict[str, Any], Path]:
    token, answer = store / "token", store / "answer"
    token.write_text("seen")
    told = alike.look(str(token), str(answer), PACKAGES)
    return alike.installed(PACKAGES), {**told, **changes}, answer


def test_machines_that_are_alike_get_no_complaint(tmp_path: Path) -> None:
    here, there, answer = look_of(tmp_path)
    assert complaints(here, there, token="seen", store=tmp_path, answer=answer) == []
    assert here["torch"] != "missing" and len(here["align-bench's source"]) == 12


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fault": "did not answer for 120 s"}, "far did not answer for 120 s"),
        (
            {"installed": {**alike.installed(PACKAGES), "diffusers": "0.1"}},
            f"far has diffusers 0.1 (here {alike.installed(PACKAGES)['diffusers']}); install",
        ),
        ({"installed": {}}, "far has Python missing"),
        ({"read": "FileNotFoundError: No such file"}, "far does not see the store"),
        ({"read": "another's"}, "far does not see the store"),
    ],
)
def test_what_is_not_alike_is_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    here, there, answer = look_of(tmp_path, machine="far", **changes)
    (line,) = complaints(here, there, token="seen", store=tmp_path, answer=answer)
    assert said in line and "\n" not in line


def test_storage_that_is_written_there_and_not_seen_here(tmp_path: Path) -> None:
    here, there, answer = look_of(tmp_path)
    answer.unlink()
    (line,) = complaints(here, there, token="seen", store=tmp_path, answer=answer)
    assert "is not seen here" in line


def test_the_source_of_a_machine_changes_with_any_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("bench", "methods", "evaluators"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    for package in ("bench", "methods", "evaluators"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    before = alike.source()
    (tmp_path / "methods" / "mine.py").write_text("BETA = 1\n")
    after = alike.source()
    assert None not in (before, after) and before != after


class Lost:
    """A worker whose actor was lost."""

    def __init__(self, lost: str | None, code: int = 0) -> None:
        self.lost, self.code = lost, code


def test_a_machine_without_memory_is_a_failure_and_a_lost_one_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tests.steps.toynodes import node

    pool = object.__new__(RayPool)
    pool._losses, pool._again = {}, []
    step = node("a")
    full = Lost("Task was killed due to the node running low on memory.")
    said = pool._ending(full, step)  # type: ignore[arg-type]
    assert said is not None and "ran out of memory" in said.message
    for times in range(RETRIES):
        assert pool._ending(Lost("The actor died"), step) is None  # type: ignore[arg-type]
        assert len(pool._again) == times + 1
    last = pool._ending(Lost("The actor died"), step)  # type: ignore[arg-type]
    assert last is not None and f"was lost {RETRIES + 1} times" in last.message
    assert "signal 9" in str(pool._ending(Lost(None, -9), step))  # type: ignore[arg-type]
