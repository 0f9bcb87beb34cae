"""The isolated-environment protocol, with a worker that does what it is told."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.api.errors import PrerequisiteError, UsageError
from evaluators.isolated import environments
from evaluators.isolated.environments import environment
from evaluators.isolated.process import OutOfMemoryError, WorkerCrashError, WorkerError
from tests.isolated.fakes import (
    QUICK,
    WORKER,
    FakeBackend,
    alive,
    fake_environment,
    images,
)


def lengths(backend: FakeBackend, folder: Path, count: int = 4, batch_size: int = 3) -> list[int]:
    found = backend.predict(images(folder, count), {}, batch_size=batch_size)
    return [record["length"] for record, _ in found]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fake_environment(tmp_path, monkeypatch)
    return tmp_path


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_values_come_back_in_order(folder: Path, batch_size: int) -> None:
    backend = FakeBackend(folder)
    assert lengths(backend, folder, batch_size=batch_size) == [1, 2, 3, 4]
    assert not any(alive(pid) for pid in backend.log("start"))


def test_noise_on_the_standard_streams_is_harmless(folder: Path) -> None:
    backend = FakeBackend(folder, {"0/0": "noise", "2/0": "noise"})
    assert lengths(backend, folder) == [1, 2, 3, 4]


def test_a_crash_names_the_image_the_exit_code_and_the_last_lines(folder: Path) -> None:
    backend = FakeBackend(folder, {"1/0": "crash"})
    with pytest.raises(WorkerCrashError) as caught:
        lengths(backend, folder)
    message = str(caught.value)
    assert "exit code 17" in message and "scoring 1/0." in message and "going down" in message
    assert caught.value.exit_code == 1
    assert backend.log("batch") == [3, 1, 1, 1]  # all, then image by image: 0, 1 and 1 again
    assert len(backend.log("start")) == 3


def test_one_crash_is_survived(folder: Path) -> None:
    backend = FakeBackend(folder, {"1/0": "crash once"})
    assert lengths(backend, folder) == [1, 2, 3, 4]
    assert backend.log("batch") == [3, 1, 1, 1, 1]


def test_an_error_names_the_images_and_says_what_happened(folder: Path) -> None:
    backend = FakeBackend(folder, {"3/0": "raise"})
    with pytest.raises(WorkerError, match=r"scoring 3/0: ValueError: cannot read this picture"):
        lengths(backend, folder)


def test_a_worker_that_hangs_is_ended(folder: Path) -> None:
    backend = FakeBackend(folder, {"0/0": "hang"})
    backend.limits = replace(QUICK, item=0.3)  # type: ignore[misc]
    began = time.monotonic()
    with pytest.raises(WorkerError, match=r"no answer in 0\.\d+ s while scoring 0/0; it was ended"):
        lengths(backend, folder, batch_size=1)
    assert time.monotonic() - began < 15
    assert not any(alive(pid) for pid in backend.log("start"))


def test_a_worker_without_a_heartbeat_is_ended(folder: Path) -> None:
    backend = FakeBackend(folder, {"0/0": "hang"})
    backend.limits = replace(QUICK, heartbeat=60.0, silence=0.5)  # type: ignore[misc]
    with pytest.raises(WorkerError, match=r"no answer in 0\.5 s"):
        lengths(backend, folder, batch_size=1)


def test_a_batch_that_does_not_fit_is_halved_and_that_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FakeBackend(folder, fits=1)
    with caplog.at_level(logging.WARNING):
        assert lengths(backend, folder, batch_size=4) == [1, 2, 3, 4]
    assert backend.log("batch") == [4, 2, 1, 1, 1, 1]
    assert "a batch of 4 does not fit; going on with 2" in caplog.text
    with pytest.raises(OutOfMemoryError, match="scoring 0/0"):
        lengths(FakeBackend(folder, fits=0), folder)


def test_another_protocol_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = WORKER + '\n    sys.modules["__main__"].PROTOCOL = 9\n'
    fake_environment(tmp_path, monkeypatch, worker=other)
    with pytest.raises(WorkerError, match="speaks protocol 9, expected 1"):
        lengths(FakeBackend(tmp_path), tmp_path)


def test_packages_of_other_versions_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_environment(tmp_path, monkeypatch, pins="numpy==1.23.1  # as upstream\n")
    for call in (FakeBackend(tmp_path).identity, lambda: lengths(FakeBackend(tmp_path), tmp_path)):
        with pytest.raises(WorkerError, match=r"numpy .* \(expected 1\.23\.1\)"):
            call()
    assert not (tmp_path / "log").exists()  # no model was loaded
    fake_environment(tmp_path, monkeypatch, pins="numpy==2.*\n")
    assert FakeBackend(tmp_path).identity()["packages"]["numpy"].startswith("2.")


def test_other_weights_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FakeBackend(folder)
    before = backend.identity()
    monkeypatch.setattr(backend, "_hashes", lambda: {"weights": "0" * 64})
    with pytest.raises(WorkerError, match=r"found weights with sha256 .* expected 0000"):
        lengths(backend, folder)
    assert not (folder / "log").exists()
    (folder / "weights.bin").write_bytes(b"others")
    assert FakeBackend(folder).identity()["weights"] != before["weights"]
    backend.pinned = lambda: {"weights": "743b7d99"}  # type: ignore[method-assign]
    monkeypatch.undo()


def test_a_pinned_checkpoint_is_the_only_one(folder: Path) -> None:
    backend = FakeBackend(folder)
    backend.pinned = lambda: {"weights": "743b7d99"}  # type: ignore[method-assign]
    with pytest.raises(WorkerError, match="expected 743b7d99: it is not the checkpoint of fake"):
        backend.identity()


def test_the_identity_holds_the_code_that_runs_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = FakeBackend(folder).identity()
    assert before["protocol"] == 1 and before["packages"]["numpy"]
    fake_environment(folder, monkeypatch, worker=WORKER + "\n    # changed\n")
    assert FakeBackend(folder).identity()["worker"] != before["worker"]


def test_a_missing_environment_is_a_prerequisite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("BENCH_ENV_HPSV2_PACKAGE", raising=False)
    with pytest.raises(PrerequisiteError, match="assets build --env hpsv2-package") as caught:
        environment("hpsv2-package").python()
    assert caught.value.exit_code == 3
    monkeypatch.setenv("BENCH_ENV_HPSV2_PACKAGE", str(tmp_path / "none"))
    with pytest.raises(PrerequisiteError, match="is no interpreter"):
        environment("hpsv2-package").python()
    with pytest.raises(PrerequisiteError, match=r"mmcv-full .*BENCH_ENV_GENEVAL_MMDET"):
        environment("geneval-mmdet").python()
    with pytest.raises(UsageError, match="Did you mean 'hpsv3'"):
        environment("hpsv33")


def test_an_interpreter_that_cannot_start_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = folder / "python"
    broken.write_text("not a program")
    broken.chmod(0o755)
    monkeypatch.setenv("BENCH_ENV_FAKE", str(broken))
    with pytest.raises(PrerequisiteError, match="cannot start the interpreter"):
        FakeBackend(folder).identity()
    monkeypatch.setenv("BENCH_ENV_FAKE", "/bin/false")
    with pytest.raises(WorkerCrashError, match="ended with exit code 1 while starting"):
        FakeBackend(folder).identity()


_INTERRUPTED = """
import pytest, sys
from pathlib import Path
from tests.isolated.fakes import FakeBackend, fake_environment, images
folder = Path(sys.argv[1])
fake_environment(folder, pytest.MonkeyPatch())
backend = FakeBackend(folder, {"1/0": "child"})
try:
    list(backend.predict(images(folder), {}, batch_size=1))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_host_leaves_no_orphan(tmp_path: Path, number: signal.Signals) -> None:
    host = subprocess.Popen([sys.executable, "-c", _INTERRUPTED, str(tmp_path)])
    backend = FakeBackend(tmp_path)
    wanted = 2 if number == signal.SIGINT else 1  # a killed host can end its worker alone
    _until(lambda: (tmp_path / "log").exists() and len(backend.log("start")) == 2)
    host.send_signal(number)
    code = host.wait(timeout=20)
    assert code == (130 if number == signal.SIGINT else -number)
    started = backend.log("start")
    _until(lambda: not any(alive(pid) for pid in started[:wanted]))
    for pid in started[wanted:]:
        os.kill(pid, signal.SIGKILL)


