"""Depth maps and the open-vocabulary detector on random weights at toy width."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BitConfig,
    DPTConfig,
    DPTForDepthEstimation,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessorPil,
)

from bench.api import ImageRecord, ImageSet, PrerequisiteError, Prompt, PromptSuite
from evaluators.compbench.rules import overlap
from evaluators.models import depth, ovd_detector
from evaluators.models.depth import DptDepth, eight_bits, prepare
from evaluators.models.ovd_detector import (
    Detector,
    OpenVocabularyDetector,
    leave_out_repeats,
    nouns_of,
)
from tests.paper.hub_cache import add_repository
from tests.paper.repositories import write_tokenizer

SIDE = 64
WORDS = 2 * 94 + 2
PROMPTS = (
    Prompt(id="s", text="a girl near a dog", meta={"objects": ["girl", "dog"]}, tag="spatial"),
    Prompt(
        id="n",
        text="two cups and a ship",
        meta={"category": "numeracy", "counts": [["cup", 2], ["ship", 1]]},
        tag="numeracy",
    ),
    Prompt(id="c", text="a red hat", meta={"objects": [None, None]}, tag="complex"),
)


class SmallDepth(DptDepth):
    """The same at fewer pixels, to be quick."""

    size = SIDE


def write_dpt(folder: Path) -> Path:
    """Write a DPT-Hybrid: a small BiT in front of a small ViT."""
    torch.manual_seed(0)
    config = DPTConfig(
        is_hybrid=True,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=SIDE,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[32, 64, 32, 32],
        fusion_hidden_size=16,
        neck_ignore_stages=[0, 1],
        reassemble_factors=[1, 1, 1, 0.5],
        readout_type="project",
        backbone_featmap_shape=[1, 128, SIDE // 16, SIDE // 16],
        backbone_config=BitConfig(
            embedding_size=8,
            hidden_sizes=[32, 64, 128],
            depths=[1, 1, 1],
            num_groups=4,
            layer_type="bottleneck",
            global_padding="same",
            embedding_dynamic_padding=True,
            out_features=["stage1", "stage2", "stage3"],
        ),
    )
    DPTForDepthEstimation(config).eval().save_pretrained(folder)
    return folder


def write_owl(folder: Path) -> Path:
    """Write an OWLv2 whose confidences lie well above the threshold."""
    torch.manual_seed(0)
    text = {"vocab_size": WORDS, "hidden_size": 16, "intermediate_size": 32}
    vision = {"hidden_size": 16, "intermediate_size": 32, "image_size": SIDE, "patch_size": 16}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2}
    config = Owlv2Config(
        text_config={**text, **layers, "max_position_embeddings": 77},
        vision_config={**vision, **layers},
        projection_dim=16,
    )
    network = Owlv2ForObjectDetection(config).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.3)
    network.save_pretrained(folder)
    write_tokenizer(folder)
    Owlv2ImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    source = tmp_path_factory.mktemp("repositories")
    add_repository(folder, depth.REPOSITORY, write_dpt(source / "dpt"))
    add_repository(folder, ovd_detector.REPOSITORY, write_owl(source / "owl"))
    return folder


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    generator = np.random.default_rng(0)
    records = []
    for prompt in PROMPTS:
        for ordinal in range(2):
            blocks = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            path = f"{prompt.id}-{ordinal}.png"
            Image.fromarray(blocks.repeat(8, 0).repeat(8, 1)).save(tmp_path / path)
            records.append(
                ImageRecord(prompt_id=prompt.id, ordinal=ordinal, path=path, sha256="", seed=0)
            )
    suite = PromptSuite(name="three", version="1", prompts=PROMPTS)
    return ImageSet(root=tmp_path, suite=suite, images_per_prompt=2, records=tuple(records))


def backwards(images: ImageSet) -> ImageSet:
    return ImageSet(
        root=images.root,
        suite=images.suite,
        images_per_prompt=images.images_per_prompt,
        records=tuple(reversed(images.records)),
    )


def test_a_map_is_stretched_and_has_the_detectors_size(cache: Path, images: ImageSet) -> None:
    found = list(SmallDepth().predict(images, {}, batch_size=4))
    assert [(r["prompt_id"], r["ordinal"]) for r, _ in found] == [
        (record.prompt_id, record.ordinal) for record in images.records
    ]
    for record, arrays in found:
        assert (record["width"], record["height"]) == (64, 48)
        assert arrays["depth"].shape == (360, 480)
        assert arrays["depth"].dtype == np.uint8
        assert arrays["depth"].max() > 225  # interpolation rounds the peaks off
        assert arrays["depth"].min() < 30


def test_maps_are_the_librarys_own_stretched(cache: Path, images: ImageSet) -> None:
    network = DPTForDepthEstimation.from_pretrained(
        next((cache / "hub").glob("models--Intel*/snapshots/*"))
    )
    with Image.open(images.paths()[0]) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    with torch.no_grad():
        raw = network(pixel_values=prepare(pixels, SIDE)[None]).predicted_depth[0]
    _, arrays = next(iter(SmallDepth().predict(images, {})))
    near, far = np.unravel_index(int(raw.argmax()), raw.shape), int(raw.argmin())
    scale = np.array(arrays["depth"].shape) / np.array(raw.shape)
    assert arrays["depth"][tuple((np.array(near) * scale).astype(int))] > 225
    place = np.array(np.unravel_index(far, raw.shape)) * scale
    assert arrays["depth"][tuple(place.astype(int))] < 30


def test_eight_bits_keep_order_and_survive_a_flat_map() -> None:
    ramp = torch.linspace(3, 9, 480)[None].repeat(480, 1)
    found = eight_bits(ramp, 512, 512)
    assert found.shape == (479, 479)
    assert (found[0, 0], found[0, -1]) == (0, 254) or found[0, -1] == 255
    assert (np.diff(found[0].astype(int)) >= 0).all()
    assert not eight_bits(torch.ones(480, 480), 512, 512).any()


def test_batches_and_order_do_not_change_maps(cache: Path, images: ImageSet) -> None:
    def maps(found: ImageSet, batch_size: int) -> dict[tuple[str, int], np.ndarray]:
        return {
            (r["prompt_id"], r["ordinal"]): a["depth"]
            for r, a in SmallDepth().predict(found, {}, batch_size=batch_size)
        }

    alone = maps(backwards(images), 1)
    for key, value in maps(images, 6).items():
        assert np.abs(value.astype(int) - alone[key].astype(int)).max() <= 1  # a rounding


def test_a_prompts_own_nouns_are_looked_for() -> None:
    assert nouns_of(PROMPTS[0]) == ("person", "dog")
    assert nouns_of(PROMPTS[1]) == ("cup", "boat")
    assert nouns_of(PROMPTS[2]) == ()
    twice = Prompt(id="t", text="", meta={"objects": [{"class": "cup", "color": "red"}, "cup"]})
    assert nouns_of(twice) == ("cup",)


def test_detections_agree_with_the_librarys_own(cache: Path, images: ImageSet) -> None:
    """Its forward and post-processing over the same queries, before repeats are left out."""
    detector = Detector("cpu")
    folder = ovd_detector._folder()
    network = Owlv2ForObjectDetection.from_pretrained(folder)
    processor = Owlv2ImageProcessorPil.from_pretrained(folder)
    nouns = ("person", "dog")
    for path in images.paths()[:3]:
        with Image.open(path) as file:
            picture = file.convert("RGB")
        tokens = detector._tokenizer(
            [f"a photo of a {noun}" for noun in nouns], padding="max_length", return_tensors="pt"
        )
        with torch.no_grad():
            out = network(
                pixel_values=processor(picture, return_tensors="pt").pixel_values, **tokens
            )
        (expected,) = processor.post_process_object_detection(
            out, threshold=0.1, target_sizes=[(48, 64)]
        )
        raw = [
            {"class": nouns[int(label)], "score": float(score), "box": box}
            for label, score, box in zip(
                expected["labels"],
                expected["scores"],
                expected["boxes"].clamp(min=0).minimum(torch.tensor([64, 48, 64, 48])).tolist(),
                strict=True,
            )
        ]
        ours = detector.find(detector.look([np.asarray(picture)]), 0, nouns, 64, 48)
        wanted = leave_out_repeats(raw)
        assert wanted
        assert [d["class"] for d in ours] == [d["class"] for d in wanted]
        for one, other in zip(ours, wanted, strict=True):
            assert one["score"] == pytest.approx(other["score"], abs=1e-5)
            assert one["box"] == pytest.approx(other["box"], abs=1e-3)


def test_detections_fit_the_rules_and_do_not_depend_on_batches(
    cache: Path, images: ImageSet
) -> None:
    def look(found: ImageSet, batch_size: int) -> dict[tuple[str, int], dict]:
        return {
            (r["prompt_id"], r["ordinal"]): r
            for r, _ in OpenVocabularyDetector().predict(found, {}, batch_size=batch_size)
        }

    together, alone = look(images, 4), look(backwards(images), 1)
    assert set(together) == set(alone)
    for key, record in together.items():
        other = alone[key]["detections"]
        assert [d["class"] for d in record["detections"]] == [d["class"] for d in other]
        for a, b in zip(record["detections"], other, strict=True):
            assert a["score"] == pytest.approx(b["score"], abs=1e-5)
            assert a["box"] == pytest.approx(b["box"], abs=1e-3)
        scores = [d["score"] for d in record["detections"]]
        assert scores == sorted(scores, reverse=True)
    assert together["s", 0]["detections"]
    assert not together["c", 0]["detections"]
    json.dumps(list(together.values()), allow_nan=False)


def test_repeats_of_a_label_are_left_out() -> None:
    boxes = [
        ([0, 0, 10, 10], 0.5, "cup"),
        ([0, 0, 10, 9], 0.9, "cup"),
        ([0, 0, 10, 10], 0.4, "dog"),
    ]
    found = leave_out_repeats([{"class": c, "score": s, "box": b} for b, s, c in boxes])
    assert [(d["class"], d["score"]) for d in found] == [("cup", 0.9), ("dog", 0.4)]
    assert overlap(boxes[0][0], boxes[1][0]) > 0.5


def test_identities_name_weights_and_the_variant(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not the official detector" in OpenVocabularyDetector().identity()["variant"]
    assert SmallDepth().identity()["size"] == SIDE
    assert DptDepth().identity() != SmallDepth().identity()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for backend in (OpenVocabularyDetector(), DptDepth()):
        with pytest.raises(PrerequisiteError, match="not in the Hugging Face cache"):
            backend.identity()
