"""What is known by name: plug-ins, tables and prompt suites. Imports no plug-in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from bench.api.declared import VERIFIED, roles_of, summary_of, verified_of
from bench.api.errors import BenchError, unknown
from bench.api.registry import BACKENDS, EVALUATORS, METHODS, Entry, Registry
from bench.backbones import BACKBONES
from bench.spec.profile import Profile, load_profile, profile_names
from bench.spec.table import load_table, table_names
from bench.spec.table_files import TABLES

LOG = logging.getLogger("bench.harness")
_REGISTRIES: Mapping[str, Registry[Any]] = {
    "methods": METHODS,
    "evaluators": EVALUATORS,
    "backends": BACKENDS,
    "backbones": BACKBONES,
}


def names_of(what: str) -> list[dict[str, Any]]:
    """Return a row for each of a kind, by what is known of it.

    Args:
        what: `"methods"`, `"evaluators"`, `"backends"`, `"backbones"`, `"tables"` or `"suites"`.

    Raises:
        UsageError: there is no such kind.
    """
    if what in _OTHERS:
        return _OTHERS[what]()
    if what not in _REGISTRIES:
        raise unknown("kind", what, [*_REGISTRIES, *_OTHERS])
    return _plugins(what)


def _plugins(what: str) -> list[dict[str, Any]]:
    rows = []
    told = what in ("evaluators", "backends")
    profiles = {name: load_profile(name) for name in profile_names()} if told else {}
    for entry in _REGISTRIES[what].entries().values():
        row: dict[str, Any] = {"name": entry.name}
        if what == "backends":
            row["role"] = ", ".join(_played(entry.name, profiles)) or None
            row["verified"] = verified_of(entry)
        if what == "evaluators":
            row |= _verified(entry, profiles)
        row |= {"origin": entry.origin, "target": entry.target, "summary": summary_of(entry)}
        rows.append(row)
    return rows


def _played(backend: str, profiles: Mapping[str, Profile]) -> list[str]:
    """Return the roles a back-end plays, with their profiles, and the evaluator where not all."""
    found: dict[str, list[str]] = {}
    for name, profile in profiles.items():
        roles = [role for role, who in profile.backends.items() if who == backend]
        for evaluator, own in profile.evaluator_backends.items():
            roles += [f"{role} of {evaluator}" for role, who in own.items() if who == backend]
        for role in roles:
            found.setdefault(role, []).append(name)
    return [f"{role} ({', '.join(names)})" for role, names in found.items()]


def _verified(entry: Entry, profiles: Mapping[str, Profile]) -> dict[str, Any]:
    """Say by profile how far the back-ends of an evaluator were checked: as the weakest of them."""
    roles = roles_of(entry)
    known = BACKENDS.entries()
    found: dict[str, dict[str, Any]] = {}
    for title, profile in profiles.items():
        backends = profile.of_evaluator(entry.name).backends
        for role in roles:
            if (name := backends.get(role)) in known:
                card = {"backend": name, "verified": verified_of(known[name], entry.name)}
                found.setdefault(title, {})[role] = card
    texts = []
    for title, cards in sorted(found.items(), reverse=True):
        words = [card["verified"] for card in cards.values()]
        weakest = min(words, key=lambda w: VERIFIED.index(w) if w in VERIFIED else -1)
        part = f" ({len(cards)} of {len(roles)} roles)" if len(cards) < len(roles) else ""
        texts.append(f"{title} {weakest or 'unknown'}{part}")
    return {"verified": "; ".join(texts) or None, "backends": found}


def _tables() -> list[dict[str, Any]]:
    tables = []
    for name in table_names():
        try:
            tables.append(load_table(name))
        except BenchError as error:  # one package's fault hides no other table
            LOG.warning("table %s of %s: %s", name, TABLES.entry(name).origin, error)
    return [
        {
            "name": table.name,
            "title": table.title,
            "rows": ", ".join(row.key for row in table.rows if not row.control),
            "columns": ", ".join(column.key for column in table.columns),
        }
        for table in tables
    ]


def _suites() -> list[dict[str, Any]]:
    from bench.suites import catalog, is_here

    return [
        {
            "name": entry.name,
            "prompts": entry.prompts,
            "here": "made here" if not entry.files else "yes" if is_here(entry) else "no",
            "pinned": "yes" if all(f.sha256 for f in entry.files) else "at first fetch",
            "licence": entry.licence,
            "source": entry.source,
            "title": entry.title,
        }
        for entry in catalog().values()
    ]


_OTHERS: Mapping[str, Callable[[], list[dict[str, Any]]]] = {"tables": _tables, "suites": _suites}
