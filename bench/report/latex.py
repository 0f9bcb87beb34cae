r"""A table as LaTeX for a paper: a `tabular` of booktabs, to be read in with `\input`.

Pure: equal data gives equal bytes. Published numbers stay out of it; they are not of this work.
"""

from __future__ import annotations

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

    The interval is that over training seeds where a row has one, otherwise the one given these
    checkpoints; a comment above says so, and names the command.
    """
    keys = [str(column["key"]) for column in data.columns]
    head = [f"{words.column_name(data, c['key'])} {words.arrow(c)}" for c in data.columns]
    lines = [
        f"% {_comment(data.title)}",
        f"% python -m bench {_comment(' '.join(data.command))}",
        f"% profile {_comment(str(data.profile['name']))}, protocol "
        f"{_comment(str(data.profile['protocol']))}, training seeds "
        + ", ".join(str(seed) for seed in data.seeds),
        "% +- is half a 95 % interval: over training seeds where marked *, otherwise given these",
        "% checkpoints (prompts resampled). Needs \\usepackage{booktabs}.",
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
    for row in data.rows:
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
    given, seeds, decimals = summary.given, summary.seeds, int(column["decimals"])
    if summary.state != "measured" or given is None:
        return words.state_word(summary)
    if seeds is not None and seeds.low is not None and seeds.high is not None:
        return _plus_minus(seeds.value, seeds.low, seeds.high, decimals, "^{*}")
    return _plus_minus(given.value, given.low, given.high, decimals, "")


def _plus_minus(
    value: float, low: float | None, high: float | None, decimals: int, mark: str
) -> str:
    half = words.half_width(low, high, decimals).removeprefix("±")
    number = words.number(value, decimals)
    return f"${number}$" if not half else rf"${number}{{\scriptstyle\,\pm {half}{mark}}}$"
