"""Expected failures, each with the exit code the command line ends with.

An expected failure is printed without a traceback. Its message says what was found, what was
expected and how to mend it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


class BenchError(Exception):
    """A failure the user can act on: printed without a traceback, exit code `exit_code`."""

    exit_code = 1


class UsageError(BenchError):
    """Unknown name, unknown key, or options that contradict each other (exit 2)."""

    exit_code = 2


class ContractError(UsageError):
    """A plug-in does not fulfil its contract; the message lists what to mend (exit 2)."""


class PrerequisiteError(BenchError):
    """Weights, packages or hardware are missing (exit 3).

    Args:
        message: what is missing.
        fix: the command that gets it.
    """

    exit_code = 3

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(f"{message}\n  to mend it: {fix}")
        self.fix = fix


class IncompleteError(BenchError):
    """An image set lacks images; a metric over it would not be the metric (exit 1)."""


class CorruptArtifactError(BenchError):
    """Bytes on disk disagree with the manifest that describes them (exit 1).

    Args:
        message: what was found and expected.
        artifact_path: the folder of the artifact, for whoever removes it and makes it anew.
    """

    def __init__(self, message: str, *, artifact_path: Path | None = None) -> None:
        super().__init__(message)
        self.artifact_path = artifact_path


class StoreError(BenchError):
    """The store cannot be written: no space, read-only, a file in the way (exit 1)."""


class DivergedError(BenchError):
    """Training met a NaN or an infinity; the last good checkpoint is kept (exit 1)."""


class ProtocolError(BenchError):
    """Two numbers measured under unlike protocols were about to be put side by side (exit 1)."""


SHOWN = 20
"""Candidates listed when none is near."""


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return `" Did you mean 'x' or 'y'?"`, or all candidates when nothing is near."""
    names = sorted(set(candidates))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return " Did you mean " + " or ".join(repr(n) for n in near) + "?"
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if names[SHOWN:] else "")
    return f" Known: {shown}." if names else ""


def unknown(kind: str, name: str, candidates: Iterable[str]) -> UsageError:
    """Return the error for an unknown name, with the nearest known ones."""
    return UsageError(f"unknown {kind} {name!r}.{did_you_mean(name, candidates)}")


def together(missing: Sequence[PrerequisiteError]) -> PrerequisiteError:
    """Return one error that says all that is missing, and the commands that get it."""
    if len(missing) == 1:
        return missing[0]
    found = "\n  ".join(str(error).partition("\n")[0] for error in missing)
    fixes = "\n              ".join(dict.fromkeys(error.fix for error in missing))
    return PrerequisiteError(f"{len(missing)} things are missing:\n  {found}", fix=fixes)
