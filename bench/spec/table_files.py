"""Files of tables: shipped, of installed packages, and the user's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bench.api.errors import ContractError, UsageError
from bench.api.registry import Registry, import_target
from bench.read.folders import shipped as shipped_files

FOLDER = Path(__file__).parents[1] / "tables"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

TABLES: Registry[Any] = Registry(
    kind="table",
    bases=(),
    group="bench.tables",
    built_in={path.stem: f"bench.tables:{path.name}" for path in shipped_files(FOLDER, ".yaml")},
)
"""The tables by name: files beside `bench.tables`, and entry points that hold a file's path."""


def table_names() -> list[str]:
    """Return the names of the tables there are; no package of an entry point is imported."""
    return sorted(TABLES.names())


def table_name(text: str) -> str:
    """Return the name of a table that is given by its name or by its file.

    That is the file's stem, or the file's name where a shipped table has that stem, so that nobody
    takes one for the other: neither who reads it, nor what looks for a published table.

    Raises:
        UsageError: the file's name is no name of a folder.
    """
    if not text.endswith((".yaml", ".yml")):
        return text
    path = Path(text).expanduser()
    shipped = {file.stem: file for file in shipped_files(FOLDER, ".yaml")}
    own = path.stem in shipped and path.resolve() != shipped[path.stem].resolve()
    stem = path.name if own else path.stem
    if not _NAME.fullmatch(stem):
        raise UsageError(
            f"table {text}: {stem!r} cannot be a table's name, which is that of a folder; rename "
            "the file with letters, digits, '.', '_' and '-'."
        )
    return stem


def table_file(name: str) -> tuple[Path, bool]:
    """Return the file of a table, and whether it is the user's own.

    Raises:
        UsageError: the table is unknown, or there is no such file.
        ContractError: an entry point holds no path, or its module cannot be imported.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UsageError(f"there is no table {path}; expected a YAML file, or a name.")
        return path, True
    entry = TABLES.entry(name)
    if entry.origin == "built-in":
        return FOLDER / entry.attribute, False
    found = import_target(entry.target, kind="table")
    if not isinstance(found, str | Path) or not Path(found).is_file():
        raise ContractError(
            f"table {name!r} of {entry.origin}: {entry.target} is {found!r}; expected the path of "
            "a YAML file that is there."
        )
    return Path(found), False
