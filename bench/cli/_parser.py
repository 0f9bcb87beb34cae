"""An argument parser with suggestions, and the options every verb shares."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from bench.api.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Subparsers = Any


class Parser(argparse.ArgumentParser):
    """Raises UsageError in place of exiting, names the nearest choice, knows no abbreviations."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the message and the usage line."""
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                action, f"unknown value {str(value)!r}.{did_you_mean(str(value), choices)}"
            )

    def flags(self) -> list[str]:
        """Return the long options of this parser."""
        return [flag for flag in self._option_string_actions if flag.startswith("--")]


def add_common(parser: argparse.ArgumentParser, *, json: bool = False) -> None:
    """Add the options every verb has.

    Args:
        parser: a verb's parser.
        json: whether the verb prints data, and so has `--json`.
    """
    if json:
        parser.add_argument("--json", action="store_true", help="print JSON on stdout")
    logs = parser.add_mutually_exclusive_group()
    logs.add_argument("-v", "--verbose", action="store_true", help="log more, on stderr")
    logs.add_argument("-q", "--quiet", action="store_true", help="log warnings and errors only")


def count(text: str) -> int:
    """Return an option's number of things (argparse says which option, and ends with usage)."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 1")
    return int(text)


def kebab(argv: Iterable[str]) -> list[str]:
    """Return `argv` with `--snake_case` flags as `--kebab-case`; values stay as they are."""
    words: list[str] = []
    literal = False
    for word in argv:
        literal = literal or word == "--"
        if word.startswith("--") and not literal:
            flag, equals, value = word.partition("=")
            word = flag.replace("_", "-") + equals + value
        words.append(word)
    return words


def refuse_unknown(unknown: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Raise UsageError for arguments no option took, naming the nearest options.

    Args:
        unknown: what argparse left over.
        parser: the parser of the verb that was used.
    """
    if not unknown:
        return
    flag = unknown[0].partition("=")[0]
    known = parser.flags() if isinstance(parser, Parser) else []
    hint = did_you_mean(flag, known) if flag.startswith("-") else ""
    kind = "option" if flag.startswith("-") else "argument"
    parser.error(f"unknown {kind} {flag!r}.{hint}")
