import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.executors.local import run_graph
from bench.executors.outcome import Event
from bench.executors.schedule import complete_steps
from bench.steps.step import Step
from bench.store import Store
from tests.steps.toynodes import graph_of, node

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def value(store: Store, made: Step) -> int:
    return int(json.loads(store.get(made.id).file("value.json").read_text())["value"])


def test_upstream_is_made_first_and_only_what_the_targets_need(store: Store) -> None:
    a, b = node("a"), node("b")
    c = node("c", a, b)
    graph = graph_of(a, b, c, node("unused"))
    outcome = run_graph(graph, [c.id], store, jobs=1)
    assert outcome.exit_code == 0
    assert set(outcome.made) == {a.id, b.id, c.id}
    assert outcome.made[-1] == c.id
    assert value(store, c) == 3


def test_a_second_run_makes_nothing(store: Store) -> None:
    a = node("a")
    b = node("b", a)
    graph = graph_of(a, b)
    run_graph(graph, [b.id], store, jobs=1)
    assert complete_steps(graph, [b.id], store) == {b.id}
    assert run_graph(graph, [b.id], store, jobs=1).made == []


def test_what_lies_beneath_a_complete_node_is_not_made_again(store: Store) -> None:
    a = node("a")
    b = node("b", a)
    graph = graph_of(a, b)
    run_graph(graph, [b.id], store, jobs=1)
    store.remove(store.get(a.id))
    assert run_graph(graph, [b.id], store, jobs=1).made == []


def test_the_longest_way_is_started_first(store: Store) -> None:
    short = node("z-short", seconds=5.0)
    first = node("a-first", seconds=1.0)
    long = node("b-long", first, seconds=50.0)
    events: list[Event] = []
    graph = graph_of(short, first, long)
    run_graph(graph, [short.id, long.id], store, jobs=1, listener=events.append)
    assert [e.step.name for e in events if e.kind == "started"] == ["a-first", "b-long", "z-short"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failure_fails_its_dependants_and_nothing_else(store: Store, jobs: int) -> None:
    bad, good = node("bad", does="fail"), node("good")
    after, later = node("after", bad, good), node("later", node("bad", does="fail"))
    graph = graph_of(bad, good, after, later)
    events: list[Event] = []
    outcome = run_graph(
        graph, [after.id, later.id, good.id], store, jobs=jobs, listener=events.append
    )
    assert outcome.exit_code == 1
    assert outcome.made == [good.id]
    assert outcome.failures[bad.id].message == "no luck today"
    assert outcome.failures[bad.id].cause == bad.id
    assert {outcome.failures[n.id].cause for n in (after, later)} == {bad.id}
    assert {e.step.name for e in events if e.kind == "skipped"} == {"after", "later"}


def test_an_unexpected_error_keeps_its_trace(store: Store) -> None:
    bad = node("bad", does="surprise")
    failure = run_graph(graph_of(bad), [bad.id], store, jobs=1).failures[bad.id]
    assert failure.message == "RuntimeError: nobody expects this"
    assert failure.trace is not None and "toynodes.py" in failure.trace


def test_missing_prerequisites_alone_are_exit_code_three(store: Store) -> None:
    lack, bad = node("lack", does="lack"), node("bad", does="fail")
    assert run_graph(graph_of(lack), [lack.id], store, jobs=1).exit_code == 3
    both = run_graph(graph_of(lack, bad), [lack.id, bad.id], store, jobs=1)
    assert both.exit_code == 1


def test_a_worker_that_is_killed_is_a_failed_node_and_the_rest_is_made(store: Store) -> None:
    dies, rest = node("dies", does="die", seconds=9.0), [node(f"n{i}") for i in range(3)]
    outcome = run_graph(graph_of(dies, *rest), [dies.id, *(n.id for n in rest)], store, jobs=2)
    assert outcome.exit_code == 1
    assert "signal 9" in outcome.failures[dies.id].message
    assert set(outcome.made) == {n.id for n in rest}


def test_a_damaged_artifact_is_made_anew_with_what_reads_it(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    a = node("a")
    b = node("b", a)
    graph = graph_of(a, b)
    run_graph(graph, [a.id], store, jobs=1)
    path = store.get(a.id).path / "value.json"
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b"x", b"y"))  # same size
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # and time: only its hash tells
    assert complete_steps(graph, [b.id], store) == {a.id}
    outcome = run_graph(graph, [b.id], store, jobs=1)
    assert outcome.exit_code == 0
    assert set(outcome.made) == {a.id, b.id}
    assert value(store, b) == 2
    assert any("value.json was changed" in r.getMessage() for r in caplog.records)


def test_a_truncated_artifact_is_seen_at_a_look_and_made_anew(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    a = node("a")
    graph = graph_of(a)
    run_graph(graph, [a.id], store, jobs=1)
    path = store.get(a.id).path / "value.json"
    path.write_bytes(path.read_bytes()[:10])
    assert run_graph(graph, [a.id], store, jobs=1).made == [a.id]
    assert value(store, a) == 1
    assert any("value.json has 10 bytes" in r.getMessage() for r in caplog.records)


_SCRIPT = """
import sys
from pathlib import Path
from bench.store import Store
from bench.executors.local import run_graph
from tests.steps.toynodes import graph_of, node

log, jobs, sleep = sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
nodes = [node(f"n{i}", does="sleep", log=log, **{"for": sleep}) for i in range(4)]
try:
    store, targets = Store(Path(sys.argv[1])), [n.id for n in nodes]
    outcome = run_graph(graph_of(*nodes), targets, store, jobs=jobs)
except KeyboardInterrupt:
    sys.exit(130)
sys.exit(outcome.exit_code)
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., "subprocess.Popen[bytes]"]:
    def begin(jobs: int, sleep: float) -> "subprocess.Popen[bytes]":
        arguments = [str(tmp_path / "store"), str(tmp_path / "log"), str(jobs), str(sleep)]
        return subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, *arguments], cwd=ROOT, start_new_session=True
        )

    return begin


def working(log: Path) -> list[int]:
    """Process ids of the nodes that have begun."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [int(line.split()[1]) for line in lines]


def wait_until(true: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_command(
    tmp_path: Path, start: Callable[..., "subprocess.Popen[bytes]"], how: signal.Signals
) -> None:
    process = start(2, 120.0)
    wait_until(lambda: len(working(tmp_path / "log")) == 2)
    process.send_signal(how)
    code = process.wait(30)
    assert code == (130 if how is signal.SIGINT else -9)
    for pid in working(tmp_path / "log"):
        wait_until(lambda pid=pid: gone(pid), 20)


def test_two_runs_at_once_make_each_artifact_once(
    tmp_path: Path, start: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    both = [start(1, 0.2), start(1, 0.2)]
    assert [process.wait(60) for process in both] == [0, 0]
    made = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(made) == ["n0", "n1", "n2", "n3"]
