"""Each way a method can be broken is found, and the message says what to mend."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch

from bench.api import (
    Batch,
    ContractError,
    DataNeeds,
    FromReference,
    Half,
    Method,
    StepContext,
    UsageError,
)
from bench.validate import Validation, validate


@dataclass(frozen=True, kw_only=True)
class Good(Method):
    name = "good"
    version = 1
    kappa: float = 10.0

    def link(self, delta: torch.Tensor) -> torch.Tensor:
        return -torch.nn.functional.logsigmoid(-self.kappa * delta)


def checked(cls: type) -> Validation:
    """Validate a class of this module by its dotted path."""
    module = sys.modules[__name__]
    cls.__qualname__ = cls.__name__
    setattr(module, cls.__name__, cls)
    return validate(f"{__name__}:{cls.__name__}")


def departure(cls: type) -> str:
    """Return the check that fails; there must be exactly one, with all three parts."""
    findings = checked(cls).findings
    assert len(findings) == 1, [f.check for f in findings]
    assert all((findings[0].found, findings[0].expected, findings[0].mend))
    return findings[0].check


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    names = set(vars(sys.modules[__name__]))
    yield
    for name in set(vars(sys.modules[__name__])) - names:
        delattr(sys.modules[__name__], name)


def make(**members: object) -> type[Method]:
    """Return a frozen subclass of Good with other members."""
    cls = type("Broken", (Good,), {"__module__": __name__, **members})
    return dataclass(frozen=True, kw_only=True)(cls)


def test_a_good_method_passes() -> None:
    outcome = checked(Good)
    assert outcome.ok
    assert outcome.facts["loss_at_zero"] == pytest.approx(0.6931472)
    assert outcome.facts["slope_at_zero"] == pytest.approx(5.0)
    outcome.require()


@pytest.mark.parametrize("name", ["sft", "diffusion-dpo", "ddspo"])
def test_the_built_in_methods_pass(name: str) -> None:
    outcome = validate(name)
    assert outcome.ok, [str(f) for f in outcome.findings]


def test_a_plain_class() -> None:
    assert departure(type("Plain", (Good,), {})) == "it is a frozen keyword-only dataclass"


def test_a_name_with_capitals() -> None:
    assert departure(make(name="My Method")) == "it has a name"


@pytest.mark.parametrize("version", [0, True, "1", None])
def test_a_version_that_is_no_positive_integer(version: object) -> None:
    assert departure(make(version=version)) == "it has a version"


def test_needs_of_another_type() -> None:
    assert departure(make(needs={"loser": True})) == "it says what its batches hold"


def test_no_link() -> None:
    @dataclass(frozen=True, kw_only=True)
    class NoLink(Method):
        name = "no-link"
        version = 1

    assert departure(NoLink) == "nothing abstract is left"


def test_a_field_without_default() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Required(Good):
        strength: float

    assert departure(Required) == "building it without arguments runs"


def test_a_field_that_is_not_plain_data() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Odd(Good):
        reach: tuple[float, ...] = (1.0, 2.0)

    assert departure(Odd) == "config() is plain data"


def test_a_link_that_takes_the_mean() -> None:
    broken = make(link=lambda self, delta: delta.mean())
    findings = [f.check for f in checked(broken).findings]
    assert findings[0] == "link returns a loss per pair"


def test_a_link_that_overflows() -> None:
    broken = make(link=lambda self, delta: (1 + (20 * delta).exp()).log())
    assert departure(broken) == "link is finite"


def test_a_link_that_looks_at_other_pairs() -> None:
    broken = make(link=lambda self, delta: delta - 0.5 * delta.mean())
    assert "the loss of a pair depends on that pair alone" in [
        f.check for f in checked(broken).findings
    ]


def test_a_link_of_the_wrong_sign() -> None:
    broken = make(link=lambda self, delta: torch.nn.functional.softplus(-delta))
    assert departure(broken) == "link rises at delta = 0"


def test_a_link_without_gradient() -> None:
    broken = make(link=lambda self, delta: torch.nn.functional.softplus(delta.detach()))
    assert [f.check for f in checked(broken).findings] == [
        "link rises at delta = 0",
        "half a: a gradient reaches the policy's prediction",
        "half b: a gradient reaches the policy's prediction",
    ]


def test_a_loser_that_was_not_declared() -> None:
    checks = [f.check for f in checked(make(needs=DataNeeds(loser=False))).findings]
    assert checks == [
        "half b: x_t is finite and has the latents' shape",
        "half b: clean is finite and has the latents' shape",
    ]


def test_a_degraded_prompt_that_was_not_declared() -> None:
    def targets(
        self: Method, halves: tuple[Half, ...], batch: Batch, step: StepContext
    ) -> tuple[FromReference, ...]:
        assert batch.degraded is not None, "this batch has no degraded prompts"
        return tuple(FromReference(half=h, condition=batch.degraded) for h in halves)

    assert departure(make(targets=targets)) == "targets() runs"
    assert checked(make(targets=targets, needs=DataNeeds(degraded=True))).ok


def test_a_reference_that_was_not_declared() -> None:
    def targets(
        self: Method, halves: tuple[Half, ...], batch: Batch, step: StepContext
    ) -> tuple[FromReference, ...]:
        return tuple(FromReference(half=h, condition=h.condition) for h in halves)

    findings = checked(make(targets=targets, uses_reference=False)).findings
    assert {f.found for f in findings} == {
        "a target from the reference, and uses_reference = False"
    }


def test_targets_of_the_wrong_number_and_shape() -> None:
    assert departure(make(targets=lambda self, halves, batch, step: (step.noise,))) == (
        "there is a target for each half"
    )
    flat = make(targets=lambda self, halves, batch, step: (step.noise, step.noise.flatten(1)))
    assert departure(flat) == "target b: it is finite and has the latents' shape"


def test_three_halves() -> None:
    def halves(self: Method, batch: Batch, step: StepContext) -> tuple[Half, ...]:
        return Method.halves(self, batch, step) * 2

    assert departure(make(halves=halves)) == "halves are one or two Half"


def test_randomness_of_its_own() -> None:
    def halves(self: Method, batch: Batch, step: StepContext) -> tuple[Half, ...]:
        step = replace(step, noise=torch.randn_like(step.noise))
        return Method.halves(self, batch, step)

    assert departure(make(halves=halves)) == "it draws no random numbers"


def test_a_change_in_place() -> None:
    def targets(
        self: Method, halves: tuple[Half, ...], batch: Batch, step: StepContext
    ) -> tuple[torch.Tensor, ...]:
        batch.winner.add_(1.0)
        return (step.noise, step.noise)

    findings = [f.check for f in checked(make(targets=targets)).findings]
    assert "it changes none of its inputs" in findings


def test_an_exception_is_reported_with_its_place() -> None:
    def link(self: Method, delta: torch.Tensor) -> torch.Tensor:
        raise KeyError("temperature")

    findings = checked(make(link=link)).findings
    assert "KeyError: 'temperature' (test_validate_method.py:" in findings[0].found


def test_require_raises_with_every_finding() -> None:
    outcome = checked(make(name="No", version=0))
    with pytest.raises(ContractError, match=r"(?s)it has a name.*it has a version") as caught:
        outcome.require()
    assert caught.value.exit_code == 2


def test_neither_a_method_nor_an_evaluator() -> None:
    with pytest.raises(ContractError, match="expected a subclass of"):
        checked(type("Nothing", (), {}))


def test_an_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"unknown plug-in 'ddpso'.*'ddspo'"):
        validate("ddpso")
