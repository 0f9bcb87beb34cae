"""Pair sets of every family: sampled as the pipeline does, texts stored as the training reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.api import GenerationSpec
from bench.data.on_disk import PairsOnDisk
from bench.data.pairs import build_pairs
from bench.data.spec import PairSpec
from bench.generation.checkpoint import CheckpointRef, load_pipeline_backbone
from bench.generation.sample import Sampler
from bench.store import Store, read_jsonl, read_safetensors
from bench.tiny.suites import pair_prompts_tiny
from tests.tiny_families import FAMILIES, side, write_checkpoint

QUICK = "sd3"


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=() if f == QUICK else pytest.mark.slow) for f in FAMILIES]
)
def test_a_pair_set_can_be_made_and_trained_on(family: str, tmp_path: Path) -> None:
    ref = CheckpointRef(kind="path", location=str(write_checkpoint(family, tmp_path / "c")))
    store, pixels = Store(tmp_path / "store"), side(family)
    generation = GenerationSpec(steps=2, cfg_scale=3.0, height=pixels, width=pixels)
    suite = pair_prompts_tiny(3)
    made = build_pairs(store, ref, suite, PairSpec(generation=generation), device="cpu")
    backbone = load_pipeline_backbone(ref, store, device="cpu")
    rows = read_jsonl(made.file("pairs.jsonl"))
    sampler = Sampler(backbone, generation)
    texts = sampler.texts.many([row[key] for row in rows for key in ("prompt", "degraded")])
    seeds = [row["seed"] for row in rows for _ in range(2)]
    expected = sampler.latents(texts, seeds).float().numpy()
    found = read_safetensors(made.file("latents.safetensors"))
    for name, images in (("winner", expected[::2]), ("loser", expected[1::2])):
        np.testing.assert_allclose(found[name], images, rtol=1e-3, atol=1e-3)

    batch = PairsOnDisk(made).batch([0, 2], torch.device("cpu"))
    encode = getattr(backbone, "encode_train", backbone.encode_prompts)
    for row, number in enumerate((0, 2)):
        for name, tensor in encode([rows[number]["prompt"]]).items():
            torch.testing.assert_close(
                batch.condition[name][row].float(), tensor[0].float(), rtol=1e-5, atol=1e-5
            )
