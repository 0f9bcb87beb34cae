from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.api.method import Method
from tests.training.golden import METHODS, path_of, trajectory


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_the_loss_follows_its_golden_trajectory(method: Method, tmp_path: Path) -> None:
    expected = json.loads(path_of(method).read_text())
    found = trajectory(method, tmp_path)
    again = "the numbers changed: raise the method's version and run " + expected["command"]
    for key, values in expected["values"].items():
        assert found["values"][key] == pytest.approx(values, rel=1e-5, abs=1e-9), again
    for key in ("version", "config", "settings"):
        assert found[key] == expected[key], again
    losses = expected["values"]["loss"]
    assert len(set(losses)) == len(losses)  # the trajectory moves, so it can tell
