"""Staged methods: their stages, what `validate` says of them, and the registry."""

import sys
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from bench.api import ContractError, Method, Stage, StagedMethod, stages_of
from bench.api.registry import METHODS
from bench.validate import validate


@dataclass(frozen=True, kw_only=True)
class Plain(Method):
    name = "plain"
    version = 1
    kappa: float = 10.0

    def link(self, delta: torch.Tensor) -> torch.Tensor:
        return self.kappa * delta


@dataclass(frozen=True, kw_only=True)
class Flat(Plain):
    name = "flat"

    def link(self, delta: torch.Tensor) -> torch.Tensor:
        return 0.0 * delta


@dataclass(frozen=True, kw_only=True)
class Two(StagedMethod):
    name = "two"
    version = 1
    kappa: float = 5.0

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage(name="first", method=Plain()),
            Stage(name="second", method=Plain(kappa=self.kappa), train={"lr": 1e-6}, data="real"),
        )


def departures(monkeypatch: pytest.MonkeyPatch, stages: Any) -> list[str]:
    @dataclass(frozen=True, kw_only=True)
    class Broken(Two):
        def stages(self) -> Any:
            return stages

    monkeypatch.setattr(sys.modules[__name__], "Broken", Broken, raising=False)
    return [finding.check for finding in validate(f"{__name__}:Broken").findings]


def test_a_sound_staged_method_passes() -> None:
    outcome = validate(f"{__name__}:Two")
    assert outcome.ok and outcome.kind == "staged method"
    assert outcome.facts["stages"] == ["first", "second"]
    assert outcome.facts["stage second: slope_at_zero"] == 5.0


def test_a_departure_names_its_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    found = departures(
        monkeypatch, (Stage(name="first", method=Plain()), Stage(name="second", method=Flat()))
    )
    assert found and all(check.startswith("stage second: ") for check in found)


@pytest.mark.parametrize(
    "stages",
    [
        (),
        [Stage(name="first", method=Plain())],
        (Stage(name="one", method=Plain()), Stage(name="one", method=Plain())),
        (Plain(),),
    ],
)
def test_wrong_stages_are_found(monkeypatch: pytest.MonkeyPatch, stages: Any) -> None:
    assert departures(monkeypatch, stages) == ["it has stages"]


def test_any_method_can_be_read_as_stages() -> None:
    (only,) = stages_of(Plain())
    assert only.name == "plain" and only.method == Plain() and only.train == {}
    assert [stage.name for stage in stages_of(Two())] == ["first", "second"]


def test_stages_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Two, "stages", lambda self: (Stage(name="x", method=Plain()),) * 2)
    with pytest.raises(ContractError, match=r"\['x', 'x'\]"):
        stages_of(Two())


def test_the_registry_takes_staged_methods() -> None:
    assert METHODS.load(f"{__name__}:Two") is Two
