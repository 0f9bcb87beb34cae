"""`bench compare A B`: which numbers of a table moved by more than noise. No store, no torch.

A and B are folders that hold a table each, before and after a change: `outputs/tables/1a`,
`results/table-1a`, or that of another clone. Images are paired one by one, of equal noise, training
seeds one by one. Numbers of unlike protocols are not compared, and it is said which and why; where
none can be compared the exit code is 2.

With fewer than three training seeds on a side nobody can say "worse", only that the checkpoints
differ. `--fail-if-worse` then judges what sampled the same checkpoint on both sides (a change of
sampler, evaluator or machine), and ends with 2 where that is not so, or where something that both
tables have could not be compared.

bench compare results/table-1a outputs/tables/1a
bench compare results/table-1a outputs/tables/1a --cols GE --fail-if-worse
bench compare results/table-1a results/table-1a --against diffusion-dpo
"""

from __future__ import annotations

import argparse
import logging
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import names
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from bench.harness.comparison import Comparison, Moved


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
        "said of all that both have",
    )
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Compare the tables."""
    from bench.harness.comparison import compare

    found = compare(
        args.first, args.second, rows=args.rows, columns=args.cols, against=args.against
    )
    verdict = found.verdict(fail_if_worse=args.fail_if_worse)
    if args.json:
        print_json([moved.to_json() for moved in found.moved])
        if verdict.why:
            LOG.error("%s", verdict.why)
    else:
        _print(found)
        for line in found.notes():
            _fill(line)
        if verdict.why:
            _fill(verdict.why)
    return verdict.exit_code


def _print(comparison: Comparison) -> None:
    from bench.harness.comparison import DIFFERS
    from bench.report import words

    found, data = comparison.moved, comparison.known
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
