"""`bench doctor`: what this machine and this installation have, lack and set.

Exit code 3 when something the tiny profile needs is missing, 1 when bytes disagree with their
manifest, otherwise 0. Tables are looked at in the store and in --results; every byte of them is
hashed, and with --verify their statistics are computed from the records again, and what they show
is compared with the scores in the store. Credentials are never printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.cli._output import print_json
from bench.cli._parser import Subparsers, add_common
from bench.cli._verbs import VERBS


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
    from bench.cli import _facts
    from bench.cli._sealed import published

    problems: list[_facts.Problem] = []
    report: dict[str, Any] = {
        "python": _facts.python(),
        "packages": _facts.packages(problems),
        "torch": _facts.torch(problems),
        "torchvision": _facts.torchvision(problems),
        "machine": _facts.machine(args.store),
        "environment": _facts.environment(),
        "store": _facts.store(args.store, verify=args.verify, problems=problems),
        "published": published(args.store, args.results, verify=args.verify, problems=problems),
    }
    if args.verify:
        report["shipped weights"] = _facts.shipped(problems)
    report["problems"] = [problem.to_json() for problem in problems]
    if args.json:
        print_json(report)
    else:
        _print(report, problems)
    return max((problem.exit_code for problem in problems), default=0)


def _print(report: dict[str, Any], problems: list[Any]) -> None:
    for title, facts in report.items():
        if title == "problems":
            continue
        print(title)
        width = max((len(key) for key in facts), default=0)
        for key, value in facts.items():
            print(f"  {key:<{width}}  {'-' if value is None else value}")
    print("problems" if problems else "no problem found")
    for problem in problems:
        print(f"  {problem.found}\n    to mend it: {problem.mend}")
