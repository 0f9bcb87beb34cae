"""Cases of `evaluator_speed.py` that ask about pictures: BLIP-VQA and Qwen2.5-VL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from speed_case import Case, Sides, first, opened, values_of
from speed_networks import MEAN, STD, pictures, write_bert_words

from evaluators.models import blip_vqa, hub, qwen_vl

PHRASES = ("a red cat?", "a wooden house?", "a dog beside a stone?")
QUESTIONS = ("a cat under a house", "an old stone", "a red dog near a city", "a wooden house",
             "a large photo of a city")  # fmt: skip
TOKENS = 2
"""Of an answer: "Yes" and the end; random weights never end by themselves."""


def blip_questions(root: Path, count: int, batch: int) -> Sides:
    """BLIP-VQA at 480 pixels: one pass over picture and question for each question."""
    from transformers import BlipConfig, BlipForQuestionAnswering, BlipImageProcessorPil

    torch.manual_seed(0)
    config = BlipConfig(
        vision_config={"image_size": 480, "num_hidden_layers": 2, "layer_norm_eps": 1e-6},
        text_config={"vocab_size": 30524, "num_hidden_layers": 2, "encoder_hidden_size": 768,
                     "num_attention_heads": 12, "bos_token_id": 30522, "is_decoder": True},
    )  # fmt: skip
    network = BlipForQuestionAnswering(config).eval().requires_grad_(False)
    words = write_bert_words(root / "bert")
    tokenizer = blip_vqa.load_tokenizer(words)
    processor = BlipImageProcessorPil(
        size={"height": 480, "width": 480}, image_mean=MEAN, image_std=STD
    )
    images = pictures(root / "pictures", count)

    class Ours(blip_vqa.BlipVqa):
        def network(self, device: str) -> Any:
            return network

        def tokenizer_folder(self) -> Path:
            return words

    def ours(n: int) -> list[float]:
        some = first(images, n)
        queries = {prompt.id: PHRASES for prompt in some.suite}
        with patch.object(blip_vqa, "load_tokenizer", lambda *a, **k: tokenizer):
            return values_of(Ours().predict(some, queries, batch_size=batch), "yes")

    def published(n: int) -> list[float]:
        found = []
        for picture in opened(first(images, n)):
            for phrase in PHRASES:
                pixels = processor(picture, return_tensors="pt").pixel_values
                ids = tokenizer(phrase, return_tensors="pt").input_ids
                ids[:, 0] = blip_vqa.ENC
                with torch.no_grad():
                    seen = network.vision_model(pixel_values=pixels).last_hidden_state
                    said = network.text_encoder(
                        input_ids=ids, encoder_hidden_states=seen
                    ).last_hidden_state
                    start = torch.full((1, 1), blip_vqa.DEC)
                    logits = network.text_decoder(input_ids=start, encoder_hidden_states=said)
                answers = logits.logits[0, 0, [blip_vqa.YES, blip_vqa.NO]].double().softmax(0)
                found.append(float(answers[0]))
        return found

    return Sides(ours=ours, published=published)


def oneig_questions(root: Path, count: int, batch: int) -> Sides:
    """OneIG's questions to Qwen2.5-VL: the library's generation for each, picture and all."""
    network, folder = _qwen(root / "qwen")
    images = pictures(root / "pictures", count, pixels=224)
    asked = [qwen_vl.YES_OR_NO.format(question=text) for text in QUESTIONS]
    with (
        patch.object(hub, "snapshot", lambda *a, **k: folder),
        patch.object(hub, "load_network", lambda *a, **k: network),
    ):
        model = qwen_vl.QwenVL(device="cpu", dtype="float32")
    stops = model.tokenizer.convert_tokens_to_ids(list(qwen_vl._STOPS))

    def numbers(answers: Sequence[str]) -> list[float]:
        return [float(int(word[1:])) for said in answers for word in said.split()]

    def ours(n: int) -> list[float]:
        found: list[float] = []
        for picture in opened(first(images, n)):
            said = model.answer(np.asarray(picture), asked, max_tokens=TOKENS, batch_size=batch)
            found += numbers(said)
        return found

    def published(n: int) -> list[float]:
        found: list[float] = []
        for picture in opened(first(images, n)):
            for text in asked:
                ids, seen = model.prompt(np.asarray(picture))
                tail = model.tokenizer(qwen_vl._AFTER.format(text=text)).input_ids
                whole = torch.tensor([[*ids, *tail]])
                image = (whole == network.config.image_token_id).int()
                with torch.no_grad():
                    out = network.generate(
                        input_ids=whole, attention_mask=torch.ones_like(whole),
                        mm_token_type_ids=image, **seen, do_sample=False,
                        repetition_penalty=qwen_vl.REPETITION_PENALTY, max_new_tokens=TOKENS,
                        eos_token_id=stops, pad_token_id=stops[1],
                    )  # fmt: skip
                end = out[0, whole.shape[1] :]
                found += numbers([model.tokenizer.decode(end, skip_special_tokens=True)])
        return found

    return Sides(ours=ours, published=published, note="numbers of the answers' words")


def _qwen(folder: Path) -> tuple[Any, Path]:
    """Return a Qwen2.5-VL of 7B's widths, one layer a tower, and its folder: a word, a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2VLImageProcessorPil,
    )

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>",
               "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]  # fmt: skip
    words = [f"w{n}" for n in range(1000)]
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(special)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.save_pretrained(folder)
    Qwen2VLImageProcessorPil(
        min_pixels=3136, max_pixels=12845056, patch_size=14, temporal_patch_size=2, merge_size=2
    ).save_pretrained(folder)
    ids = {name: fast.convert_tokens_to_ids(name) for name in special}
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(fast), "hidden_size": 3584, "intermediate_size": 18944,
            "num_hidden_layers": 1, "num_attention_heads": 28, "num_key_value_heads": 4,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6,
                                "mrope_section": [16, 24, 24]},
            "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
        },
        vision_config={
            "depth": 1, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
            "out_hidden_size": 3584, "fullatt_block_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    network = Qwen2_5_VLForConditionalGeneration(config).eval().requires_grad_(False)
    return network, folder


def cases() -> Sequence[Case]:
    """Return the cases of this file."""
    return (
        Case(
            name="blip-vqa",
            network="ViT-B/16 at 480, 2 of 12 and 2 of 12 layers; 3 questions",
            published="transformers, for each question",
            make=blip_questions,
        ),
        Case(
            name="oneig-vqa",
            network="Qwen2.5-VL-7B's widths, 1 of 32 and 1 of 28 layers; 224 x 224, 5 questions",
            published="transformers' `generate`, for each question",
            make=oneig_questions,
            divisor=4,
        ),
    )
