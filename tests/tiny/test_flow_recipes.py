"""The recipes of the flow-matching base models: what a step is trained on, and resuming."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC, AutoencoderKL
from torch import Tensor

from bench.backbones import load_backbone
from bench.tiny.build import sana, sd3
from bench.tiny.build.clip import new_clip
from bench.tiny.build.flow import flow_batch
from bench.tiny.build.scenes_cache import load_scenes
from bench.tiny.build.tokenizer import MAX_TOKENS, build_tokenizer
from bench.tiny.build.vae import new_vae
from bench.tiny.grammar import vocabulary
from bench.tiny.suites import captions_tiny, compbench_tiny, geneval_tiny, pair_prompts_tiny
from tests.tiny.resuming import KilledError, kill_after, require_same
from tests.training.nets import normal


def test_a_batch_is_a_straight_line_and_depends_on_the_step_alone() -> None:
    latents = normal((50, 4, 2, 2), 3).numpy().astype(np.float16)
    one, two = (flow_batch(latents, (9, 4), 2000, shift=3.0, normal_share=0.5) for _ in range(2))
    assert torch.equal(one.noisy, two.noisy)
    assert not torch.equal(
        one.sigma, flow_batch(latents, (9, 5), 2000, shift=3.0, normal_share=0.5).sigma
    )
    clean = torch.from_numpy(latents[one.picked]).float()
    sigma = one.sigma.view(-1, 1, 1, 1)
    torch.testing.assert_close(one.noisy - sigma * one.target, clean, rtol=0, atol=1e-5)
    assert float(one.loss(one.target)) == 0.0
    shifted, plain = one.sigma[:1000], one.sigma[1000:]
    # the median of the logit-normal levels is s = 0.5, so sigma = 0.75
    assert float(shifted.median()) == pytest.approx(0.75, abs=0.03)
    assert float(plain.median()) == pytest.approx(0.5, abs=0.05)
    assert 0.07 < float(one.empty.float().mean()) < 0.13


def test_gemma_knows_every_word_as_one_token_and_every_prompt_fits() -> None:
    tokenizer = sana.build_gemma_tokenizer()
    for word in vocabulary():
        assert len(tokenizer(f"a {word}").input_ids) == 3, word
    assert tokenizer("").input_ids == [tokenizer.bos_token_id]
    for suite in (geneval_tiny(), compbench_tiny(), captions_tiny(), pair_prompts_tiny()):
        for prompt in suite:
            ids = tokenizer(prompt.text).input_ids
            assert len(ids) <= MAX_TOKENS and tokenizer.unk_token_id not in ids, prompt.text


def test_rescaled_latents_decode_to_the_same_picture() -> None:
    torch.manual_seed(0)
    vae = new_vae().eval()
    vae.register_to_config(scaling_factor=0.7)
    means = 0.3 + 1.4 * normal((20, 4, 8, 8), 5)
    latents, own = sd3.rescaled((means * 0.7).numpy().astype(np.float16), vae)
    assert float(latents.astype(np.float32).mean()) == pytest.approx(0, abs=1e-3)
    assert float(latents.astype(np.float32).std()) == pytest.approx(1, abs=1e-3)
    back = torch.from_numpy(latents).float() / own.config.scaling_factor + own.config.shift_factor
    torch.testing.assert_close(back, means, rtol=0, atol=1e-2)
    with torch.no_grad():
        torch.testing.assert_close(own.decode(means).sample, vae.decode(means).sample)
    assert vae.config.scaling_factor == 0.7


@pytest.mark.slow
def test_tiny_sd3_resumes_bit_exactly_and_loads_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = load_scenes(tmp_path, 40, 0)
    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    vae, clip = new_vae().eval(), new_clip(tokenizer)
    latents = normal((40, 4, 8, 8), 1).numpy().astype(np.float16)
    monkeypatch.setattr(sd3, "BATCH", 4)

    def train(name: str) -> sd3.StableDiffusion3Pipeline:
        folder = tmp_path / name
        return sd3.train_sd3(scenes, latents, vae, clip, tokenizer, folder, steps=3)[0]

    whole = train("whole")
    with monkeypatch.context() as patched:
        kill_after(patched, 2, sana, sd3)
        with pytest.raises(KilledError):
            train("parts")
    parts = train("parts")
    for part in ("transformer", "text_encoder", "text_encoder_2", "vae"):
        require_same(getattr(whole, part), getattr(parts, part))
    whole.to(torch.float16).save_pretrained(tmp_path / "out")
    size = sum(f.stat().st_size for f in (tmp_path / "out").rglob("*") if f.is_file())
    assert size <= 5 << 20
    backbone = load_backbone(tmp_path / "out")
    assert backbone.family == "sd3"
    states: Tensor = backbone.encode_prompts(["a red circle"])["encoder_hidden_states"]
    assert states.shape[1] == MAX_TOKENS
    assert isinstance(whole.vae, AutoencoderKL)


@pytest.mark.slow
def test_tiny_sana_resumes_bit_exactly_and_loads_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = load_scenes(tmp_path, 200, 0)
    monkeypatch.setattr(sana, "BATCH", 4)
    monkeypatch.setattr(sana, "AUTOENCODER_BATCH", 2)

    def train(name: str) -> tuple[AutoencoderDC, sana.SanaPipeline]:
        autoencoder, facts = sana.train_autoencoder(scenes, tmp_path / name / "vae", steps=3)
        assert facts["l1_of_255"] > 0
        latents = sana.encode_scenes_dc(autoencoder, scenes, tmp_path / f"{name}.npy")
        assert latents.astype(np.float32).std() == pytest.approx(1, abs=0.02)
        return autoencoder, sana.train_sana(scenes, latents, autoencoder, tmp_path / name, steps=3)[
            0
        ]

    autoencoder, whole = train("whole")
    with monkeypatch.context() as patched:
        kill_after(patched, 2, sana, sd3)
        for _ in range(2):  # once in the autoencoder's training; its state then lets it go on
            with pytest.raises(KilledError):
                train("parts")
    again, parts = train("parts")
    require_same(autoencoder, again)
    for part in ("transformer", "text_encoder"):
        require_same(getattr(whole, part), getattr(parts, part))
    whole.to(torch.float16).save_pretrained(tmp_path / "out")
    size = sum(f.stat().st_size for f in (tmp_path / "out").rglob("*") if f.is_file())
    assert size <= 5 << 20
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    assert index["_max_sequence_length"] == MAX_TOKENS
    backbone = load_backbone(tmp_path / "out")
    assert backbone.family == "sana"
    states: Tensor = backbone.encode_prompts(["a red circle"])["encoder_hidden_states"]
    assert states.shape[1] == MAX_TOKENS
