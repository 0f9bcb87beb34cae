"""UnifiedReward's worker in its own environment, on a Qwen2.5-VL of toy width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessorPil

from evaluators.isolated.build import build_environment
from evaluators.isolated.environments import environment
from evaluators.isolated.process import WorkerError
from evaluators.isolated.rewards import UnifiedRewardJudge
from evaluators.rewards.unifiedreward_rules import QUESTION
from tests.evaluators.test_oneig_qwen import write_qwen
from tests.isolated.fakes import images
from tests.paper.hub_cache import add_repository

pytestmark = pytest.mark.slow

TOKENS = 12


class Judge(UnifiedRewardJudge):
    """The same with short answers, in float32."""

    def options(self) -> dict[str, Any]:
        return {**super().options(), "dtype": "float32", "max_new_tokens": TOKENS}


def louder(folder: Path) -> Path:
    """Make the toy's weights larger, so that its answers differ."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4.0 if weight.ndim > 1 else 1.0)
    model.save_pretrained(folder)
    return folder


def by_hand(folder: Path, image: Path, caption: str) -> str:
    """Return the answer by the library's own generation, for an image it does not resize."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    seen = processor(images=[Image.open(image).convert("RGB")], return_tensors="pt")
    pads = "<|image_pad|>" * (int(seen["image_grid_thw"].prod()) // 4)
    text = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        f"<|vision_start|>{pads}<|vision_end|>{QUESTION.replace('{prompt}', caption)}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    tokens = tokenizer(text, return_tensors="pt")
    pad = model.config.image_token_id
    kinds = (tokens.input_ids == pad).to(torch.int32)
    out = model.generate(
        **{k: tokens[k] for k in ("input_ids", "attention_mask")},
        **seen,
        mm_token_type_ids=kinds,
        max_new_tokens=TOKENS,
        do_sample=False,
    )
    answer = out[0, tokens.input_ids.shape[1] :]
    return str(tokenizer.decode(answer, skip_special_tokens=True))


def test_the_worker_asks_as_the_library_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("BENCH_ENV_UNIFIEDREWARD", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    build_environment(environment("unifiedreward"))
    source = louder(write_qwen(tmp_path / "q"))
    folder = add_repository(tmp_path / "home", UnifiedRewardJudge.hub_models[0], source)
    judge = Judge()
    judge.device = "cpu"
    given = images(tmp_path, 2, edge=56)
    for record in given.records:  # sizes the model takes as they are
        path = given.root / record.path
        Image.open(path).resize((112, 56)).save(path)
    texts = {"0": ["a cat of glass"], "1": ["x"]}
    answers = [record["answer"] for record, _ in judge.predict(given, texts, batch_size=2)]
    wanted = [by_hand(folder, given.root / r.path, texts[r.prompt_id][0]) for r in given.records]
    assert answers == wanted and len(set(wanted)) == 2 and all(wanted)

    hashes = judge.identity()["weights"]
    blob = next(f for f in folder.iterdir() if f.name == "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-4] + b"\0\0\0\0")
    assert judge.identity()["weights"] == hashes  # the blob's name is believed here ...
    with pytest.raises(WorkerError, match="found model with sha256"):  # ... and read there
        list(judge.predict(given, texts))
