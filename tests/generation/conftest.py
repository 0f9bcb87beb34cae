from __future__ import annotations

from pathlib import Path

import pytest

from bench.api import GenerationSpec, Prompt, PromptSuite
from bench.backbones.base import Backbone
from bench.generation.checkpoint import CheckpointRef, load_pipeline_backbone
from bench.store import Store
from tests.tiny_checkpoint import toy_checkpoint  # noqa: F401  (a fixture)

TEXTS = ("a red circle", "two blue squares", "a green cross above a red circle", "a cyan triangle")


@pytest.fixture(scope="session")
def ref(toy_checkpoint: Path) -> CheckpointRef:  # noqa: F811
    return CheckpointRef(kind="path", location=str(toy_checkpoint))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(scope="session")
def backbone(ref: CheckpointRef, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """For tests that leave it as it is."""
    return load_pipeline_backbone(ref, Store(tmp_path_factory.mktemp("s")), device="cpu")


@pytest.fixture(scope="session")
def spec() -> GenerationSpec:
    return GenerationSpec(steps=2, cfg_scale=3.0, height=32, width=32)


@pytest.fixture(scope="session")
def suite() -> PromptSuite:
    prompts = tuple(
        Prompt(id=f"p/{i}", text=text, tag="ab"[i % 2], meta={"number": i, "list": (1, 2)})
        for i, text in enumerate(TEXTS)
    )
    return PromptSuite(name="toy suite", version="1", prompts=prompts, licence="CC0")
