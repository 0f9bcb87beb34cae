"""A table's folder is damaged; what `run`, `report`, `show`, `compare` and `doctor` say and do."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.report.model import CellData
from bench.report.stored import make_report, read_report, write_report
from bench.store import MANIFEST, publish_folder, read_folder
from tests.steps.micro import table_arguments
from tests.steps.toys import save_checkpoint, write_profile

SMALL = ("--rows", "base", "--cols", "GE,FID", "-q")
FILES = ("records.parquet", "samples.png", "table.csv", "table.html", "table.json", "table.md")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed")
    return write_profile(folder, save_checkpoint(folder / "checkpoint"))


@pytest.fixture(scope="module")
def made(profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("made") / "store"
    assert main(table_arguments(profile, store, *SMALL)) == 0
    assert main(["report", "--table", "1a", "--store", str(store), "--publish", str(store)]) == 0
    return store


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A copy of the store to do harm to, with its table published into it as in `results/`."""
    shutil.copytree(made, tmp_path / "store", copy_function=shutil.copy2)
    return tmp_path / "store"


def another_digit(file: Path) -> None:
    """Change the value of the first cell; size and times stay."""
    times, text = file.stat(), file.read_text()
    value = str(json.loads(text)["cells"][0]["estimate"]["value"])
    digit = "7" if value[2] != "7" else "3"
    changed = text.replace(value, value[:2] + digit + value[3:])
    assert changed != text and len(changed) == len(text)
    file.write_text(changed)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


