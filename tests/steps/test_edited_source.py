"""A plug-in that is edited while a command works: nothing is published under what it was before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.store import Store
from tests.steps.micro import ROOT, forked
from tests.steps.toys import save_checkpoint, write_profile

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

METHOD = '''
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
import os
import helper
from bench.api import Method

@dataclass(frozen=True, kw_only=True)
class Edited(Method):
    """Somebody edits its helper while it trains."""
    name: ClassVar[str] = "edited"
    version: ClassVar[int] = 1
    kappa: float = 100.0

    def link(self, delta):
        file = os.environ.get("EDIT_HELPER")
        if file and Path(file).read_text() != os.environ["EDIT_TEXT"]:
            Path(file).write_text(os.environ["EDIT_TEXT"])
        return helper.link(-self.kappa * delta)
'''
HELPER = "MARGIN = 0.5\ndef link(h):\n    return (h - MARGIN).square()\n"


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edited")
    return write_profile(folder, save_checkpoint(folder / "checkpoint"))


@pytest.fixture
def method(tmp_path: Path) -> Path:
    (tmp_path / "plug").mkdir()
    (tmp_path / "plug" / "helper.py").write_text(HELPER)
    file = tmp_path / "plug" / "edited_method.py"
    file.write_text(METHOD)
    return file


def train(profile: Path, method: Path, store: Path, *more: str) -> list[str]:
    where = ["--profile", str(profile), "--store", str(store), *more]
    return ["train", f"{method}:Edited", *where]


def trainings(store: Path) -> list[str]:
    return [artifact.id for artifact in Store(store).artifacts("train")]


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def editing(monkeypatch: pytest.MonkeyPatch, helper: Path, text: str) -> None:
    monkeypatch.setenv("EDIT_HELPER", str(helper))
    monkeypatch.setenv("EDIT_TEXT", text)


def test_a_helper_edited_during_a_training_is_not_published_as_what_it_was(
    profile: Path, method: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, log = tmp_path / "store", tmp_path / "log"
    helper = method.with_name("helper.py")
    editing(monkeypatch, helper, HELPER.replace("0.5", "2.5"))
    command = train(profile, method, store, "--jobs", "1", "-q")
    assert ended(forked(command, log)) == 1
    said = log.read_text()
    assert str(helper) in said and "was edited" in said and "Run the same command again" in said
    assert trainings(store) == []
    assert not list((store / "train").glob("*.partial"))
    assert ended(forked(command, log)) == 0
    (edited,) = trainings(store)
    helper.write_text(HELPER)
    monkeypatch.delenv("EDIT_HELPER")
    assert ended(forked(command, log)) == 0
    (original,) = set(trainings(store)) - {edited}
    assert original != edited  # what was asked for first is made from what it says


def test_a_comment_during_a_training_harms_nothing(
    profile: Path, method: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editing(monkeypatch, method.with_name("helper.py"), f"{HELPER}# a comment\n")
    command = train(profile, method, tmp_path / "store", "--jobs", "1", "-q")
    assert ended(forked(command, tmp_path / "log")) == 0
    assert len(trainings(tmp_path / "store")) == 1


@pytest.mark.slow
def test_worker_processes_look_too(
    profile: Path, method: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper, store = method.with_name("helper.py"), tmp_path / "store"
    editing(monkeypatch, helper, HELPER.replace("0.5", "2.5"))
    command = train(profile, method, store, "--jobs", "2", "-q")
    process = subprocess.run(
        [sys.executable, "-m", "bench", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 1, process.stderr
    assert str(helper) in process.stderr
    assert trainings(store) == []
