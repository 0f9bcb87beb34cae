"""Reading what a plug-in's source says of it, without running the source."""

from __future__ import annotations

import ast

from bench.api.declared import parsed
from bench.api.declared import source_file as source_file
from bench.api.registry import Entry


def summary_of(entry: Entry) -> str | None:
    """Return the first line of the class's docstring, read from the source text; None without one.

    An unreadable source gives None as well: to list is not the place to complain of it.
    """
    tree = parsed(entry.module)
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.ClassDef) and node.name == entry.attribute:
            text = ast.get_docstring(node)
            return text.strip().splitlines()[0] if text else None
    return None
