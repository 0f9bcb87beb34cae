"""`bench show method|evaluator|table|cell NAME`: one of them in full.

NAME is what `bench list` shows; for a method or an evaluator also `pkg.mod:Class` or
`path/to/file.py:Class`; for a cell TABLE/ROW/COLUMN or TABLE/ROW/COLUMN/SEED of a table that was
run: its value and the chain of artifacts behind it.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from bench.api.registry import EVALUATORS, METHODS, Registry
from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import add_store
from bench.cli._verbs import VERBS

_WHAT = "method, evaluator, table or cell"


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("show", help=VERBS["show"], description=__doc__)
    parser.add_argument("what", choices=[*_CARDS, "cell"], metavar="WHAT", help=_WHAT)
    parser.add_argument("name", metavar="NAME", help="a name that `bench list` shows, or a path")
    add_store(parser)
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="DIR", help="of a cell: a published table"
    )
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the card."""
    if args.what == "cell":
        from bench.cli._cell import cell_card

        card = cell_card(args.name, args.store, args.source)
    else:
        card = _CARDS[args.what](args.name)
    if args.json:
        print_json(card)
    else:
        _print_card(card)
    return 0


def _method(name: str) -> dict[str, Any]:
    card, method = _common(METHODS, name)
    card["needs"] = asdict(method.needs)
    card["uses_reference"] = method.uses_reference
    card["fields"] = _fields(method)
    return card


def _evaluator(name: str) -> dict[str, Any]:
    card, evaluator = _common(EVALUATORS, name)
    spec = asdict(evaluator.spec)
    card["version"] = spec.pop("version")
    del spec["name"]
    card["metrics"] = list(spec.pop("metrics"))
    card |= spec
    card["fields"] = _fields(evaluator)
    return card


def _table(name: str) -> dict[str, Any]:
    from bench.tables.spec import load_table

    table = load_table(name)
    return {
        "name": table.name,
        "source": table.source,
        "protocols": ", ".join(table.protocols),
        "description": table.title,
        "rows": [
            {
                "key": row.key,
                "label": row.label,
                "made by": row.method or row.render or row.checkpoint,
                "control": "yes" if row.control else "no",
                "note": row.note or None,
            }
            for row in table.rows
        ],
        "columns": [
            {
                "key": column.key,
                "metric": f"{column.evaluator} {column.metric}",
                "better": "higher" if column.higher_is_better else "lower",
            }
            for column in table.columns
        ],
        "claims": [
            {"claim": f"{claim.better} beats {claim.worse} in {claim.column}"}
            for claim in table.claims
        ],
    }


_CARDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "method": _method,
    "evaluator": _evaluator,
    "table": _table,
}


def _common(registry: Registry[Any], name: str) -> tuple[dict[str, Any], Any]:
    entry = registry.entry(name)
    cls = registry.load(name)
    return {
        "name": entry.name,
        "version": getattr(cls, "version", None),
        "origin": entry.origin,
        "target": entry.target,
        "source": inspect.getsourcefile(cls),
        "description": inspect.getdoc(cls) or "",
    }, cls


def _fields(cls: type) -> list[dict[str, Any]]:
    if not is_dataclass(cls):
        return []
    rows: list[dict[str, Any]] = []
    for field in fields(cls):
        default: Any = field.default
        factory: Any = field.default_factory
        if factory is not MISSING:
            default = factory()
        kind = field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)
        text = "required" if default is MISSING else repr(default)
        rows.append({"field": field.name, "type": kind, "default": text})
    return rows


def _print_card(card: dict[str, Any]) -> None:
    tables = {key: value for key, value in card.items() if _is_rows(value)}
    facts = [
        {"": key, " ": ", ".join(map(str, value)) if isinstance(value, tuple) else value}
        for key, value in card.items()
        if key not in tables and key != "description" and value != []
    ]
    width = max(len(row[""]) for row in facts)
    for row in facts:
        print(f"{row['']:<{width}}  {row[' ']}")
    print(f"\n{card['description']}")
    for title, rows in tables.items():
        print(f"\n{title}")
        print_rows(rows, list(rows[0]))


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and isinstance(value[0], dict)
