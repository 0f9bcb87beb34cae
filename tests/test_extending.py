"""The examples of extension: each fulfils its contract, and the page's commands do what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.tiny.assets import path_of
from tests.api.test_registry import distribution, write

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "extending.md"
EVALUATOR = "examples/my_evaluator.py"
_READS = """    if (Path(__file__).parents[1] / "".join(["re", "ad"])).read_text() == "edit":
        own = Path(__file__)
        own.write_text(own.read_text().replace("uniform.sqrt()", "uniform"))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the examples in it."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("my_evaluator", "my_backbone", "noisier_under_test", "broken_under_test"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def validated(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, object]:
    assert main(["validate", "--json", *words]) == code
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def noisier(folder: Path) -> Path:
    """A checkpoint of the example's family."""
    target = folder / "noisier"
    shutil.copytree(path_of("tiny-sd"), target)
    index = target / "model_index.json"
    text = index.read_text().replace("StableDiffusionPipeline", "NoisierDiffusionPipeline")
    index.write_text(text)
    return target


def test_the_evaluator_and_its_back_end_fulfil_their_contracts(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backend = f"{EVALUATOR}:ColourfulnessOfPixels"
    assert validated(capsys, backend)["kind"] == "backend"
    found = validated(capsys, f"{EVALUATOR}:Colourfulness", "--set", f"backends.colours={backend}")
    assert found["kind"] == "evaluator" and found["ok"]
    assert main(["validate", f"{EVALUATOR}:Colourfulness"]) == 2
    assert "no back-end plays the role 'colours'" in capsys.readouterr().err


def test_a_broken_back_end_is_told_what_to_mend(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path(EVALUATOR).read_text()
    wrong = text.replace("float(spread + 0.3 * shift)", "spread * batch_size")
    assert wrong != text
    Path("broken_evaluator.py").write_text(wrong)
    found = validated(capsys, "broken_evaluator.py:ColourfulnessOfPixels", code=2)
    findings = found["findings"]
    assert isinstance(findings, list)
    assert [finding["check"] for finding in findings] == [
        "the batch size does not change what it sees"
    ]


def test_the_table_is_planned_and_its_faults_are_found(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = ["--profile", "examples/my_profile.yaml", "--trust"]
    found = validated(capsys, "examples/my_table.yaml", *profile)
    assert found["facts"] == {"cells": 6}
    file = Path("examples/my_table.yaml")
    file.write_text(file.read_text().replace("metric: overall", "metric: overal"))
    wrong = validated(capsys, "examples/my_table.yaml", *profile, code=2)
    assert "my_table.yaml:12: evaluator geneval has no metric 'overal'" in str(wrong["findings"])
    untrusted = validated(capsys, "examples/my_table.yaml", code=2)
    assert "--trust" in str(untrusted["findings"])
    assert validated(capsys, "1a")["kind"] == "table"


def test_the_backbone_fulfils_its_contract(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = "examples/my_backbone.py:load_backbone"
    found = validated(capsys, target, "--checkpoint", str(noisier(here)))
    assert found["kind"] == "backbone" and found["ok"]
    assert "not run" in str(validated(capsys, target)["facts"])


def installed(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's family as an installed package, which reads a file, beside one that fails."""
    monkeypatch.syspath_prepend(here / "site")
    (here / "site").mkdir()
    write(here / "site", "broken_under_test", "1 / 0")
    source = (ROOT / "examples" / "my_backbone.py").read_text()
    file = here / "site" / "noisier_under_test.py"
    source = source.replace("    return FAMILY", f"{_READS}    return FAMILY")
    (here / "read").write_text("1")
    file.write_text(source)
    distribution(
        here / "site",
        "some-package",
        "[bench.backbones]\nbroken = broken_under_test:load\n"
        "sd-noisier = noisier_under_test:load_backbone\n",
    )
    return file


def test_an_installed_backbone_is_used_and_is_part_of_the_identity(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = noisier(here)
    asked = ["generate", "--checkpoint", str(checkpoint), "--limit", "6", "--images-per-prompt"]
    words = [*asked, "1", "--store", "store", "--jobs", "1", "--json"]
    assert main(words) == 2
    assert "holds a NoisierDiffusionPipeline; expected one of" in capsys.readouterr().err
    installed(here, monkeypatch)
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "backbone broken of some-package 1.0 cannot be used" in err
    manifest = json.loads((Path(json.loads(out)["path"]) / "manifest.json").read_text())
    made_of = json.dumps(manifest["identity"])
    assert "sd-noisier" in made_of and "source_sha256" in made_of
    assert str(here / "read") in manifest["observed"]["files"]


@pytest.mark.slow  # three processes that import torch
def test_what_an_installed_backbone_reads_and_edits_while_it_works_is_noticed(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, given = installed(here, monkeypatch), ["--store", "store", "--jobs", "1", "--json"]
    words = ["generate", "--checkpoint", str(noisier(here)), "--limit", "6", *given]

    def created() -> str:
        assert main([*words, "--images-per-prompt", "1"]) == 0
        path = Path(json.loads(capsys.readouterr().out)["path"])
        return str(json.loads((path / "manifest.json").read_text())["created"])

    first = created()
    assert created() == first
    (here / "read").write_text("2")
    assert created() != first
    (here / "read").write_text("edit")
    assert main([*words, "--images-per-prompt", "1"]) != 0
    assert "uniform.sqrt()" not in file.read_text()
    said = " ".join(capsys.readouterr().err.split())
    assert f"{file} was edited after this was asked for" in said
    assert not list((here / "store").glob("images/*/manifest.json"))


@pytest.mark.slow
def test_the_pages_commands_do_what_it_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) >= 5
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    python = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(blocks)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "PYTHONPATH": python},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs" / "tables" / "my_table" / "table.json").is_file()
    assert "my LoRA" in (tmp_path / "outputs" / "tables" / "1a" / "table.md").read_text()
