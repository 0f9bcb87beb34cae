"""Reading what a plug-in's source says of it, without running the source."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from bench.api.registry import Entry


def source_file(module: str) -> Path | None:
    """Return the file a module would be loaded from, or None; the module is not run."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def summary_of(entry: Entry) -> str | None:
    """Return the first line of the class's docstring, read from the source text; None without one.

    An unreadable source gives None as well: to list is not the place to complain of it.
    """
    file = source_file(entry.module)
    if file is None:
        return None
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == entry.attribute:
            text = ast.get_docstring(node)
            return text.strip().splitlines()[0] if text else None
    return None
