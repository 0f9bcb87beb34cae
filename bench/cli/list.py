"""`bench list methods|evaluators|tables|backends|backbones|suites`: what is known by name.

Imports no plug-in.
"""

from __future__ import annotations

import argparse

from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._verbs import VERBS

KINDS = ("methods", "evaluators", "backends", "backbones", "tables", "suites")


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("list", help=VERBS["list"], description=__doc__)
    what = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"
    parser.add_argument("what", choices=KINDS, metavar="WHAT", help=what)
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    from bench.harness.names import names_of

    rows = names_of(args.what)
    if args.json:
        print_json(rows)
    else:
        # what is nested is for programs
        columns = [k for k, v in rows[0].items() if not isinstance(v, dict)] if rows else ["name"]
        shown = [
            {**row, "rows": _shortened(row["rows"])} if args.what == "tables" else row
            for row in rows
        ]
        print_rows(shown, columns)
    return 0


def _shortened(names: str, most: int = 4) -> str:
    """Return a comma-separated list that fits a terminal; `--json` and `show table` have it all."""
    parts = names.split(", ")
    return names if len(parts) <= most else f"{', '.join(parts[:most])} … ({len(parts)})"
