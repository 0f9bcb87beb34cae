"""What comes next, and at which cost, in graphs of thousands of steps."""

import time

import pytest

from bench.executors.outcome import Event, Tally
from bench.executors.schedule import Schedule
from bench.steps.graph import Graph
from bench.steps.step import Step
from tests.steps.toynodes import graph_of, node


class _Counted(Graph):
    """A graph that counts how often a step of it is looked at."""

    looks = 0

    def __getitem__(self, key: str) -> Step:
        self.looks += 1
        return super().__getitem__(key)


def chains(count: int, graph: Graph) -> list[str]:
    """Chains of four steps, as a table's cells are; returns all ids."""
    for number in range(count // 4):
        above: list[Step] = []
        for what, seconds in (("train", 50.0), ("images", 20.0), ("seen", 5.0), ("scores", 1.0)):
            above = [node(f"{what}{number}", *above, seconds=seconds + number / count)]
            graph.add(above[0])
    return [step.id for step in graph]


def walk(graph: Graph, *, jobs: int = 8) -> list[Event]:
    """Take and settle all steps, telling of each as an executor does."""
    keys = [step.id for step in graph]
    schedule, events = Schedule(graph, set(keys), set()), list[Event]()
    tally = Tally({k: graph[k].seconds for k in keys}, jobs=jobs, listener=events.append)
    running: list[Step] = []
    while not schedule.finished:
        while len(running) < jobs and (step := schedule.next()) is not None:
            tally.tell("started", step)
            running.append(step)
        step = running.pop(0)
        tally.tell("progress", step, done=1, total=2)
        schedule.done(step)
        tally.tell("done", step)
    return events


def test_a_step_costs_as_many_looks_in_a_large_graph_as_in_a_small_one() -> None:
    looks = []
    for count in (200, 2_000):
        graph = _Counted()
        chains(count, graph)
        walk(graph)
        looks.append(graph.looks / count)
    assert looks[1] < 1.2 * looks[0] + 1


def test_eight_thousand_steps_are_scheduled_in_seconds() -> None:
    """It took minutes when each step and each event looked at all others (2.2 s under load now)."""
    graph = Graph()
    chains(8_000, graph)
    began = time.process_time()
    events = walk(graph)
    assert time.process_time() - began < 20
    assert sum(event.kind == "done" for event in events) == 8_000
    assert events[-1].seconds_left is None
    assert events[-1].finished == events[-1].steps == 8_000


def test_urgent_steps_come_first_and_what_suits_a_worker_before_them() -> None:
    long, short = node("long", seconds=9.0), node("short", seconds=1.0)
    schedule = Schedule(graph_of(long, short), {long.id, short.id}, set())
    assert schedule.next() is long
    assert schedule.next() is short
    assert schedule.next() is None
    first = Schedule(graph_of(long, short), {long.id, short.id}, set())
    assert first.next(lambda _: False) is long  # nothing suits: as if all did


@pytest.mark.parametrize("kind", ["progress", "done"])
def test_the_time_to_go_is_that_of_what_is_left(kind: str) -> None:
    steps = [node(f"n{i}", seconds=0.1 * i) for i in range(1, 4)]
    events: list[Event] = []
    tally = Tally({s.id: s.seconds for s in steps}, jobs=1, listener=events.append)
    for _ in range(2):  # a step may be made once more
        tally.tell("started", steps[0])
        assert events[-1].seconds_left == pytest.approx(0.6)
        tally.tell(kind, steps[0], done=1, total=2)  # type: ignore[arg-type]
    for step in steps:
        tally.tell("done", step)
    assert events[-1].seconds_left is None
