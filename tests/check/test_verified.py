"""What back-ends state of themselves is read without importing them, and stands under tables."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.api.declared import VERIFIED, declared, roles_of, verified_of
from bench.api.registry import BACKENDS, EVALUATORS
from bench.report.stored import make_report, read_report, write_report
from bench.report.verified import declared_words, stated_words, verified_line
from bench.spec.profile import load_profile
from bench.spec.table import load_table
from tests.report.tables import table

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", BACKENDS.names())
def test_what_is_read_is_what_the_class_says(name: str) -> None:
    entry = BACKENDS.entry(name)
    loaded = BACKENDS.load(name)
    assert verified_of(entry) == loaded.verified
    assert {loaded.verified, *loaded.verified_for.values()} <= set(VERIFIED)
    for evaluator, word in loaded.verified_for.items():
        assert evaluator in EVALUATORS.names() and verified_of(entry, evaluator) == word
    assert declared(entry, "version") in (None, loaded.version)
    assert declared(entry, "nothing of that name") is None


@pytest.mark.parametrize("name", EVALUATORS.names())
def test_roles_are_read_from_the_card(name: str) -> None:
    assert roles_of(EVALUATORS.entry(name)) == EVALUATORS.load(name).spec.backends


def test_listing_imports_no_plug_in() -> None:
    code = (
        "import sys\nfrom bench.cli import main\n"
        "assert main(['list', 'evaluators']) == 0\n"
        "assert main(['list', 'backends']) == 0\n"
        "found = [m for n, m in sys.modules.items() if n.startswith('evaluators.')]\n"
        "assert all(hasattr(m, '__path__') for m in found), found\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "tiny real-weights; paper random-weights" in lines["geneval"]
    assert "random-weights" in lines["geneval-hf"]
    # the network of the package index has no class scores
    assert "paper real-weights" in lines["fid"]
    assert "paper random-weights" in lines["inception-score"]


def test_a_table_says_the_least_that_holds_for_its_columns() -> None:
    paper, spec = load_profile("paper"), load_table("1a")
    fid, score = spec.column("FID"), spec.column("IS")
    assert stated_words(paper, [fid])["fid-ddspo-30k"] == "real-weights"
    for columns in ([score], [fid, score], [score, fid]):
        assert stated_words(paper, columns)["fid-ddspo-30k"] == "random-weights"


def test_the_weakest_stands_first() -> None:
    words = {"a": "real-weights", "b": "rules", "c": "real-weights", "d": "random-weights"}
    line = verified_line(words, ["c", "a", "b"])
    assert line == "back-ends verified: rules (b); real-weights (a, c)"
    assert verified_line(words, []) == ""
    assert verified_line({}, ["a"]) == ""


def test_the_line_stands_under_the_table(tmp_path: Path) -> None:
    line = "back-ends verified: random-weights (toy)"
    report = make_report(replace(table(), verified={"toy": "random-weights"}), ["scores/a"])
    assert f"- {line}\n" in report.render("md")
    assert line in report.render("terminal")
    write_report(report, tmp_path)
    assert line in read_report(tmp_path).render("md")


def test_a_table_stored_before_takes_it_from_back_ends_of_the_same_version(tmp_path: Path) -> None:
    used = {
        "detector": {"backend": "geneval-hf", "version": 1},
        "x": {"backend": "y", "version": 1},
    }
    cells = [replace(c, protocol={**c.protocol, "backends": used}) for c in table().cells]
    assert declared_words(cells) == {"geneval-hf": "random-weights"}
    used["detector"]["version"] = 99
    assert declared_words(cells) == {}
    write_report(make_report(table(), ["scores/a"]), tmp_path)
    assert "verified" not in (tmp_path / "table.json").read_text()
