"""`bench report --table NAME`: render a table again from what was stored. No store, no torch.

Reads `table.json` and `records.parquet` from STORE/tables/NAME, or from the folder --from names
(`results/`, or `results/table-1a/`), and gives the same files byte for byte.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.errors import UsageError
from bench.cli._output import print_report
from bench.cli._parser import Parser, Subparsers, add_common
from bench.cli._request import add_store, request_of
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from bench.spec.request import Request

LOG = logging.getLogger("bench.cli")
FORMS = ("terminal", "md", "csv", "json", "tex", "html")


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("report", help=VERBS["report"], description=__doc__)
    parser.add_argument("--table", required=True, metavar="NAME", help="see `bench list tables`")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="DIR", help="a published table, or results/"
    )
    add_store(parser)
    parser.add_argument("--format", choices=FORMS, default="terminal", help="what to print")
    parser.add_argument(
        "--intervals",
        action="store_true",
        help="terminal and md: also the intervals given these checkpoints and over training seeds",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="write all formats there too")
    parser.add_argument(
        "--publish",
        type=Path,
        metavar="DIR",
        help="write DIR/table-NAME/ with table.{md,csv,json,tex,html}, records.parquet, pictures "
        "and command.txt, to be committed",
    )
    parser.add_argument(
        "--respec",
        action="store_true",
        help="with the claims, published values and notes that the table's file has now",
    )
    parser.add_argument(
        "--recompute", action="store_true", help="compute all statistics from the records again"
    )
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Render the table."""
    from bench.report.sealed import COMMAND_FILE, open_table
    from bench.report.stored import captioned, command_of, pictures_of, read_report, write_report
    from bench.spec.table_files import table_name, table_names

    asked, args.table = args.table, table_name(args.table)
    if args.table not in table_names() and not _folder(args).is_dir():
        from bench.api.errors import unknown

        raise unknown("table", args.table, table_names())
    form = "json" if args.json else args.format
    found = open_table(_folder(args))
    report = read_report(found, recompute=args.recompute)
    if report.data.table != args.table:
        raise UsageError(f"{_folder(args)} holds table {report.data.table}, not {args.table}.")
    if args.respec:
        from bench.harness.tables import respecified

        report = respecified(report, _request(report.data.command, asked))
    written = args.output is not None or args.publish is not None
    pictures = pictures_of(found) if written or form == "html" else {}
    command = command_of(report.data.command)
    if args.output is not None:
        with_command = COMMAND_FILE in {**found.files, **found.faults}
        write_report(report, args.output, command if with_command else None, pictures)
    if args.publish is not None:
        folder = args.publish / f"table-{args.table}"
        write_report(report, folder, command, pictures)
        LOG.info("published %s", folder)
    text = report.render(form, captioned(pictures), parts=args.intervals)
    print_report(text, as_json=form == "json")
    return 0


def _folder(args: argparse.Namespace) -> Path:
    if args.source is None:
        return Path(args.store) / "tables" / str(args.table)
    inside = args.source / f"table-{args.table}"
    return Path(inside if inside.is_dir() else args.source)


def _request(command: Sequence[str], table: str) -> Request:
    """Return what the command that made a table asks for now, of a table's present name or file.

    Raises:
        UsageError: something is unknown by now.
    """
    from bench.cli import run

    parser: argparse.ArgumentParser = Parser(prog="bench")
    run.register(parser.add_subparsers(dest="verb", required=True))
    args = parser.parse_args(list(command))
    args.table = table
    return request_of(args)
