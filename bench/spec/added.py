"""Rows that no table's file has: a method or published weights of the command line."""

from __future__ import annotations

import re
from pathlib import Path

from bench.api.errors import UsageError
from bench.read.names import one_line
from bench.spec.methods import method_class
from bench.spec.table import RowSpec


def method_row(target: str, key: str | None = None) -> RowSpec:
    """Return the row of a method that no table file has.

    Args:
        target: registry name, `pkg.mod:Class` or `file.py:Class`.
        key: of the row; by default the method's own name.

    Raises:
        UsageError, ContractError: as `bench.spec.methods.method_class`.
    """
    one_line(target, "method")
    cls = method_class(target)
    return RowSpec(
        key=key or _slug(str(cls.name)),
        label=f"+ {cls.name}",
        method=target,
        note=f"{Path(target).name}: not published",
        added=True,
    )


def weights_row(text: str) -> RowSpec:
    """Return the row of `--row "label=weights"`: a slug of the label is its key.

    Args:
        text: the weights are a file or folder of a LoRA, a network or a pipeline, a hub id, or a
            `train/...` artifact.

    Raises:
        UsageError: label or weights are missing, the label has no letter or digit, or either has
            a control character.
    """
    one_line(text, "--row")
    label, equals, weights = (part.strip() for part in text.partition("="))
    if not equals or not label or not weights:
        raise UsageError(
            f"--row {text!r}; expected LABEL=WEIGHTS, e.g. mine=path/to/my-lora. Rows that the "
            "table has are chosen by --rows."
        )
    key = _slug(label.lower())
    if not key:
        raise UsageError(f"--row {text!r}: the label needs a letter or a digit.")
    note = f"{Path(weights).name}: not published"
    return RowSpec(key=key, label=label, weights=weights, note=note, added=True)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")
