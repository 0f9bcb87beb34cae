"""Which samples go into the panels of the figure, read from the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.steps.cells import TableGraph
from bench.store import Store, read_safetensors
from bench.toy.graph import NAME, VARIANTS, ToyRequest
from bench.toy.picture import Panel, draw_figure

if TYPE_CHECKING:
    from bench.toy.picture import Points

PAPERS_COUNT = 2
"""N of the paper's figure (its caption; the project page shows N = 1)."""
SHOWN = 200
"""Points of each class that are drawn."""


def figure_names(request: ToyRequest) -> list[str]:
    """Return the names of the pictures that a request's rows allow."""
    return [f"{NAME}{suffix}.png" for suffix, _ in _variants(request)]


def _variants(request: ToyRequest) -> list[tuple[str, tuple[str, str, str]]]:
    """Return, by file suffix, the rows of panels c, d and e, where all three are asked for."""
    counts = request.settings.pairs_per_class
    count = PAPERS_COUNT if PAPERS_COUNT in counts else counts[0]
    keys = {row.key for row in request.rows}
    found = []
    for variant, prefix in VARIANTS.items():
        rows = (
            f"{prefix}base",
            f"{prefix}diffusion-dpo-n{count}",
            f"{prefix}ddspo-n{count}",
        )
        if keys.issuperset(rows):
            found.append(("" if variant == "learned" else f"-{variant}", rows))
    return found


def draw_figures(request: ToyRequest, graph: TableGraph, store: Store) -> dict[str, bytes]:
    """Return `fig2.png` and `fig2-exact.png` of the first seed, where all their samples are there.

    Raises:
        CorruptArtifactError: stored samples were changed.
    """
    from bench.toy.metrics import TRUTH_SEED
    from bench.toy.ring import clean_mixture, draw_classes, noisy_mixture

    ring, seed = request.settings.ring, request.seeds[0]
    nodes = {(cell.row, cell.noise_seed): str(cell.node) for cell in graph.cells}
    drawn_figures = {}
    for suffix, rows in _variants(request):
        samples = [_samples(graph, store, nodes[row, seed]) for row in rows]
        if any(points is None for points in samples):
            continue
        drawn = [
            draw_classes(mixture(ring), SHOWN, TRUTH_SEED, f"panel/{name}").numpy()
            for name, mixture in (("a", clean_mixture), ("b", noisy_mixture))
        ]
        count = rows[1].rpartition("n")[2]
        few = f"N = {count} pair{'s' * (count != '1')} per class"
        exact = "learned from (b)" if not suffix else "closed form for (b)"
        titles = (
            ("(a) Ground truth", "one Gaussian per class"),
            ("(b) Noisy data", "wider, with wrong labels"),
            ("(c) Reference", exact),
            ("(d) Diffusion-DPO", few),
            ("(e) DDSPO", few),
        )
        points = [*drawn, *(s for s in samples if s is not None)]
        panels = [
            Panel(title=title, note=note, points=found[:, :SHOWN])
            for (title, note), found in zip(titles, points, strict=True)
        ]
        drawn_figures[f"{NAME}{suffix}.png"] = draw_figure(
            panels,
            radius=ring.radius,
            std=ring.std,
            caption="Colour and number: the class. "
            "Circles: three standard deviations around the true centres.",
            reach=1.9 * ring.radius,
        )
    return drawn_figures


def _samples(graph: TableGraph, store: Store, key: str) -> Points | None:
    node = graph.graph[key]
    artifact = store.find(node.kind, node.name, node.identity)
    if artifact is None:
        return None
    points: Points = read_safetensors(artifact.file("samples.safetensors"))["points"]
    return points
