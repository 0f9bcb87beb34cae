"""`bench score --official DIR`: what is written is what the official readers take, and ours."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.check.image_sets import read_set
from bench.cli import main
from bench.harness.folders import read_folder

COMMITTED = Path(__file__).parents[2] / "results" / "regression"


def manifest(root: Path, name: str, *, prompts: int, every: int = 1) -> Path:
    """Some images of a committed set as a folder of others."""
    images = read_set(COMMITTED, name)
    chosen = {p.id: p for p in images.suite.prompts[::every][:prompts]}
    lines = []
    root.mkdir()
    for record in images.records:
        if record.prompt_id not in chosen:
            continue
        prompt = chosen[record.prompt_id]
        shutil.copyfile(images.root / record.path, root / Path(record.path).name)
        line: dict[str, Any] = {
            "file": Path(record.path).name,
            "prompt": prompt.text,
            "prompt_id": prompt.id,
            "ordinal": record.ordinal,
            "tag": prompt.tag,
            "meta": dict(prompt.meta),
        }
        lines.append(json.dumps(line))
    (root / "manifest.jsonl").write_text("\n".join(lines))
    return root


def score(tmp_path: Path, *words: str) -> int:
    fixed = ["--store", str(tmp_path / "store"), "--jobs", "1", "--device", "cpu", "-q", "--json"]
    return main(["score", *words, *fixed])


def test_geneval_s_folders_and_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = manifest(tmp_path / "m", "geneval-tiny-live-validation", prompts=3)
    out = tmp_path / "official"
    words = ["--evaluator", "geneval", "--images", str(folder)]
    assert score(tmp_path, *words, "--official", str(out)) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["official"] == {"folder": str(out), "results": ["results.jsonl"]}
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert {row["filename"] for row in rows} == {
        str(p) for p in sorted(out.glob("0*/samples/*.png"))
    }
    assert sum(r["correct"] for r in rows) / len(rows) == pytest.approx(
        first["metrics"]["images_correct"]["value"]
    )
    assert (out / "00000" / "grid.png").is_file()
    # what was written is read, and scores the same
    assert score(tmp_path, "--evaluator", "geneval", "--images", str(out)) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == first["metrics"]
    assert score(tmp_path, *words, "--official", str(out)) == 2
    assert "it is there already" in capsys.readouterr().err


def test_compbench_s_folders_and_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = manifest(tmp_path / "m", "compbench-tiny-live-validation", prompts=4)
    out = tmp_path / "official"
    words = ["--evaluator", "t2i-compbench", "--images", str(folder), "--official", str(out)]
    assert score(tmp_path, *words) == 0
    found = json.loads(capsys.readouterr().out)
    categories = {name for name in found["metrics"] if name != "overall"}
    assert {p.name for p in out.iterdir()} == categories
    for name in found["official"]["results"]:
        assert (out / name).is_file()
    suite = read_set(COMMITTED, "compbench-tiny-live-validation").suite
    part = replace(suite, prompts=suite.prompts[:4])
    again = read_folder(out, evaluator="t2i-compbench", suite=part)
    assert len(again.records) == 4 * again.images_per_prompt


@pytest.mark.parametrize("evaluator", ["pickscore", "fid", "hpsv2"])
def test_an_evaluator_without_official_files_says_so_before_it_measures(
    evaluator: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--evaluator", evaluator, "--images", str(tmp_path), "--official", str(tmp_path / "o")]
    assert score(tmp_path, *words) == 2
    assert "has no official files here; geneval" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
