"""Prompt suites from the user's own text files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from bench.api.errors import PrerequisiteError
from bench.api.prompts import Prompt, PromptSuite


def captions(*, file: str, count: int | None = None, name: str = "captions") -> PromptSuite:
    """Return the first `count` lines of a text file, one caption each; blank lines are skipped.

    Args:
        file: path of a UTF-8 text file.
        count: captions taken; the file must hold as many. None takes all.
        name: of the suite.

    Raises:
        PrerequisiteError: the file is missing or too short.
    """
    path = Path(file).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PrerequisiteError(
            f"captions file {path}: {error.strerror}", fix="name a text file, one caption a line"
        ) from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if count is not None and len(lines) < count:
        raise PrerequisiteError(
            f"{path} holds {len(lines)} captions, {count} are needed",
            fix=f"provide a file with {count} captions, one a line",
        )
    return captions_of(lines[:count], name=name)


def captions_of(texts: Sequence[str], *, name: str = "captions") -> PromptSuite:
    """Return a suite of these texts, one caption each."""
    return PromptSuite(
        name=name,
        version=hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12],
        prompts=tuple(
            Prompt(id=f"caption-{i:06d}", text=text, tag="caption") for i, text in enumerate(texts)
        ),
    )
