"""`bench compare A B`: which numbers of a table moved by more than noise. No store, no torch.

A and B are folders that hold a table each, before and after a change: `outputs/tables/1a`,
`results/table-1a`, or that of another clone. Images are paired one by one, of equal noise, training
seeds one by one. Numbers of unlike protocols are not compared, and it is said which and why; where
none can be compared the exit code is 2.

With fewer than three training seeds on a side nobody can say "worse", only that the checkpoints
differ. `--fail-if-worse` then judges what sampled the same checkpoint on both sides (a change of
sampler, evaluator or machine), and ends with 2 where that is not so.

bench compare results/table-1a outputs/tables/1a
bench compare results/table-1a outputs/tables/1a --cols GE --fail-if-worse
bench compare results/table-1a results/table-1a --against diffusion-dpo
"""

from __future__ import annotations

import argparse
import logging
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import names
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.report.comparison import Moved
    from bench.report.model import TableData


LOG = logging.getLogger("bench.cli")


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
        help="exit with 1 where a number is worse by more than noise, with 2 where that cannot be "
        "said",
    )
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Compare the tables."""
    from bench.report import processors
    from bench.report.comparison import compare_tables
    from bench.report.stored import read_report

    first = read_report(args.first).data
    second = first if args.first == args.second else read_report(args.second).data
    known = replace(second, rows=_union(first.rows, second.rows))
    known = replace(known, columns=_union(first.columns, second.columns))
    _require_known(known, args.rows, args.cols)
    # against a row of A all other rows of A are of no concern, and that one is, asked for or not
    ours = first if args.against else _chosen(first, args.rows, None)
    theirs = _chosen(second, args.rows, args.cols)
    found = compare_tables(_chosen(ours, None, args.cols), theirs, against=args.against)
    code, why = _outcome(found, fail_if_worse=args.fail_if_worse)
    if args.json:
        print_json([moved.to_json() for moved in found])
        if why:
            LOG.error("%s", why)
    else:
        _print(found, known)
        for line in processors.lines([*ours.cells, *theirs.cells]):
            _fill(line)
        if why:
            _fill(why)
    return code


def _outcome(found: Sequence[Moved], *, fail_if_worse: bool) -> tuple[int, str]:
    """Return the exit code, and why it is 2."""
    if all(m.word == "not compared" for m in found):
        return 2, "nothing could be compared"
    if not fail_if_worse:
        return 0, ""
    if any(m.is_worse for m in found):
        return 1, ""
    undecided = [f"{m.row}/{m.column}" for m in found if m.is_undecided]
    if undecided:
        return 2, (
            f"--fail-if-worse cannot say of {', '.join(undecided)}: fewer than three training "
            "seeds on a side, and no provenance that shows that both sampled the same checkpoint. "
            "Compare tables of three training seeds or more (--seeds 0,1,2)."
        )
    return 0, ""


def _union(
    ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, Any], ...]:
    known = {str(one["key"]) for one in ours}
    return (*ours, *(one for one in theirs if str(one["key"]) not in known))


def _require_known(
    data: TableData, rows: Sequence[str] | None, columns: Sequence[str] | None
) -> None:
    """Raise UsageError where neither table has such a row or column."""
    from bench.api.errors import unknown

    for what, wanted, there in (("row", rows, data.rows), ("column", columns, data.columns)):
        known = [str(one["key"]) for one in there]
        for name in wanted or ():
            if name not in known:
                raise unknown(what, name, known)


def _chosen(
    data: TableData, rows: Sequence[str] | None, columns: Sequence[str] | None
) -> TableData:
    """Return the table with the rows and columns asked for, those it has."""
    if rows is None and columns is None:
        return data
    return replace(
        data,
        rows=tuple(r for r in data.rows if rows is None or r["key"] in rows),
        columns=tuple(c for c in data.columns if columns is None or c["key"] in columns),
    )


def _print(found: Sequence[Moved], data: TableData) -> None:
    from bench.report import words
    from bench.report.comparison import DIFFERS

    lines: list[dict[str, Any]] = []
    notes: dict[str, dict[str, None]] = {}
    for moved in found:
        decimals = words.decimals_of(data, moved.column)
        line: dict[str, Any] = {
            "row": moved.row,
            "col": moved.column,
            "A": words.number(moved.first, decimals),
            "B": words.number(moved.second, decimals),
            "B - A, 95 %": _difference(moved, decimals),
            "": "differs*" if moved.word == DIFFERS else moved.word,
        }
        if not moved.is_alone:
            lines.append(line)
        if moved.reason:
            of_row = {m.reason for m in found if m.row == moved.row}
            name = moved.row if len(of_row) == 1 else f"{moved.row}/{moved.column}"
            notes.setdefault(moved.reason, {})[name] = None
    print_rows(lines, list(lines[0]))
    tested = [m for m in found if m.p is not None]
    print(f"\n{len(tested)} of {len(lines)} tested, Holm-corrected over these.")
    if any(m.word == DIFFERS for m in found):
        _fill(
            f"*: {DIFFERS}. With fewer than three training seeds a side nothing is known of "
            "training again."
        )
    for reason, cells in notes.items():
        _fill(f"not compared: {', '.join(cells)}: {reason}")


def _fill(text: str) -> None:
    print(textwrap.fill(text, 80, subsequent_indent="  ", break_on_hyphens=False))


def _difference(moved: Moved, decimals: int) -> str:
    from bench.report import words

    if moved.difference is None or moved.difference.estimate is None:
        return "-"
    if moved.word == "equal":
        return words.number(moved.difference.estimate.value, decimals, sign=True)
    return words.estimate_text(moved.difference.estimate, decimals, sign=True)
