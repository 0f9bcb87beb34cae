"""Tests for benchmarks/trip.py: which files a command enters, and from where."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "trip.py"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("trip_under_test", FILE)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "trip_under_test", found)
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec.loader.exec_module(found)
    return found


def test_each_function_counts_once_with_the_file_that_called_it(module: ModuleType) -> None:
    trip = module.trip_of(["list", "tables"])
    assert sys.getprofile() is None
    assert trip.calls[0] == ("bench/cli/__init__.py", "bench/cli/__init__.py")
    assert ("bench/cli/list.py", "bench/cli/_output.py") in trip.moves
    assert {file for _, file in trip.calls} >= {
        "bench/harness/names.py",
        "bench/spec/table_files.py",
    }


def test_figures_are_of_the_moves(module: ModuleType) -> None:
    reader, spec, cli = "bench/config/reader.py", "bench/spec/table.py", "bench/cli/list.py"
    trip = module.Trip(
        calls=((cli, cli), (cli, spec), (spec, reader), (reader, spec), (spec, spec))
    )
    assert trip.figures() == {"functions": 5, "files": 3, "moves": 3, "climbs": 1, "returns": 1}
    assert module.floor(reader) < module.floor(spec)
