"""What a notebook set of torch and PIL for its own work changes nothing that is stored."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageFile

from bench import harness
from bench.api.errors import ProtocolError
from bench.read.pictures import read_picture
from bench.store import file_hash
from tests.steps.toys import save_checkpoint, write_profile


@contextmanager
def default_dtype() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def low_products() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
        assert torch.get_float32_matmul_precision() == "medium"  # the caller's, as it was
    finally:
        torch.set_float32_matmul_precision(before)


NOTEBOOKS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default dtype": default_dtype,
    "default device": lambda: torch.device("meta"),
    "products": low_products,
    "inference": torch.inference_mode,
}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    return write_profile(folder, save_checkpoint(folder / "checkpoint"))


def trained(profile: Path, store: Path) -> list[str]:
    """Return the exports of a training and images of it, by hash, all made in this process."""
    small = ["training.common.steps=1"]
    made = harness.train("ddspo", str(profile), overrides=small, store=store, jobs=1)
    prompts = profile.parent / "p.txt"
    prompts.write_text("a red circle\n")
    images = harness.generate(
        made, profile=str(profile), prompts=prompts, images_per_prompt=1, store=store, jobs=1
    )
    path = made.artifact.path
    exports = [file_hash(path / n) for n in made.artifact.files if n.startswith("exports/")]
    assert exports
    return [*exports, *(record.sha256 for record in images.image_set.records)]


def test_settings_of_the_process_change_no_number(profile: Path, tmp_path: Path) -> None:
    expected = trained(profile, tmp_path / "plain")
    for number, (name, setting) in enumerate(NOTEBOOKS.items()):
        with setting():
            assert trained(profile, tmp_path / str(number)) == expected, name


def test_half_a_picture_is_refused_though_the_process_takes_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 80).convert("RGB").save(whole, format="PNG")
    read_picture(whole.getvalue())
    with pytest.raises(ProtocolError, match="broken"):
        read_picture(whole.getvalue()[:2000])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
