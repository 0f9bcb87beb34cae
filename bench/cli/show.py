"""`bench show method|evaluator|table|cell NAME`: one of them in full.

NAME is what `bench list` shows; for a method or an evaluator also `pkg.mod:Class` or
`path/to/file.py:Class`; for a table also a YAML file; for a cell TABLE/ROW/COLUMN or
TABLE/ROW/COLUMN/SEED of a table that was run: its value and the chain of artifacts behind it.
`--backbone` adds what was published for a method on it:

bench show method ddspo --backbone sdxl
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import UsageError
from bench.api.method import Method
from bench.api.registry import EVALUATORS, METHODS, Registry
from bench.api.stages import StagedMethod
from bench.cli._output import WIDTH, hanging, print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import add_store
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from bench.spec.claims import ClaimSpec
    from bench.spec.table import ColumnSpec, PublishedValue, TableSpec

_WHAT = "method, evaluator, table or cell"
_WIDEST = 8
"""Columns that still fit beside each other."""


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("show", help=VERBS["show"], description=__doc__)
    parser.add_argument("what", choices=[*_CARDS, "cell"], metavar="WHAT", help=_WHAT)
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
    if args.backbone is not None and args.what != "method":
        raise UsageError(f"--backbone belongs to a method, not to a {args.what}; leave it out.")
    if args.backbone is not None:
        from bench.published.card import config_card

        card = config_card(args.name, args.backbone)
    elif args.what == "cell":
        from bench.report.cell import cell_card

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
    if issubclass(method, Method):
        card["needs"] = asdict(method.needs)
        card["uses_reference"] = method.uses_reference
    from bench.published import entries

    card["published for"] = tuple(entries(card["name"]))
    card["fields"] = _fields(method)
    card["stages"] = _stages(method)
    return card


def _stages(method: type) -> list[dict[str, Any]]:
    if not issubclass(method, StagedMethod):
        return []
    return [
        {
            "stage": stage.name,
            "method": stage.method.name,
            "training": ", ".join(f"{k} {v}" for k, v in stage.train.items()) or None,
            "data": stage.data,
        }
        for stage in method().stages()
    ]


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
    from bench.spec.table import load_table

    table = load_table(name, trust=True)  # it is shown; nothing that it names is run
    return {
        "name": table.name,
        "source": table.source,
        "protocols": _protocols(table),
        "description": table.title,
        "rows": [
            {
                "key": row.key,
                "label": row.label,
                "made by": " on ".join(filter(None, (row.origin, row.data))),
                "starts from": row.start,
                "control": "yes" if row.control else None,
            }
            for row in table.rows
        ],
        "notes": [{"row": row.key, "note": row.note} for row in table.rows if row.note],
        "columns": [
            {
                "key": column.key,
                "metric": f"{column.evaluator} {column.metric}",
                "better": "higher" if column.higher_is_better else "lower",
            }
            for column in table.columns
        ],
        "published": [
            {"row": row, **{c.key: _published_text(cells.get(c.key), c) for c in table.columns}}
            for row, cells in table.published.items()
        ],
        "claims": _claims(table.claims),
        "facts": [
            {
                "published": fact.says,
                "ratio of gains": None if fact.ratio is None else f"{fact.ratio.published:g}",
                "source": fact.source,
            }
            for fact in table.facts
        ],
        "footnotes": [
            {"footnote": key, "text": " ".join(text.split())}
            for key, text in table.footnotes.items()
        ],
    }


def _protocols(table: TableSpec) -> str:
    own = None if table.world is None else f"of its settings, world {table.world}"
    return own or ", ".join(table.protocols) or "those of the profile"


def _claims(claims: Sequence[ClaimSpec]) -> list[dict[str, Any]]:
    order = {claim.pair: n for n, claim in enumerate((c for c in claims if c.planned), start=1)}
    return [
        {
            "claim": f"{claim.better} beats {claim.worse} in {claim.column}",
            "planned": order.get(claim.pair),
            "part of": f"{claim.better} best in {claim.column}" if claim.best else None,
        }
        for claim in claims
    ]


def _published_text(found: PublishedValue | None, column: ColumnSpec) -> str | None:
    if found is None:
        return None
    return f"{found.value:.{column.decimals}f}{' (quoted)' if found.quoted else ''}"


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
