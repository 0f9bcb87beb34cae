import csv
import io
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.api.errors import BenchError, CorruptArtifactError, StoreError, UsageError
from bench.report.sealed import CSV_FILE, JSON_FILE, MARKDOWN_FILE, RECORDS_FILE
from bench.report.stored import (
    Report,
    make_report,
    read_report,
    read_table,
    records_bytes,
    write_report,
)
from bench.store import publish_folder, read_folder
from tests.report.tables import table

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report() -> Report:
    return make_report(table(), ["scores/a", "scores/b"])


def test_measured_and_published_stand_apart(report: Report) -> None:
    text = report.render("md")
    line = next(line for line in text.splitlines() if line.startswith("| base |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    given = report.statistics.value("base", "GE").estimate
    assert given is not None
    assert cells[1].startswith(f"{given.value:.4f} [") and cells[1].endswith("n = 24")
    assert cells[2] == "0.4245"
    assert cells[4] == "13.05 (quoted) [1]"
    assert "| + dpo |" in text and " - |" in text  # nothing was published for it
    head = next(line for line in text.splitlines() if line.startswith("| row | GE"))
    assert "GE ↑ measured" in head and "GE published" in head and "FID ↓ measured" in head


def test_what_an_interval_is_made_of_is_shown_where_asked(report: Report) -> None:
    text, asked = report.render("md"), report.render("md", parts=True)
    assert "## Measured, with 95 % intervals\n" in text and "n = 3 x 24" in text
    assert "## Differences from base, paired" in text
    assert "given these checkpoints" not in text and "over training seeds" not in text
    head = "| row | column | of | whole | given these checkpoints | over training seeds |"
    assert head in asked and head in report.render("md", parts=True)
    found = report.statistics.difference("ddspo", "GE").estimate
    assert found is not None and found.parts.seeds is not None and found.parts.prompts is not None
    line = next(x for x in asked.splitlines() if x.startswith("| + ddspo | GE | less base"))
    for part in (found, found.parts.prompts, found.parts.seeds):
        assert f"[{part.low:+.4f}, {part.high:+.4f}]" in line
    assert "given these checkpoints" in report.render("html")
    plain, asked = report.render("terminal"), report.render("terminal", parts=True)
    assert "over training seeds" not in plain and "  over training seeds" in asked
    assert max(map(len, asked.splitlines())) <= 80


def test_claims_have_verdict_effect_interval_and_the_published_effect(report: Report) -> None:
    text = report.render("md")
    verdict = report.statistics.verdicts[0]
    assert verdict.effect is not None and verdict.low is not None
    line = next(line for line in text.splitlines() if line.startswith("| ddspo better than dpo"))
    assert f"{verdict.effect.value:+.4f} [{verdict.low:+.4f}" in line
    assert "**supported**" in line
    assert "corrected p" in line


def test_a_partial_table_is_marked_in_every_format() -> None:
    partial = make_report(table(limit=24), [])
    assert "**PARTIAL" in partial.render("md")
    assert "PARTIAL" in partial.render("terminal")
    assert json.loads(partial.render("json"))["partial"] is True
    rows = list(csv.DictReader(io.StringIO(partial.render("csv"))))
    assert {row["partial_limit"] for row in rows} == {"24"}
    whole = make_report(table(), [])
    assert not any("PARTIAL" in whole.render(form) for form in ("md", "terminal", "csv"))


def test_a_stand_in_for_the_official_model_is_named_wherever_its_numbers_are() -> None:
    data = table()
    stand_in = {"backend": "geneval-hf", "version": 1, "variant": "geneval-hf, other weights"}
    cells = tuple(
        replace(cell, protocol={**cell.protocol, "backends": {"detector": stand_in}})
        if cell.column == "GE"
        else cell
        for cell in data.cells
    )
    report = make_report(replace(data, cells=cells), [])
    text = report.render("md")
    assert "GE (geneval-hf) ↑ measured" in text and "FID ↓ measured" in text
    assert "better than dpo on GE (geneval-hf)" in text
    assert "- GE: measured with geneval-hf, other weights" in text
    assert "| + dpo | GE (geneval-hf) |" in text
    terminal = report.render("terminal")
    assert "  measured with        geneval-hf" in terminal
    assert max(len(line) for line in terminal.splitlines()) <= 80
    rows = list(csv.DictReader(io.StringIO(report.render("csv"))))
    assert {row["variant"] for row in rows if row["column"] == "GE"} == {"geneval-hf"}
    assert {row["variant"] for row in rows if row["column"] == "FID"} == {""}


def test_the_terminal_is_eighty_columns(report: Report) -> None:
    failed = replace(report.data.cells[0], state="n/a", reason="because " * 40, estimate=None)
    data = replace(report.data, cells=(failed, *report.data.cells[1:]), limit=24)
    for text in (report.render("terminal"), make_report(data, []).render("terminal")):
        assert max(len(line) for line in text.splitlines()) <= 80
    assert "n/a" in make_report(data, []).render("terminal")


def test_csv_has_full_precision(report: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(report.render("csv"))))
    assert len(rows) == 6
    found = next(r for r in rows if (r["row"], r["column"]) == ("ddspo", "GE"))
    whole = report.statistics.value("ddspo", "GE").estimate
    assert whole is not None and whole.parts.seeds is not None
    assert [float(found[x]) for x in ("value", "low", "df")] == [whole.value, whole.low, whole.df]
    assert float(found["seeds_low"]) == whole.parts.seeds.low
    assert found["published"] == "0.5045" and found["seeds"] == "3"
    assert len(found["by_seed"].split(";")) == 3


def test_rendering_again_from_the_two_files_gives_the_same_bytes(
    report: Report, tmp_path: Path
) -> None:
    write_report(report, tmp_path / "a")
    again = read_report(tmp_path / "a")
    write_report(again, tmp_path / "b")
    recomputed = read_report(tmp_path / "a", recompute=True)
    write_report(recomputed, tmp_path / "c")
    for name in (MARKDOWN_FILE, CSV_FILE, JSON_FILE, RECORDS_FILE):
        first = (tmp_path / "a" / name).read_bytes()
        assert (tmp_path / "b" / name).read_bytes() == first
        assert (tmp_path / "c" / name).read_bytes() == first
    assert read_table(tmp_path / "a").render("terminal") == report.render("terminal")


def test_no_time_host_or_path_is_in_the_output(report: Report) -> None:
    import platform

    for form in ("md", "csv", "json", "tex", "html"):
        text = report.render(form)
        for secret in (
            platform.node(),
            str(ROOT),
            str(Path.home()) + "/",
            time.strftime("%Y-%m-%d"),
        ):
            assert secret not in text


def test_edited_records_are_found_under_a_fresh_seal_too(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    first = report.data.cells[0]
    changed = replace(first, values=(replace(first.values[0], value=0.9), *first.values[1:]))
    data = replace(report.data, cells=(changed, *report.data.cells[1:]))
    files = read_folder(tmp_path).files
    publish_folder(tmp_path, {**files, RECORDS_FILE: records_bytes(data)})
    with pytest.raises(BenchError, match="one of them was changed"):
        read_report(tmp_path)
    publish_folder(tmp_path, {**files, RECORDS_FILE: b"nonsense"})
    with pytest.raises(CorruptArtifactError):
        read_report(tmp_path)


def test_a_missing_or_foreign_table_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run the table first"):
        read_table(tmp_path)
    publish_folder(tmp_path, {JSON_FILE: b'{"format": 99}'})
    with pytest.raises(UsageError, match="format"):
        read_table(tmp_path)
    publish_folder(tmp_path, {JSON_FILE: b"{"})
    with pytest.raises(UsageError, match="no JSON"):
        read_table(tmp_path)


def test_a_folder_beneath_a_file_is_a_store_error(report: Report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        write_report(report, tmp_path / "file" / "table")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_bench_report_needs_neither_store_nor_torch(report: Report, tmp_path: Path) -> None:
    published = tmp_path / "results" / "table-1a"
    write_report(report, published)
    code = (
        "import sys\nfrom bench.cli import main\n"
        f"code = main(['report', '--table', '1a', '--from', {str(tmp_path / 'results')!r},"
        f" '--publish', {str(tmp_path / 'again')!r}, '--format', 'md', '-q'])\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout == (published / MARKDOWN_FILE).read_text()
    again = tmp_path / "again" / "table-1a"
    for name in (MARKDOWN_FILE, CSV_FILE, JSON_FILE, RECORDS_FILE):
        assert (again / name).read_bytes() == (published / name).read_bytes()
    assert (again / "command.txt").read_text() == "python -m bench run --table 1a\n"
