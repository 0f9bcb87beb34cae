"""What a run of a table can see before it is made, from the variances of one that was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api.errors import PrerequisiteError, UsageError
from bench.harness.requests import DEFAULT_STORE
from bench.report.model import TableData
from bench.report.power import PlannedPower as PlannedPower
from bench.report.power import planned_power, seeds_of
from bench.report.stored import read_report
from bench.spec.noise import SHARED
from bench.spec.protocol import load_suite
from bench.spec.request import Request
from bench.stats.power import Design

PUBLISHED = Path("results")
POWER = 0.8
_SEEDS_NEEDED = 2


@dataclass(frozen=True, kw_only=True)
class PowerPlan:
    """What `plan_power` returns.

    Attributes:
        request: the run that is planned.
        folder: of the table that the variances are of.
        measured: that table.
        designs: sizes of the planned run by column.
        claims: what it sees of each claim.
    """

    request: Request
    folder: Path
    measured: TableData
    designs: Mapping[str, Design]
    claims: tuple[PlannedPower, ...]

    @property
    def profile(self) -> str:
        """Name of the profile that the variances are of."""
        return str(self.measured.profile["name"])

    @property
    def seeds(self) -> int:
        """Training seeds that the variances are of."""
        return seeds_of(self.measured)

    def notes(self) -> list[str]:
        """Return what a reader of the numbers must know."""
        notes = [
            "sees: the smallest true difference found in 80 of 100 runs, at the level its test "
            "has. seeds, prompts, images: how many the effect needs, the other two as planned; "
            "no: more of it alone will not do.",
        ]
        if self.profile != self.request.profile.name:
            notes.insert(0, f"variances are of profile {self.profile}, for orientation only")
        below = [item for item in self.claims if item.components and item.components.negative]
        if below:
            parts = {n for item in below if item.components for n in item.components.negative}
            where = ", ".join(f"{item.better} > {item.worse} {item.column}" for item in below)
            notes.append(
                f"set to 0, the estimate was below: {', '.join(sorted(parts))}; in {where}"
            )
        notes += [
            f"{item.better} > {item.worse} {item.column}: {item.reason}"
            for item in self.claims
            if item.reason
        ]
        return notes

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return {
            "table": self.request.table.name,
            "profile": self.request.profile.name,
            "power": POWER,
            "variances": {
                "from": str(self.folder),
                "profile": self.measured.profile["name"],
                "seeds": self.seeds,
            },
            "claims": [item.to_json() for item in self.claims],
        }


def plan_power(
    request: Request,
    *,
    store: Path | str = DEFAULT_STORE,
    variances: Path | None = None,
    effect: float | None = None,
) -> PowerPlan:
    """Return what a run could see, claim by claim; makes nothing.

    Args:
        request: what `request_for` returned, of two training seeds or more.
        store: whose table gives the variances, where it has one; else `results/table-NAME` does.
        variances: the folder of a measured table, in place of both.
        effect: the difference to plan for; the published one by default.

    Raises:
        UsageError: a table without images, a run of one training seed, or an effect of 0.
        PrerequisiteError: no measured table has variances to plan with.
    """
    _ = request.images  # refuses a table without
    if len(request.seeds) < _SEEDS_NEEDED:
        raise UsageError(
            "--power plans verdicts, which need three training seeds or more; say which, e.g. "
            "--seeds 0,1,2,3,4."
        )
    if effect == 0.0:
        raise UsageError("--effect 0: no run can see a difference of 0.")
    table = request.table.name
    usual = [Path(store) / "tables" / table, PUBLISHED / f"table-{table}"]
    folder, data = _measured(table, usual if variances is None else [variances])
    rows = {row.key for row in request.rows}
    designs = _designs(request)
    claims = [
        claim
        for claim in request.table.all_claims
        if {claim.better, claim.worse} <= rows and claim.column in designs
    ]
    return PowerPlan(
        request=request,
        folder=folder,
        measured=data,
        designs=designs,
        claims=tuple(planned_power(data, claims, designs, effect=effect)),
    )


def _measured(table: str, places: Sequence[Path]) -> tuple[Path, TableData]:
    """Return the first measured table that says what training seeds do."""
    for place in places:
        if not (place / "table.json").is_file():
            continue
        data = read_report(place).data
        if data.table != table:
            raise UsageError(f"{place} holds table {data.table}, not {table}.")
        if seeds_of(data) >= _SEEDS_NEEDED:
            return place, data
    raise PrerequisiteError(
        f"no measured table {table} of two training seeds or more to take variances from; looked "
        f"in {', '.join(str(place) for place in places)}",
        fix=f"python -m bench run --table {table} --seeds 0,1,2, or name one by --variances DIR",
    )


def _designs(request: Request) -> dict[str, Design]:
    """Return the sizes of the planned run by column, of those the profile measures."""
    found = {}
    for column in request.columns:
        protocol = request.images.protocol_of(request.table, column)
        if protocol is not None:
            suite = load_suite(protocol.suite, request.limit)
            found[column.key] = Design(
                seeds=len(request.seeds),
                prompts=len(suite),
                # of a prompt on average: some are asked more often
                images=round(suite.count(protocol.images_per_prompt) / len(suite)),
                shared_noise=request.profile.noise == SHARED,
            )
    return found
