"""Steps on a Ray cluster: the numbers of one machine, whichever machine made them, or was lost.

The cluster is a real one, of two machines on this host; it needs the extra `ray`. What can be known
without one is in test_cluster.py.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from bench.cli import main
from bench.executors.cluster import Cluster
from bench.executors.local import run_graph
from bench.executors.outcome import Event, Outcome
from bench.executors.ray_pool import RayPool
from bench.steps.step import Runtime, Step
from bench.store import Store
from tests.steps.campaign import content_of
from tests.steps.micro import table_arguments
from tests.steps.toynodes import graph_of, node
from tests.steps.toys import save_checkpoint, write_profile

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs the extra ray")
pytestmark = pytest.mark.slow

MEMORY = 80 << 20  # of each machine's object store, which nothing of ours goes through
PART = ("--rows", "base,ddspo", "--cols", "GE", "--trust")


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A cluster of two machines with a core each."""
    with TemporaryDirectory(dir="/tmp", prefix="r") as short, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", short)  # paths of sockets must be short
        patch.setenv("TMPDIR", short)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # not behind what else runs here
        head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": MEMORY}
        found = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        found.add_node(num_cpus=1, object_store_memory=MEMORY)
        yield found
        found.shutdown()


def on(
    machines: Any,
    store: Store,
    *steps: Step,
    jobs: int = 2,
    listener: Callable[[Event], None] = lambda _: None,
) -> Outcome:
    cluster = Cluster(machines.address)
    try:
        cluster.require_alike(store.root)
        pool = RayPool(cluster, jobs, store=store.root, runtime=Runtime(device="cpu"), gpu=False)
        graph = graph_of(*steps)
        ids = [step.id for step in steps]
        return run_graph(graph, ids, store, jobs=jobs, elsewhere=pool, listener=listener)
    finally:
        cluster.close()


def test_a_cluster_leaves_the_bytes_of_one_worker(
    machines: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = write_profile(tmp_path, save_checkpoint(tmp_path / "checkpoint"))
    assert main(table_arguments(profile, tmp_path / "here", *PART, "-q")) == 0
    there = ("--executor", "ray", "--ray-address", machines.address)
    asked = table_arguments(profile, tmp_path / "there", *PART, *there)
    assert main(asked) == 0, capsys.readouterr().err
    assert content_of(tmp_path / "there") == content_of(tmp_path / "here")
    capsys.readouterr()
    assert main(asked) == 0
    assert "complete: nothing to do" in capsys.readouterr().err
    assert not list((tmp_path / "there").glob(".seen-by-all*"))


def test_failures_are_told_as_on_one_machine(machines: Any, tmp_path: Path) -> None:
    good = node("good")
    bad, surprise, dead = (
        node("bad", does="fail"),
        node("odd", does="surprise"),
        node("k", does="die"),
    )
    after = node("after", bad, good)
    outcome = on(machines, Store(tmp_path), good, bad, surprise, dead, after)
    assert outcome.made == [good.id]
    found = {key: failure.message for key, failure in outcome.failures.items()}
    assert found[bad.id] == "no luck today"
    assert "nobody expects this" in found[surprise.id]
    assert found[dead.id].startswith("its worker process was ended by signal 9 (out of memory?)")
    assert found[after.id] == "not made, because bad failed"
    assert outcome.failures[surprise.id].trace


def test_what_a_lost_machine_was_at_is_made_elsewhere(machines: Any, tmp_path: Path) -> None:
    third = machines.add_node(num_cpus=1, object_store_memory=MEMORY)
    log = str(tmp_path / "log")
    done = node("done", log=log)
    long = [node(f"long-{n}", does="sleep", **{"for": 6.0, "log": log}) for n in range(3)]
    last = node("last", done, *long, log=log)
    at_work: list[str] = []

    def lose_it(event: Event) -> None:
        if event.kind == "progress" and event.step.id not in at_work and event.step in long:
            at_work.append(event.step.id)
            if len(at_work) == len(long):
                machines.remove_node(third, allow_graceful=False)

    store = Store(tmp_path / "store")
    outcome = on(machines, store, done, *long, last, jobs=3, listener=lose_it)
    assert sorted(outcome.made) == sorted(step.id for step in (done, *long, last))
    assert json.loads(store.get(last.id).file("value.json").read_text())["value"] == 5
    made = [line.split()[0] for line in Path(log).read_text().splitlines()]
    assert made.count("done") == made.count("last") == 1
    # the one that was lost was begun twice; nothing that was published was
    assert sorted(made.count(step.name) for step in long) == [1, 1, 2]


def test_two_machines_are_faster_than_one(machines: Any, tmp_path: Path) -> None:
    if os.getloadavg()[0] > 0.7 or (os.cpu_count() or 1) < 2:
        pytest.skip("other work is on the cores: what would be measured is that")
    seconds = {}
    for jobs in (1, 2):
        spent: list[float] = []

        def look(event: Event, spent: list[float] = spent) -> None:
            if event.kind == "done":
                spent.append(time.monotonic())

        steps = [node(f"n{jobs}-{i}", does="compute", **{"for": 4.0}) for i in range(7)]
        on(machines, Store(tmp_path / str(jobs)), *steps, jobs=jobs, listener=look)
        # without the start of the workers: from the first that was done to the last
        seconds[jobs] = (spent[-1] - spent[0]) / (len(steps) - jobs) * (len(steps) - 1)
    assert seconds[1] > 1.5 * seconds[2], seconds
