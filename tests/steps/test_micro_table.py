"""The whole way on a micro table: trained, sampled, predicted, scored, printed."""

from __future__ import annotations

import csv
import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.store import DISK, Disk, Store
from tests.steps.micro import ROOT, table_arguments
from tests.steps.toys import save_checkpoint, write_profile

EDIT = ("delta - self.margin", "delta - 2 * self.margin")
FILES = ("table.md", "table.csv", "table.json", "records.parquet")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("micro")
    return write_profile(folder, save_checkpoint(folder / "checkpoint"))


@pytest.fixture(scope="module")
def made(profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the finished table of base, Diffusion-DPO and DDSPO."""
    store = tmp_path_factory.mktemp("made") / "store"
    assert main(table_arguments(profile, store, "-q")) == 0
    return store


@pytest.fixture(scope="module")
def base_only(profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with GenEval of the base; tests copy it and do harm to the copy."""
    store = tmp_path_factory.mktemp("base") / "store"
    assert main(table_arguments(profile, store, "--rows", "base", "--cols", "GE", "-q")) == 0
    return store


@pytest.fixture
def store(base_only: Path, tmp_path: Path) -> Path:
    shutil.copytree(base_only, tmp_path / "store", copy_function=shutil.copy2)
    return tmp_path / "store"


def rows_of(store: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (store / "tables" / "1a" / "table.csv").open(newline="") as file:
        return {(row["row"], row["column"]): row for row in csv.DictReader(file)}


def ids(store: Path, kind: str) -> list[str]:
    return [artifact.id for artifact in Store(store).artifacts(kind)]


def test_every_cell_is_measured_and_both_methods_have_moved(made: Path) -> None:
    rows = rows_of(made)
    assert len(rows) == 12
    assert {row["state"] for row in rows.values()} == {"measured"}
    for column in ("CB", "FID"):
        assert len({rows[row, column]["value"] for row in ("base", "diffusion-dpo", "ddspo")}) == 3
    assert all((made / "tables" / "1a" / name).is_file() for name in FILES)
    assert not list(made.rglob("*.partial")) and not list(made.rglob("*.lock"))


def test_the_metrics_are_those_of_the_stored_records(made: Path) -> None:
    from bench.store import read_parquet

    records = read_parquet(made / "tables" / "1a" / "records.parquet")
    base = [r for r in records if (r["row"], r["column"]) == ("base", "CB")]
    by_tag: dict[str, list[float]] = {}
    for record in base:
        by_tag.setdefault(record["tag"], []).append(record["value"])
    mean = sum(sum(values) / len(values) for values in by_tag.values()) / len(by_tag)
    assert float(rows_of(made)["base", "CB"]["value"]) == pytest.approx(mean, abs=1e-12)
    assert len(base) == 24 and len(by_tag) == 6


def test_a_second_identical_run_is_complete_and_touches_nothing(
    profile: Path, made: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in made.rglob("*")}
    code = (
        "import sys\nfrom bench.cli import main\n"
        f"code = main({table_arguments(profile, made)!r})\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\nsys.exit(code)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    said = capfd.readouterr()
    assert "complete: nothing to do" in said.err
    assert "+ DDSPO" in said.out
    assert {p: p.stat().st_mtime_ns for p in made.rglob("*")} == before


def test_a_part_of_a_finished_table_is_rendered_without_making_anything(
    profile: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = table_arguments(profile, made, "--rows", "base", "--cols", "IS", "--json")
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "complete: nothing to do" in said.err
    assert [row["key"] for row in json.loads(said.out)["rows"]] == ["base"]
    assert (tmp_path / "out" / "table.md").is_file()


def test_the_examples_row_appears_beside_the_baselines(
    profile: Path, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    before = set(ids(made, "train"))
    more = ("--method", "examples.my_method:IPO", "--cols", "GE,CB")
    assert main(table_arguments(profile, made, *more, "-q")) == 0
    out = capsys.readouterr().out
    assert all(label in out for label in ("+ Diffusion-DPO", "+ DDSPO", "+ ipo"))
    assert [key for key in ids(made, "train") if key not in before] == [
        key for key in ids(made, "train") if "ipo" in key
    ]


def test_an_edited_method_file_makes_its_training_and_all_downstream_stale(
    profile: Path,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "method_to_edit.py"
    shutil.copy(ROOT / "examples" / "my_method.py", file)
    monkeypatch.setattr(sys, "path", [*sys.path])
    more = ["--rows", "base", "--cols", "GE", "--method", f"{file}:IPO"]
    arguments = table_arguments(profile, store, *more)

    def states() -> dict[str, dict[str, Any]]:
        assert main(["plan", *arguments[1:], "--json"]) == 0
        steps = json.loads(capsys.readouterr().out)["steps"]
        return {step["id"].partition("/")[0]: step for step in steps}

    assert main([*arguments, "-q"]) == 0
    capsys.readouterr()
    assert {step["state"] for step in states().values()} == {"cached"}
    trained = set(ids(store, "train"))
    file.write_text(file.read_text() + "\n# edited\n")
    assert {step["state"] for step in states().values()} == {"cached"}
    text = file.read_text()
    file.write_text(text.replace(*EDIT))
    assert file.read_text() != text
    found = states()
    assert found["pairs"]["state"] == "cached"
    assert {found[k]["state"] for k in ("train", "images", "predictions", "scores")} == {"stale"}
    assert "a source definition changed" in found["train"]["reason"]
    assert main([*arguments, "-q"]) == 1  # this process has loaded what the file said before
    assert "Start a new process" in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, "method_to_edit")
    assert main([*arguments, "-q"]) == 0
    assert len(set(ids(store, "train")) - trained) == 1


def test_an_image_that_was_deleted_is_named_and_the_metric_refused(
    profile: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images,) = Store(store).artifacts("images")
    victim = next(name for name in images.files if name.startswith("images/"))
    (images.path / victim).unlink()
    where = ["--profile", str(profile), "--store", str(store), "--jobs", "1"]
    scored = ["score", "--images", images.id, "--evaluator", "inception-score", *where]
    assert main(scored) == 1
    stem = Path(victim).stem.rpartition("-")
    assert f"lacks 1 of 24 images: {stem[0]}/{stem[2]}" in capsys.readouterr().err
    assert not [key for key in ids(store, "scores") if "inception" in key]


def test_a_damaged_artifact_is_made_anew_saying_so_with_equal_numbers(
    profile: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = rows_of(store)
    (images,) = Store(store).artifacts("images")
    (predictions,) = Store(store).artifacts("predictions")
    (scores,) = Store(store).artifacts("scores")
    picture = images.path / next(name for name in images.files if name.endswith(".png"))
    picture.write_bytes(picture.read_bytes()[:-20])
    shutil.rmtree(predictions.path)
    (scores.path / "records.jsonl").write_text("{}\n")
    assert main(table_arguments(profile, store, "--rows", "base", "--cols", "GE")) == 0
    said = capsys.readouterr().err
    assert f"{picture.name} has" in said and "made anew" in said
    assert rows_of(store) == before


def test_nan_is_a_failed_cell_and_never_a_number(
    profile: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--rows", "base", "--cols", "GE,FID,IS"]
    broken = ["--set", "backends.features=tests.steps.toys:BrokenFeatures"]
    assert main(table_arguments(profile, store, *more, *broken)) == 1
    said = capsys.readouterr()
    assert "NaN" in said.err
    rows = rows_of(store)
    assert rows["base", "FID"]["state"] == "failed" and rows["base", "FID"]["value"] == ""
    assert "NaN" in rows["base", "IS"]["reason"]
    assert rows["base", "GE"]["state"] == "measured"
    line = next(line for line in said.out.splitlines() if line.startswith("base"))
    assert line.split()[-2:] == ["failed", "failed"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails_is_exit_one_and_leaves_nothing_half_published(
    profile: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    def fail(self: Disk, operation: str, path: Path) -> None:
        if path.name.startswith("manifest.json"):
            raise OSError(number, "injected", str(path))

    monkeypatch.setattr(type(DISK), "before", fail)
    more = ("--rows", "base", "--cols", "GE")
    assert main(table_arguments(profile, tmp_path / "store", *more)) == 1
    said = capsys.readouterr().err
    assert errno.errorcode[number] in said and "to mend it" in said
    assert not list((tmp_path / "store").rglob("manifest.json"))


def test_places_beneath_a_file_are_exit_one(
    profile: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    more = ["--rows", "base", "--cols", "GE"]
    inside = str(tmp_path / "file" / "x")
    assert main([*table_arguments(profile, store, *more), "--output", inside]) == 1
    assert "is a file" in capsys.readouterr().err
    assert main(table_arguments(profile, Path(inside), *more)) == 1
    assert "is a file" in capsys.readouterr().err


def test_the_three_stages_by_themselves_give_the_tables_artifacts(
    profile: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--profile", str(profile), "--store", str(made), "--jobs", "1", "-q", "--json"]

    def bench(*words: str) -> dict[str, Any]:
        assert main([*words, *where]) == 0
        return dict(json.loads(capsys.readouterr().out))

    known = {a.id for a in Store(made).artifacts()}
    trained = bench("train", "ddspo")
    assert trained["artifact"] in known and Path(trained["export"]).is_dir()
    folder = tmp_path / "layout"
    images = bench("generate", "--col", "GE", "--geneval-folder", str(folder))
    assert images["artifact"] in known
    assert (folder / "00000" / "samples" / "00000.png").is_file()
    scored = bench("score", "--images", images["artifact"], "--evaluator", "geneval")
    assert scored["artifact"] in known
    value = float(rows_of(made)["base", "GE"]["value"])
    assert scored["metrics"]["overall"]["value"] == value
    foreign = bench("score", "--geneval-folder", str(folder), "--evaluator", "geneval")
    assert foreign["metrics"]["overall"]["value"] == value
    fid = bench("score", "--images", images["artifact"], "--evaluator", "fid")
    assert fid["metrics"]["fid"]["n"] == 24


def test_a_cell_shows_the_chain_behind_it(
    profile: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "cell", "1a/ddspo/GE", "--store", str(made), "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["cell"] == "1a/ddspo/GE/0"
    roles = {link["role"]: link for link in card["chain"]}
    assert set(roles) == {"scores", "predictions/detector", "images", "checkpoint", "pairs"}
    assert roles["checkpoint"]["artifact"].startswith("train/checkpoint.ddspo.t0-")
    assert all(link["seconds"] is not None for link in roles.values())
    assert main(["show", "cell", "1a/ddspo/GF", "--store", str(made)]) == 2
    assert "1a/ddspo/GE" in capsys.readouterr().err
