"""What this machine, this installation and a store have, lack and set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.check import installation
from bench.check.installation import Problem as Problem
from bench.check.published import published


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What `doctor` returns.

    Attributes:
        facts: by part (`"python"`, `"packages"`, ...), what was found by name.
        problems: what is wrong, and how to mend it.
    """

    facts: Mapping[str, Mapping[str, Any]]
    problems: tuple[Problem, ...]

    @property
    def exit_code(self) -> int:
        """The largest that a problem asks for; 0 without one."""
        return max((problem.exit_code for problem in self.problems), default=0)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return {**self.facts, "problems": [problem.to_json() for problem in self.problems]}


def doctor(
    store: Path | str = "outputs", *, results: Path | str = "results", verify: bool = False
) -> Diagnosis:
    """Look at everything; nothing is changed, and credentials are said to be set only.

    Args:
        store: the folder artifacts lie in; it need not exist.
        results: a folder of published tables; likewise.
        verify: hash every file of the store and of the shipped weights, derive tables again.
    """
    problems: list[Problem] = []
    folder = Path(store)
    facts: dict[str, Mapping[str, Any]] = {
        "python": installation.python(),
        "packages": installation.packages(problems),
        "torch": installation.torch(problems),
        "torchvision": installation.torchvision(problems),
        "machine": installation.machine(folder),
        "environment": installation.environment(),
        "store": installation.store(folder, verify=verify, problems=problems),
        "published": published(folder, Path(results), verify=verify, problems=problems),
    }
    if verify:
        facts["shipped weights"] = installation.shipped(problems)
    return Diagnosis(facts=facts, problems=tuple(problems))
