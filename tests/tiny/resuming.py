"""Killing a recipe's training in the middle, and comparing what came of it."""

from __future__ import annotations

import functools
from pathlib import Path
from types import ModuleType

import pytest
import torch

from bench.tiny.build import loop


class KilledError(Exception):
    """The training was stopped on purpose."""


def kill_after(monkeypatch: pytest.MonkeyPatch, step: int, *recipes: ModuleType) -> None:
    """Save after every step of the recipes, and stop once the state of `step` is on disk."""
    save = loop._save

    def saving(file: Path, *rest: object) -> None:
        save(file, *rest)  # type: ignore[arg-type]
        if rest[5] == step:
            raise KilledError

    monkeypatch.setattr(loop, "_save", saving)
    for recipe in recipes:
        often = functools.partial(loop.LoopConfig, save_every_seconds=-1.0)
        monkeypatch.setattr(recipe, "LoopConfig", often)


def require_same(one: torch.nn.Module, two: torch.nn.Module) -> None:
    """Fail unless two networks hold the same bits."""
    first, second = one.state_dict(), two.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)
