"""`--set` of the verbs that make a graph: refused where nothing reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

MENDED = "to mend it"
"""Stands in the reason of a cell that lacks what the user can get."""

if TYPE_CHECKING:
    from bench.spec.head import ProfileHead
    from bench.spec.profile import Profile
    from bench.spec.request import Request
    from bench.steps.builder import GraphBuilder
    from bench.steps.cells import TableGraph
    from bench.store import Store


def require_table_sets(
    overrides: Sequence[str], load: Callable[[Sequence[str]], Request], store: Store
) -> None:
    """Make sure that a table reads each setting (UsageError otherwise).

    Where something is missing on this machine it is not known what would be read: there the names
    of methods and roles are looked at, and all else passes.
    """
    if not overrides:
        return
    from bench.spec.overrides import require_read
    from bench.steps.cells import build_graph

    graph = build_graph(load(overrides), store)
    if graph.missing or any(MENDED in cell.reason for cell in graph.cells):
        _require_names(overrides, load(()))
        return

    def made(request: Request) -> object:
        return [of_graph(build_graph(request, store)), of_profile(request.profile)]

    require_read(overrides, load, made, lambda: known_profile(load(()).profile))


def _require_names(overrides: Sequence[str], request: Request) -> None:
    """Make sure that methods and roles that settings name exist (UsageError otherwise)."""
    from bench.api.errors import unknown
    from bench.api.registry import EVALUATORS, METHODS
    from bench.spec.overrides import asked_of
    from bench.spec.profile import Profile

    profile, asked = request.profile, asked_of(overrides)
    if not isinstance(profile, Profile):
        return
    methods = {*METHODS.names(), *profile.training.methods}
    for target in (row.method for row in request.rows if row.method):
        methods |= {target, str(METHODS.load(target).name)}
    roles = {*profile.backends, *(r for own in profile.evaluator_backends.values() for r in own)}
    evaluators = {*EVALUATORS.names(), *(column.evaluator for column in request.columns)}
    roles |= {role for name in evaluators for role in EVALUATORS.load(name).spec.backends}
    told = asked.get("training", {}).get("methods", {})
    for kind, given, known in (
        ("method in --set training.methods", told, methods),
        ("role in --set backends", asked.get("backends", {}), roles),
    ):
        for name in given:
            if name not in known:
                raise unknown(kind, name, known)


def require_part_sets(
    load: Callable[[Sequence[str]], Profile],
    overrides: Sequence[str],
    first: GraphBuilder,
    build: Callable[[GraphBuilder], object],
) -> None:
    """Make sure that `train`, `generate` or `score` reads each setting.

    Args:
        load: reads the profile with such changes.
        overrides: those asked for.
        first: the graph that is made with them.
        build: added what is asked for to it when it was empty.

    Raises:
        UsageError: nothing reads one.
    """
    if not overrides or first.missing:
        return  # where not all is on this machine, what would be read is not known
    from bench.spec.overrides import require_read
    from bench.steps.builder import GraphBuilder
    from bench.steps.graph import Graph

    def made(profile: Profile) -> object:
        source = GraphBuilder(profile=profile, store=first.store, graph=Graph())
        build(source)
        return [list(source.graph), _texts(source.missing), of_profile(profile)]

    require_read(overrides, load, made, lambda: known_profile(load(())))


def of_graph(graph: TableGraph) -> object:
    """Return what a table's graph makes, comparable."""
    return [list(graph.graph), graph.cells, [str(error) for error in graph.missing]]


def of_profile(profile: ProfileHead) -> object:
    """Return what is read of a profile beside its graph."""
    return [
        profile.name,
        profile.title,
        profile.orientation,
        profile.device,
        dict(profile.batch_sizes),
        profile.protocol,
    ]


def known_profile(profile: ProfileHead) -> Mapping[str, Any]:
    """Return the settings of a profile, nested, for suggestions."""
    from bench.spec.overrides import names_of
    from bench.spec.profile import Profile
    from bench.training.config import TrainConfig

    found = profile.nested()
    if not isinstance(profile, Profile):
        return found
    train = names_of(TrainConfig)
    found["training"]["common"] = {**train, **found["training"]["common"]}
    for method in found["training"]["methods"].values():
        method["train"] = {**train, **method["train"]}
    return found


def _texts(missing: Mapping[str, BaseException]) -> list[str]:
    return [str(error) for error in missing.values()]
