"""A plug-in that ends the process is a failure told by its name, never an exit code 0."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.store import Store
from tests.steps.micro import ROOT
from tests.steps.toys import save_checkpoint, write_profile

HERE = "tests.cli.exiting"
HOW = {
    "exit": "called sys.exit(0)",
    "hard": "called os._exit(0)",
    "interrupt": "raised KeyboardInterrupt, which nobody sent",
}


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Profile and store, with the images of the base and the pairs made."""
    folder = tmp_path_factory.mktemp("exits")
    profile = write_profile(folder, save_checkpoint(folder / "checkpoint"))
    words = ["--profile", str(profile), "--store", str(folder / "store"), "-q"]
    here = ["--jobs", "1"]
    assert main(["run", "--table", "1a", "--rows", "base", "--cols", "GE", *words, *here]) == 0
    assert main(["train", "sft", "--set", "training.common.steps=1", *words, *here]) == 0
    return words


def images(common: list[str]) -> str:
    store = Store(Path(common[common.index("--store") + 1]))
    return next(a.id for a in store.artifacts("images") if "geneval" in a.name)


def command(kind: str, common: list[str]) -> list[str]:
    table = ["run", "--table", "1a", "--rows", "base", "--cols", "GE"]
    return {
        "method": ["train", f"{HERE}:LeavingMethod", "--set", "training.common.steps=1"],
        "back-end": [*table, "--set", f"backends.detector={HERE}:LeavingDetector"],
        "evaluator": [
            "score",
            "--images",
            images(common),
            "--evaluator",
            f"{HERE}:LeavingEvaluator",
        ],
        "data": [
            *table,
            "--set",
            f"protocols.micro.geneval.suite.function={HERE}:leaving_prompts",
        ],
    }[kind]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("method", "made"),
        ("method", "called"),
        ("back-end", "made"),
        ("back-end", "called"),
        ("evaluator", "made"),
        ("evaluator", "called"),
        ("data", "called"),
    ],
)
def test_it_is_exit_one_with_the_plug_ins_name(
    common: list[str],
    kind: str,
    where: str,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EXITING", f"{where}:{how}")
    before = os._exit
    assert main([*command(kind, common), *common, "--jobs", "1"]) == 1
    assert os._exit is before
    said = capsys.readouterr().err
    assert HOW[how] in said and "exiting.py, line" in said
    assert "to mend it" in said and "interrupted" not in said


@pytest.mark.parametrize("how", [*HOW, "speechless"])
def test_in_a_worker_too(
    common: list[str],
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EXITING", f"called:{how}")
    assert main([*command("back-end", common), *common, "--jobs", "2"]) == 1
    said = capfd.readouterr()
    assert f"back-end {HERE}:LeavingDetector" in said.err or how == "speechless"
    assert HOW.get(how, "SpeechlessError: (it has no text)") in said.err
    assert "GE" in said.out  # the table is printed, its cell failed


def test_without_jobs_in_a_process_of_its_own(common: list[str]) -> None:
    """As a user comes in: the code, and the words, of the program itself."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *command("back-end", common), *common, "--jobs", "1"],
        cwd=ROOT,
        env={**os.environ, "EXITING": "called:hard"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "LeavingDetector called os._exit(0)" in done.stderr and "Table 1a" in done.stdout


@pytest.mark.parametrize("line", ["import sys; sys.exit(0)", "import os; os._exit(0)"])
@pytest.mark.parametrize("words", [["train"], ["validate"], ["show", "method"]])
def test_a_module_that_ends_the_process_when_it_is_imported(
    tmp_path: Path, line: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"leaves_{abs(hash((line, *words)))}"
    (tmp_path / f"{name}.py").write_text(f"{line}\n")
    target = f"{tmp_path / name}.py:Mine"
    store = [] if words[0] in ("validate", "show") else ["--store", str(tmp_path / "store")]
    assert main([*words, target, *store]) == 1
    said = capsys.readouterr().err
    assert name in said and "while it was imported, called" in said and "line 1" in said
