"""Node functions for tests of the executor: no torch, and misbehaviour on demand."""

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError, PrerequisiteError
from bench.steps.graph import Graph, Node
from bench.steps.making import Runtime
from bench.store import Artifact, Store, Work


def node(name: str, *upstream: Node, does: str = "", **payload: Any) -> Node:
    """A node made from `upstream`; `does` says how it misbehaves."""
    ups = {f"up{i}": up.id for i, up in enumerate(upstream)}
    return Node(
        kind="scores",
        name=name,
        identity={"name": name, "upstream": ups},
        upstream=ups,
        payload={"does": does, **payload},
        function="tests.steps.toynodes:make",
        label=name,
        seconds=float(payload.get("seconds", 1.0)),
    )


def graph_of(*nodes: Node) -> Graph:
    graph = Graph()
    for one in nodes:
        graph.add(one)
    return graph


def make(store: Store, node: Node, runtime: Runtime) -> Artifact:
    """Sum the upstream values and one; or do what the payload says."""
    payload: Mapping[str, Any] = node.payload

    def build(work: Work) -> None:
        total = 1
        for key in node.upstream.values():
            total += json.loads(store.get(key).file("value.json").read_text())["value"]
        if "log" in payload:
            with Path(payload["log"]).open("a") as log:
                log.write(f"{node.name} {os.getpid()}\n")
        runtime.progress(1, 2)
        _misbehave(payload)
        work.write_json("value.json", {"value": total, "padding": "x" * 100})

    return store.build(node.kind, node.name, node.identity, build, upstream=node.upstream)


def _misbehave(payload: Mapping[str, Any]) -> None:
    does = payload["does"]
    if does == "fail":
        raise BenchError("no luck today")
    if does == "surprise":
        raise RuntimeError("nobody expects this")
    if does == "lack":
        raise PrerequisiteError("no weights", fix="get them")
    if does == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "sleep":
        time.sleep(float(payload["for"]))
