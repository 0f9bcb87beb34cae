"""Plug-ins that end the process, as the variable EXITING says: WHERE:HOW."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.api.prompts import PromptSuite
from evaluators.geneval.metric import GenEval
from methods.ddspo import DDSPO
from tests.steps.toys import ToyDetector, geneval_micro


def leave(where: str) -> None:
    """End the process where the variable says so."""
    wanted, _, how = os.environ.get("EXITING", ":").partition(":")
    if where != wanted:
        return
    if how == "exit":
        sys.exit(0)
    if how == "hard":
        os._exit(0)
    if how == "interrupt":
        raise KeyboardInterrupt
    raise SpeechlessError


class SpeechlessError(Exception):
    """Cannot be pickled, and has no text."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __str__(self) -> str:
        raise RuntimeError("no text")


@dataclass(frozen=True, kw_only=True)
class LeavingMethod(DDSPO):
    """Leaves when it is made, or in its loss."""

    name: ClassVar[str] = "leaving"

    def __post_init__(self) -> None:
        leave("made")

    def link(self, delta: Any) -> Any:
        """Leave, or do as DDSPO."""
        leave("called")
        return super().link(delta)


class LeavingDetector(ToyDetector):
    """Leaves when it is made, or when it looks."""

    def __init__(self) -> None:
        leave("made")
        super().__init__()

    def look(self, images: Any, wanted: Mapping[str, Any] | None) -> Iterator[Any]:
        """Leave, or do as the toy."""
        leave("called")
        yield from super().look(images, wanted)


@dataclass(frozen=True, kw_only=True)
class LeavingEvaluator(GenEval):
    """Leaves when it is made, or when it scores."""

    def __post_init__(self) -> None:
        leave("made")

    def score(self, suite: PromptSuite, predictions: Any) -> Sequence[Any]:
        """Leave, or do as GenEval."""
        leave("called")
        return list(super().score(suite, predictions))


def leaving_prompts() -> PromptSuite:
    """Leave, or give the micro suite."""
    leave("called")
    return geneval_micro()
