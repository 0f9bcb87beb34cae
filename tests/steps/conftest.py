from pathlib import Path

import pytest

from tests.steps.toys import write_profile


@pytest.fixture
def pure_profile(tmp_path: Path) -> Path:
    """The micro profile over a folder that only looks like a checkpoint: enough for a graph."""
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "model_index.json").write_text("{}")
    (checkpoint / "weights.safetensors").write_bytes(b"weights")
    return write_profile(tmp_path, checkpoint)
