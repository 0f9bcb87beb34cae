"""One method, evaluator, table or cell in full, as a mapping from titles to facts and rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from bench.api.errors import UsageError
from bench.api.method import Method
from bench.api.registry import EVALUATORS, METHODS, Registry
from bench.api.stages import StagedMethod
from bench.published import entries
from bench.published.card import config_card
from bench.spec.claims import ClaimSpec
from bench.spec.rows import IMPROVES, NULL, RowSpec
from bench.spec.table import ColumnSpec, PublishedValue, TableSpec, load_table

Card = dict[str, Any]


def card_of(
    what: str,
    name: str,
    *,
    store: Path | str = "outputs",
    backbone: str | None = None,
    folder: Path | None = None,
) -> Card:
    """Return what is known of one thing.

    Args:
        what: `"method"`, `"evaluator"`, `"table"` or `"cell"`.
        name: as it is asked for by; of a cell TABLE/ROW/COLUMN[/SEED].
        store: of a cell, where its artifacts lie.
        backbone: of a method, what was published for it there instead.
        folder: of a cell, a published table in place of the store's.

    Raises:
        UsageError: there is none of that name.
    """
    if backbone is not None:
        if what != "method":
            raise UsageError(f"--backbone belongs to a method, not to a {what}; leave it out.")
        return config_card(name, backbone)
    if what == "cell":
        from bench.report.cell import cell_card

        return cell_card(name, Path(store), folder)
    return _CARDS[what](name)


def _method(name: str) -> Card:
    card, method = _common(METHODS, name)
    if issubclass(method, Method):
        card["needs"] = asdict(method.needs)
        card["uses_reference"] = method.uses_reference
    card["published for"] = tuple(entries(card["name"]))
    card["fields"] = _fields(method)
    card["stages"] = _stages(method)
    return card


def _stages(method: type) -> list[Card]:
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


def _evaluator(name: str) -> Card:
    card, evaluator = _common(EVALUATORS, name)
    spec = asdict(evaluator.spec)
    card["version"] = spec.pop("version")
    del spec["name"]
    card["metrics"] = list(spec.pop("metrics"))
    card |= spec
    card["fields"] = _fields(evaluator)
    return card


def _control(row: RowSpec) -> str | None:
    """Return what a control row must show, and where."""
    told = {IMPROVES: "must improve", NULL: "must not improve"}.get(row.control, row.control)
    return ": ".join(filter(None, (told, ", ".join(row.columns)))) or None


def _table(name: str) -> Card:
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
                "control": _control(row),
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
        "claims": _claims(table.all_claims),
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


def _claims(claims: Sequence[ClaimSpec]) -> list[Card]:
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


_CARDS: Mapping[str, Callable[[str], Card]] = {
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


def _fields(cls: type) -> list[Card]:
    if not is_dataclass(cls):
        return []
    rows: list[Card] = []
    for field in fields(cls):
        default: Any = field.default
        factory: Any = field.default_factory
        if factory is not MISSING:
            default = factory()
        kind = field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)
        text = "required" if default is MISSING else repr(default)
        rows.append({"field": field.name, "type": kind, "default": text})
    return rows
