"""`bench plan --power`: what a run can see, from the committed results where nothing was run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main

FIVE = ("--seeds", "0,1,2,3,4")


def planned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, *argv: str, code: int = 0
) -> dict[str, Any]:
    words = ["plan", "--table", "1a", "--power", "--store", str(tmp_path), *argv, "--json"]
    assert main(words) == code
    return dict(json.loads(capsys.readouterr().out))


def by_claim(found: dict[str, Any]) -> dict[str, Any]:
    return {f"{c['better']} {c['worse']} {c['column']}": c for c in found["claims"]}


def test_before_any_run_the_committed_variances_are_taken(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = planned(capsys, tmp_path, *FIVE)
    assert found["variances"] == {"from": "results/table-1a", "profile": "tiny", "seeds": 8}
    claim = by_claim(found)["ddspo diffusion-dpo GE"]
    assert claim["design"] == {"seeds": 5, "prompts": 272, "images": 5, "shared_noise": False}
    assert claim["effect"] == pytest.approx(0.5045 - 0.4841)
    assert 0.03 < claim["visible"] < 0.07 and claim["alpha"] == 0.05
    assert set(claim["needed"]) == {"seeds", "prompts", "images"}
    fid = by_claim(found)["ddspo diffusion-dpo FID"]
    assert fid["needed"]["images"] is None and fid["components"]["images"] is None
    assert fid["alpha"] < 0.01  # one of several that are not planned


def test_sizes_and_noise_are_those_of_the_request(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ge = (*FIVE, "--cols", "GE")
    all_ = by_claim(planned(capsys, tmp_path, *ge))["ddspo base GE"]
    one = by_claim(planned(capsys, tmp_path, *ge, "--set", "noise=shared"))["ddspo base GE"]
    cut = by_claim(planned(capsys, tmp_path, *ge, "--limit", "60"))["ddspo base GE"]
    assert all_["visible"] <= one["visible"] < cut["visible"]
    assert one["design"]["shared_noise"] and not all_["design"]["shared_noise"]
    assert cut["design"]["prompts"] < 100
    asked = by_claim(planned(capsys, tmp_path, *ge, "--effect", "0.03"))
    assert {claim["effect"] for claim in asked.values()} == {0.03}
    assert all(claim["column"] == "GE" for claim in asked.values())


def test_the_text_fits_a_terminal_and_says_what_it_took(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["plan", "--table", "1a", "--power", "--store", str(tmp_path), *FIVE]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert lines[0].startswith("variances  results/table-1a (profile tiny), 8 training seeds")
    assert any(line.startswith("ddspo > diffusion-dpo GE") for line in lines)
    assert any(line.startswith("set to 0, the estimate was below: ") for line in lines)


def test_what_cannot_be_planned_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plan = ["plan", "--store", str(tmp_path), "--table"]
    assert main([*plan, "1a", "--power"]) == 2
    assert "--seeds 0,1,2,3,4" in capsys.readouterr().err
    assert main([*plan, "1a", "--power", *FIVE, "--effect", "0"]) == 2
    assert "no run can see a difference of 0" in capsys.readouterr().err
    assert main([*plan, "1a", *FIVE, "--effect", "0.1"]) == 2
    assert "--effect needs --power" in capsys.readouterr().err
    assert main([*plan, "1c", "--power", *FIVE]) == 3
    error = capsys.readouterr().err
    assert "results/table-1c" in error and "bench run --table 1c" in error
    named = ["--variances", "results/table-2a"]
    assert main([*plan, "1a", "--power", *FIVE, *named]) == 2
    assert "holds table 2a, not 1a" in capsys.readouterr().err
