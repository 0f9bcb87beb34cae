"""`bench compare A B`: which numbers of a table moved by more than noise. No store, no torch.

A and B are folders that hold a table each, before and after a change: `outputs/tables/1a`,
`results/table-1a`, or that of another clone. Images are paired one by one, training seeds one by
one; numbers of unlike protocols are not compared.

bench compare results/table-1a outputs/tables/1a
bench compare results/table-1a outputs/tables/1a --cols GE --fail-if-worse
bench compare results/table-1a results/table-1a --against diffusion-dpo
"""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import names
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.comparison import Moved
    from bench.report.model import TableData


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("compare", help=VERBS["compare"], description=__doc__)
    parser.add_argument("first", type=Path, metavar="A", help="folder of a table, before")
    parser.add_argument("second", type=Path, metavar="B", help="folder of a table, after")
    parser.add_argument("--rows", type=names, metavar="A,B", help="these rows alone")
    parser.add_argument("--cols", type=names, metavar="A,B", help="these columns alone")
    parser.add_argument(
        "--against", metavar="ROW", help="compare every row of B with this row of A"
    )
    parser.add_argument(
        "--fail-if-worse",
        action="store_true",
        help="exit with 1 where a number is worse by more than noise",
    )
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Compare the tables."""
    from bench.report.comparison import compare_tables
    from bench.report.stored import read_report

    first = read_report(args.first).data
    second = first if args.first == args.second else read_report(args.second).data
    only = _chosen(second, args.rows, args.cols)
    found = compare_tables(first, only, against=args.against)
    if args.json:
        print_json([moved.to_json() for moved in found])
    else:
        _print(found, only)
    return 1 if args.fail_if_worse and any(m.word == "worse" for m in found) else 0


def _chosen(
    data: TableData, rows: Sequence[str] | None, columns: Sequence[str] | None
) -> TableData:
    """Return the table with the rows and columns asked for.

    Raises:
        UsageError: there is no such row or column.
    """
    from bench.api.errors import unknown

    for what, wanted, there in (("row", rows, data.rows), ("column", columns, data.columns)):
        known = [str(one["key"]) for one in there]
        for name in wanted or ():
            if name not in known:
                raise unknown(what, name, known)
    if rows is None and columns is None:
        return data
    return replace(
        data,
        rows=tuple(r for r in data.rows if rows is None or r["key"] in rows),
        columns=tuple(c for c in data.columns if columns is None or c["key"] in columns),
    )


def _print(found: Sequence[Moved], data: TableData) -> None:
    from bench.report import words

    lines: list[dict[str, Any]] = []
    notes: dict[str, list[str]] = {}
    for moved in found:
        decimals = words.decimals_of(data, moved.column)
        line: dict[str, Any] = {
            "row": moved.row,
            "col": moved.column,
            "A": words.number(moved.first, decimals),
            "B": words.number(moved.second, decimals),
            "B - A, 95 %": _difference(moved, decimals),
            "": moved.word + ("*" if moved.basis == "training seeds" else ""),
        }
        lines.append(line)
        if moved.reason:
            notes.setdefault(moved.reason, []).append(f"{moved.row}/{moved.column}")
    print_rows(lines, list(lines[0]))
    tested = sum(m.p is not None for m in found)
    print(f"\n{tested} of {len(found)} tested, Holm-corrected over these.")
    if tested:
        print(
            "*: over training seeds; the others given these checkpoints: what other prompts\n"
            "would have given, not what training again would."
        )
    for reason, cells in notes.items():
        text = f"not compared: {', '.join(cells)}: {reason}"
        print(textwrap.fill(text, 80, subsequent_indent="  ", break_on_hyphens=False))


def _difference(moved: Moved, decimals: int) -> str:
    from bench.report import words

    if moved.difference is None or moved.difference.given is None:
        return "-"
    seeds, given = moved.difference.seeds, moved.difference.given
    shown = seeds if moved.basis == "training seeds" and seeds is not None else given
    ends = words.interval(shown.low, shown.high, decimals, sign=True)
    return f"{words.number(shown.value, decimals, sign=True)} {ends}".rstrip()
