"""The checks of a method: declarations, configuration and link; `bench.validate.step` has the rest.

A staged method is checked as its declarations, and then stage by stage.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from bench.api.method import DataNeeds, Method
from bench.api.stages import Stage, StagedMethod
from bench.validate.checks import (
    Checks,
    check_built,
    check_concrete,
    check_name_and_version,
    described,
)
from bench.validate.step import check_step

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST_DELTA = 10.0  # latents have unit variance: a difference of mean squares is rarely above


def check_method(cls: type[Method], checks: Checks) -> None:
    """Check `cls` and note the outcome; facts: `loss_at_zero`, `slope_at_zero`."""
    declared = [_declarations(cls, checks), check_concrete(cls, checks)]
    if not all(declared):
        return
    method = check_built(cls, checks)
    if method is None:
        return
    _behaviour(method, checks)


def _behaviour(method: Method, checks: Checks) -> None:
    _config(method, checks)
    check_step(method, checks, link_works=_link(method, checks))


def check_staged(cls: type[StagedMethod], checks: Checks) -> None:
    """Check a staged method and the method of each stage; fact: `stages`, their names."""
    declared = [_configuration(cls, checks), check_concrete(cls, checks)]
    if not all(declared):
        return
    staged = check_built(cls, checks)
    if staged is None:
        return
    _config(staged, checks)
    stages = checks.attempt("stages()", staged.stages, mend="return a tuple of bench.api.Stage")
    if stages is None:
        return
    sound = (
        isinstance(stages, tuple)
        and len(stages) > 0
        and all(isinstance(s, Stage) and isinstance(s.method, Method) for s in stages)
        and len({s.name for s in stages}) == len(stages)
    )
    if not checks.require(
        sound,
        "it has stages",
        found=described(stages) if isinstance(stages, tuple) else repr(stages),
        expected="a tuple of bench.api.Stage, at least one, each with a name of its own and a "
        "bench.api.Method",
        mend="return (Stage(name=..., method=...), ...)",
    ):
        return
    checks.facts["stages"] = [stage.name for stage in stages]
    for stage in stages:
        own = Checks()
        _behaviour(stage.method, own)
        checks.take_in(own, prefix=f"stage {stage.name}: ")


def _configuration(cls: type[Method] | type[StagedMethod], checks: Checks) -> bool:
    name = getattr(cls, "name", None)
    check_name_and_version(name, getattr(cls, "version", None), checks, "the class attribute")
    wrong = _not_a_configuration(cls)
    return checks.require(
        not wrong,
        "it is a frozen keyword-only dataclass",
        found=wrong,
        expected="@dataclass(frozen=True, kw_only=True): its fields are its hyperparameters",
        mend=f"put @dataclass(frozen=True, kw_only=True) above class {cls.__qualname__}",
    )


def _declarations(cls: type[Method], checks: Checks) -> bool:
    frozen = _configuration(cls, checks)
    needs = isinstance(cls.needs, DataNeeds)
    checks.require(
        needs,
        "it says what its batches hold",
        found=f"needs = {cls.needs!r}",
        expected="a bench.api.DataNeeds",
        mend="set the class attribute `needs = DataNeeds(loser=..., degraded=...)`",
    )
    return frozen and needs


def _not_a_configuration(cls: Any) -> str:
    """Return what keeps `cls` from being a frozen keyword-only dataclass, or nothing."""
    parameters = cls.__dict__.get("__dataclass_params__")  # its own, not its base's
    if parameters is None:
        return "a plain class"
    if not parameters.frozen:
        return "a dataclass that is not frozen"
    positional = [field.name for field in fields(cls) if not field.kw_only]
    return f"fields that are not keyword-only: {', '.join(positional)}" if positional else ""


def _config(method: Method | StagedMethod, checks: Checks) -> None:
    config = checks.attempt("config()", method.config, mend="return the fields as a mapping")
    if config is None:
        return
    try:
        same = json.loads(json.dumps(config, allow_nan=False)) == config
        found = f"{config!r} changes in JSON"
    except (TypeError, ValueError) as error:
        same, found = False, str(error)
    checks.require(
        same,
        "config() is plain data",
        found=found,
        expected="numbers, strings, booleans, lists and mappings: it enters the hash of a run",
        mend="use such types for the fields, or override config()",
    )


def _link(method: Method, checks: Checks) -> bool:
    """Check the link and return whether it can be called on a batch."""
    import torch

    steps = (0.0, 1e-4, 1e-2, 1.0, _LARGEST_DELTA)
    values = torch.tensor(sorted({s * v for v in steps for s in (-1.0, 1.0)}))
    delta = values.clone().requires_grad_()
    losses = checks.attempt(
        "link(delta)", lambda: method.link(delta), mend="accept delta (B,), float32, any B"
    )
    if losses is None:
        return False
    shaped = checks.require(
        isinstance(losses, torch.Tensor) and losses.shape == delta.shape,
        "link returns a loss per pair",
        found=described(losses),
        expected=f"a tensor of delta's shape, {tuple(delta.shape)}; the caller takes the mean",
        mend="return the loss of each pair, without a mean or a sum",
    )
    if not shaped:
        return False
    checks.require(
        bool(torch.isfinite(losses).all()),
        "link is finite",
        found=f"{losses.tolist()} for delta {values.tolist()}",
        expected=f"finite losses for |delta| up to {_LARGEST_DELTA}",
        mend="use a stable form, e.g. -logsigmoid(-x) in place of log(1 + exp(x))",
    )
    alone = checks.attempt(
        "link(delta) of a single pair",
        lambda: torch.cat([method.link(row.reshape(1)) for row in values]),
        mend="accept delta (B,) for any B",
    )
    if alone is None:
        return False
    checks.require(
        bool(torch.allclose(alone, losses, rtol=1e-5, atol=1e-7)),
        "the loss of a pair depends on that pair alone",
        found=f"link of single pairs {alone.tolist()}, of all together {losses.tolist()}",
        expected="equal values: the result may not depend on how a batch is split",
        mend="do not normalise over the batch in link",
    )
    at_zero = torch.zeros(1, requires_grad=True)
    loss = method.link(at_zero).sum()
    slope = _gradient(loss, at_zero)
    start = float(loss.detach())
    checks.facts["loss_at_zero"] = start
    checks.facts["slope_at_zero"] = slope
    checks.require(
        math.isfinite(start),
        "the loss at delta = 0 is finite",
        found=f"{start}",
        expected="a finite number: every run starts there, policy and reference being equal",
        mend="check the link at zero",
    )
    checks.require(
        slope is not None and math.isfinite(slope) and slope > 0,
        "link rises at delta = 0",
        found="no gradient reaches delta" if slope is None else f"slope {slope:g}",
        expected="a positive slope: delta falls when the policy comes to prefer the winner",
        mend="compute the loss from delta with torch operations (no .item(), no .detach()), and "
        "check its sign",
    )
    return True


def _gradient(loss: Tensor, of: Tensor) -> float | None:
    import torch

    if not loss.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(loss, of, allow_unused=True)
    return None if gradient is None else float(gradient)
