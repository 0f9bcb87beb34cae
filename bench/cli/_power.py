"""`bench plan --power`: what a run of a table can see before it is made."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.errors import PrerequisiteError, UsageError
from bench.cli._output import WIDTH, hanging, print_json, print_rows

if TYPE_CHECKING:
    from bench.report.model import TableData
    from bench.report.power import PlannedPower
    from bench.spec.request import Request
    from bench.stats.power import Design

PUBLISHED = Path("results")
_SEEDS_NEEDED = 2


def add_power(parser: argparse.ArgumentParser) -> None:
    """Add `--power` and its options."""
    group = parser.add_argument_group("power")
    group.add_argument(
        "--power",
        action="store_true",
        help="the smallest difference the run can see in 80 of 100 times, claim by claim, and how "
        "many seeds, prompts or images a given one needs; makes nothing",
    )
    group.add_argument(
        "--effect", type=float, metavar="X", help="difference to plan for (default: the published)"
    )
    group.add_argument(
        "--variances",
        type=Path,
        metavar="DIR",
        help="measured table to take variances from (default: the one in the store, where two "
        "seeds or more were trained; else results/table-NAME)",
    )


def require_power(args: argparse.Namespace) -> None:
    """Refuse an option that nothing would read.

    Raises:
        UsageError: `--effect` or `--variances` without `--power`.
    """
    for name in ("effect", "variances"):
        if getattr(args, name) is not None and not args.power:
            raise UsageError(f"--{name} needs --power.")


def show_power(args: argparse.Namespace, request: Request) -> int:
    """Print what a run can see, and return 0.

    Raises:
        UsageError: a table without images, a run of one training seed, or an effect of 0.
        PrerequisiteError: no measured table has variances to plan with.
    """
    from bench.report.power import planned_power, seeds_of

    profile = request.images
    if len(request.seeds) < _SEEDS_NEEDED:
        raise UsageError(
            "--power plans verdicts, which need three training seeds or more; say which, e.g. "
            "--seeds 0,1,2,3,4."
        )
    if args.effect == 0.0:
        raise UsageError("--effect 0: no run can see a difference of 0.")
    folder, data = _measured(args, request.table.name)
    rows = {row.key for row in request.rows}
    designs = _designs(request)
    claims = [
        claim
        for claim in request.table.claims
        if {claim.better, claim.worse} <= rows and claim.column in designs
    ]
    found = list(planned_power(data, claims, designs, effect=args.effect))
    if args.json:
        print_json(
            {
                "table": request.table.name,
                "profile": profile.name,
                "power": 0.8,
                "variances": {
                    "from": str(folder),
                    "profile": data.profile["name"],
                    "seeds": seeds_of(data),
                },
                "claims": [item.to_json() for item in found],
            }
        )
    else:
        _print(request, folder, data, designs, found)
    return 0


def _measured(args: argparse.Namespace, table: str) -> tuple[Path, TableData]:
    """Return the first measured table that says what training seeds do."""
    from bench.report.power import seeds_of
    from bench.report.stored import read_report

    places = [args.variances] if args.variances else [
        Path(args.store) / "tables" / table,
        PUBLISHED / f"table-{table}",
    ]  # fmt: skip
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
    from bench.spec.noise import SHARED
    from bench.spec.protocol import load_suite
    from bench.stats.power import Design

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


def _print(
    request: Request,
    folder: Path,
    data: TableData,
    designs: dict[str, Design],
    found: Sequence[PlannedPower],
) -> None:
    from bench.report.power import seeds_of

    noise = "one noise for all" if request.profile.noise == "shared" else "noise of its own each"
    sizes = ", ".join(f"{key} {d.prompts} x {d.images}" for key, d in designs.items())
    seeds, profile = seeds_of(data), str(data.profile["name"])
    source = f"{folder} (profile {profile}), {seeds} training seeds: rough where those are few"
    print(hanging("variances  ", source))
    print(
        hanging(
            "planned    ",
            f"{len(request.seeds)} training seeds, {noise}; prompts x images: {sizes}",
        )
    )
    digits = {column.key: column.decimals for column in request.columns}
    lines = []
    for item in found:
        decimals = digits[item.column]
        needed = item.needed or {}
        line = {
            "claim": f"{item.better} > {item.worse} {item.column}",
            "level": f"{item.alpha:.2g}",
            "sees": None if item.visible is None else f"{item.visible:.{decimals}f}",
            "effect": None if item.effect is None else f"{abs(item.effect):.{decimals}f}",
        }
        for name in ("seeds", "prompts", "images"):
            number = needed.get(name)
            line[name] = None if item.needed is None else str(number) if number else "no"
        if item.components is not None and item.components.images is None and item.needed:
            line["images"] = None
        lines.append(line)
    if not lines:
        print("no claim of this table is on the rows and columns asked for")
        return
    print()
    columns = ["claim", "level", "sees", "effect", "seeds", "prompts", "images"]
    print_rows(lines, columns, width=WIDTH)
    print()
    if profile != request.profile.name:
        print(hanging("", f"variances are of profile {profile}, for orientation only"))
    for text in _notes(found):
        print(hanging("", text))


def _notes(found: Sequence[PlannedPower]) -> list[str]:
    notes = [
        "sees: the smallest true difference found in 80 of 100 runs, at the level its test has. "
        "seeds, prompts, images: how many the effect needs, the other two as planned; no: more "
        "of it alone will not do.",
    ]
    negative = sorted(
        {name for item in found if item.components for name in item.components.negative}
    )
    if negative:
        where = ", ".join(
            f"{item.better} > {item.worse} {item.column}"
            for item in found
            if item.components and item.components.negative
        )
        notes.append(f"set to 0, the estimate was below: {', '.join(negative)}; in {where}")
    notes += [
        f"{item.better} > {item.worse} {item.column}: {item.reason}"
        for item in found
        if item.reason
    ]
    return notes
