"""Networks of the published widths with random weights, and pictures, for `evaluator_speed.py`.

Where a tower is cut to a few layers the description says so: a quarter of the layers takes a
quarter of the time on either side.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench.api import ImageRecord, ImageSet, Prompt, PromptSuite
from evaluators.models.open_clip_text import named_config, new_network

PIXELS = 512
WORDS = ("a", "large", "red", "green", "wooden", "cat", "dog", "house", "under", "beside", "of",
         "stone", "old", "photo", "city", "near")  # fmt: skip
START, END = "<|startoftext|>", "<|endoftext|>"
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]


def pictures(folder: Path, count: int, *, per_prompt: int = 1, pixels: int = PIXELS) -> ImageSet:
    """Write pictures of the size diffusion models make, `per_prompt` of them for each prompt."""
    random = np.random.default_rng(0)
    prompts, records = [], []
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(-(-count // per_prompt)):
        prompts.append(Prompt(id=str(number), text=" ".join(random.choice(WORDS, 12))))
        for ordinal in range(min(per_prompt, count - len(records))):
            small = Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8))
            path = f"{number}-{ordinal}.png"
            small.resize((pixels, pixels), Image.Resampling.BICUBIC).save(folder / path)
            records.append(
                ImageRecord(prompt_id=str(number), ordinal=ordinal, path=path, sha256="", seed=0)
            )
    suite = PromptSuite(name="speed", version="1", prompts=tuple(prompts))
    return ImageSet(root=folder, suite=suite, images_per_prompt=per_prompt, records=tuple(records))


def clip_config(name: str, *, vision: int | None = None, text: int | None = None) -> dict[str, Any]:
    """Return open_clip's configuration of an architecture, with so many layers where said."""
    config = copy.deepcopy(named_config(name))
    for tower, layers in (("vision_cfg", vision), ("text_cfg", text)):
        if layers is not None:
            config[tower]["layers"] = layers
    return config


def open_clip_network(config: Mapping[str, Any]) -> Any:
    """Return an open_clip CLIP with random weights."""
    torch.manual_seed(0)
    return new_network(config).eval().requires_grad_(False)


def as_transformers(network: Any, config: Mapping[str, Any]) -> Any:
    """Return transformers' CLIPModel with the weights of an open_clip CLIP."""
    from transformers import CLIPConfig, CLIPModel

    seen, said = config["vision_cfg"], config["text_cfg"]
    activation = "quick_gelu" if config.get("quick_gelu") else "gelu"
    model = CLIPModel(
        CLIPConfig(
            projection_dim=config["embed_dim"],
            vision_config={
                "hidden_size": seen["width"],
                "intermediate_size": 4 * seen["width"],
                "num_hidden_layers": seen["layers"],
                "num_attention_heads": seen["width"] // seen.get("head_width", 64),
                "image_size": seen["image_size"],
                "patch_size": seen["patch_size"],
                "hidden_act": activation,
            },
            text_config={
                "hidden_size": said["width"],
                "intermediate_size": 4 * said["width"],
                "num_hidden_layers": said["layers"],
                "num_attention_heads": said["heads"],
                "vocab_size": said["vocab_size"],
                "max_position_embeddings": said["context_length"],
                "hidden_act": activation,
                "bos_token_id": said["vocab_size"] - 2,
                "eos_token_id": said["vocab_size"] - 1,
                "pad_token_id": said["vocab_size"] - 1,
            },
        )
    )
    model.load_state_dict(dict(_renamed(network.state_dict())))
    return model.eval().requires_grad_(False)


def _renamed(state: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield an open_clip CLIP's tensors under transformers' names."""
    whole = {
        "logit_scale": "logit_scale",
        "text_projection": "text_projection.weight",
        "visual.proj": "visual_projection.weight",
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    }
    parts = (
        ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
        ("transformer.resblocks.", "text_model.encoder.layers."),
        ("visual.ln_pre.", "vision_model.pre_layrnorm."),
        ("visual.ln_post.", "vision_model.post_layernorm."),
        ("ln_final.", "text_model.final_layer_norm."),
        (".ln_1.", ".layer_norm1."),
        (".ln_2.", ".layer_norm2."),
        (".attn.out_proj.", ".self_attn.out_proj."),
        (".mlp.c_fc.", ".mlp.fc1."),
        (".mlp.c_proj.", ".mlp.fc2."),
    )
    for name, tensor in state.items():
        if name in whole:
            turned = name in ("text_projection", "visual.proj")
            yield whole[name], tensor.T if turned else tensor
            continue
        for old, new in parts:
            name = new + name.removeprefix(old) if name.startswith(old) else name.replace(old, new)
        if ".attn.in_proj_" in name:
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                yield name.replace(".attn.in_proj_", f".self_attn.{part}_proj."), third
        else:
            yield name, tensor


def write_clip_files(folder: Path) -> Path:
    """Write CLIP's tokenizer, the words open_clip comes with, and its image processor."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPImageProcessorPil

    folder.mkdir(parents=True, exist_ok=True)
    words = SimpleTokenizer()
    special = {"<start_of_text>": START, "<end_of_text>": END}
    vocabulary = {special.get(token, token): number for token, number in words.encoder.items()}
    ranked = sorted(words.bpe_ranks, key=words.bpe_ranks.__getitem__)
    tokens = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    settings = {**tokens, "do_lower_case": True, "model_max_length": 77,
                "tokenizer_class": "CLIPTokenizer"}  # fmt: skip
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    merges = ["#version: 0.2", *(" ".join(pair) for pair in ranked)]
    (folder / "merges.txt").write_text("\n".join(merges) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    CLIPImageProcessorPil(
        size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224},
        image_mean=MEAN, image_std=STD,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def write_bert_words(folder: Path) -> Path:
    """Write a vocabulary as long as bert-base-uncased's, with `WORDS` and what BLIP needs."""
    words = [f"[unused{n}]" for n in range(30522)]
    named = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    for number, word in {**named, 2748: "yes", 2053: "no", 1029: "?"}.items():
        words[number] = word
    words[5000 : 5000 + len(WORDS)] = WORDS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    settings = {"do_lower_case": True, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
