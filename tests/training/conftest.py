from __future__ import annotations

import pytest

from bench.backbones.sd import StableDiffusionBackbone
from tests.training.nets import tiny_backbone


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionBackbone:
    return tiny_backbone(tmp_path_factory.mktemp("backbone"))
