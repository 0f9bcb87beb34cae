"""The graph's nodes: one node is one artifact, known by its identity before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench.api.errors import UsageError
from bench.store.identity import artifact_id

KINDS = ("pairs", "train", "images", "predictions", "scores")


@dataclass(frozen=True, kw_only=True)
class Node:
    """One artifact to be made.

    Attributes:
        kind, name, identity: as in `bench.store`; the identity holds the ids of `upstream`.
        function: `"module:function"` that makes it: (store, node, runtime) -> artifact.
        upstream: role -> id of the node it is made from.
        payload: what the function needs beyond the identity; plain JSON-able data.
        label: what the progress shows.
        seconds, bytes: estimates.
        sources: of the parts whose code is in the identity, what it was; compared again where the
            artifact is made (`bench.store.Source.to_json`).
    """

    kind: str
    name: str
    identity: Mapping[str, Any]
    function: str
    upstream: Mapping[str, str] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    seconds: float = 0.0
    bytes: int = 0
    sources: tuple[Mapping[str, Any], ...] = ()

    @cached_property
    def id(self) -> str:
        """`<kind>/<name>-<hash12>`: also the artifact's path in the store."""
        return artifact_id(self.kind, self.name, self.identity)


class Graph:
    """Nodes by id, upstream before downstream."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def add(self, node: Node) -> str:
        """Add a node, unless an equal one is there, and return its id.

        Raises:
            UsageError: an upstream node was not added before.
        """
        for role, key in node.upstream.items():
            if key not in self._nodes:
                raise UsageError(f"{node.id} needs {key} ({role}), which is not in the graph.")
        self._nodes.setdefault(node.id, node)
        return node.id

    def __getitem__(self, key: str) -> Node:
        return self._nodes[key]

    def __contains__(self, key: object) -> bool:
        return key in self._nodes

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def __len__(self) -> int:
        return len(self._nodes)

    def downstream(self) -> dict[str, list[str]]:
        """Return, by id, the ids of the nodes that are made from it."""
        found: dict[str, list[str]] = {node.id: [] for node in self}
        for node in self:
            for key in dict.fromkeys(node.upstream.values()):
                found[key].append(node.id)
        return found

    def needed(self, targets: Sequence[str], complete: set[str]) -> set[str]:
        """Return the ids that must be made for `targets`: those not complete, and, beneath
        those alone, what they are made from.
        """
        wanted: set[str] = set()
        queue = [key for key in targets if key not in complete]
        while queue:
            key = queue.pop()
            if key in wanted:
                continue
            wanted.add(key)
            queue += [k for k in self[key].upstream.values() if k not in complete]
        return wanted

    def remaining_seconds(self) -> dict[str, float]:
        """Return, by id, the estimated time from its start to the end of all that follows it.

        Starting the nodes with the longest way first keeps all workers busy to the end.
        """
        below = self.downstream()
        found: dict[str, float] = {}
        for node in reversed(list(self)):
            longest = max((found[key] for key in below[node.id]), default=0.0)
            found[node.id] = node.seconds + longest
        return found
