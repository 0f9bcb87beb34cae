"""The digest of a graph of texts that does not depend on what its nodes are called."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


def sha256(*texts: str) -> str:
    """Return the sha256 of texts, each told from the next."""
    joined = "".join(f"{len(text)}:{text}" for text in texts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()


def refined(nodes: Mapping[K, tuple[str, Sequence[K]]]) -> dict[K, str]:
    """Return a digest of each node that says its text and all that can be reached from it.

    Each round adds to a node's digest those of the nodes its edges lead to, in order; it ends
    when no round tells more nodes apart (colour refinement; B. Weisfeiler and A. Leman, 1968).
    Edges are ordered, so nodes with one digest reach the same in all directions.

    >>> a = refined({1: ("f", [2]), 2: ("g", [1])})
    >>> b = refined({"x": ("g", ["y"]), "y": ("f", ["x"])})
    >>> sorted(a.values()) == sorted(b.values())
    True
    """
    digests = {key: sha256(text) for key, (text, _) in nodes.items()}
    told_apart = 0
    while told_apart < (found := len(set(digests.values()))):
        told_apart = found
        digests = {
            key: sha256(digests[key], *(digests[edge] for edge in edges))
            for key, (_, edges) in nodes.items()
        }
    return digests
