"""A base over guidance scales, and the one it is sampled at: see `bench.stats.scale`.

    from bench import harness

    points = harness.measure_scales("tiny")
    print(harness.choose_scale(points).chosen)

Measured on validation prompts; prompts that the profile's results are measured on are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from bench.api.errors import BenchError, PrerequisiteError, UsageError
from bench.api.estimate import Estimate
from bench.api.registry import DEFAULT_PROFILE
from bench.harness.requests import DEFAULT_STORE, request_for
from bench.harness.tables import run
from bench.harness.work import WorkOptions
from bench.report.model import CellData
from bench.spec.protocol import load_suite
from bench.spec.request import Request, make_request
from bench.stats.scale import SCALES, ScalePoint
from bench.stats.scale import choose_scale as choose_scale

TABLE, BASE = "1a", "base"
COLUMNS = ("FID", "GE")
PROTOCOL = "scale"


def measure_scales(
    profile: str = DEFAULT_PROFILE,
    *,
    scales: Sequence[float] = SCALES,
    protocol: str = PROTOCOL,
    overrides: Sequence[str] = (),
    trust: bool = False,
    store: Path | str = DEFAULT_STORE,
    **how: Unpack[WorkOptions],
) -> list[ScalePoint]:
    """Measure FID and GenEval of a profile's base at each scale; what is there is not made twice.

    Args:
        profile: a shipped name, or the path of a YAML file; its base is measured.
        scales: guidance scales.
        protocol: of the profile, on validation prompts.
        overrides: changes to the profile, such as `"checkpoint.location=tiny-sd-noisy"`.
        trust: whether the profile may name code that nobody registered.
        store: the folder artifacts lie in.
        how: jobs, gpus, device, executor, ray_address, on_event, as in `bench.harness.run`.

    Raises:
        UsageError: the profile has no such protocol, or it asks for prompts that the profile's own
            protocol measures on: a scale chosen on them would be fitted to them.
        PrerequisiteError: the base, or a model or reference that a column needs, is not there.
        BenchError: a scale could not be measured.
    """
    found: list[ScalePoint] = []
    for scale in scales:
        request = request_for(
            TABLE,
            profile,
            store=store,
            rows=[BASE],
            columns=list(COLUMNS),
            seeds=[0],
            overrides=[*overrides, f"generation.cfg_scale={scale:g}"],
            protocol=protocol,
            trust=trust,
        )
        if not found:
            _require_unseen(request, profile, overrides=overrides, trust=trust)
        result = run(
            request,
            store=store,
            folder=Path(store) / "scales" / _name(request) / f"{scale:g}",
            **how,
        )
        for label, failure in result.failures.items():
            raise BenchError(f"scale {scale:g}: {label}: {failure.message}")
        distance, quality = (_measured(result.cells, column, scale) for column in COLUMNS)
        found.append(ScalePoint(scale=scale, distance=distance, quality=quality))
    return found


def _name(request: Request) -> str:
    said = str(request.images.to_json()["checkpoint"])
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in said)


def _measured(cells: Sequence[CellData], column: str, scale: float) -> Estimate:
    (cell,) = (cell for cell in cells if cell.column == column)
    if cell.estimate is None:
        raise PrerequisiteError(
            f"scale {scale:g}: the base has no {column}: {cell.reason}",
            fix=f"the rule needs {' and '.join(COLUMNS)} of the base in protocol {PROTOCOL!r}; "
            "give the profile what is missing",
        )
    return cell.estimate


def _require_unseen(
    request: Request, profile: str, *, overrides: Sequence[str], trust: bool
) -> None:
    """Refuse prompts that the profile's own protocol measures on (UsageError)."""
    own = make_request(TABLE, profile, overrides=overrides, trust=trust, columns=list(COLUMNS))
    if own.profile.protocol == request.profile.protocol:
        raise UsageError(
            f"protocol {request.profile.protocol!r} is what profile {profile} measures on; choose "
            "a scale on validation prompts"
        )
    for column in request.columns:
        used = [r.images.protocol_of(r.table, column) for r in (request, own)]
        if None in used:
            continue
        here, there = ({p.text for p in load_suite(u.suite, None)} for u in used if u is not None)
        if shared := sorted(here & there):
            raise UsageError(
                f"{column.key}: {len(shared)} of {len(here)} prompts of protocol "
                f"{request.profile.protocol!r} are also those of {own.profile.protocol!r}, on "
                f"which profile {profile} measures, e.g. {shared[0]!r}; choose a scale on prompts "
                "that no result is measured on"
            )
