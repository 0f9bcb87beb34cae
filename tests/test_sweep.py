"""Tests for benchmarks/sweep.py: the rules that choose settings, and the committed choices."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SWEEPS = sorted(ROOT.glob("results/sweeps/*/points.json"))


@pytest.fixture(scope="module")
def sweep() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("sweep", ROOT / "benchmarks" / "sweep.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def point(gain: float, lr: float, steps: int, error: float = 0.02) -> dict[str, Any]:
    """A scored point."""
    train = {"lr": lr, "steps": steps}
    return {
        "point": {"train": train},
        "gain": {"value": gain, "stderr": error},
        "value": 0,
        "stderr": 1,
    }


def test_what_moves_the_weights_least_is_chosen_of_the_best(sweep: ModuleType) -> None:
    scored = [
        point(0.070, 1e-5, 60),  # more than half an error below the best
        point(0.095, 3e-5, 180),
        point(0.092, 1e-5, 540),
        point(0.100, 1e-4, 180),
    ]
    assert sweep.chosen(scored, ("lr", "steps")) == 1
    assert sweep.chosen(scored, ("lr",)) == 2
    scored[0] = point(0.0905, 1e-5, 60)
    assert sweep.chosen(scored, ("lr", "steps")) == 0


def test_equal_products_go_to_the_first(sweep: ModuleType) -> None:
    assert sweep.chosen([point(0.1, 3e-5, 180), point(0.1, 1e-5, 540)], ("lr", "steps")) == 0


def test_a_target_is_approached_from_both_sides(sweep: ModuleType) -> None:
    scored = [
        point(0.01, 1e-5, 30),
        point(0.04, 1e-5, 60),
        point(0.025, 1e-5, 100),
        point(0.3, 1, 1),
    ]
    assert sweep.chosen(scored, target=0.03) == 2


def test_a_control_without_a_partner_is_judged_by_its_value(sweep: ModuleType) -> None:
    scored = [{**point(0, 1e-5, 60), "gain": None, "value": v, "stderr": 0.01} for v in (0.1, 0.3)]
    assert sweep.chosen(scored) == 1


def test_what_is_common_is_taken_by_the_mean_gain_of_the_chosen_points(
    sweep: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "ROOT", tmp_path)
    grid = {"chosen_of": {"sweep": "own", "methods": ["a", "b"], "least": 0.01}}
    with pytest.raises(SystemExit, match="on that grid first"):
        sweep.points_of(grid)
    folder = tmp_path / "results" / "sweeps" / "own"
    folder.mkdir(parents=True)
    first, second = point(0.05, 1e-5, 60), point(0.09, 3e-5, 60)
    there = {
        "a": {"points": [first, second], "chosen": second["point"]},
        "b": {"points": [first, second], "chosen": first["point"]},
    }
    (folder / "points.json").write_text(json.dumps({"methods": there}))
    assert sweep.points_of(grid) == {"a": [second["point"]], "b": [first["point"]]}
    for gains, taken in (((0.10, 0.07), True), ((0.095, 0.06), False), ((0.05, 0.05), False)):
        here = {m: {"points": [point(g, 1e-5, 60)]} for m, g in zip(("a", "b"), gains, strict=True)}
        found = sweep.better_than(grid, here)
        assert found["mean_gain_there"] == pytest.approx(0.07) and found["taken"] is taken


@pytest.mark.parametrize("file", SWEEPS, ids=[file.parent.name for file in SWEEPS])
def test_committed_choices_are_what_the_rule_says(file: Path, sweep: ModuleType) -> None:
    result = json.loads(file.read_text())
    grid = result.get("grid", {})
    if "chosen_of" in grid:
        assert result["common"] == sweep.better_than(grid, result["methods"])
        return
    seen = 0
    for method in result.get("methods", {}).values():
        if "chosen" in method:
            index = sweep.chosen(method["points"], grid.get("least", ["lr"]), grid.get("target"))
            assert method["points"][index]["point"] == method["chosen"]
            seen += 1
    assert seen or "chosen" not in json.dumps(result)
