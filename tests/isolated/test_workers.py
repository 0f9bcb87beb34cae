"""Workers whose environments cannot be built here: what they make of their libraries' answers."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.api.errors import PrerequisiteError
from bench.api.prompts import Prompt
from evaluators.detections import parse_detections
from evaluators.geneval.prompts import OBJECT_NAMES
from evaluators.isolated.backend import weights_sha256
from evaluators.isolated.detectors import MMDetDetector, UniDetDetector, unpack_mask, users_file
from evaluators.isolated.environments import environment
from evaluators.models.hub import content_hash
from evaluators.workers.serve import content_sha256, load_module
from tests.paper.hub_cache import add_repository
from tests.paper.repositories import CLIP_LARGE, write_clip
from tests.precision import FORWARD

CAT, CUP = OBJECT_NAMES.index("cat"), OBJECT_NAMES.index("cup")
HEIGHT, WIDTH = 13, 21


def worker(name: str) -> Any:
    return load_module(environment(name).worker, "worker_under_test")


def test_linked_folders_are_hashed_and_only_the_hubs_names_believed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "weights", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "part").symlink_to(outside)
    (outside / "w.bin").write_text("first")
    link = folder / "link.bin"
    for cache, believed in (("other", False), ("models--owner--name/blobs", True)):
        blob = tmp_path / cache / ("0" * 64)
        blob.parent.mkdir(parents=True)
        blob.write_text("first")
        link.unlink(missing_ok=True)
        link.symlink_to(blob)
        before = weights_sha256(folder), content_hash(folder)
        blob.write_text("other content")
        assert (weights_sha256(folder) == before[0]) is believed
        assert (content_hash(folder) == before[1]) is believed
    for of in (content_sha256, weights_sha256):
        (outside / "w.bin").write_text("first")
        first = of(folder)
        (outside / "w.bin").write_text("second")
        assert of(folder) != first
        (outside / "circle").symlink_to(folder)
        with pytest.raises(OSError, match="links to a folder that it lies in"):
            of(folder)
        (outside / "circle").unlink()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture
def mmdet(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """MMDetection's API, with the result it has for one image: by class, boxes (n, 5) and masks."""
    draw = np.random.default_rng(1)
    masks = draw.random((3, HEIGHT, WIDTH)) > 0.5
    boxes: list[Any] = [np.zeros((0, 5), np.float32) for _ in OBJECT_NAMES]
    found: list[Any] = [[] for _ in OBJECT_NAMES]
    boxes[CAT] = np.array([[1, 2, 9, 12, 0.75], [0, 0, 5, 5, 0.01]], np.float32)
    found[CAT] = [masks[0], masks[1]]
    boxes[CUP] = np.array([[3, 3, 20, 10, 0.5]], np.float32)
    found[CUP] = [masks[2]]
    apis, mmcv = types.ModuleType("mmdet.apis"), types.ModuleType("mmcv")
    apis.inference_detector = lambda model, image: (boxes, found)  # type: ignore[attr-defined]
    mmcv.imread = lambda path: np.asarray(Image.open(path))[:, :, ::-1]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mmdet", types.ModuleType("mmdet"))
    monkeypatch.setitem(sys.modules, "mmdet.apis", apis)
    monkeypatch.setitem(sys.modules, "mmcv", mmcv)
    return {"masks": masks}


