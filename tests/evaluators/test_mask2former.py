"""GenEval's detector through transformers, on random weights at toy width."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from bench.api import ImageRecord, ImageSet, PrerequisiteError, Prompt, PromptSuite, ProtocolError
from evaluators.geneval.prompts import OBJECT_NAMES
from evaluators.geneval.rules import COLORS
from evaluators.models.clip import ClipCosine
from evaluators.models.crop_colors import ColorReader, Thing, clip_input, crop_on_grey
from evaluators.models.mask2former import FLOOR, Mask2FormerDetector, asked_in_color
from tests.paper.hub_cache import add_repository
from tests.paper.repositories import CLIP_BASE, CLIP_LARGE, DETECTOR, write_clip, write_detector

MOUSE, CAT = OBJECT_NAMES.index("computer mouse"), OBJECT_NAMES.index("cat")


class SmallDetector(Mask2FormerDetector):
    """The same over pictures of fewer pixels, to be quick."""

    edges = (320, 192)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    source = tmp_path_factory.mktemp("repositories")
    add_repository(folder, DETECTOR, write_detector(source / "m", [MOUSE, CAT]))
    add_repository(folder, CLIP_LARGE, write_clip(source / "l"))
    add_repository(folder, CLIP_BASE, write_clip(source / "b", seed=1))
    return folder


def prompts() -> PromptSuite:
    clauses = {
        "plain": [{"class": "cat", "count": 1}],
        "red": [{"class": "computer mouse", "count": 1, "color": "red"}],
    }
    return PromptSuite(
        name="two",
        version="1",
        prompts=tuple(
            Prompt(id=name, text=f"a {name} thing", meta={"include": include})
            for name, include in clauses.items()
        ),
    )


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Two images of each prompt, the last of another size."""
    generator = np.random.default_rng(0)
    records = []
    for prompt in prompts():
        for ordinal in range(2):
            last = (prompt.id, ordinal) == ("red", 1)
            size = (40, 24, 3) if last else (32, 32, 3)
            pixels = generator.integers(0, 256, size, dtype=np.uint8)
            path = f"{prompt.id}-{ordinal}.png"
            Image.fromarray(pixels).save(tmp_path / path)
            records.append(
                ImageRecord(prompt_id=prompt.id, ordinal=ordinal, path=path, sha256="", seed=0)
            )
    return ImageSet(root=tmp_path, suite=prompts(), images_per_prompt=2, records=tuple(records))


def test_detections_have_names_by_index_boxes_and_asked_colors(
    cache: Path, images: ImageSet
) -> None:
    records = [record for record, _ in SmallDetector().predict(images, {}, batch_size=4)]
    assert [(r["prompt_id"], r["ordinal"]) for r in records] == [
        (record.prompt_id, record.ordinal) for record in images.records
    ]
    assert (records[3]["height"], records[3]["width"]) == (40, 24)
    assert {d["class"] for r in records for d in r["detections"]} == {"cat", "computer mouse"}
    for record in records:
        assert record["detections"]
        for detection in record["detections"]:
            x0, y0, x1, y1 = detection["box"]
            assert 0 <= x0 < x1 <= record["width"]
            assert 0 <= y0 < y1 <= record["height"]
            assert FLOOR < detection["score"] <= 1
            asked = record["prompt_id"] == "red" and detection["class"] == "computer mouse"
            assert ("color" in detection) == asked
            assert not asked or detection["color"] in COLORS
    json.dumps(records, allow_nan=False)


def test_batches_change_nothing_but_rounding(cache: Path, images: ImageSet) -> None:
    together = [record for record, _ in SmallDetector().predict(images, {}, batch_size=4)]
    alone = [record for record, _ in SmallDetector().predict(images, {}, batch_size=1)]
    for one, other in zip(together, alone, strict=True):
        assert len(one["detections"]) == len(other["detections"])
        for a, b in zip(one["detections"], other["detections"], strict=True):
            assert a["class"] == b["class"]
            assert a["box"] == b["box"]
            assert a["score"] == pytest.approx(b["score"], abs=1e-5)


