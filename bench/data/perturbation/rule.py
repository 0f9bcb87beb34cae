"""What a perturbation is: a rule that turns a prompt into a degraded one. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NotRequired, Protocol, TypedDict, Unpack, runtime_checkable

from bench.api.errors import UsageError
from bench.store import Store

Pick = Callable[[str, Random], str | None]
"""(prompt, random numbers) -> a degraded prompt, or None where there is none."""

Progress = Callable[[int, int], None]
"""(prompts done, prompts in all)."""


class How(TypedDict):
    """How prompts are degraded.

    Attributes:
        seed: of whatever a rule draws beforehand.
        device: where a model answers; None chooses.
        progress: told how many prompts are done.
    """

    seed: int
    device: NotRequired[str | None]
    progress: NotRequired[Progress | None]


class Rule(Protocol):
    """A rule."""

    @property
    def name(self) -> str:
        """What it is asked for by."""

    @property
    def version(self) -> int:
        """Bumped when its texts may change."""

    def identity(self, options: Mapping[str, Any], store: Store | None = None) -> dict[str, Any]:
        """Return what of the rule enters a pair set's hash, JSON-able.

        Args:
            options: settings of the rule, as they stand in a file.
            store: where hashes of large files are remembered; None leaves out what is known only
                by looking at a model's files.

        Raises:
            UsageError: an option is unknown or out of range.
            PrerequisiteError: the rule's model is not on this machine.
        """

    def prepare(
        self, store: Store, texts: Sequence[str], options: Mapping[str, Any], **how: Unpack[How]
    ) -> Pick:
        """Return what degrades `texts`, after doing what takes long.

        Raises:
            UsageError, PrerequisiteError: as `identity`.
            StoreError: the disk fails.
        """


def identity_without_options(rule: Rule, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return name and version of a rule that has no options (UsageError: it is given some)."""
    if options:
        raise UsageError(
            f"perturbation {rule.name} has no options; found {', '.join(sorted(options))}."
        )
    return {"name": rule.name, "version": rule.version}


@runtime_checkable
class Immediate(Protocol):
    """A rule that needs nothing but the prompt and its options."""

    def picked(self, options: Mapping[str, Any]) -> Pick:
        """Return what degrades a prompt (UsageError: an option is unknown or out of range)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Perturbation:
    """A rule that needs nothing but the prompt; a `Rule` without options.

    Attributes:
        name, version: see `Rule`.
        pick: degrades one prompt.
    """

    name: str
    version: int
    pick: Pick

    def identity(self, options: Mapping[str, Any], store: Store | None = None) -> dict[str, Any]:
        """Return name and version; see `Rule.identity`."""
        return identity_without_options(self, options)

    def prepare(
        self, store: Store, texts: Sequence[str], options: Mapping[str, Any], **how: Unpack[How]
    ) -> Pick:
        """Return `pick`; see `Rule.prepare`."""
        return self.picked(options)

    def picked(self, options: Mapping[str, Any]) -> Pick:
        """Return `pick`; see `Immediate.picked`."""
        self.identity(options)
        return self.pick
