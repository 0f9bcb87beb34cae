"""`bench report --table NAME`: render a table again from what was stored. No store, no torch.

Reads `table.json` and `records.parquet` from STORE/tables/NAME, or from the folder --from names
(`results/`, or `results/table-1a/`), and gives the same files byte for byte.
"""

from __future__ import annotations

import argparse
import logging
import shlex
from pathlib import Path

from bench.api.errors import UsageError
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import add_store
from bench.cli._toy import TOY
from bench.cli._verbs import VERBS

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
    parser.add_argument("--output", type=Path, metavar="DIR", help="write all formats there too")
    parser.add_argument(
        "--publish",
        type=Path,
        metavar="DIR",
        help="write DIR/table-NAME/ with table.{md,csv,json,tex,html}, records.parquet, pictures "
        "and command.txt, to be committed",
    )
    parser.add_argument(
        "--recompute", action="store_true", help="compute all statistics from the records again"
    )
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Render the table."""
    from bench.report.stored import pictures_of, read_report, write_report
    from bench.tables.spec import table_names

    known = [*table_names(), TOY]
    if args.table not in known:
        from bench.api.errors import unknown

        raise unknown("table", args.table, known)
    report = read_report(_folder(args), recompute=args.recompute)
    if report.data.table != args.table:
        raise UsageError(f"{_folder(args)} holds table {report.data.table}, not {args.table}.")
    if args.output is not None:
        _copy_pictures(_folder(args), args.output)
        write_report(report, args.output)
    if args.publish is not None:
        folder = args.publish / f"table-{args.table}"
        _copy_pictures(_folder(args), folder)
        write_report(report, folder, command=command_of(report.data.command))
        LOG.info("published %s", folder)
    form = "json" if args.json else args.format
    print(report.render(form, pictures_of(_folder(args)) if form == "html" else None), end="")
    return 0


def _copy_pictures(source: Path, folder: Path) -> None:
    from bench.store import DISK

    for picture in sorted(source.glob("*.png")):
        DISK.write_atomically(folder / picture.name, picture.read_bytes())


def _folder(args: argparse.Namespace) -> Path:
    if args.source is None:
        return Path(args.store) / "tables" / str(args.table)
    inside = args.source / f"table-{args.table}"
    return Path(inside if inside.is_dir() else args.source)


def command_of(words: tuple[str, ...]) -> str:
    """Return the command line that makes a table, as one line of text."""
    return f"python -m bench {shlex.join(words)}\n"
