"""LLM2CLIP's worker on toy models that come with their own code, as the published ones do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import CLIPImageProcessor, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

import evaluators.workers
from evaluators.isolated.environments import environment
from evaluators.isolated.process import WorkerError
from evaluators.isolated.reasoning import LLM2CLIPScorer
from evaluators.workers.serve import load_module
from tests.precision import FORWARD

WIDTH, SHARED, PIXELS = 16, 8, 8

CODE = f"""
import torch
from transformers import PretrainedConfig, PreTrainedModel

class ToyConfig(PretrainedConfig):
    model_type = "toy_llm2clip"

class ToyModel(PreTrainedModel):
    config_class = ToyConfig

    def __init__(self, config):
        super().__init__(config)
        self.see = torch.nn.Linear(3 * {PIXELS}**2, {SHARED})
        self.say = torch.nn.Linear({WIDTH}, {SHARED})
        self.post_init()

    def get_image_features(self, pixels):
        return self.see(pixels.flatten(1))

    def get_text_features(self, states):
        return self.say(states)
"""


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    cache = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", cache)
    monkeypatch.syspath_prepend(cache)
    torch.manual_seed(0)
    model = tmp_path / "model"
    model.mkdir()
    (model / "toy.py").write_text(CODE)
    auto = {"AutoConfig": "toy.ToyConfig", "AutoModel": "toy.ToyModel"}
    config = {"model_type": "toy_llm2clip", "architectures": ["ToyModel"], "auto_map": auto}
    (model / "config.json").write_text(json.dumps(config))
    tensors = {
        "see.weight": torch.randn(SHARED, 3 * PIXELS**2),
        "see.bias": torch.randn(SHARED),
        "say.weight": torch.randn(SHARED, WIDTH),
        "say.bias": torch.randn(SHARED),
    }
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|eot_id|>")
    fast.save_pretrained(tmp_path / "llm")
    LlamaModel(
        LlamaConfig(
            vocab_size=len(fast), hidden_size=WIDTH, intermediate_size=24, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=2,
        )
    ).save_pretrained(tmp_path / "llm")  # fmt: skip
    CLIPImageProcessor(
        size={"shortest_edge": PIXELS}, crop_size={"height": PIXELS, "width": PIXELS}
    ).save_pretrained(tmp_path / "processor")
    return {name: str(tmp_path / name) for name in ("model", "llm", "processor")}


def worker():
    folder = Path(evaluators.workers.__file__).parent / "llm2clip"
    return load_module(folder / "worker.py", "llm2clip_worker")


def items(folder: Path) -> list[dict[str, object]]:
    found = []
    for k, texts in enumerate((["K2 is high"], ["K2 is high", "a fox "])):
        pixels = np.random.default_rng(k).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
        found.append({"id": str(k), "image": str(folder / f"{k}.png"), "texts": texts})
    return found


def test_the_text_is_the_mean_over_its_own_tokens(weights: dict[str, str]) -> None:
    scorer = worker().load({"dtype": "float32"}, weights, "cpu")
    found = scorer.text_vector("K2 is high ")
    body = "K2 is high<|eot_id|>"
    ids = scorer.tokenizer(
        "<|start_header_id|>user<|end_header_id|>\n\n" + body, return_tensors="pt"
    ).input_ids
    # bytes for tokens: ten letters and the end
    with torch.no_grad():
        states = scorer.llm(input_ids=ids).last_hidden_state[0]
    assert torch.allclose(found, states[-11:].mean(dim=0), atol=FORWARD)
    assert not torch.allclose(found, states.mean(dim=0), atol=1e-4)


def test_cosines_of_images_and_texts(weights: dict[str, str], tmp_path: Path) -> None:
    scorer = worker().load({"dtype": "float32"}, weights, "cpu")
    asked = items(tmp_path)
    found = scorer.score(asked)
    assert [len(row) for row in found] == [1, 2]
    assert found[1] == pytest.approx(scorer.score(asked[1:])[0], abs=2e-2)
    picture = Image.open(str(asked[0]["image"]))
    pixels = scorer.processor(images=[picture], return_tensors="pt").pixel_values
    with torch.no_grad():
        seen = scorer.model.get_image_features(pixels)[0]
        meant = scorer.model.get_text_features(scorer.text_vector("K2 is high"))
        expected = torch.nn.functional.cosine_similarity(seen, meant, dim=0)
    # the official script computes under autocast
    assert found[0][0] == pytest.approx(float(expected), abs=2e-2)
    assert set(scorer.vectors) == {"K2 is high", "a fox "}


def test_what_the_host_takes() -> None:
    scorer = LLM2CLIPScorer()
    asked = {"id": "a/0", "image": "x.png", "texts": ["one", "two"]}
    assert scorer.answer([0.1, 0.2], asked) == ({"cosine": [0.1, 0.2]}, {})
    for value in ([0.1], [0.1, None], "0.1"):
        with pytest.raises(WorkerError):
            scorer.answer(value, asked)


def test_the_environment_pins_what_the_worker_reports() -> None:
    found = environment("llm2clip")
    assert found.pins()["transformers"] == "4.50.0"
    assert set(found.pins()) == set(worker().PACKAGES)
