"""The checks of a method's halves, targets and gradient, on random latents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.api.method import (
    Batch,
    Combination,
    FromReference,
    Half,
    Method,
    StepContext,
    Target,
    requests_of,
)
from bench.api.rollout import Rollout
from bench.validate.checks import Checks, described

if TYPE_CHECKING:
    from torch import Tensor

# Unlike sizes, so that a mixed-up axis shows.
_B, _C, _H, _W = 3, 4, 5, 6
_SHAPE = (_B, _C, _H, _W)


@dataclass(frozen=True, kw_only=True)
class _World:
    batch: Batch
    step: StepContext


def _world(method: Method) -> _World:
    """Random pairs. What a method does not declare to need is not there: NaN, or None."""
    import torch

    needs, centred = method.needs, method.centred
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    keep = torch.tensor([0.9, 0.5, 0.2]).reshape(_B, 1, 1, 1)
    winner, loser = normal(*_SHAPE), normal(*_SHAPE)
    condition = {"hidden": normal(_B, 7, 8)}
    degraded = {"hidden": normal(_B, 7, 8)} if needs.batch_has_degraded else None
    t, noise = torch.tensor([100, 500, 900]), normal(*_SHAPE)
    rollout = None
    if method.rollout("epsilon") is not None:
        rollout = Rollout(
            x_t=normal(*_SHAPE),
            t=t,
            prediction=normal(*_SHAPE),
            noise=normal(*_SHAPE),
            clean=normal(*_SHAPE),
            forwards=1,
        )
    return _World(
        batch=Batch(
            winner=winner,
            loser=loser if needs.batch_has_loser else torch.full(_SHAPE, math.nan),
            condition=condition,
            degraded=degraded,
            index=torch.tensor([11, 5, 8]),
            label=torch.tensor([1.0, -1.0, 1.0]) if needs.label else None,
            mean_delta=torch.tensor(-1e-5) if centred else None,
        ),
        step=StepContext(
            t=t,
            noise=noise,
            add_noise=lambda clean, noise, t: keep.sqrt() * clean + (1 - keep).sqrt() * noise,
            true_target=lambda clean, noise, t: noise,
            rollout=rollout,
        ),
    )


def _network(x_t: Tensor, condition: Mapping[str, Tensor], gain: float) -> Tensor:
    """A stand-in for a denoiser that depends on its condition."""
    return gain * x_t + condition["hidden"].mean(dim=(1, 2)).reshape(_B, 1, 1, 1)


def _combined(target: Target) -> Tensor:
    """The stand-in's answer to a target that is made of predictions."""
    import torch

    terms = target.terms if isinstance(target, Combination) else ((1.0, target),)
    total = torch.zeros(_SHAPE)
    for weight, request in terms:
        assert isinstance(request, FromReference)
        scale = torch.as_tensor(weight).reshape(-1, 1, 1, 1)
        total = total + scale * _network(request.half.x_t, request.condition, 0.9)
    return total


def check_step(method: Method, checks: Checks, *, link_works: bool) -> None:
    """Run halves and targets on three random pairs and note what departs from the contract."""
    import torch

    world, untouched = (_world(method) for _ in range(2))
    random_state = torch.get_rng_state()
    mend = "use only what `needs` declares: batch.loser and batch.degraded may be missing"
    halves = checks.attempt("halves()", lambda: method.halves(world.batch, world.step), mend=mend)
    if halves is None or not _halves(halves, checks):
        return
    targets = checks.attempt(
        "targets()", lambda: method.targets(halves, world.batch, world.step), mend=mend
    )
    if targets is None or not _targets(targets, halves, method, checks):
        return
    if link_works:
        _gradients(method, halves, targets, world.batch, checks)
    again = checks.attempt(
        "halves() on a second call", lambda: method.halves(world.batch, world.step), mend=mend
    )
    if again is None:
        return
    same = all(torch.equal(a.x_t, b.x_t) for a, b in zip(halves, again, strict=True))
    checks.require(
        same and torch.equal(random_state, torch.get_rng_state()),
        "it draws no random numbers",
        found="unlike halves on a second call, or a changed state of torch's generator",
        expected="the same step gives the same halves: that is what makes a run resumable",
        mend="use step.noise and step.t; the runner draws them",
    )
    checks.require(
        _equal(world, untouched),
        "it changes none of its inputs",
        found="the batch or the step was changed in place",
        expected="untouched inputs: they are shared and may be used again",
        mend="replace operations in place (add_, *=, item assignment) by new tensors",
    )


