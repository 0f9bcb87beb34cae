"""What `bench score` says where something is missing: the command that mends it, and the place."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from bench.cli import main


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_SKIP_SENTINEL", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    root.mkdir()
    Image.new("RGB", (32, 32), "red").save(root / "0.png")
    (root / "manifest.jsonl").write_text('{"file": "0.png", "prompt": "a red square"}')
    return root


def score(tmp_path: Path, *words: str) -> int:
    store = ["--store", str(tmp_path / "store"), "--jobs", "1", "--any-size", "-q"]
    return main(["score", "--profile", "paper", *words, *store])


@pytest.mark.parametrize(
    ("evaluator", "repository"),
    [
        ("pickscore", "yuvalkirstain/PickScore_v1"),
        ("aesthetic", "openai/clip-vit-large-patch14"),
        ("realism", "yuvalkirstain/PickScore_v1"),
    ],
)
def test_a_model_that_is_not_there_names_command_and_cache(
    evaluator: str,
    repository: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert score(tmp_path, "--evaluator", evaluator, "--images", str(folder)) == 3
    said = capsys.readouterr().err
    assert f"{repository} is not in the Hugging Face cache ({tmp_path / 'hub'})" in said
    assert f"python -m bench assets fetch {repository}" in said
    assert not list((tmp_path / "store").glob("scores/*"))


def test_a_fid_without_a_reference_says_how_to_have_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(tmp_path, "--evaluator", "fid", "--images", str(folder)) == 2
    said = capsys.readouterr().err
    assert "--reference NAME" in said and "assets build --fid-reference NAME" in said


def test_people_are_asked_by_two_image_sets_or_answer_by_votes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(tmp_path, "--evaluator", "human", "--images", str(folder)) == 2
    assert "(or --votes FILE... of forms that came back)" in capsys.readouterr().err
