"""Which samples go into the panels of the figure, read from the store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.spec.request import Request
from bench.steps.cells import TableGraph
from bench.store import Store, read_safetensors
from bench.toy.picture import Panel, draw_figure
from bench.toy.spec import REFERENCES, points_of, settings_of

if TYPE_CHECKING:
    from bench.toy.picture import Points

METHODS = ("diffusion-dpo", "ddspo")
PAPERS_COUNT = 2
"""N of the paper's figure (its caption; the project page shows N = 1)."""
SHOWN = 200
"""Points of each class that are drawn."""


def _panels(request: Request) -> Iterator[tuple[str, int, tuple[str, str, str]]]:
    """Yield, for each reference, N and the rows of panels c, d and e, where all are asked for.

    N is the paper's, or else the least that both methods have.
    """
    asked = points_of(request.rows)
    for reference in REFERENCES:
        rows = [row for row in asked if row.reference == reference and not row.tuned]
        keys = {(row.method, row.pairs_per_class): row.key for row in rows}
        counts = [n for method, n in keys if method == METHODS[0] and (METHODS[1], n) in keys]
        if (None, 0) in keys and counts:
            count = PAPERS_COUNT if PAPERS_COUNT in counts else min(counts)
            methods = (keys[METHODS[0], count], keys[METHODS[1], count])
            yield reference, count, (keys[None, 0], *methods)


def draw_figures(request: Request, graph: TableGraph, store: Store) -> dict[str, bytes]:
    """Return TABLE.png and TABLE-exact.png of the first seed, where all their samples are there.

    Raises:
        CorruptArtifactError: stored samples were changed.
    """
    from bench.toy.metrics import TRUTH_SEED
    from bench.toy.ring import clean_mixture, draw_classes, noisy_mixture

    ring, seed = settings_of(request).settings.ring, request.seeds[0]
    steps = {(cell.row, cell.noise_seed): str(cell.step) for cell in graph.cells}
    drawn_figures = {}
    for reference, count, rows in _panels(request):
        samples = [_samples(graph, store, steps[row, seed]) for row in rows]
        if any(points is None for points in samples):
            continue
        drawn = [
            draw_classes(mixture(ring), SHOWN, TRUTH_SEED, f"panel/{name}").numpy()
            for name, mixture in (("a", clean_mixture), ("b", noisy_mixture))
        ]
        few = f"N = {count} pair{'s' * (count != 1)} per class"
        made = "learned from (b)" if reference == "learned" else "closed form for (b)"
        titles = (
            ("(a) Ground truth", "one Gaussian per class"),
            ("(b) Noisy data", "wider, with wrong labels"),
            ("(c) Reference", made),
            ("(d) Diffusion-DPO", few),
            ("(e) DDSPO", few),
        )
        points = [*drawn, *(s for s in samples if s is not None)]
        panels = [
            Panel(title=title, note=note, points=found[:, :SHOWN])
            for (title, note), found in zip(titles, points, strict=True)
        ]
        name = request.table.name if reference == "learned" else f"{request.table.name}-{reference}"
        drawn_figures[f"{name}.png"] = draw_figure(
            panels,
            radius=ring.radius,
            std=ring.std,
            caption="Colour and number: the class. "
            "Circles: three standard deviations around the true centres.",
            reach=1.9 * ring.radius,
        )
    return drawn_figures


def _samples(graph: TableGraph, store: Store, key: str) -> Points | None:
    step = graph.graph[key]
    artifact = store.find(step.kind, step.name, step.identity)
    if artifact is None:
        return None
    points: Points = read_safetensors(artifact.file("samples.safetensors"))["points"]
    return points
