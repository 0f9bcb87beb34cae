"""Steps by id: which is made from which, what is left to be made, what is urgent. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.api.errors import UsageError
from bench.steps.step import Step


class Graph:
    """Steps by id, upstream before downstream."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}

    def add(self, step: Step) -> str:
        """Add a step, unless an equal one is there, and return its id.

        Raises:
            UsageError: an upstream step was not added before.
        """
        for role, key in step.upstream.items():
            if key not in self._steps:
                raise UsageError(f"{step.id} needs {key} ({role}), which is not in the graph.")
        self._steps.setdefault(step.id, step)
        return step.id

    def __getitem__(self, key: str) -> Step:
        return self._steps[key]

    def __contains__(self, key: object) -> bool:
        return key in self._steps

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps.values())

    def __len__(self) -> int:
        return len(self._steps)

    def downstream(self) -> dict[str, list[str]]:
        """Return, by id, the ids of the steps that are made from it."""
        found: dict[str, list[str]] = {step.id: [] for step in self}
        for step in self:
            for key in dict.fromkeys(step.upstream.values()):
                found[key].append(step.id)
        return found

    def needed(self, targets: Sequence[str], complete: set[str]) -> set[str]:
        """Return the ids that must be made for `targets`: those not complete, and, beneath
        those alone, what they are made from.
        """
        wanted: set[str] = set()
        queue = [key for key in targets if key not in complete]
        while queue:
            key = queue.pop()
            if key in wanted:
                continue
            wanted.add(key)
            queue += [k for k in self[key].upstream.values() if k not in complete]
        return wanted

    def remaining_seconds(self) -> dict[str, float]:
        """Return, by id, the estimated time from its start to the end of all that follows it.

        Starting the steps with the longest way first keeps all workers busy to the end.
        """
        below = self.downstream()
        found: dict[str, float] = {}
        for step in reversed(list(self)):
            longest = max((found[key] for key in below[step.id]), default=0.0)
            found[step.id] = step.seconds + longest
        return found
