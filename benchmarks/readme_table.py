"""Puts the published Table 1a into the README, in short: `python benchmarks/readme_table.py`.

The rows of the paper and the control that must improve, a sentence for each claim, and where the
rest is. `tests/report/test_published.py` holds the README to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.report import scale_words, words
from bench.report.stored import Report, command_of, read_report
from bench.spec.rows import IMPROVES

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- table-1a:begin -->", "<!-- table-1a:end -->"
TABLE = "results/table-1a"


def readme_block(report: Report) -> str:
    """Return what stands between the README's marks."""
    data = report.data
    command = command_of(data.command).strip()
    return "\n".join(
        [
            *_rows(report),
            "",
            *_claims(report),
            "",
            f"Made by `{command}`. {words.orientation_notice(data)} All rows, controls, intervals, "
            f"protocol and provenance: [{TABLE}]({TABLE}/table.md).",
        ]
    )


def _rows(report: Report) -> Iterator[str]:
    data = report.data
    names = [f"{column['key']} {words.arrow(column)}" for column in data.columns]
    yield f"| measured, 95 % interval | {' | '.join(names)} |"
    yield "|" + "---|" * (len(names) + 1)
    for row in data.shown:
        if row["control"] and row["control"] != IMPROVES:
            continue
        cells = []
        for column in data.columns:
            found = report.statistics.value(row["key"], column["key"])
            decimals = min(int(column["decimals"]), 3)
            cells.append(
                words.state_word(found)
                if found.estimate is None
                else words.estimate_text(found.estimate, decimals)
            )
        yield f"| {row['label']} | {' | '.join(cells)} |"


def _claims(report: Report) -> Iterator[str]:
    data, statistics = report.data, report.statistics
    for number, (claim, verdict) in enumerate(zip(data.claims, statistics.verdicts, strict=True)):
        decimals = min(words.decimals_of(data, claim["column"]), 3)
        published = words.published_effect(data, claim)
        paper = "" if published is None else f" (paper {published:+.{decimals}f})"
        yield (
            f"- **{verdict.word}**{scale_words.qualifier(data, statistics, number)}: "
            f"{words.claim_text(data, claim)}: {words.verdict_effect(verdict, decimals)}{paper}"
        )


def main() -> None:
    """Write it between the README's marks."""
    readme = (ROOT / "README.md").read_text()
    head, rest = readme.split(BEGIN)
    _, tail = rest.split(END)
    block = readme_block(read_report(ROOT / TABLE))  # refuses what is damaged
    (ROOT / "README.md").write_text(f"{head}{BEGIN}\n{block}\n{END}{tail}")


if __name__ == "__main__":
    main()
