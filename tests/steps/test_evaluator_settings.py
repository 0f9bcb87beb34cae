"""Settings of an evaluator come from the profile or `--set`, and enter what is measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.api.errors import UsageError
from bench.cli import main
from bench.spec.profile import load_profile
from bench.steps.scores import settings_changed
from evaluators.compbench.metric import CompBench
from evaluators.geneval.metric import GenEval

CLEAN = "evaluators.t2i-compbench.profile=clean"


def test_a_profile_gives_an_evaluator_its_settings() -> None:
    assert load_profile("tiny").evaluator("t2i-compbench") == CompBench()
    found = load_profile("tiny", overrides=[CLEAN]).evaluator("t2i-compbench")
    assert found == CompBench(profile="clean")
    assert settings_changed(found) == {"profile": "clean"}
    assert settings_changed(CompBench()) == settings_changed(GenEval()) == {}


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ("evaluators.t2i-compbench.profile=cleen", "Did you mean 'clean'"),
        ("evaluators.t2i-compbench.profil=clean", "unknown key 'profil'. Did you mean 'profile'"),
        ("evaluators.t2i-compbensh.profile=clean", "'t2i-compbench'"),
        ("evaluators.t2i-compbench=clean", "evaluators.t2i-compbench"),
        ("evaluators.geneval.threshold=0.5", "geneval has no settings, found threshold"),
    ],
)
def test_slips_are_named(change: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        profile = load_profile("tiny", overrides=[change])
        profile.evaluator("geneval" if "geneval" in change else "t2i-compbench")
    assert hint in str(caught.value)


def score(folder: Path, store: Path, *words: str) -> int:
    quiet = ["--jobs", "1", "--device", "cpu", "-q", "--json", "--store", str(store)]
    name = ["--evaluator", "t2i-compbench", "--layout", "manifest"]
    return main(["score", "--images", str(folder), *name, *words, *quiet])


def test_clean_and_faithful_are_two_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A prompt without noun phrases: the full mark, or a refusal."""
    lines = []
    for number, phrases in enumerate(([], ["a red circle"])):
        Image.fromarray(np.zeros((32, 32, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        meta = {"category": "color", "phrases": phrases}
        line = {"file": f"{number}.png", "prompt": f"red {number}", "tag": "color", "meta": meta}
        lines.append(json.dumps(line))
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    assert score(tmp_path, tmp_path / "store") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"]["color"]["value"] >= 0.5
    assert score(tmp_path, tmp_path / "store", "--set", CLEAN) == 1
    assert "has no noun phrase to ask about" in capsys.readouterr().err
