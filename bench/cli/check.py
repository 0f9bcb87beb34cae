"""`bench check --evaluators`: are the evaluators' numbers still the committed ones?

Scores a committed image set again with every evaluator that has a back-end here and compares
metrics and raw predictions with the committed ones. This is what to run after upgrading a
dependency: exit code 1 where a number moved, and by how much.

bench check --evaluators
bench check --evaluators geneval,fid --json
bench check --evaluators --update     (the numbers were changed on purpose: write them anew)
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.errors import UsageError
from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import add_profile_name, add_store, no_bars
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from bench.harness.checking import CheckReport

EVERY = "all"


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("check", help=VERBS["check"], description=__doc__)
    parser.add_argument(
        "--evaluators",
        nargs="?",
        const=EVERY,
        metavar="A,B",
        help="which; without a value, all that have a back-end here",
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="DIR",
        help="default: results/regression of the project",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="X",
        help="largest change that is no drift, of max(1, committed value); default: 1e-4",
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="write the numbers found as the committed ones, and make image sets that are missing",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    add_profile_name(parser, "default: %(default)s")
    add_store(parser)
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Check, print, and return 1 where a number moved."""
    if args.evaluators is None:
        raise UsageError("nothing to check; say --evaluators")
    no_bars()
    from bench.harness.checking import check

    found = check(
        None if args.evaluators == EVERY else [n for n in args.evaluators.split(",") if n],
        args.profile,
        folder=args.source,
        tolerance=args.tolerance,
        update=args.update,
        device=args.device,
        store=args.store,
    )
    if args.json:
        print_json(found.to_json())
    else:
        _print(found)
    return 0 if found.ok else 1


def _print(found: CheckReport) -> None:
    rows = [{**one.to_json(), "drifts": len(one.drifts)} for one in found.evaluators]
    print_rows(rows, ["evaluator", "state", "images", "drifts", "note"])
    for one in found.evaluators:
        for drift in one.drifts:
            change = "-" if drift.change is None else f"{drift.change:.3g}"
            print(
                f"{one.evaluator}: {drift.what}: committed {_number(drift.committed)}, "
                f"found {_number(drift.found)}: moved by {change}, allowed "
                f"{drift.allowed:.3g}" + (f" ({drift.where})" if drift.where else "")
            )
    if found.packages:
        moved = "; ".join(f"{name} {text}" for name, text in sorted(found.packages.items()))
        print(f"packages that are not those of the committed numbers: {moved}")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.8g}"
