"""Trajectories of every method in float64, and that the bound they are held to can tell.

Bounds: `EXACT` in float64. In float32 a rounding grows from step to step, so only the first steps
are compared, within `ROUNDINGS` units.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.api.method import Method
from bench.backbones.epsilon import EpsilonUNet
from bench.training import objective
from tests.precision import EXACT, double_precision
from tests.training.golden import KEYS, METHODS, lines_of, path_of, trajectory

UNIT = float(torch.finfo(torch.float32).eps) / 2
ROUNDINGS = 2000
"""Of float32, in losses and gradient norms of the first two steps; up to 130 were seen."""


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_the_loss_follows_its_golden_trajectory(method: Method, tmp_path: Path) -> None:
    expected = json.loads(path_of(method).read_text())
    found = trajectory(method, tmp_path)
    again = "the numbers changed: raise the method's version and run " + expected["command"]
    for key, values in expected["values"].items():
        assert found["values"][key] == pytest.approx(values, rel=EXACT, abs=1e-12), again
    for key in ("version", "config", "dtype", "settings"):
        assert found[key] == expected[key], again
    losses = expected["values"]["loss"]
    assert len(set(losses)) == len(losses)  # the trajectory moves, so it can tell


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_in_float32_it_starts_the_same(method: Method, tmp_path: Path) -> None:
    values = json.loads(path_of(method).read_text())["values"]
    for step, row in enumerate(lines_of(method, tmp_path, steps=2)):
        for key in KEYS:
            # a loss is a difference of errors, which bring the rounding
            scale = max(1.0, abs(values[key][step]))
            assert abs(row[key] - values[key][step]) < ROUNDINGS * UNIT * scale, (step, key)


def _stronger(method: Method, patch: pytest.MonkeyPatch) -> tuple[Method, dict[str, Any]]:
    """The method's own coefficient, where it has one that acts, a thousandth larger."""
    for name in ("kappa", "scale"):
        if name in method.config():
            changed: Any = replace(method, **{name: 1.001 * method.config()[name]})  # type: ignore[type-var]
            return changed, {}
    return method, {"lr": 1.001e-3}


def _wrong_sign(method: Method, patch: pytest.MonkeyPatch) -> tuple[Method, dict[str, Any]]:
    real = objective.mean_square
    patch.setattr(objective, "mean_square", lambda found, target: real(found, -target))
    return method, {}


def _next_timestep(method: Method, patch: pytest.MonkeyPatch) -> tuple[Method, dict[str, Any]]:
    real = EpsilonUNet.timesteps

    def later(self: EpsilonUNet, uniform: Tensor) -> Tensor:
        return (real(self, uniform) + 1).clamp(max=self.num_train_timesteps - 1)

    patch.setattr(EpsilonUNet, "timesteps", later)
    return method, {}


Change = Callable[[Method, pytest.MonkeyPatch], tuple[Method, dict[str, Any]]]


@pytest.mark.parametrize("change", [_stronger, _wrong_sign, _next_timestep])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_the_bound_sees_a_small_true_change(
    method: Method, change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = json.loads(path_of(method).read_text())["values"]
    changed, settings = change(method, monkeypatch)
    with double_precision():
        lines = lines_of(changed, tmp_path, steps=3, **settings)
    moved = max(
        abs(row[key] - values[key][step]) / max(abs(values[key][step]), 1e-2)
        for step, row in enumerate(lines)
        for key in KEYS
    )
    assert moved > 1000 * EXACT
