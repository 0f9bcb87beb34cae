"""Models in the hub's cache: which commit is meant, and what is said where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.api import PrerequisiteError
from evaluators.models.hub import snapshot
from tests.paper.hub_cache import add_repository

NAME = "someone/model"
NEEDS = (("config.json",), ("model.safetensors",))


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("config.json", "model.safetensors"):
        (source / name).write_bytes(b"{}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return add_repository(tmp_path, NAME, source)


def test_a_commit_fetched_by_its_name_is_found_where_it_is_the_only_one(found: Path) -> None:
    assert snapshot(NAME, needs=NEEDS) == found
    (found.parents[1] / "refs" / "main").unlink()  # as after `assets fetch --revision COMMIT`
    assert snapshot(NAME, needs=NEEDS) == found
    assert snapshot(NAME, revision=found.name, needs=NEEDS) == found
    shutil.copytree(found, found.with_name("0" * 40), symlinks=True)
    with pytest.raises(PrerequisiteError, match="is not in the Hugging Face cache"):
        snapshot(NAME, needs=NEEDS)


def test_what_is_missing_is_named_with_the_cache_and_the_command(
    found: Path, tmp_path: Path
) -> None:
    (found / "model.safetensors").unlink()
    with pytest.raises(PrerequisiteError) as caught:
        snapshot(NAME, needs=NEEDS)
    said = str(caught.value)
    assert f"cache ({tmp_path / 'hub'}) without model.safetensors" in said
    assert f"python -m bench assets fetch {NAME}" in said
    with pytest.raises(PrerequisiteError, match="--revision v2"):
        snapshot(NAME, revision="v2", needs=NEEDS)
