"""The pictures beside a table: what its world draws, or a sheet of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.api.loading import import_target
from bench.report.model import TableData
from bench.report.samples import draw_samples
from bench.spec.request import Request
from bench.spec.world import world_of
from bench.steps.cells import TableGraph
from bench.store import Store


def draw_pictures(
    request: Request, graph: TableGraph, data: TableData, store: Store
) -> Mapping[str, bytes]:
    """Return a table's pictures, PNG files by name; of samples that are gone there is none.

    Raises:
        CorruptArtifactError: stored samples were changed.
    """
    drawer = world_of(request.table).drawer
    if not drawer:
        return draw_samples(data, store)
    draw: Any = import_target(drawer, kind="drawer of pictures")
    found: Mapping[str, bytes] = draw(request, graph, store)
    return found