def test_identity_names_the_variant_and_its_weights(
    cache: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Mask2FormerDetector().identity()
    assert found["backend"] == "geneval-hf"
    assert "not the official detector" in found["variant"]
    assert set(found["models"]) == {DETECTOR, CLIP_LARGE}
    other = tmp_path / "home"
    add_repository(other, DETECTOR, write_detector(tmp_path / "m", [CAT]))
    add_repository(other, CLIP_LARGE, write_clip(tmp_path / "l"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(other / "hub"))
    assert Mask2FormerDetector().identity()["weights"] != found["weights"]


@pytest.mark.parametrize(
    ("backend", "repository"), [(Mask2FormerDetector(), DETECTOR), (ClipCosine(), CLIP_BASE)]
)
def test_missing_weights_say_how_to_get_them(
    backend: Mask2FormerDetector | ClipCosine,
    repository: str,
    tmp_path: Path,
    images: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(PrerequisiteError, match=f"bench assets fetch {repository}"):
        backend.identity()
    with pytest.raises(PrerequisiteError, match=f"bench assets fetch {repository}"):
        next(iter(backend.predict(images, {"red": ["a mouse"]})))


def test_half_a_repository_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_detector(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    add_repository(tmp_path / "home", DETECTOR, folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    with pytest.raises(PrerequisiteError, match=r"without model\.safetensors"):
        Mask2FormerDetector().identity()


def test_classes_asked_in_color() -> None:
    suite = {prompt.id: prompt for prompt in prompts()}
    assert asked_in_color(suite["plain"]) == set()
    assert asked_in_color(suite["red"]) == {"computer mouse"}


def test_other_activations_are_refused(tmp_path: Path) -> None:
    folder = write_clip(tmp_path / "clip", activation="gelu")
    with pytest.raises(ProtocolError, match="'quick_gelu'"):
        ColorReader(folder, repository=CLIP_LARGE, device="cpu")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ColorReader:
    folder = write_clip(tmp_path_factory.mktemp("clip"))
    return ColorReader(folder, repository=CLIP_LARGE, device="cpu")


def test_class_vectors_are_normalised_means_of_normalised_texts(reader: ColorReader) -> None:
    found = reader.classifier("traffic light")
    assert found.shape == (10, 16)
    color = COLORS.index("purple")
    texts = [
        "a photo of a purple traffic light",
        "a photo of a purple-colored traffic light",
        "a photo of a purple object",
    ]
    vectors = []
    for text in texts:  # one at a time, without padding
        tokens = reader._tokenizer(text, return_tensors="pt")
        vector = reader._model.get_text_features(tokens.input_ids).pooler_output[0]
        vectors.append(vector / vector.norm())
    mean = torch.stack(vectors).mean(dim=0)
    assert torch.allclose(found[color], mean / mean.norm(), atol=1e-5)


def thing(seed: int, name: str = "cat") -> Thing:
    generator = np.random.default_rng(seed)
    picture = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    mask = np.zeros((40, 50), dtype=bool)
    mask[10:30, 5:25] = generator.random((20, 20)) < 0.5
    return Thing(name=name, picture=picture, mask=mask, box=[5.0, 10.0, 25.0, 30.0])


def test_crop_holds_the_object_on_grey() -> None:
    found = thing(0)
    crop = np.asarray(crop_on_grey(found))
    assert crop.shape == (20, 20, 3)
    inside = found.mask[10:30, 5:25]
    assert (crop[inside] == found.picture[10:30, 5:25][inside]).all()
    assert (crop[~inside] == 0x99).all()


def test_colors_are_the_nearest_class_whatever_goes_beside(reader: ColorReader) -> None:
    things = [thing(seed, name) for seed in range(4) for name in ("cat", "dog")]
    found = reader.read(things)
    assert found == [reader.read([one])[0] for one in things]
    with torch.no_grad():
        pixels = clip_input(crop_on_grey(things[5]), 32)[None]
        seen = reader._model.get_image_features(pixels).pooler_output[0]
    cosines = functional.cosine_similarity(reader.classifier("dog"), seen[None])
    assert found[5] == COLORS[int(cosines.argmax())]


@pytest.mark.parametrize("size", [(31, 90), (90, 31), (224, 224), (301, 300), (17, 17)])
def test_clip_input_is_open_clips_transform(size: tuple[int, int]) -> None:
    """open_clip's validation transform is this chain of torchvision's."""
    transforms = pytest.importorskip("torchvision.transforms")
    chain = transforms.Compose(
        [
            transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(
                (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
            ),
        ]
    )
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert torch.allclose(clip_input(image, 224), chain(image), atol=1e-6)


def test_clip_cosine_reads_a_hub_checkpoint(cache: Path, images: ImageSet) -> None:
    queries = {"red": ["a red mouse", "a cat"]}
    found = [record for record, _ in ClipCosine().predict(images, queries, batch_size=2)]
    assert [record["prompt_id"] for record in found] == ["red", "red"]
    for record in found:
        assert len(record["cosine"]) == 2
        assert all(-1.0 <= cosine <= 1.0 for cosine in record["cosine"])
    assert ClipCosine().identity()["models"].keys() == {CLIP_BASE}
