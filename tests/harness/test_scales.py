"""The scale rule from measuring to its file: what it measures on, and what it refuses."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from bench import harness
from bench.api.errors import PrerequisiteError, UsageError

SMALL = ["generation.steps=1", "protocols.scale.fid.images_per_prompt=1",
         "protocols.scale.geneval.images_per_prompt=1"]  # fmt: skip


def test_prompts_that_results_are_measured_on_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'test' is what profile tiny measures on"):
        harness.measure_scales("tiny", protocol="test", store=tmp_path)
    shared = ["protocols.scale.geneval.suite.options.split=test"]
    with pytest.raises(UsageError, match="GE: 272 of 272 prompts of protocol 'scale' are also"):
        harness.measure_scales("tiny", overrides=shared, store=tmp_path)
    assert not list(tmp_path.glob("images"))


def test_a_profile_without_what_the_rule_reads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown protocol 'scale'"):
        harness.measure_scales("paper", store=tmp_path)
    without = tmp_path / "own.yaml"
    without.write_text("extends: tiny\ntitle: own\nrenderer: null\n")
    small = [*SMALL[:1], *SMALL[2:]]
    with pytest.raises(PrerequisiteError, match=r"scale 1: the base has no FID: .*no renderer"):
        harness.measure_scales(str(without), scales=[1.0], overrides=small, store=tmp_path)


@pytest.mark.slow
def test_the_program_writes_every_point_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    program = import_module("scale_rule")
    points = harness.measure_scales(
        "tiny", scales=[1.0, 2.0], overrides=SMALL, store=tmp_path, jobs=1
    )
    assert [p.scale for p in points] == [1.0, 2.0]
    assert all(p.distance.n == 200 and p.quality.n == 251 for p in points)
    made = sorted(path.name for path in (tmp_path / "images").iterdir())
    again = harness.measure_scales(
        "tiny", scales=[1.0, 2.0], overrides=SMALL, store=tmp_path, jobs=1
    )
    assert again == points
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == made
    found = harness.choose_scale(points, (1.0, 2.0))
    monkeypatch.setattr(program, "choose_scale", lambda points: found)
    entry = json.loads(json.dumps(program.entry(points)))
    assert program.points_of(entry) == points
    assert f"{found.chosen:g}" == program.told("tiny-sd", entry).rpartition(": ")[2]
