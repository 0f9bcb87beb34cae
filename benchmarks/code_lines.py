"""Lines of code by room, no blanks, comments, docstrings: `python benchmarks/code_lines.py`."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOPS = ("bench", "methods", "evaluators")
_SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
_SILENT |= {tokenize.ENCODING, tokenize.ENDMARKER}
_OWNERS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(text: str) -> int:
    """Return how many lines of a module hold code; a text in place of a docstring is none."""
    tree = ast.parse(text)
    texts: set[int] = set()
    for node in ast.walk(tree):
        for one in node.body if isinstance(node, _OWNERS) else ():
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
                texts |= set(range(one.lineno, (one.end_lineno or one.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _SILENT:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - texts)


def main() -> None:
    """Print the lines of each room, the largest first, and of all."""
    found: Counter[str] = Counter()
    files = [file for top in TOPS for file in sorted((ROOT / top).rglob("*.py"))]
    for file in files:
        parts = file.relative_to(ROOT).parts
        found["/".join(parts[: 2 if len(parts) > 2 else 1])] += code_lines(file.read_text("utf-8"))
    for room, lines in found.most_common():
        print(f"{lines:6}  {room}")
    print(f"{found.total():6}  in {len(files)} files")


if __name__ == "__main__":
    main()
