"""Numbers that would be other ones than they seem: refused, or said, by the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import main
from bench.report.stored import make_report, write_report
from bench.spec.request import make_request
from bench.spec.table_files import FOLDER, table_name
from bench.steps.cells import build_graph
from bench.store import Store
from bench.tiny import assets
from tests.report.tables import COLUMNS, table
from tests.steps.toys import save_checkpoint, write_profile

MICRO = (
    '{suite: {function: "tests.steps.toys:geneval_micro"}, images_per_prompt: 2, '
    "generation: {steps: 2, cfg_scale: 2.0, height: 8, width: 8}}"
)
PLUGIN = """
from dataclasses import dataclass
from evaluators.geneval.metric import GenEval

class Whole(GenEval):
    pass

class Dropping(GenEval):
    def score(self, suite, predictions):
        yield from list(super().score(suite, predictions))[1:]

class Doubling(GenEval):
    def score(self, suite, predictions):
        for record in super().score(suite, predictions):
            yield record
            yield dict(record)

class Inventing(GenEval):
    def score(self, suite, predictions):
        for record in super().score(suite, predictions):
            yield record
        yield {**record, "ordinal": 99}
"""
CLASSES = ("Whole", "Dropping", "Doubling", "Inventing")


def plan(*words: str) -> list[str]:
    return ["plan", "--limit", "6", "--json", *words]


def own_table(folder: Path, name: str, columns: list[str], protocols: str = "") -> Path:
    """Write a table of the base alone."""
    file = folder / name
    rows = '  - {key: base, label: "base", checkpoint: base}\n'
    file.write_text(
        f'title: "own"\nsource: "own"\nrows:\n{rows}columns:\n'
        + "".join(f"  - {column}\n" for column in columns)
        + protocols
    )
    return file


def column(key: str, evaluator: str = "geneval") -> str:
    return (
        f'{{key: {key}, label: "{key}", evaluator: "{evaluator}", metric: overall, '
        "per_image: correct, higher_is_better: true, decimals: 4}"
    )


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A table with a column of each evaluator of `PLUGIN`, and a profile."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "counting_under_test", raising=False)
    (tmp_path / "counting_under_test.py").write_text(PLUGIN)
    columns = [column(c, f"{tmp_path / 'counting_under_test.py'}:{c}") for c in CLASSES]
    protocols = "protocols:\n  micro:\n" + "".join(f"    {c}: {MICRO}\n" for c in CLASSES)
    profile = write_profile(tmp_path, save_checkpoint(tmp_path / "checkpoint"))
    return own_table(tmp_path, "own.yaml", columns, protocols), profile


def test_an_evaluator_has_one_record_of_each_image(
    plugged: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, profile = plugged
    words = ["run", "--table", str(file), "--profile", str(profile), "--trust", "--jobs", "1"]
    assert main([*words, "--store", str(tmp_path / "store")]) == 1
    caught = capsys.readouterr()
    said = " ".join(caught.err.split())
    assert "counting_under_test.py:Dropping: no record of" in said and "(1 of 24 images)" in said
    assert "counting_under_test.py:Doubling: several records of" in said
    assert "counting_under_test.py:Inventing: records of what is no image of the set" in said
    (line,) = (line for line in caught.out.splitlines() if line.startswith("base "))
    assert line.split().count("failed") == 3


def test_the_source_of_a_third_partys_evaluator_is_part_of_the_protocol(
    plugged: tuple[Path, Path], tmp_path: Path
) -> None:
    file, profile = plugged
    columns = ["Whole", "Dropping"]
    request = make_request(str(file), str(profile), columns=columns, trust=True)
    whole, dropping = build_graph(request, Store(tmp_path / "store")).cells
    codes = [cell.protocol["evaluator"]["code"] for cell in (whole, dropping)]
    assert codes[0] != codes[1]
    ours = build_graph(make_request("1a", str(profile), columns=["GE"]), Store(tmp_path / "store"))
    assert all("code" not in c.protocol["evaluator"] for c in ours.cells if c.protocol)


def test_noise_of_its_own_is_not_that_of_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--table", "1a", "--rows", "base,base-again", "--cols", "GE")
    words = plan(*asked, "--set", "noise=shared")
    store = ("--store", str(tmp_path))
    assert main([*words, *store, "--set", "sampling_seed=1"]) == 0
    assert main([*words, *store, "--set", "sampling_seed=9001"]) == 2
    assert main([*plan(*asked), *store, "--set", "sampling_seed=9001"]) == 0  # noise per seed
    said = " ".join(capsys.readouterr().err.split())
    assert "'base-again' says sampling_seed: 9001" in said and "Choose another" in said


def test_what_bears_a_shipped_name_is_what_was_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights"
    for name in ("tiny-sd", "tiny-sd-noisy", "tiny-detector"):
        shutil.copytree(assets.path_of(name), weights / name)
    shutil.copy(assets.WEIGHTS / "SHA256.json", weights)
    monkeypatch.setattr(assets, "WEIGHTS", weights)
    words = plan("--table", "1a", "--rows", "base", "--cols", "GE", "--row", "n=tiny-sd-noisy")
    assert main([*words, "--store", str(tmp_path / "store")]) == 0
    (file,) = (weights / "tiny-sd-noisy" / "unet").glob("*.safetensors")
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert main([*words, "--store", str(tmp_path / "store")]) == 1
    assert "the weights of tiny-sd-noisy hash to" in capsys.readouterr().err


def test_a_published_number_is_in_the_metrics_unit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = 'published:\n  base:\n    GE: {{value: {}, source: "s"}}\n'
    words = plan("--store", str(tmp_path / "store"), "--table")
    for value, code in ((0.4245, 0), (42.45, 2)):
        file = own_table(tmp_path, "own.yaml", [column("GE")], told.format(value))
        assert main([*words, str(file)]) == code
    said = " ".join(capsys.readouterr().err.split())
    assert "own.yaml:9: published.base.GE is 42.45; overall is from 0 to 1" in said


def test_a_table_of_ones_own_is_not_called_like_a_shipped_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "1a.yaml"
    shutil.copy(FOLDER / "1a.yaml", copied)
    assert table_name(str(copied)) == "1a.yaml"
    assert table_name(str(FOLDER / "1a.yaml")) == table_name("1a") == "1a"
    assert main(["show", "table", str(copied)]) == 0
    assert "(1a.yaml, a file of the user's own)" in " ".join(capsys.readouterr().out.split())


def test_packages_of_our_names_do_not_take_our_place(tmp_path: Path) -> None:
    shutil.copytree(Path(assets.__file__).parents[2] / "evaluators", tmp_path / "evaluators")
    # as `python -m bench` in that folder, or with it on PYTHONPATH
    command = [sys.executable, "-c", "from bench.cli import main; raise SystemExit(main())"]
    found = subprocess.run(
        [*command, *plan("--table", "1a", "--rows", "base", "--cols", "GE"), "--store", "store"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    said = " ".join(found.stderr.split())
    assert f"the package 'evaluators' is found in {tmp_path.resolve() / 'evaluators'}" in said


def test_wide_cells_do_not_touch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table()
    columns = tuple({**c, "decimals": 9} for c in COLUMNS)
    write_report(make_report(replace(data, columns=columns), ["0"]), tmp_path / "table")
    assert main(["report", "--table", "1a", "--from", str(tmp_path / "table"), "--intervals"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    numbers = [w for line in lines if line.startswith(("base ", "+ ")) for w in line.split()]
    assert numbers and all(word.count(".") <= 1 for word in numbers)
