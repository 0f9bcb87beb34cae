"""`bench doctor`: what this machine and this installation have, lack and set.

Exit code 3 when something the tiny profile needs is missing, 1 when bytes disagree with their
manifest, otherwise 0. Tables are looked at in the store and in --results; every byte of them is
hashed, and with --verify their statistics are computed from the records again, and what they show
is compared with the scores in the store. Credentials are never printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli._output import print_json
from bench.cli._parser import Subparsers, add_common
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from bench.harness.diagnosis import Diagnosis


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("doctor", help=VERBS["doctor"], description=__doc__)
    parser.add_argument("--store", type=Path, default=Path("outputs"), help="default: outputs")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="default: results"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="hash every file of the store and of the shipped weights, derive every table again",
    )
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the facts, then what is wrong and how to mend it."""
    from bench.harness.diagnosis import doctor

    found = doctor(args.store, results=args.results, verify=args.verify)
    if args.json:
        print_json(found.to_json())
    else:
        _print(found)
    return found.exit_code


def _print(found: Diagnosis) -> None:
    for title, facts in found.facts.items():
        print(title)
        width = max((len(key) for key in facts), default=0)
        for key, value in facts.items():
            print(f"  {key:<{width}}  {'-' if value is None else value}")
    print("problems" if found.problems else "no problem found")
    for problem in found.problems:
        print(f"  {problem.found}\n    to mend it: {problem.mend}")
