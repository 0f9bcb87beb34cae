"""PickScore: the network through transformers, prompt sets in metric names, choices."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from bench.api import ImageSet, PrerequisiteError, ProtocolError
from bench.api.evaluator import Predictions
from bench.api.registry import BACKENDS, EVALUATORS
from bench.data.curation.scores import Scorer
from bench.data.curation.settings import ScoreSettings
from bench.validate import EvaluatorSample, validate
from evaluators.models.pickscore import NETWORK, PROCESSOR, PickScorer
from evaluators.rewards import rules as rewards
from evaluators.rewards.pickscore import PickScore
from tests.evaluators.pictures import (
    TEXTS,
    ask,
    assert_batches_and_order_change_nothing,
    predict,
    stored,
    suite,
)
from tests.paper.hub_cache import add_repository
from tests.paper.repositories import write_clip
from tests.precision import FORWARD


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, source = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("repositories")
    network = write_clip(source / "n", activation="gelu")
    add_repository(folder, NETWORK, network)
    add_repository(folder, PROCESSOR, network)
    return folder


def test_score_is_the_librarys_own_logit(cache: Path, images: ImageSet) -> None:
    folder, processing = PickScorer().folders()
    model = CLIPModel.from_pretrained(folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(processing)
    processor = CLIPImageProcessorPil.from_pretrained(processing)
    for record, found in zip(images.records, predict(PickScorer(), images, ask()), strict=True):
        with Image.open(images.root / record.path) as picture:
            pixels = processor(picture, return_tensors="pt").pixel_values
        tokens = tokenizer([TEXTS[record.prompt_id]], return_tensors="pt")
        with torch.no_grad():
            logits = model(pixel_values=pixels, **tokens).logits_per_image
        assert found["score"] == pytest.approx([float(logits)], rel=FORWARD, abs=FORWARD)


def test_batches_and_order_change_nothing(cache: Path, images: ImageSet) -> None:
    assert_batches_and_order_change_nothing(PickScorer(), images, ask(3))


def test_another_activation_is_visible(
    cache: Path, tmp_path: Path, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = predict(PickScorer(), images, ask())
    other = tmp_path / "other"
    source = write_clip(tmp_path / "quick", activation="gelu")
    config = json.loads((source / "config.json").read_text())
    for part in ("text_config", "vision_config"):
        config[part]["hidden_act"] = "quick_gelu"
    (source / "config.json").write_text(json.dumps(config))
    for name in (NETWORK, PROCESSOR):
        add_repository(other, name, source)
    identity = PickScorer().identity()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(other / "hub"))
    wrong = predict(PickScorer(), images, ask())
    assert all(abs(a["score"][0] - b["score"][0]) > 1e-4 for a, b in zip(right, wrong, strict=True))
    assert PickScorer().identity() != identity


def test_long_prompts_are_cut_and_missing_weights_named(
    cache: Path, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = {key: (text + " red" * 200,) for key, text in TEXTS.items()}
    cut = {key: (text + " red" * 300,) for key, text in TEXTS.items()}
    assert predict(PickScorer(), images, long) == predict(PickScorer(), images, cut)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(PrerequisiteError, match=NETWORK):
        PickScorer().identity()


def test_it_scores_for_the_curation(cache: Path, images: ImageSet) -> None:
    scorer = Scorer(ScoreSettings(backend="pickscore", value="score"))
    texts = [TEXTS[record.prompt_id] for record in images.records]
    found = list(scorer.scores(images.paths(), texts, batch_size=4))
    expected = [record["score"][0] for record in predict(PickScorer(), images, ask())]
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_the_true_width_at_one_layer() -> None:
    """ViT-H/14 as published, one layer deep: what the library computes is what we ask for."""
    shared = {"projection_dim": 1024, "hidden_act": "gelu", "num_hidden_layers": 1}
    config = CLIPConfig(
        text_config={"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
        | shared,
        vision_config={
            "hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 16,
            "patch_size": 14, "image_size": 224,
        } | shared,
        projection_dim=1024,
    )  # fmt: skip
    torch.manual_seed(0)
    model = CLIPModel(config).eval()
    pixels, ids = torch.randn(2, 3, 224, 224), torch.tensor([[49406, 320, 736, 49407]])
    with torch.no_grad():
        both = model(pixel_values=pixels, input_ids=ids).logits_per_image
        image = model.get_image_features(pixel_values=pixels).pooler_output
        text = model.get_text_features(input_ids=ids).pooler_output
    cosine = torch.nn.functional.cosine_similarity(image, text)
    torch.testing.assert_close(both[:, 0], cosine * model.logit_scale.exp(), rtol=1e-5, atol=1e-5)


def sample(name: str, suite_name: str = "partiprompts-1632") -> EvaluatorSample:
    predictions = {}
    for role in EVALUATORS.load(name).spec.backends:
        rows = [
            {
                "prompt_id": key,
                "ordinal": k,
                "score": [20.0 + n + 0.1 * k] * (2 if role == "realism" else 1),
                "hps_version": "tiny",
                "texture": 100.0 + n,
            }
            for n, key in enumerate(TEXTS)
            for k in range(2)
        ]
        predictions[role] = stored(rows)
    return EvaluatorSample(suite=suite(suite_name), images_per_prompt=2, predictions=predictions)


@pytest.mark.parametrize("name", ["pickscore", "hpsv2", "imagereward", "aesthetic", "realism"])
def test_the_evaluators_keep_the_contract(name: str) -> None:
    validate(name, sample=lambda _: sample(name)).require()


def test_metrics_are_named_after_the_prompt_set() -> None:
    def score(name: str) -> list[dict[str, object]]:
        return list(PickScore().score(suite(name), sample("pickscore").predictions))

    found = PickScore().aggregate(score("partiprompts-1632"), {})
    assert list(found) == ["raw/partiprompts", "scaled/partiprompts", "median/partiprompts"]
    assert found["raw/partiprompts"].value == pytest.approx(21.05)
    assert found["scaled/partiprompts"].value == pytest.approx(21.05 / 26)
    median = found["median/partiprompts"]
    assert median.value == pytest.approx(21.05)
    assert median.low is not None and median.high is not None
    assert median.low <= median.value <= median.high
    with pytest.raises(ProtocolError, match="hpdv2, partiprompts"):
        PickScore().aggregate(score("partiprompts-1632") + score("hpdv2"), {})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("partiprompts-1632", "partiprompts"),
        ("pickapic-v2-test-500", "pickapic-v2"),
        ("pickapic-v1-validation", "pickapic-v1"),
        ("HPDv2-3200", "hpdv2"),
        ("drawbench-unique-200", "drawbench"),
        ("captions-tiny-test", "tiny"),
        ("my prompts", "other"),
    ],
)
def test_prompt_sets(name: str, expected: str) -> None:
    assert rewards.prompt_set(name) == expected


def test_choices() -> None:
    odds = rewards.choice_probabilities([22.0, 21.0, 21.0])
    assert odds.sum() == pytest.approx(1)
    assert odds[0] / odds[1] == pytest.approx(np.e)
    np.testing.assert_allclose(rewards.choice_probabilities([1022.0, 1021.0, 1021.0]), odds)
    assert rewards.choice_credit(22, 21, 1, 0.1) == 1
    assert rewards.choice_credit(22, 21, 0, 0.1) == 0
    assert rewards.choice_credit(22, 21.99, 1, 0.1) == 0.5  # called a tie
    assert rewards.choice_credit(22, 21, 0.5, 0.1) == 0.5  # was a tie
    assert rewards.choice_credit(22, 21.99, 0.5, 0.1) == 1


def test_every_backend_of_a_reward_says_how_far_it_was_checked() -> None:
    for name in ("hpsv2-v2.0", "hpsv2-v2.1", "pickscore", "imagereward", "aesthetic"):
        assert BACKENDS.load(name).verified == "random-weights"


def test_a_prediction_for_other_questions_is_refused() -> None:
    rows = [{"prompt_id": k, "ordinal": 0, "score": [1.0, 2.0]} for k in TEXTS]
    with pytest.raises(ValueError, match="other questions"):
        list(PickScore().score(suite(), {"pickscore": Predictions(records=rows)}))
