"""Makes the steps of a graph: in this process, or in workers here or elsewhere, a few at a time.

A step is never made where plug-ins that are not its own were imported (`bench.executors.plugins`).

A step is started when all it is made from is there, those with the longest way ahead first. A
failed step fails what is made from it; everything else still runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from bench.api.errors import BenchError
from bench.api.exits import Fault, failure_of, is_users
from bench.executors.numerics import usual_numerics
from bench.executors.outcome import Listener, Outcome, Tally, ignore
from bench.executors.plugins import may_be_made_here
from bench.executors.pool import Advance, Pool, Workers
from bench.executors.schedule import Schedule, complete_steps, with_damaged
from bench.executors.shards import cut_graph
from bench.executors.worker import make_step, one_thread, require_sources
from bench.steps.graph import Graph
from bench.steps.step import DivisibleStep, Runtime, Step
from bench.store import MANIFEST, Store

_USUAL = Runtime()


def run_graph(
    graph: Graph,
    targets: Sequence[str],
    store: Store,
    *,
    jobs: int,
    gpus: Sequence[str] = (),
    runtime: Runtime = _USUAL,
    listener: Listener = ignore,
    complete: set[str] | None = None,
    elsewhere: AbstractContextManager[Workers] | None = None,
) -> Outcome:
    """Make the targets and what they need.

    Args:
        graph: the steps.
        targets: ids wanted.
        store: where artifacts are.
        jobs: worker processes; with 1 all is done in this process, unless plug-ins keep steps
            apart: then one process at a time.
        gpus: what `CUDA_VISIBLE_DEVICES` calls the GPUs that workers are given, one each, in turn;
            where there are none, workers see what this process sees.
        runtime: how the work is done.
        listener: told of every event.
        complete: what `complete_steps` returned, where it was called already.
        elsewhere: workers on other machines; then nothing is made in this process.

    Raises:
        KeyboardInterrupt: after all workers have ended.
    """
    targets = with_damaged(graph, targets, store)
    known = complete_steps(graph, targets, store) if complete is None else complete
    needed = graph.needed(targets, known)
    cut = cut_graph(graph, needed, workers=jobs, runtime=runtime)
    if cut.parts:
        # finished parts that an interrupted run left are not made again
        known = known | complete_steps(cut.graph, sorted(needed), store)
        needed = cut.graph.needed(targets, known)
    schedule = Schedule(cut.graph, needed, known)
    if not needed:
        return schedule.outcome
    most = max(cut.graph[key].places(runtime) for key in needed)
    jobs = min(jobs, max(len(needed), most))
    seconds = {key: cut.graph[key].seconds for key in needed}
    tally = Tally(seconds, jobs=max(jobs, 1), listener=listener)
    if elsewhere is not None:
        with elsewhere as workers:
            _run_in_workers(schedule, store, workers, tally)
    elif jobs <= 1 and may_be_made_here(cut.graph[key] for key in needed):
        with one_thread(), usual_numerics():
            _run_here(schedule, store, runtime, tally)
    else:
        with Pool(max(jobs, 1), store=store.root, runtime=runtime, gpus=gpus) as pool:
            _run_in_workers(schedule, store, pool, tally)
    return cut.whole(schedule.outcome)


def _run_here(schedule: Schedule, store: Store, runtime: Runtime, tally: Tally) -> None:
    while (step := schedule.next()) is not None:
        began = time.monotonic()
        tally.tell("started", step)

        def progress(done: int, total: int, step: Step = step, began: float = began) -> None:
            seconds = time.monotonic() - began
            tally.tell("progress", step, seconds=seconds, done=done, total=total)

        try:
            make_step(step, store, replace(runtime, progress=progress))
        except BaseException as error:
            if is_users(error):
                raise
            _tell_failure(schedule, step, failure_of(error, step.calls), store, tally, began)
        else:
            _tell_done(schedule, step, store, tally, began)
    schedule.require_finished()


def _run_in_workers(schedule: Schedule, store: Store, pool: Workers, tally: Tally) -> None:
    began: dict[str, float] = {}
    held: Step | None = None  # the most urgent one, where it takes more places than are free
    while not schedule.finished:
        while pool.idle and (step := held or schedule.next(pool.suits)) is not None:
            held = None if pool.fits(step) else step
            if held is not None:
                break
            began[step.id] = time.monotonic()
            tally.tell("started", step)
            try:
                require_sources(step)  # this process made the graph, with what it has loaded
            except BenchError as error:
                failure = failure_of(error, step.calls)
                _tell_failure(schedule, step, failure, store, tally, began[step.id])
            else:
                pool.start(step)
        if not schedule.running:
            schedule.require_finished()
            break
        step, told = pool.wait()
        seconds = time.monotonic() - began[step.id]
        if isinstance(told, Advance):
            tally.tell("progress", step, seconds=seconds, done=told.done, total=told.total)
        elif isinstance(told, Fault):
            _tell_failure(schedule, step, told, store, tally, began[step.id])
        else:
            _tell_done(schedule, step, store, tally, began[step.id])


def _tell_done(schedule: Schedule, step: Step, store: Store, tally: Tally, began: float) -> None:
    joined = isinstance(step, DivisibleStep) and step.is_joined(store)
    if not joined and not (store.root / step.id / MANIFEST).is_file():
        message = f"{type(step).__name__} ended without an error, and {step.id} is not in the store"
        _tell_failure(schedule, step, Fault(message=message), store, tally, began)
        return
    schedule.done(step)
    tally.tell("done", step, seconds=time.monotonic() - began)


def _tell_failure(
    schedule: Schedule,
    step: Step,
    failure: Fault,
    store: Store,
    tally: Tally,
    began: float,
) -> None:
    seconds = time.monotonic() - began
    if schedule.failed(step, failure, store, tally):
        message = schedule.outcome.failures[step.id].message
        tally.tell("failed", step, seconds=seconds, message=message)