def _halves(halves: object, checks: Checks) -> bool:
    import torch

    sized = checks.require(
        isinstance(halves, tuple)
        and len(halves) in (1, 2)
        and all(type(h) is Half for h in halves),
        "halves are one or two Half",
        found=described(halves),
        expected="(a, b), or (a,) for a method without a comparison",
        mend="return a tuple of bench.api.Half",
    )
    if not sized:
        return False
    assert isinstance(halves, tuple)
    ok = True
    for letter, half in zip("ab", halves, strict=False):
        for field in ("x_t", "noise", "clean"):
            value = getattr(half, field)
            shaped = isinstance(value, torch.Tensor) and value.shape == _SHAPE
            ok &= checks.require(
                shaped and bool(torch.isfinite(value).all()),
                f"half {letter}: {field} is finite and has the latents' shape",
                found=described(value),
                expected=f"(B, C, H, W) = {_SHAPE}, finite",
                mend="build it from batch.winner, batch.loser, step.noise and step.add_noise, and "
                "declare in `needs` what is used",
            )
        ok &= _condition(half.condition, f"half {letter}", checks)
    return ok


def _condition(condition: object, where: str, checks: Checks) -> bool:
    return checks.require(
        isinstance(condition, Mapping) and "hidden" in condition,
        f"{where}: it is conditioned on one of the batch's conditions",
        found=described(condition),
        expected="batch.condition or batch.degraded, passed on as it is",
        mend="pass batch.condition; declare needs = DataNeeds(degraded=True) to use batch.degraded",
    )


def _targets(targets: object, halves: tuple[Half, ...], method: Method, checks: Checks) -> bool:
    import torch

    sized = checks.require(
        isinstance(targets, tuple) and len(targets) == len(halves),
        "there is a target for each half",
        found=described(targets),
        expected=f"a tuple of {len(halves)}",
        mend="return one target for each half, in the order of the halves",
    )
    if not sized:
        return False
    assert isinstance(targets, tuple)
    ok = True
    for letter, target in zip("ab", targets, strict=False):
        if isinstance(target, Combination):
            ok &= checks.require(
                bool(target.terms) and all(type(r) is FromReference for _, r in target.terms),
                f"target {letter}: it combines predictions",
                found=described(target.terms),
                expected="terms of (weight, FromReference), at least one",
                mend="return Combination(terms=((weight, FromReference(...)), ...))",
            )
            if not ok:
                continue
        asked = requests_of(target)
        if asked:
            ok &= checks.require(
                method.uses_reference or all(r.supplier for r in asked),
                f"target {letter}: the reference is declared",
                found="a target from the reference, and uses_reference = False",
                expected="uses_reference = True",
                mend="set the class attribute `uses_reference = True`",
            )
            for request in asked:
                ok &= _condition(request.condition, f"target {letter}", checks)
            continue
        shaped = isinstance(target, torch.Tensor) and target.shape == _SHAPE
        ok &= checks.require(
            shaped and bool(torch.isfinite(target).all()),
            f"target {letter}: it is finite and has the latents' shape",
            found=described(target),
            expected=f"(B, C, H, W) = {_SHAPE}, finite, or a FromReference",
            mend="return step.true_target(...), FromReference(...), or a tensor like the latents",
        )
    return ok


def _gradients(
    method: Method,
    halves: tuple[Half, ...],
    targets: tuple[Target, ...],
    batch: Batch,
    checks: Checks,
) -> None:
    """Check that the loss pulls on every prediction of the policy, near the reference."""
    import torch

    predictions, gains = [], []
    for half, target in zip(halves, targets, strict=True):
        if not isinstance(target, torch.Tensor):
            target = _combined(target)
        reference = _network(half.x_t, half.condition, 0.9)
        prediction = _network(half.x_t, half.condition, 0.9001).requires_grad_()
        error = (prediction - target.detach()).square().mean(dim=(1, 2, 3))
        if method.uses_reference:
            error = error - (reference - target.detach()).square().mean(dim=(1, 2, 3))
        predictions.append(prediction)
        gains.append(error)
    delta = gains[0] - gains[1] if len(gains) == 2 else gains[0]
    losses = checks.attempt(
        "losses(delta, batch)",
        lambda: method.losses(delta, batch),
        mend="return the loss of each pair, (B,)",
    )
    if losses is None:
        return
    loss = losses.mean()
    for letter, prediction in zip("ab", predictions, strict=False):
        gradient = None
        if loss.requires_grad:
            (gradient,) = torch.autograd.grad(
                loss, prediction, retain_graph=True, allow_unused=True
            )
        pulls = gradient is not None and bool(torch.isfinite(gradient).all() & gradient.any())
        checks.require(
            pulls,
            f"half {letter}: a gradient reaches the policy's prediction",
            found="none" if gradient is None else f"largest {float(gradient.abs().max()):g}",
            expected="finite and not all zero",
            mend="let link use delta with its gradient, and not saturate at small delta",
        )


def _equal(world: _World, other: _World) -> bool:
    import torch

    def tensors(of: _World) -> list[Tensor]:
        conditions = [of.batch.condition, of.batch.degraded or {}]
        parts = [tensor for condition in conditions for _, tensor in sorted(condition.items())]
        batch, step = of.batch, of.step
        maybe = (batch.winner, batch.loser, batch.index, batch.label, batch.mean_delta)
        return [*(part for part in maybe if part is not None), step.t, step.noise, *parts]

    mine, theirs = tensors(world), tensors(other)
    return len(mine) == len(theirs) and all(
        torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
        for a, b in zip(mine, theirs, strict=True)
    )