def test_mmdet_results_become_detections_with_the_masks_asked_for(
    mmdet: dict[str, Any], picture: Path
) -> None:
    detector = worker("geneval-mmdet").Detector(None, 0.05)
    [value] = detector.score([{"id": "0/0", "image": str(picture), "masks": [CUP]}])
    value = json.loads(json.dumps(value))
    assert (value["height"], value["width"]) == (HEIGHT, WIDTH)
    cat, cup = value["detections"]  # the one at 0.01 is left out
    assert cat[0] == CAT and cat[1] == 0.75 and cat[2] == [1, 2, 9, 12] and cat[3] is None
    assert cup[:3] == [CUP, 0.5, [3, 3, 20, 10]]
    assert (unpack_mask(cup[3], HEIGHT, WIDTH) == mmdet["masks"][2]).all()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    add_repository(tmp_path / "home", CLIP_LARGE, write_clip(tmp_path / "clip"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    yield tmp_path


def test_colours_are_read_where_they_are_asked(
    mmdet: dict[str, Any], picture: Path, cache: Path
) -> None:
    from evaluators.models.crop_colors import ColorReader, Thing

    backend = MMDetDetector()
    backend.device = "cpu"
    clauses = [{"class": "cup", "count": 1, "color": "red"}, {"class": "cat", "count": 1}]
    prompt = Prompt(id="0", text="a red cup and a cat", meta={"include": clauses})
    asked = {"id": "0/0", "image": str(picture), **backend.asks(prompt, ())}
    assert asked["masks"] == [CUP]
    [value] = worker("geneval-mmdet").Detector(None, 0.05).score([asked])
    record, arrays = backend.answer(value, asked)
    assert not arrays and (record["height"], record["width"]) == (HEIGHT, WIDTH)
    cat, cup = parse_detections({"prompt_id": "0", "ordinal": 0, **record}, colored={"cup"})
    assert (cat.label, cat.color, cup.label) == ("cat", None, "cup")
    reader = ColorReader(backend._colors(), repository=CLIP_LARGE, device="cpu")
    thing = Thing(
        name="cup",
        picture=np.asarray(Image.open(picture)),
        mask=mmdet["masks"][2],
        box=[3, 3, 20, 10],
    )
    assert [cup.color] == reader.read([thing])


def test_a_users_checkpoint_is_named_and_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("BENCH_UNIDET_LABELS", raising=False)
    with pytest.raises(PrerequisiteError, match="set BENCH_UNIDET_LABELS to where it is"):
        users_file("unidet_labels.json", "BENCH_UNIDET_LABELS")
    (tmp_path / "labels.json").write_text("[]")
    monkeypatch.setenv("BENCH_UNIDET_LABELS", str(tmp_path / "labels.json"))
    path = users_file("unidet_labels.json", "BENCH_UNIDET_LABELS")
    assert path == tmp_path / "labels.json"
    pinned = MMDetDetector().pinned()["checkpoint"]
    assert pinned == "743b7d99" and UniDetDetector().options()["short_side"] == 479


REMOTE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel


class ToyConfig(PretrainedConfig):
    model_type = "toy_quality"


class ToyQuality(PreTrainedModel):
    config_class = ToyConfig

    def __init__(self, config):
        super().__init__(config)
        self.head = torch.nn.Linear(3, 5)
        self.post_init()

    def score(self, images):
        import numpy as np

        means = [np.asarray(image).reshape(-1, 3).mean(0) / 255 for image in images]
        logits = self.head(torch.tensor(np.stack(means), dtype=self.head.weight.dtype))
        return torch.softmax(logits, -1) @ torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
"""


def test_deqas_worker_runs_the_code_of_the_checkpoint(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A toy with the checkpoint's layout: `auto_map`, code beside the weights, `score(images)`."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "toy-quality"
    folder.mkdir()
    (folder / "toy.py").write_text(REMOTE)
    card = {
        "model_type": "toy_quality",
        "auto_map": {"AutoConfig": "toy.ToyConfig", "AutoModelForCausalLM": "toy.ToyQuality"},
    }
    (folder / "config.json").write_text(json.dumps(card))
    weight = torch.linspace(-2, 2, 15).reshape(5, 3)
    save_file(
        {"head.weight": weight, "head.bias": torch.zeros(5)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    modules = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    scorer = worker("deqa").load({"dtype": "float32"}, {"model": str(folder)}, "cpu")
    found = scorer.score([{"id": "0/0", "image": str(picture)}] * 2)
    mean = torch.tensor(np.asarray(Image.open(picture)).reshape(-1, 3).mean(0) / 255).float()
    wanted = torch.softmax(weight @ mean, -1) @ torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
    assert found == pytest.approx([float(wanted)] * 2, abs=FORWARD)
