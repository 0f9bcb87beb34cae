"""The checks of a table: it is read, and its cells can be planned in a profile."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from bench.api.errors import BenchError
from bench.spec.request import make_request
from bench.steps.cells import build_graph
from bench.store import Store
from bench.validate.checks import Checks

_PROMPTS = 8


def check_table(
    target: str, checks: Checks, profile: str, *, overrides: Sequence[str], trust: bool
) -> None:
    """Check a table by name or file; facts: `cells`, and `unmeasured`, why some are not.

    Args:
        target: its name or file.
        checks: where the outcome is noted.
        profile: name or file of what its cells are planned in.
        overrides: changes of the profile.
        trust: whether the files may name code that nobody registered.
    """
    mend = "see bench/tables for examples, and docs/extending.md"
    try:
        whole = make_request(
            target, profile, controls=True, limit=_PROMPTS, overrides=overrides, trust=trust
        )
    except BenchError as error:
        checks.require(
            False, "it can be read", found=str(error), expected="a table's keys", mend=mend
        )
        return
    checks.passed.append("it can be read")
    seen: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="bench-validate-") as folder:
        for column, row in product(whole.columns, whole.rows):
            request = replace(whole, rows=(row,), columns=(column,))
            check = f"cell {row.key}/{column.key} can be planned in profile {whole.profile.name}"
            try:
                cells = build_graph(request, Store(Path(folder))).cells
            except BenchError as error:
                if str(error) not in seen:  # a column's fault is told once
                    seen.add(str(error))
                    checks.require(False, check, found=str(error), expected="a plan", mend=mend)
                continue
            checks.passed.append(check)
            reasons = {cell.reason for cell in cells if cell.step is None}
            for reason in reasons:
                checks.facts.setdefault("unmeasured", {})[f"{row.key}/{column.key}"] = reason
    checks.facts["cells"] = len(whole.rows) * len(whole.columns)
