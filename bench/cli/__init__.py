"""The command line: `python -m bench VERB`, also installed as `bench`.

Data goes to stdout, logs go to stderr. Exit codes: 0 done; 1 a cell failed or a check regressed;
2 usage; 3 a prerequisite is missing; 130 interrupted.
"""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench import __version__
from bench.api import exits
from bench.api.errors import BenchError, UsageError, unknown
from bench.cli._output import patient_output, set_up_logging
from bench.cli._parser import Parser, kebab, refuse_unknown
from bench.cli._verbs import VERBS
from bench.harness.repairs import with_repairs

INTERRUPTED = 130

_EXIT_CODES = """\
exit codes: 0 done; 1 a cell failed or a check regressed; 2 usage; 3 a prerequisite is missing
(the message has the command that mends it); 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code.

    Args:
        argv: the arguments after the program's name; those of this process by default.
    """
    _look_for_plugins_here()
    try:
        with exits.watched(), patient_output() as output:
            code = _run(kebab(sys.argv[1:] if argv is None else argv))
            output.flush()  # a short output reaches a closed pipe only here
            return code
    except BenchError as error:
        _tell(f"bench: error: {error}")
        return error.exit_code
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        _tell(f"bench: error: {str(error.filename)[:80]}...: the name is too long for a file")
        return UsageError.exit_code
    except KeyboardInterrupt:
        _tell("bench: interrupted")
        return INTERRUPTED


def _tell(text: str) -> None:
    with suppress(OSError, ValueError):  # stderr may be full or closed; the exit code says it, too
        print(text, file=sys.stderr, flush=True)


def _run(argv: list[str]) -> int:
    verb = next((word for word in argv if not word.startswith("-")), None)
    if verb is not None and verb not in VERBS:
        raise unknown("verb", verb, VERBS)
    parser = Parser(
        prog="bench",
        description="Preference alignment of text-to-image diffusion models: benchmark and "
        "reproduction.",
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"bench {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    if verb is None:
        for name, summary in VERBS.items():
            subparsers.add_parser(name, help=summary)
        try:
            parser.parse_args(argv)  # ends here: help, version or an error
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 0
        raise AssertionError("argparse accepted a command line without a verb")
    try:
        return _verb(verb, parser, subparsers, argv)
    except Exception:
        raise
    except BaseException as error:
        if exits.is_users(error):
            raise
        raise exits.refused(error, f"a plug-in of `bench {verb}`") from error


def _verb(verb: str, parser: Parser, subparsers: Any, argv: list[str]) -> int:
    module = importlib.import_module(f"bench.cli.{verb}")
    verb_parser = module.register(subparsers)
    try:
        args, left_over = parser.parse_known_args(argv)
    except SystemExit as stop:  # --help
        return stop.code if isinstance(stop.code, int) else 0
    refuse_unknown(left_over, verb_parser)
    set_up_logging(verbose=args.verbose, quiet=args.quiet)
    return with_repairs(lambda: int(module.run(args)))


def _look_for_plugins_here() -> None:
    """Let `pkg.mod:Class` name a file of the current folder, whichever way the program started.

    `python -m bench` has that folder on the search path, the installed `bench` has not. It comes
    last, so that nothing there hides an installed module.
    """
    here = str(Path.cwd())
    if "" not in sys.path and here not in sys.path:
        sys.path.append(here)
