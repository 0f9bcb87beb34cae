"""How the checks of a plug-in are collected, and those that every kind shares."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One way in which a plug-in departs from its contract."""

    check: str
    found: str
    expected: str
    mend: str

    def __str__(self) -> str:
        return (
            f"{self.check}\n  found:      {self.found}\n  expected:   {self.expected}\n"
            f"  to mend it: {self.mend}"
        )


class Checks:
    """Collects what holds and what does not while a plug-in is checked."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.findings: list[Finding] = []
        self.facts: dict[str, Any] = {}

    def require(self, holds: bool, check: str, *, found: str, expected: str, mend: str) -> bool:
        """Note one check and return whether it holds."""
        if holds:
            self.passed.append(check)
        else:
            self.findings.append(Finding(check=check, found=found, expected=expected, mend=mend))
        return holds

    def attempt(self, what: str, call: Callable[[], T], *, mend: str) -> T | None:
        """Return `call()`, or None after noting the exception the plug-in raised."""
        try:
            return call()
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            self.require(
                False,
                f"{what} runs",
                found=f"{type(error).__name__}: {error} ({Path(place.filename).name}:"
                f"{place.lineno})",
                expected="no exception",
                mend=mend,
            )
            return None

    def take_in(self, other: Checks, *, prefix: str) -> None:
        """Add the outcome of a part's checks, each named with `prefix`."""
        self.passed += [prefix + check for check in other.passed]
        self.findings += [replace(f, check=prefix + f.check) for f in other.findings]
        self.facts |= {prefix + name: value for name, value in other.facts.items()}

    @property
    def clean(self) -> bool:
        """Whether nothing was found so far."""
        return not self.findings


def check_name_and_version(name: object, version: object, checks: Checks, where: str) -> None:
    """Check that a plug-in has a kebab-case name and a positive integer version.

    Args:
        name: what the plug-in declares.
        version: what the plug-in declares.
        checks: where the outcome is noted.
        where: how a user writes it, e.g. `"the class attribute"`.
    """
    kebab = (
        isinstance(name, str)
        and name != ""
        and all(part.isalnum() and part == part.lower() for part in name.split("-"))
    )
    checks.require(
        kebab,
        "it has a name",
        found=repr(name),
        expected="lower-case words joined by hyphens, such as 'my-method'",
        mend=f"set {where} `name`",
    )
    number = isinstance(version, int) and not isinstance(version, bool) and version >= 1
    checks.require(
        number,
        "it has a version",
        found=repr(version),
        expected="a positive integer, bumped whenever its numbers may change",
        mend=f"set {where} `version`",
    )


def check_plain(value: object, checks: Checks, check: str) -> None:
    """Check that a value is what JSON holds, for it is stored and hashed."""
    try:
        json.dumps(value, allow_nan=False)
        trouble = ""
    except (TypeError, ValueError) as error:
        trouble = str(error)
    checks.require(
        not trouble,
        check,
        found=trouble,
        expected="strings, booleans, lists, mappings and finite numbers",
        mend="convert numpy and torch values with float() or int(); raise ValueError on NaN",
    )


def check_concrete(cls: type, checks: Checks) -> bool:
    """Check that no abstract method is left, and return whether that holds."""
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    return checks.require(
        not missing,
        "nothing abstract is left",
        found=f"{cls.__qualname__} does not define {', '.join(missing)}",
        expected="a definition of each",
        mend=f"define {', '.join(missing)} with the signature in {cls.__mro__[1].__module__}",
    )


def check_built(cls: Callable[[], T], checks: Checks) -> T | None:
    """Return `cls()`, or None after noting why it cannot be built without arguments."""
    return checks.attempt(
        "building it without arguments",
        cls,
        mend="give every field a default, the paper's setting",
    )


def described(value: object) -> str:
    """Return a short description of what a plug-in returned."""
    import torch

    if isinstance(value, torch.Tensor):
        finite = "" if bool(torch.isfinite(value).all()) else ", not finite"
        return f"a tensor of shape {tuple(value.shape)}{finite}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}: " + ", ".join(map(described, value))
    return f"{type(value).__name__} {value!r}" if value is None else type(value).__name__
