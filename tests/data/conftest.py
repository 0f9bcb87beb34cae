from __future__ import annotations

from pathlib import Path

import pytest

from bench.api import GenerationSpec, PromptSuite
from bench.backbones.base import Backbone
from bench.data import pairs as pairs_module
from bench.data import texts as texts_module
from bench.data.pairs import build_pairs
from bench.data.spec import PairSpec
from bench.generation.checkpoint import CheckpointRef, load_pipeline_backbone
from bench.store import Artifact, Store
from bench.tiny.suites import pair_prompts_tiny
from tests.tiny_checkpoint import toy_checkpoint  # noqa: F401  (a fixture)

PAIRS = 7


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
def suite() -> PromptSuite:
    return pair_prompts_tiny(PAIRS)


@pytest.fixture(scope="session")
def spec() -> PairSpec:
    return PairSpec(generation=GenerationSpec(steps=2, cfg_scale=3.0, height=32, width=32))


@pytest.fixture(autouse=True, scope="session")
def short_parts() -> object:
    """Cut even a small set into several parts."""
    patch = pytest.MonkeyPatch()
    patch.setattr(pairs_module, "PAIRS_PER_PART", 3)
    patch.setattr(texts_module, "TEXTS_PER_PART", 5)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def pairs(
    ref: CheckpointRef,
    suite: PromptSuite,
    spec: PairSpec,
    tmp_path_factory: pytest.TempPathFactory,
    short_parts: object,
) -> Artifact:
    """A pair set made without interruption. Tests must leave it as it is."""
    store = Store(tmp_path_factory.mktemp("pairs"))
    return build_pairs(store, ref, suite, spec, batch_size=4, device="cpu")
