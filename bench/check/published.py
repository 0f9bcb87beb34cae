"""What is known of published folders: whole, damaged, or not what was measured."""

from __future__ import annotations

from pathlib import Path

from bench.api.errors import BenchError, CorruptArtifactError
from bench.check.installation import Problem
from bench.report.sealed import (
    JSON_FILE,
    RECORDS_FILE,
    TABLES,
    extras_line,
    mend,
    rendered_otherwise,
)
from bench.store import MANIFEST, Published, Store, read_folder


def published(
    store: Path, results: Path, *, verify: bool, problems: list[Problem]
) -> dict[str, str]:
    """Return what is known of each published folder of a store and of committed results.

    Args:
        store: its tables are looked at.
        results: a folder of published folders; it need not exist.
        verify: derive tables again from their records, and compare with the scores in the store.
        problems: where damage is noted.
    """
    facts: dict[str, str] = {}
    for folder in [*_folders(store / TABLES), *_folders(results)]:
        found = read_folder(folder)
        faults = list(found.faults.values())
        if verify and not faults and JSON_FILE in found.files:
            faults = _not_measured(found, Store(store))
        facts[str(folder)] = "damaged" if faults else "whole"
        if found.extras:
            facts[str(folder)] += f"; {extras_line(found).partition(': ')[2]}"
        if faults:
            table = any((folder / name).exists() for name in (JSON_FILE, RECORDS_FILE))
            way = mend(found).removeprefix("to mend it: ") if table else f"git checkout -- {folder}"
            otherwise = rendered_otherwise(found) if verify else None
            if otherwise is not None and faults == [otherwise[0]]:
                way = otherwise[1]
            fault = f"{folder}: {'; '.join(faults)}"
            code = CorruptArtifactError.exit_code
            problems.append(Problem(found=fault, mend=way, exit_code=code))
    return facts


def _not_measured(found: Published, store: Store) -> list[str]:
    from bench.report.recomputed import disagreements

    try:
        return disagreements(found, store)
    except BenchError as error:  # the scores it names are damaged
        return [str(error).partition("\n")[0]]


def _folders(root: Path) -> list[Path]:
    """Return the folders that are published, or hold a table whose manifest is lost."""
    names = (MANIFEST, JSON_FILE, RECORDS_FILE)
    return sorted({file.parent for name in names for file in root.rglob(name)})
