"""Running a notebook's code cells in one namespace, as its kernel does; nothing of Jupyter."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any


def run_notebook(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """Return the namespace that the cells leave, and the value each cell ends with.

    A cell that does not end with an expression shows None.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]), filename=f"{path.name}, cell {number}")
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"{path.name}, cell {number}", "exec"), namespace)
        value = None
        if isinstance(last, ast.Expr):
            code = compile(ast.Expression(last.value), f"{path.name}, cell {number}", "eval")
            value = eval(code, namespace)
        shown.append(value)
    return namespace, shown
