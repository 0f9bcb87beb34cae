"""Puts the published Table 1a into the README: `python benchmarks/readme_table.py`."""

from __future__ import annotations

from pathlib import Path

from bench.report.stored import command_of, read_report

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- table-1a:begin -->", "<!-- table-1a:end -->"
SECTIONS = ("## Measured", "## Claims")


def main() -> None:
    """Copy the sections' tables of results/table-1a/table.md between the README's marks."""
    report = read_report(ROOT / "results/table-1a")  # refuses what is damaged
    published = report.render("md")
    parts = ["\n## " + part for part in published.split("\n## ")[1:]]
    kept = [p.strip() for p in parts if p.strip().startswith(SECTIONS)]
    text = "\n\n".join(kept).replace("## ", "### ")
    command = command_of(report.data.command).strip()
    note = (
        f"Made by `{command}`; everything else is in [results/table-1a](results/table-1a/table.md)."
    )
    readme = (ROOT / "README.md").read_text()
    head, rest = readme.split(BEGIN)
    _, tail = rest.split(END)
    (ROOT / "README.md").write_text(f"{head}{BEGIN}\n{note}\n\n{text}\n{END}{tail}")


if __name__ == "__main__":
    main()
