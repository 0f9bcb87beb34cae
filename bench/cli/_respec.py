"""What a table's file says of it now, for a table that was stored before."""

from __future__ import annotations

import argparse
from dataclasses import replace

from bench.cli._parser import Parser
from bench.cli._request import request_of
from bench.report.circular import marked_claims
from bench.report.model import TableData
from bench.report.respecified import respecified


def respec(stored: TableData, table: str) -> TableData:
    """Return a stored table with the claims, published values and notes of its present file.

    Args:
        stored: as it was read.
        table: its name or file, as it is asked for now.

    Raises:
        UsageError: the command that made it asks for another table now.
    """
    from bench.cli import run

    parser: argparse.ArgumentParser = Parser(prog="bench")
    run.register(parser.add_subparsers(dest="verb", required=True))
    args = parser.parse_args(list(stored.command))
    args.table = table
    from bench.report.collect import empty_table

    now = empty_table(request_of(args), stored.cells)
    return replace(respecified(stored, now), claims=marked_claims(now).claims)