HARM: dict[str, Callable[[Path], object]] = {
    "a digit of table.json": lambda f: another_digit(f / "table.json"),
    "a byte of records.parquet": lambda f: flipped(f / "records.parquet"),
    "a byte of samples.png": lambda f: flipped(f / "samples.png"),
    "the end of table.csv": lambda f: (f / "table.csv").write_bytes(b""),
    "table.md is gone": lambda f: (f / "table.md").unlink(),
    "table.json is gone": lambda f: (f / "table.json").unlink(),
    "the seal is gone": lambda f: (f / MANIFEST).unlink(),
    "the seal is edited": lambda f: flipped(f / MANIFEST),
    "two files are exchanged": lambda f: (f / "table.md").replace(f / "table.tex"),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_run_says_the_damage_and_makes_the_table_again(
    profile: Path, store: Path, harm: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store / "tables" / "1a"
    whole = {name: (folder / name).read_bytes() for name in (*FILES, MANIFEST)}
    harm(folder)
    assert main(["doctor", "--store", str(store), "--results", str(store / "none")]) == 1
    assert f"{folder}: " in capsys.readouterr().out
    assert main(table_arguments(profile, store, *SMALL)) == 0
    said = capsys.readouterr()
    assert f"{folder} is damaged: " in said.err and "made again from the scores" in said.err
    assert {name: (folder / name).read_bytes() for name in (*FILES, MANIFEST)} == whole
    assert main(table_arguments(profile, store, *SMALL)) == 0
    again = capsys.readouterr()
    assert again.out == said.out and "damaged" not in again.err


def report(folder: Path, *words: str) -> int:
    return main(["report", "--table", "1a", "--from", str(folder), *words])


def test_report_makes_the_table_again_from_its_records(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store / "table-1a"
    assert report(store, "--json") == 0
    whole = capsys.readouterr()
    assert whole.err == ""
    another_digit(folder / "table.json")
    assert report(store, "--json") == 0
    said = capsys.readouterr()
    assert said.out == whole.out
    assert "table.json was changed" in said.err and "made again from its records" in said.err
    for words in (
        ["show", "cell", "1a/base/GE", "--from", str(store)],
        ["compare", *2 * [str(folder)]],
    ):
        assert main(words) == 0
        assert "made again from its records" in capsys.readouterr().err
    assert report(folder, "--output", str(folder)) == 0  # what the message advises
    capsys.readouterr()
    assert report(store, "--json") == 0
    assert capsys.readouterr() == whole


@pytest.mark.parametrize(
    ("name", "forms"),
    [("records.parquet", ("md", "html")), (MANIFEST, ("md",)), ("samples.png", ("html",))],
)
def test_what_the_records_cannot_give_is_refused_with_the_way_to_mend_it(
    store: Path, name: str, forms: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    flipped(store / "table-1a" / name)
    for form in forms:
        assert report(store, "--format", form) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert f"{name} was" in said.err
        assert f"git checkout -- {store / 'table-1a'}" in said.err and "bench run" in said.err


def test_a_damaged_rendered_file_is_said_and_not_used(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(store, "--format", "md") == 0
    whole = capsys.readouterr().out
    flipped(store / "table-1a" / "table.md")
    assert report(store, "--format", "md") == 0
    said = capsys.readouterr()
    assert said.out == whole and "table.md was changed" in said.err


def test_files_of_the_user_are_said_kept_and_not_used(
    profile: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store / "tables" / "1a"
    (folder / "mine.png").write_bytes((folder / "samples.png").read_bytes())
    page = (folder / "table.html").read_bytes()
    for again in (False, True):
        if again:
            (folder / "table.html").unlink()
        assert main(table_arguments(profile, store, *SMALL)) == 0
        assert "mine.png: no part of the published table" in capsys.readouterr().err
    assert (folder / "mine.png").exists() and (folder / "table.html").read_bytes() == page
    assert main(["doctor", "--store", str(store), "--results", str(store / "none")]) == 0
    assert "whole; mine.png: no part" in capsys.readouterr().out


def edited(change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def edit(files: dict[str, bytes]) -> dict[str, bytes]:
        table = json.loads(files["table.json"])
        change(table)
        text = json.dumps(table, indent=1, ensure_ascii=False)
        return {**files, "table.json": f"{text}\n".encode()}

    return edit


def worse(table: Any) -> None:
    table["statistics"]["values"][0]["estimate"]["value"] += 2e-9


def other_fid(table: Any) -> None:
    cell = next(c for c in table["cells"] if c["column"] == "FID")
    cell["estimate"]["value"] *= 0.5


CARRIED = "the table in records.parquet"
EDITS: dict[str, tuple[Callable[[dict[str, bytes]], dict[str, bytes]], str]] = {
    "a statistic": (edited(worse), "statistics.values[0].estimate.value is"),
    "a cell without images": (
        edited(other_fid),
        "the table in records.parquet: cells[1].estimate.value is",
    ),
    "the title": (
        edited(lambda t: t.update(title="odd")),
        f"{CARRIED}: title is",
    ),
    "a rendered file": (
        lambda files: {**files, "table.csv": files["table.csv"].replace(b"0.", b"1.")},
        "table.csv is not what this version makes",
    ),
    "the command": (
        lambda files: {**files, "command.txt": b"python -m bench run --table 2a\n"},
        "command.txt is not the command",
    ),
}


@pytest.mark.parametrize(("edit", "said"), EDITS.values(), ids=EDITS)
def test_an_edit_under_a_fresh_seal_is_found_by_deriving_it_again(
    store: Path,
    edit: Callable[[dict[str, bytes]], dict[str, bytes]],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["doctor", "--store", str(store / "none"), "--results", str(store / "table-1a")]
    assert main([*words, "--verify"]) == 0
    publish_folder(store / "table-1a", edit(dict(read_folder(store / "table-1a").files)))
    capsys.readouterr()
    assert main(words) == 0  # the seal fits
    assert main([*words, "--verify"]) == 1
    out = capsys.readouterr().out
    assert said in out and "git checkout" in out


def test_a_table_that_agrees_with_itself_and_not_with_the_scores_is_found(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store / "tables" / "1a"
    data = read_report(folder).data
    cells = [_halved(c) if c.column == "FID" else c for c in data.cells]
    forged = make_report(replace(data, cells=tuple(cells)), read_report(folder).targets)
    write_report(forged, folder, pictures={"samples.png": read_folder(folder).files["samples.png"]})
    words = ["doctor", "--store", str(store), "--results", str(store / "none"), "--verify"]
    assert main(words) == 1
    assert "the scores in the store: base/FID" in capsys.readouterr().out


FOREIGN = "scores/geneval.elsewhere-000000000000"


def _better(cell: CellData, scores: str | None) -> CellData:
    """A perfect cell of scores that nobody has."""
    assert cell.estimate is not None
    chain = {**cell.provenance["artifacts"], "scores": scores}
    if scores is None:
        del chain["scores"]
    return replace(
        cell,
        estimate=replace(cell.estimate, value=1.0),
        parts={name: replace(part, value=1.0) for name, part in cell.parts.items()},
        values=tuple(replace(value, value=1.0) for value in cell.values),
        provenance={**cell.provenance, "artifacts": chain},
    )


def forge(folder: Path, scores: str | None, *, asked: bool) -> None:
    """Make a table of perfect numbers that agrees with itself, and seal it.

    Args:
        folder: of the table.
        scores: what its cells name.
        asked: whether it says that it asked for those.
    """
    report, files = read_report(folder), read_folder(folder).files
    cells = [_better(c, scores) if c.column == "GE" else c for c in report.data.cells]
    mine = [scores or "", *report.targets[1:]] if asked else report.targets
    forged = make_report(replace(report.data, cells=tuple(cells)), mine)
    write_report(forged, folder, pictures={"samples.png": files["samples.png"]})


@pytest.mark.parametrize("scores", [FOREIGN, None])
def test_a_table_of_other_scores_than_those_asked_for_is_found_and_made_again(
    profile: Path, store: Path, scores: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store / "tables" / "1a"
    whole = {name: (folder / name).read_bytes() for name in (*FILES, MANIFEST)}
    forge(folder, scores, asked=False)
    assert (folder / "table.csv").read_bytes() != whole["table.csv"]
    words = ["doctor", "--store", str(store), "--results", str(store / "none")]
    assert main(words) == 0  # the seal fits
    assert main([*words, "--verify"]) == 1
    told = f"base/GE/None/0 names {scores or 'none'}, which is none that the table asked for"
    assert told in capsys.readouterr().out
    assert main(table_arguments(profile, store, *SMALL)) == 0
    said = capsys.readouterr()
    assert "base/GE/None/0: not taken from the scores" in said.err
    assert {name: (folder / name).read_bytes() for name in (*FILES, MANIFEST)} == whole
    assert main([*words, "--verify"]) == 0
    capsys.readouterr()
    assert main(table_arguments(profile, store, *SMALL)) == 0
    again = capsys.readouterr()
    assert "not taken from" not in again.err and again.out == said.out


def test_a_table_of_scores_that_its_own_store_does_not_have_is_found(
    profile: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store / "tables" / "1a"
    forge(folder, FOREIGN, asked=True)
    words = ["doctor", "--store", str(store), "--results", str(store / "none"), "--verify"]
    assert main(words) == 1
    assert f"the scores in the store: base/GE/None/0: {FOREIGN} is not there" in (
        capsys.readouterr().out
    )
    assert main(table_arguments(profile, store, *SMALL)) == 0
    assert main(words) == 0


@pytest.mark.parametrize("inputs", [None, "0" * 64])
def test_files_of_another_version_are_not_believed(
    store: Path, inputs: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store / "table-1a"
    whole = {name: (folder / name).read_bytes() for name in (*FILES, MANIFEST)}
    assert report(folder) == 0
    true = capsys.readouterr().out

    def older(table: Any) -> None:
        table["statistics_version"] -= 1
        table["inputs_sha256"] = inputs or table["inputs_sha256"]

    files = edited(older)(dict(read_folder(folder).files))
    changed = {n: files[n].replace(b"0.", b"9.") for n in ("table.md", "table.csv", "table.html")}
    publish_folder(folder, {**files, **changed})
    words = ["doctor", "--store", str(store / "none"), "--results", str(folder), "--verify"]
    assert main(words) == 1
    said, anew = capsys.readouterr().out, f"--from {folder} --output {folder}"
    assert "rendered by another version (statistics " in said and anew in said
    assert report(folder) == 0
    shown = capsys.readouterr()
    assert shown.out == true
    assert "rendered by another version" in shown.err and anew in shown.err
    assert report(folder, "--output", str(folder)) == 0  # what both advise
    assert {name: (folder / name).read_bytes() for name in (*FILES, MANIFEST)} == whole
    assert main(words) == 0


def _halved(cell: CellData) -> CellData:
    assert cell.estimate is not None
    return replace(cell, estimate=replace(cell.estimate, value=cell.estimate.value / 2))
