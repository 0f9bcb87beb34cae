"""The trip of one cell: `python benchmarks/trip.py [--route] [arguments of bench]`.

A command is run (by default the plan of one cell, in an empty store) and every function of the
house that is entered counts once, where it is entered first, so that loops and the number of rows
do not count. Floors are those of the imports: a file stands above all that it imports. Printed are

    functions   entered
    files       entered
    moves       calls from one file into another
    climbs      moves to a higher floor: what is handed down is called from below
    returns     moves into a file that was entered before
"""

from __future__ import annotations

import ast
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from inspect import CO_OPTIMIZED
from io import StringIO
from pathlib import Path
from types import CodeType, FrameType

ROOT = Path(__file__).parents[1]
TOPS = ("bench", "methods", "evaluators")
CELL = ("plan", "--table", "1a", "--rows", "ddspo", "--cols", "GE", "--seeds", "0")


@dataclass(frozen=True, kw_only=True)
class Trip:
    """Each function that was entered, once, in order: the file that called it, and its own."""

    calls: tuple[tuple[str, str], ...]

    @property
    def moves(self) -> tuple[tuple[str, str], ...]:
        """The calls from one file into another."""
        return tuple((caller, file) for caller, file in self.calls if caller != file)

    def figures(self) -> dict[str, int]:
        """Return the counts that are printed."""
        files = {file for _, file in self.calls}
        return {
            "functions": len(self.calls),
            "files": len(files),
            "moves": len(self.moves),
            "climbs": sum(floor(file) > floor(caller) for caller, file in self.moves),
            "returns": len(self.moves) - len({file for _, file in self.moves}),
        }


@cache
def imported(file: str) -> frozenset[str]:
    """Return the files of the house that a file imports, anywhere in it."""
    found: set[str | None] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {_file_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found.add(_file_of(f"{node.module}.{alias.name}") or _file_of(node.module))
    return frozenset(other for other in found if other not in (None, file))


def _file_of(module: str) -> str | None:
    """Return the file of a module of the house, None where there is none."""
    place = module.replace(".", "/")
    files = (f"{place}.py", f"{place}/__init__.py")
    inside = module.partition(".")[0] in TOPS
    return next((file for file in files if inside and (ROOT / file).is_file()), None)


@cache
def floor(file: str) -> int:
    """Return how many files stand below a file, one on the other; no files import each other."""
    return 1 + max((floor(below) for below in imported(file)), default=0)


def trip_of(arguments: list[str]) -> Trip:
    """Run a command and return where it went; what it prints is not shown."""
    sys.path.insert(0, str(ROOT))
    from bench.cli import main

    entered: dict[CodeType, tuple[str, str]] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        code, caller = frame.f_code, frame.f_back
        if event != "call" or code in entered or not _is_ours(code):
            return
        while caller is not None and not _is_ours(caller.f_code):
            caller = caller.f_back
        entered[code] = (_file(code if caller is None else caller.f_code), _file(code))

    sys.setprofile(note)
    try:
        with redirect_stdout(StringIO()):
            main(arguments)
    finally:
        sys.setprofile(None)
    return Trip(calls=tuple(entered.values()))


def _is_ours(code: CodeType) -> bool:
    """Whether it is of a function or method with a name, in one of the house's files."""
    inside = any(code.co_filename.startswith(f"{ROOT / top}/") for top in TOPS)
    return inside and bool(code.co_flags & CO_OPTIMIZED) and not code.co_name.startswith("<")


def _file(code: CodeType) -> str:
    return str(Path(code.co_filename).relative_to(ROOT))


def main() -> None:
    """Print the figures, and with `--route` each move."""
    arguments = [a for a in sys.argv[1:] if a != "--route"]
    with tempfile.TemporaryDirectory() as store:
        trip = trip_of(arguments or [*CELL, "--store", store])
    if "--route" in sys.argv:
        print(*(f"{caller} -> {file}" for caller, file in trip.moves), sep="\n")
    print(", ".join(f"{count} {what}" for what, count in trip.figures().items()))


if __name__ == "__main__":
    main()
