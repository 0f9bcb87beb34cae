"""The hashes of built-in methods and evaluators: committed, and deaf to what changes no number."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from bench.api.registry import EVALUATORS, METHODS
from bench.store.source import modules
from bench.store.source.identity import meaning_of

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parents[1] / "golden" / "source-hashes.json"
TARGETS = {
    f"{kind}:{name}": entry.target
    for kind, registry in (("method", METHODS), ("evaluator", EVALUATORS))
    for name, entry in registry.entries().items()
    if entry.origin == "built-in"
}


def hashes() -> dict[str, str]:
    return {name: meaning_of((target,)).sha256 for name, target in sorted(TARGETS.items())}


def test_the_hashes_are_the_committed_ones() -> None:
    """Where a method or an evaluator was edited: `python -m tests.store.test_source_builtin`."""
    golden = json.loads(GOLDEN.read_text())
    now = hashes()
    changed = [name for name in golden.keys() | now.keys() if golden.get(name) != now.get(name)]
    assert not changed, f"results of {sorted(changed)} would be made again"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the methods and evaluators that takes the place of the ones in use."""
    for name in ("methods", "evaluators"):
        ignore = shutil.ignore_patterns("sentinels", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    shutil.copytree(ROOT / "bench" / "api", tmp_path / "bench" / "api")
    for name in ("read", "stats", "tiny", "training"):
        (tmp_path / "bench" / name).mkdir()
        for file in (ROOT / "bench" / name).glob("*.py"):
            shutil.copy(file, tmp_path / "bench" / name)
    (tmp_path / "bench" / "__init__.py").touch()
    monkeypatch.setattr(modules, "_HOME", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("bench.store.source.identity._file", lambda _name: None)
    return tmp_path


def test_a_comment_or_a_new_function_makes_nothing_stale(copy: Path) -> None:
    before = hashes()
    assert before == json.loads(GOLDEN.read_text())  # wherever the files lie
    for name in ("methods/ddspo.py", "evaluators/records.py", "bench/api/evaluator.py"):
        file = copy / name
        file.write_text(f"# why\n{file.read_text()}\n\ndef unrelated(x):\n    return x\n")
    assert hashes() == before
    (copy / "bench" / "api" / "moved.py").write_text("")
    assert hashes() == before


def test_an_edit_is_noticed_by_those_it_reaches_and_by_no_others(copy: Path) -> None:
    before = hashes()
    file = copy / "evaluators" / "geneval" / "rules.py"
    text = file.read_text()
    file.write_text(text.replace("THRESHOLD = 0.3", "THRESHOLD = 0.31"))
    assert file.read_text() != text
    assert {name for name, now in hashes().items() if before[name] != now} == {"evaluator:geneval"}


def test_an_evaluator_that_moves_out_of_its_package_keeps_its_hash(copy: Path) -> None:
    before = hashes()["evaluator:geneval"]
    package = copy / "evaluators" / "geneval"
    renamed = {name: f"gen_{name}" for name in ("metric", "rules", "folder", "prompts", "results")}
    for old, new in renamed.items():
        (package / f"{old}.py").rename(copy / "evaluators" / f"{new}.py")
    for file in (copy / "evaluators").glob("*.py"):
        text = file.read_text().replace(
            "evaluators.geneval import folder", "evaluators import folder"
        )
        for old, new in renamed.items():
            text = text.replace(f"evaluators.geneval.{old} ", f"evaluators.{new} ")
        file.write_text(text)
    assert meaning_of(("evaluators.gen_metric:GenEval",)).sha256 == before


def test_reading_and_writing_folders_is_no_part_of_a_metric(copy: Path) -> None:
    before = hashes()
    for name, old, new in (
        ("metric", "grid=previews", "grid=not previews"),
        ("folder", '"tag": prompt.tag', '"label": prompt.tag'),
        ("results", '"correct"', '"right"'),
    ):
        file = copy / "evaluators" / "geneval" / f"{name}.py"
        text = file.read_text()
        file.write_text(text.replace(old, new))
        assert file.read_text() != text
    assert hashes() == before
    file = copy / "evaluators" / "geneval" / "metric.py"
    text = file.read_text()
    file.write_text(
        text.replace(
            "        strange = sorted(",
            "        self.read_folder(suite)\n        strange = sorted(",
        )
    )
    assert file.read_text() != text
    assert {name for name, now in hashes().items() if before[name] != now} == {"evaluator:geneval"}


def test_hashing_all_of_them_is_quick_and_imports_nothing() -> None:
    import subprocess

    program = (
        "import sys, time\nfrom tests.store.test_source_builtin import hashes\n"
        "before = set(sys.modules)\nbegan = time.process_time()\nhashes()\n"
        "print(time.process_time() - began)\n"
        "more = set(sys.modules) - before\n"
        "print(*(m for m in more if m.startswith(('methods', 'evaluators', 'torch'))))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds, imported = ran.stdout.splitlines()
    assert imported == ""
    assert float(seconds) < 2.0  # 0.4 s on the machine this was written on


if __name__ == "__main__":
    lines = (f' "{name}": "{digest}"' for name, digest in hashes().items())
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
