"""Does a sealed table follow from its records, and from the scores in a store?

A seal tells that no byte changed since it was made, not that it was made of what was measured:
who edits `table.json` can seal it again. So everything in the folder is derived once more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.api.errors import BenchError, UsageError
from bench.report.model import CellData, estimate_to_json, place_of, scores_of
from bench.report.sealed import COMMAND_FILE, TABLES, head_of, rendered_otherwise
from bench.report.stored import (
    Report,
    command_of,
    head_json,
    make_report,
    pictures_of,
    read_table,
    rendered_files,
    with_values,
)
from bench.spec.table import WIN_RATE
from bench.steps.scores import METRICS, RECORDS
from bench.store import Published, Store, read_jsonl

TOLERANCE = 1e-9
"""Largest difference of a recomputed statistic, of max(1, its size): sums differ in the last bits
between processors."""


def disagreements(published: Published, store: Store | None = None) -> list[str]:
    """Return what an intact folder says that does not follow from what it was made of.

    Args:
        published: a table's folder without faults.
        store: where the scores behind it may be; those that are not there are not compared.
    """
    try:
        stored = read_table(published)
        data = with_values(stored.data, published)
        fresh = make_report(data, stored.targets)
    except BenchError as error:
        return [str(error)]
    found = []
    otherwise = rendered_otherwise(published)
    if otherwise is not None:
        found.append(otherwise[0])
    else:
        before, now = (json.loads(r.render("json")) for r in (stored, fresh))
        found += _first("table.json", differences(before, now))
        found += _first("a rendered file", _unlike_files(stored, published))
    head = head_of(published)
    if head is not None:
        now = json.loads(json.dumps({**head_json(data), "targets": list(stored.targets)}))
        found += _first("the table in records.parquet", differences(head, now, tolerance=0.0))
    found += _first("the scores it was made from", _unasked_scores(stored))
    if store is not None:
        metrics = {c["key"]: c for c in data.columns}
        # a table of this store was made from scores of this store
        own = published.path.resolve().is_relative_to((store.root / TABLES).resolve())
        unlike = (
            u
            for cell in data.cells
            for u in _unlike_scores(cell, metrics[cell.column], store, own=own)
        )
        found += _first("the scores in the store", unlike)
    return found


def differences(
    stored: Any, now: Any, where: str = "", *, tolerance: float = TOLERANCE
) -> Iterator[str]:
    """Yield where two JSON values differ, numbers by more than `tolerance` of max(1, size)."""
    if isinstance(stored, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*stored, *now]):
            inner = f"{where}.{key}" if where else str(key)
            if key in stored and key in now:
                yield from differences(stored[key], now[key], inner, tolerance=tolerance)
            else:
                yield f"{inner} is in one of them alone"
    elif isinstance(stored, list) and isinstance(now, list) and len(stored) == len(now):
        for place, (one, other) in enumerate(zip(stored, now, strict=True)):
            yield from differences(one, other, f"{where}[{place}]", tolerance=tolerance)
    elif _are_numbers(stored, now):
        if abs(stored - now) > tolerance * max(1.0, abs(now)):
            yield f"{where} is {stored!r} instead of {now!r}"
    elif stored != now:
        yield f"{where} is {stored!r} instead of {now!r}"


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)


def _first(what: str, unlike: Iterable[str]) -> list[str]:
    """Return one line for the first of several differences; hashes follow from the rest."""
    lines = list(unlike)
    shown = [line for line in lines if not line.startswith("inputs_sha256")] or lines
    more = f" ({len(shown) - 1} more)" if len(shown) > 1 else ""
    return [f"{what}: {shown[0]}{more}"] if shown else []


def _unlike_files(stored: Report, published: Published) -> Iterator[str]:
    for name, content in rendered_files(stored, pictures_of(published)).items():
        if published.files.get(name) != content:
            yield f"{name} is not what this version makes of the table"
    command = command_of(stored.data.command).encode()
    if published.files.get(COMMAND_FILE, command) != command:
        yield f"{COMMAND_FILE} is not the command that makes the table"


def _unasked_scores(stored: Report) -> Iterator[str]:
    """Yield the measured cells that name no scores, or others than the table was asked for."""
    for cell in stored.data.cells:
        scores = scores_of(cell)
        if cell.state == "measured" and scores not in stored.targets:
            where = "/".join(str(part) for part in place_of(cell))
            yield f"{where} names {scores or 'none'}, which is none that the table asked for"


def _unlike_scores(
    cell: CellData, column: Mapping[str, Any], store: Store, *, own: bool
) -> Iterator[str]:
    """Yield where a measured cell differs from the scores it names.

    Args:
        cell: of the table.
        column: the cell's.
        store: scores that are not in it are not compared.
        own: whether the table lies in it; scores that are not in it are then said.
    """
    scores = scores_of(cell)
    if cell.state != "measured" or scores is None:
        return
    where = "/".join(str(part) for part in place_of(cell))
    try:
        artifact = store.get(scores)
    except UsageError:
        if own:
            yield f"{where}: {scores} is not there, so that nothing tells where its number is from"
        return
    if column["metric"] == WIN_RATE:
        return
    metrics = artifact.read_json(METRICS)
    expected = metrics.pop(column["metric"], None)
    shown = {name: estimate_to_json(part) for name, part in cell.parts.items()} or None
    yield from differences(estimate_to_json(cell.estimate), expected, where, tolerance=0.0)
    if shown is not None:
        yield from differences(shown, metrics, f"{where}, parts", tolerance=0.0)
    if cell.values and column["per_image"] is not None:
        records = {
            f"{r['prompt_id']}/{r['ordinal']}": float(r[column["per_image"]])
            for r in read_jsonl(artifact.file(RECORDS))
            if r.get(column["per_image"]) is not None
        }
        if records != {v.key: v.value for v in cell.values}:
            yield f"{where}: its per-image values are not those of {scores}"
