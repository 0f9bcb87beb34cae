r"""A table as LaTeX for a paper: a `tabular` of booktabs, to be read in with `\input`.

Pure: equal data gives equal bytes. Published numbers stay out of it; they are not of this work.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from bench.report import words
from bench.report.circular import circular_cells
from bench.report.model import Summary, TableData
from bench.report.statistics import Statistics

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "⁻": r"\textsuperscript{$-$}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


_CIRCULAR = "$^{c}$"


def render_latex(data: TableData, statistics: Statistics) -> str:
    """Return the table; measured values with half the 95 % interval, one line a row.

    A comment above says what the interval is of, and names the command.
    """
    keys = [str(column["key"]) for column in data.columns]
    head = [f"{words.column_name(data, c['key'])} {words.arrow(c)}" for c in data.columns]
    lines = [
        f"% {_comment(data.title)}",
        f"% python -m bench {_comment(' '.join(data.command))}",
        f"% profile {_comment(str(data.profile['name']))}, protocol "
        f"{_comment(str(data.profile['protocol']))}, training seeds "
        + ", ".join(str(seed) for seed in data.seeds),
        *(f"% {line}" for line in textwrap.wrap(words.intervals_note(data), 96)),
        "% +- is half of it. Needs \\usepackage{booktabs}.",
    ]
    if data.partial:
        lines.append(f"% {_comment(words.partial_notice(data))}")
    if circular_cells(data.cells):
        lines.append("% c: circular, the metric selected the training data or was the reward.")
    lines += [
        rf"\begin{{tabular}}{{l{'r' * len(keys)}}}",
        r"\toprule",
        " & ".join(["", *(escaped(text) for text in head)]) + r" \\",
        r"\midrule",
    ]
    was_control = False
    for row in data.shown:
        if row["control"] and not was_control:
            lines.append(r"\midrule")
        was_control = bool(row["control"])
        cells = [
            _value(statistics.value(row["key"], c["key"]), c)
            + (_CIRCULAR if words.circular_mark(data, row["key"], c["key"]) else "")
            for c in data.columns
        ]
        lines.append(" & ".join([escaped(str(row["label"])), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def escaped(text: str) -> str:
    """Return a text in which nothing is a command of LaTeX."""
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def _comment(text: str) -> str:
    return " ".join(text.split())


def _value(summary: Summary, column: Mapping[str, Any]) -> str:
    found, decimals = summary.estimate, int(column["decimals"])
    if found is None:
        return words.state_word(summary)
    half = words.half_width(found.low, found.high, decimals).removeprefix("±")
    number = words.number(found.value, decimals)
    return f"${number}$" if not half else rf"${number}{{\scriptstyle\,\pm {half}}}$"