def _until(condition: object, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_every_environment_has_its_files() -> None:
    for one in environments.ENVIRONMENTS.values():
        assert one.worker.is_file() and one.requirements.is_file(), one.name
        assert one.pins(), one.name


RUBBISH = (
    "no JSON",
    "[1]",
    "{}",
    "null",
    '{"type": 3}',
    '{"type": ["result"]}',
    '{"type": "failed"}',
    '{"type": "failed", "error": 1, "out_of_memory": "no"}',
    '{"type": "result"}',
    '{"type": "result", "id": 0, "value": 1}',
    '{"type": "result", "id": "9/9", "value": 1}',
    '{"type": "done"}',
    '{"type": "ready", "weights": []}',
    "[" * 50_000,
    "\xff\xfe\x00",
    "x" * 1_000_000,
)


@pytest.mark.parametrize("line", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_among_the_results_is_an_error_of_the_worker(folder: Path, line: str) -> None:
    backend = FakeBackend(folder, {"0/0": f"say {line}"})
    with pytest.raises(WorkerError, match="breaks the protocol"):
        lengths(backend, folder)
    assert not any(alive(pid) for pid in backend.log("start"))


@pytest.mark.parametrize("error", [KeyError("score"), TypeError("no number"), ValueError("x")])
def test_a_value_that_means_nothing_is_an_error_of_the_worker(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def answer(*_: object) -> None:
        raise error

    monkeypatch.setattr(FakeBackend, "answer", answer)
    with pytest.raises(WorkerError, match="the worker answered 1 for 0/0"):
        lengths(FakeBackend(folder), folder)
