"""Steps for tests of the executor: no torch, and misbehaviour on demand."""

import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError, PrerequisiteError
from bench.api.loading import import_target
from bench.steps.graph import Graph
from bench.steps.step import Runtime, Step
from bench.store import Artifact, Store, Work

ONE = 1


@dataclass(frozen=True, kw_only=True)
class ToyStep(Step):
    """Sums the upstream values and one; or does what `does` says, with its `options`."""

    kind: str = "scores"
    does: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def places(self, runtime: Runtime) -> int:
        return int(self.options.get("places", 1))

    def make(self, store: Store, runtime: Runtime) -> Artifact:
        def build(work: Work) -> None:
            for source in self.sources:
                import_target(source.plugin[0])
            total = ONE
            for key in self.upstream.values():
                total += json.loads(store.get(key).file("value.json").read_text())["value"]
            if "log" in self.options:
                with Path(self.options["log"]).open("a") as log:
                    seen = os.environ.get(self.options.get("variable", ""), os.getpid())
                    seen = ",".join(runtime.gpus) or seen
                    log.write(f"{self.name} {seen}\n")
            runtime.progress(1, 2)
            _misbehave(self.does, self.options)
            work.write_json("value.json", {"value": total, "padding": "x" * 100})

        return store.build(self.kind, self.name, self.identity, build, upstream=self.upstream)


def node(name: str, *upstream: Step, does: str = "", **options: Any) -> ToyStep:
    """A step made from `upstream`; `does` says how it misbehaves."""
    ups = {f"up{i}": up.id for i, up in enumerate(upstream)}
    return ToyStep(
        name=name,
        identity={"name": name, "upstream": ups},
        upstream=ups,
        does=does,
        options=options,
        label=name,
        seconds=float(options.get("seconds", 1.0)),
    )


def graph_of(*nodes: Step) -> Graph:
    graph = Graph()
    for one in nodes:
        graph.add(one)
    return graph


def _misbehave(does: str, options: Mapping[str, Any]) -> None:
    if does == "fail":
        raise BenchError("no luck today")
    if does == "surprise":
        raise RuntimeError("nobody expects this")
    if does == "lack":
        raise PrerequisiteError("no weights", fix="get them")
    if does == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "sleep":
        time.sleep(float(options["for"]))
    if does == "compute":
        until = time.process_time() + float(options["for"])
        while time.process_time() < until:
            pass
