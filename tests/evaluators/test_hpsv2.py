"""HPS v2: pixels, network through open_clip, versions, aggregation, ranking figures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.api import CorruptArtifactError, ImageSet, PrerequisiteError, ProtocolError, UsageError
from evaluators.models import hpsv2 as model
from evaluators.rewards import rules as rewards
from evaluators.rewards.hpsv2 import HPSv2
from tests.evaluators.pictures import (
    TEXTS,
    ask,
    assert_batches_and_order_change_nothing,
    make_images,
    predict,
    stored,
    suite,
)
from tests.paper.hub_cache import add_repository

pytest.importorskip("open_clip")

CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


class Small(model.HPSv21):
    """Version 2.1 at toy width."""

    def config(self) -> dict[str, Any]:
        return CONFIG


class SmallOf2023(Small):
    """The same without antialiasing."""

    antialias = False


def network() -> Any:
    from open_clip.model import CLIP

    torch.manual_seed(0)
    return CLIP(**CONFIG).eval()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, source = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("repository")
    state = {name: tensor.half() for name, tensor in network().state_dict().items()}
    torch.save({"state_dict": state}, source / "HPS_v2.1_compressed.pt")
    add_repository(folder, model.REPOSITORY, source)
    return folder


def test_score_is_a_hundred_times_open_clips_own_cosine(cache: Path, images: ImageSet) -> None:
    import open_clip

    found = predict(Small(), images, ask())
    plain = network()
    plain.load_state_dict({k: v.half().float() for k, v in plain.state_dict().items()})
    tokenizer = open_clip.get_tokenizer("ViT-H-14")
    for record, entry in zip(images.records, found, strict=True):
        picture = np.asarray(Image.open(images.root / record.path))
        pixels = model.network_input(picture, 32, antialias=True)
        with torch.no_grad():
            seen, said, _ = plain(pixels[None], tokenizer([TEXTS[record.prompt_id]]))
        assert entry["score"] == pytest.approx([100 * float((seen @ said.T)[0, 0])], abs=1e-4)
        assert entry["hps_version"] == "v2.1"


def test_batches_and_order_change_nothing(cache: Path, images: ImageSet) -> None:
    assert_batches_and_order_change_nothing(Small(), images, ask(2))


def test_antialiasing_is_visible_and_in_the_identity(cache: Path, images: ImageSet) -> None:
    modern = [r["score"][0] for r in predict(Small(), images, ask())]
    old = [r["score"][0] for r in predict(SmallOf2023(), images, ask())]
    resized = [i for i, r in enumerate(images.records) if _longest(images, r.path) > 32]
    assert all(abs(modern[i] - old[i]) > 1e-3 for i in resized)
    assert all(modern[i] == old[i] for i in range(len(modern)) if i not in resized)
    assert Small().identity() != SmallOf2023().identity()
    assert Small().identity()["hps_version"] == "v2.1"


def _longest(images: ImageSet, path: str) -> int:
    with Image.open(images.root / path) as picture:
        return max(picture.size)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(40, 40), (33, 20), (17, 48), (64, 16)])
def test_pixels_are_those_of_torchvisions_transforms(
    size: tuple[int, int], antialias: bool
) -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    tensor = functional.to_tensor(Image.fromarray(picture))
    scale = 32 / max(size)
    resized = functional.resize(
        tensor,
        [round(d * scale) for d in size],
        functional.InterpolationMode.BICUBIC,
        antialias=antialias,
    )
    down, across = 32 - resized.shape[1], 32 - resized.shape[2]
    padded = functional.pad(
        resized, [across // 2, down // 2, across - across // 2, down - down // 2]
    )
    expected = functional.normalize(padded, model.MEAN, model.STD)
    found = model.network_input(picture, 32, antialias=antialias)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_file_of_another_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: ImageSet
) -> None:
    source = tmp_path / "repository"
    source.mkdir()
    state = network().state_dict()
    del state["ln_final.weight"]
    torch.save({"state_dict": state}, source / "HPS_v2.1_compressed.pt")
    add_repository(tmp_path, model.REPOSITORY, source)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(CorruptArtifactError, match=r"ln_final\.weight"):
        predict(Small(), images, ask())
    with pytest.raises(PrerequisiteError, match="xswu/HPSv2"):
        model.HPSv20().identity()


def records(version: str, *, tags: tuple[str, ...] = ("anime", "photo", "photo")) -> Any:
    predictions = [
        {"prompt_id": key, "ordinal": k, "score": [20.0 + 3 * n + k], "hps_version": version}
        for n, key in enumerate(TEXTS)
        for k in range(2)
    ]
    return HPSv2().score(suite(tags=tags), {"hpsv2": stored(predictions)})


def test_metrics_are_named_after_the_version() -> None:
    found = HPSv2().aggregate(list(records("v2.0")), {})
    assert set(found) == {"v2.0", "v2.0/anime", "v2.0/photo"}
    assert found["v2.0"].value == pytest.approx(23.5)
    assert found["v2.0"].clusters == 3
    assert found["v2.0/anime"].value == pytest.approx(20.5)
    with pytest.raises(ProtocolError, match=r"v2\.0, v2\.1"):
        HPSv2().aggregate([*records("v2.0"), *records("v2.1")], {})
    with pytest.raises(UsageError, match="HPS version"):
        HPSv2().aggregate(list(records("v2.2")), {})


def test_chunks_of_eighty_weigh_alike() -> None:
    assert rewards.mean_of_chunks([1.0] * 80 + [4.0] * 20) == pytest.approx((2.5, 1.5))
    full = np.random.default_rng(0).normal(size=800).tolist()
    assert rewards.mean_of_chunks(full)[0] == pytest.approx(float(np.mean(full)), abs=1e-12)
    with pytest.raises(ValueError, match="no score"):
        rewards.mean_of_chunks([])


def test_ranking_figures_of_the_reference() -> None:
    assert rewards.inversion_score([2, 1, 3, 4], [1, 2, 3, 4]) == pytest.approx(0.83333, abs=1e-5)
    assert rewards.inversion_score([1, 2, 3, 4], [1, 3, 4, 2]) == pytest.approx(0.66667, abs=1e-5)
    assert rewards.inversion_score([1, 1], [2, 1]) == 1.0  # a tie agrees
    assert rewards.ranking_accuracy([0.5, 0.9, 0.1], [1, 1, 2]) == 1.0
    assert rewards.ranking_accuracy([0.5, 0.5], [1, 2]) == 0.0  # a predicted tie is wrong
    assert rewards.ranking_accuracy([0.5, 0.5], [1, 1]) is None
    with pytest.raises(ValueError, match="1 and 2"):
        rewards.inversion_score([1], [1, 2])


@pytest.mark.slow
def test_the_true_width_at_one_layer(tmp_path: Path) -> None:
    import open_clip

    config = dict(open_clip.get_model_config(model.ARCHITECTURE))
    config["vision_cfg"] = {**config["vision_cfg"], "layers": 1}
    config["text_cfg"] = {**config["text_cfg"], "layers": 1}
    torch.manual_seed(0)
    from open_clip.model import CLIP

    torch.save({"state_dict": CLIP(**config).state_dict()}, tmp_path / "weights.pt")

    class Wide(model.HPSv21):
        def config(self) -> dict[str, Any]:
            return config

        def checkpoint(self) -> Path:
            return tmp_path / "weights.pt"

    images = make_images(tmp_path, per_prompt=1, sizes=((224, 224), (64, 64), (64, 48)))
    found = predict(Wide(), images, ask(), batch=3)
    alone = predict(Wide(), images, ask(), batch=1)
    for a, b in zip(found, alone, strict=True):
        assert a["score"] == pytest.approx(b["score"], rel=1e-5, abs=1e-4)
        assert abs(a["score"][0]) < 100
