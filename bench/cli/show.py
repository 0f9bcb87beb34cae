"""`bench show method|evaluator|table|cell NAME`: one of them in full.

NAME is what `bench list` shows; for a method or an evaluator also `pkg.mod:Class` or
`path/to/file.py:Class`; for a table also a YAML file; for a cell TABLE/ROW/COLUMN or
TABLE/ROW/COLUMN/SEED of a table that was run: its value and the chain of artifacts behind it.
`--backbone` adds what was published for a method on it:

bench show method ddspo --backbone sdxl
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.cli._output import WIDTH, hanging, print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import add_store
from bench.cli._verbs import VERBS

KINDS = ("method", "evaluator", "table", "cell")
_WHAT = "method, evaluator, table or cell"
_WIDEST = 8
"""Columns that still fit beside each other."""


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("show", help=VERBS["show"], description=__doc__)
    parser.add_argument("what", choices=KINDS, metavar="WHAT", help=_WHAT)
    parser.add_argument("name", metavar="NAME", help="a name that `bench list` shows, or a path")
    add_store(parser)
    parser.add_argument(
        "--backbone", metavar="NAME", help="of a method: its published settings, e.g. on sdxl"
    )
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="DIR", help="of a cell: a published table"
    )
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the card."""
    from bench.harness.cards import card_of

    card = card_of(
        args.what, args.name, store=args.store, backbone=args.backbone, folder=args.source
    )
    if args.json:
        print_json(card)
    else:
        _print_card(card)
    return 0


def _print_card(card: dict[str, Any]) -> None:
    tables = {key: value for key, value in card.items() if _is_rows(value)}
    facts = {
        key: ", ".join(map(str, value)) if isinstance(value, tuple) else value
        for key, value in card.items()
        if key not in tables and key != "description" and value not in ([], ())
    }
    label = max(map(len, facts))
    for key, value in facts.items():
        print(hanging(f"{key:<{label}}  ", "-" if value is None else str(value)))
    print(f"\n{card['description']}")
    for title, rows in tables.items():
        print(f"\n{title}")
        shown = _tall(rows) if len(rows[0]) > _WIDEST else rows
        told = [key for key in shown[0] if any(row[key] is not None for row in shown)]
        print_rows(shown, told, width=WIDTH)


def _tall(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return wide rows as columns, under what stands in each one's first field."""
    first, *rest = rows[0]
    heads = [str(row[first]) for row in rows]
    return [{first: key, **dict(zip(heads, (r[key] for r in rows), strict=True))} for key in rest]


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and isinstance(value[0], dict)
