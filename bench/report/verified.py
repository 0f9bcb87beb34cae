"""How far the back-ends of a table were checked against the original implementations. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.api.declared import VERIFIED, declared, verified_of
from bench.api.errors import BenchError
from bench.api.registry import BACKENDS, EVALUATORS
from bench.report.model import CellData
from bench.spec.head import ProfileHead
from bench.spec.profile import Profile
from bench.spec.table import ColumnSpec


def stated_words(profile: ProfileHead, columns: Iterable[ColumnSpec]) -> dict[str, str]:
    """Return what the back-ends of the columns' evaluators state, by name, sorted.

    A back-end that states less for one of the evaluators is shown by that. A table without images
    has no back-end.
    """
    found: dict[str, str] = {}
    if not isinstance(profile, Profile):
        return found
    for column in columns:
        spec = EVALUATORS.load(column.evaluator).spec
        backends = profile.of_evaluator(spec.name).backends
        for role in spec.backends:
            if role not in backends:
                continue
            try:
                backend = BACKENDS.load(backends[role])
            except BenchError:  # the cells it would have measured say so
                continue
            word = backend.verified_for.get(spec.name, backend.verified)
            found[backend.name] = _weaker(found.get(backend.name, word), word)
    return dict(sorted(found.items()))


def _weaker(a: str, b: str) -> str:
    return min(a, b, key=lambda word: VERIFIED.index(word) if word in VERIFIED else -1)


def declared_words(cells: Sequence[CellData]) -> dict[str, str]:
    """Return the same for a table stored before it was recorded, from the back-ends' sources.

    A back-end that has another version now than when it measured is left out.
    """
    used = {
        str(backend["backend"]): backend.get("version")
        for cell in cells
        for backend in cell.protocol.get("backends", {}).values()
    }
    if not used:
        return {}
    known = BACKENDS.entries()
    found = {}
    for name, version in sorted(used.items()):
        word = verified_of(known[name]) if name in known else None
        now = declared(known[name], "version") if name in known else None
        if word is not None and now in (None, version):
            found[name] = word
    return found


def verified_line(verified: Mapping[str, str], used: Iterable[str]) -> str:
    """Return one line on the back-ends that were used, weakest first; empty where none is known."""
    by_word: dict[str, list[str]] = {}
    for name in sorted(set(used)):
        if name in verified:
            by_word.setdefault(verified[name], []).append(name)
    words = sorted(by_word, key=lambda w: (VERIFIED.index(w) if w in VERIFIED else -1, w))
    if not words:
        return ""
    parts = [f"{word} ({', '.join(by_word[word])})" for word in words]
    return f"back-ends verified: {'; '.join(parts)}"
