"""A plug-in that patches what others use, at import, changes its own steps alone."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.api import loading
from bench.api.loading import import_target
from bench.executors.local import run_graph
from bench.steps.step import Step
from bench.store import Store, source_of
from tests.steps import toynodes
from tests.steps.toynodes import graph_of, node

PATCHES = "from tests.steps import toynodes\ntoynodes.ONE *= {by}\nclass Own:\n    pass\n"


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Two modules that patch what a toy step starts from, when they are imported."""
    monkeypatch.setattr(toynodes, "ONE", 1)
    monkeypatch.setattr(loading, "IMPORTED", set())
    monkeypatch.setattr("bench.executors.plugins.IMPORTED", loading.IMPORTED)
    monkeypatch.syspath_prepend(tmp_path)
    names = {"patches_by_ten": 10, "patches_by_seven": 7}
    for name, by in names.items():
        (tmp_path / f"{name}.py").write_text(PATCHES.format(by=by))
    importlib.invalidate_caches()
    yield list(names)
    for name in names:
        sys.modules.pop(name, None)


def with_plugin(step: Step, name: str) -> Step:
    """The step, with the class of a plug-in among its sources; building it imports that."""
    cls = import_target(f"{name}:Own")
    assert isinstance(cls, type)
    return replace(step, sources=(source_of(cls, f"{name}:Own"),))


def values(store: Store, *steps: Step) -> list[int]:
    files = [store.get(step.id).file("value.json") for step in steps]
    return [json.loads(file.read_text())["value"] for file in files]


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_names_no_plugin_is_made_where_none_was_imported(
    plugins: list[str], tmp_path: Path, jobs: int
) -> None:
    first = node("first")
    ten = with_plugin(node("ten", first), plugins[0])
    seven = with_plugin(node("seven", ten), plugins[1])
    last = node("last", seven)
    assert toynodes.ONE == 70  # this process is patched by both, before anything is made
    store = Store(tmp_path / "store")
    graph = graph_of(first, ten, seven, last)
    assert run_graph(graph, [last.id], store, jobs=jobs).exit_code == 0
    assert values(store, first, ten, seven, last) == [1, 11, 18, 19]


def test_steps_of_one_plugin_alone_are_made_in_this_process(
    plugins: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    steps = [with_plugin(node(name, log=str(log)), plugins[0]) for name in ("a", "b")]
    store = Store(tmp_path / "store")
    assert run_graph(graph_of(*steps), [s.id for s in steps], store, jobs=1).exit_code == 0
    assert {line.split()[1] for line in log.read_text().splitlines()} == {str(os.getpid())}


def test_a_plain_run_after_a_plugin_was_imported_is_made_elsewhere(
    plugins: list[str], tmp_path: Path
) -> None:
    import_target(f"{plugins[0]}:Own")
    plain, store = node("plain"), Store(tmp_path / "store")
    assert run_graph(graph_of(plain), [plain.id], store, jobs=1).exit_code == 0
    assert values(store, plain) == [1]
