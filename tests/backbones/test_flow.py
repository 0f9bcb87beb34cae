"""The flow-matching families: noise levels, forward process, and texts as the pipelines encode."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SanaPipeline, StableDiffusion3Pipeline
from torch import Tensor

from bench.api import GenerationSpec
from bench.api.errors import CorruptArtifactError, PrerequisiteError, UsageError
from bench.backbones import load_backbone, sana, sd3
from bench.backbones.flow import FlowSchedule
from bench.data.images import encode_pixels
from bench.generation.sample import Sampler
from bench.generation.text import TextCache
from tests.precision import FORWARD
from tests.tiny_families import PROMPTS
from tests.tiny_flow_families import JOINT_WIDTH, write_sana, write_sd3
from tests.training.nets import TOKENS, normal

DPM_SOLVER = "DPMSolverMultistepScheduler"
TEXTS = [
    *PROMPTS[:2],
    "",
    "A Red circle and two blue square left of a red circle and a blue square ",
]


@pytest.fixture(scope="module")
def sd3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd3") / "checkpoint"
    folder.mkdir()
    write_sd3(folder, 0)
    return folder


@pytest.fixture(scope="module")
def without_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd3") / "without"
    folder.mkdir()
    write_sd3(folder, 0, t5=False)
    return folder


@pytest.fixture(scope="module")
def sana_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sana") / "checkpoint"
    write_sana(folder, 0)
    return folder


def copied(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


# the forward process


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_the_grid_is_that_of_the_library_s_scheduler(shift: float) -> None:
    library = FlowMatchEulerDiscreteScheduler(shift=shift)
    ours = FlowSchedule(num_train_timesteps=1000, shift=shift, density="uniform")
    assert torch.equal(ours.sigmas, library.sigmas)
    uniform = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    assert torch.equal(ours.timesteps(uniform), library.timesteps)


def test_noising_and_velocity_are_the_straight_line() -> None:
    schedule = FlowSchedule(num_train_timesteps=1000, shift=3.0, density="logit-normal")
    t = schedule.timesteps(torch.tensor([0.0, 0.2, 0.5, 0.9], dtype=torch.float64))
    clean, noise = normal((4, 3, 2, 2), 1), normal((4, 3, 2, 2), 2)
    x = schedule.add_noise(clean, noise, t)
    library = FlowMatchEulerDiscreteScheduler(shift=3.0).scale_noise(clean, t, noise)
    torch.testing.assert_close(x, library, rtol=0, atol=1e-6)
    assert torch.equal(x[0], noise[0])  # u = 0 is pure noise
    # following the velocity from x_t to sigma = 0 gives the clean latents, exactly in float64
    sigma = (t.double() / 1000).view(-1, 1, 1, 1)
    exact = schedule.add_noise(clean.double(), noise.double(), t)
    back = exact - sigma * (noise.double() - clean.double())
    torch.testing.assert_close(back, clean.double(), rtol=0, atol=1e-12)
    half = schedule.add_noise(clean.bfloat16(), noise.bfloat16(), t)
    assert half.dtype is torch.bfloat16


def test_a_timestep_is_a_function_of_its_uniform_number() -> None:
    """u = 0.5 is the middle of the grid; its quantiles are the sigmoid's of the normal's."""
    schedule = FlowSchedule(num_train_timesteps=1000, shift=3.0, density="logit-normal")
    ends = torch.tensor([0.0, 2.0**-53, 1 - 2.0**-53], dtype=torch.float64)
    assert torch.equal(schedule.timesteps(ends)[:1], torch.tensor([1000.0]))
    assert torch.isfinite(schedule.timesteps(ends)).all()
    middle = schedule.timesteps(torch.tensor([0.5], dtype=torch.float64))
    assert float(middle) == pytest.approx(1000 * 3 * 0.5 / 2.0)  # s = 0.5 -> sigma = 0.75
    # Phi(1) = 0.841345: position sigmoid(1) = 0.731059, s = 1 - 0.731, sigma = 3 s / (1 + 2 s)
    one = schedule.timesteps(torch.tensor([0.8413447], dtype=torch.float64))
    assert float(one) == pytest.approx(1000 * 3 * 0.269 / 1.538, abs=1e-2)


def test_the_density_is_logit_normal_and_shifted() -> None:
    schedule = FlowSchedule(num_train_timesteps=1000, shift=3.0, density="logit-normal")
    uniform = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    sigma = schedule.timesteps(uniform).double() / 1000
    s = sigma / (3 - 2 * sigma)
    logit = torch.log(s[s < 1] / (1 - s[s < 1]))
    assert float(logit.mean()) == pytest.approx(0.0, abs=5e-3)
    assert float(logit.std()) == pytest.approx(1.0, abs=5e-3)


def test_an_unknown_density_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown density 'sigmoid'"):
        FlowSchedule(num_train_timesteps=1000, shift=1.0, density="sigmoid")
    with pytest.raises(ValueError, match="shift is 0"):
        FlowSchedule(num_train_timesteps=1000, shift=0.0, density="uniform")


# Stable Diffusion 3


def assert_equal_texts(found: dict[str, Tensor], expected: list[Tensor]) -> None:
    for tensor, other in zip(found.values(), expected, strict=True):
        assert tensor.shape == other.shape
        torch.testing.assert_close(tensor, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("tokens", [128, 256])
@pytest.mark.parametrize("name", ["sd3_folder", "without_t5"])
def test_sd3_texts_are_encoded_as_the_stock_pipeline_does(
    name: str, tokens: int, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    absent = {"text_encoder_3": None, "tokenizer_3": None} if name == "without_t5" else {}
    stock = StableDiffusion3Pipeline.from_pretrained(folder, **absent)
    states, negative, pooled, negative_pooled = stock.encode_prompt(
        TEXTS, TEXTS, TEXTS, max_sequence_length=tokens
    )
    backbone = sd3.load_backbone(folder)
    encode = backbone.encode_train if tokens == 128 else backbone.encode_prompts
    condition = encode(TEXTS)
    assert condition["encoder_hidden_states"].shape == (4, TOKENS + tokens, JOINT_WIDTH)
    assert_equal_texts(condition, [states, pooled])
    if tokens == 256:
        empty = backbone.encode_negative_prompts([""] * 4)
        assert_equal_texts(empty, [negative, negative_pooled])


def test_the_length_of_t5_s_part_is_a_property_and_may_be_the_checkpoint_s(
    sd3_folder: Path, tmp_path: Path
) -> None:
    backbone = sd3.load_backbone(sd3_folder)
    assert (backbone.training_t5_tokens, backbone.t5_tokens) == (128, 256)
    cache = TextCache(backbone)
    lengths = [c("a red circle")["encoder_hidden_states"].shape[1] for c in
               (cache.training, cache.one, cache.negative)]  # fmt: skip
    assert lengths == [TOKENS + 128, TOKENS + 256, TOKENS + 256]
    backbone.t5_tokens = 5
    assert backbone.encode_prompts(["a"])["encoder_hidden_states"].shape[1] == TOKENS + 5

    folder = tmp_path / "own"
    folder.mkdir()
    write_sd3(folder, 0, t5=False, _t5_tokens=0)
    own = sd3.load_backbone(folder)
    assert (own.training_t5_tokens, own.t5_tokens) == (0, 0)
    condition = own.encode_prompts(TEXTS)
    assert condition["encoder_hidden_states"].shape[1] == TOKENS
    stock = StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None)
    states, _, pooled, _ = stock.encode_prompt(TEXTS, TEXTS, TEXTS, max_sequence_length=0)
    assert_equal_texts(condition, [states, pooled])
    own.pipeline().save_pretrained(tmp_path / "again")
    assert sd3.load_backbone(tmp_path / "again").t5_tokens == 0


def test_sd3_latents_are_shifted_and_scaled_once_on_the_way_in_and_out(sd3_folder: Path) -> None:
    backbone = sd3.load_backbone(sd3_folder)
    images = torch.rand((2, 3, 8, 16), generator=torch.Generator().manual_seed(0))
    latents = backbone.encode_images(images)
    assert tuple(latents.shape[1:]) == backbone.latent_shape(8, 16) == (16, 4, 8)
    raw = backbone.vae.encode(images * 2 - 1).latent_dist.mean
    torch.testing.assert_close(latents, (raw - 0.0609) * 1.5305)
    expected = (backbone.vae.decode(raw).sample / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(backbone.decode(latents), expected, rtol=0, atol=1e-5)
    with pytest.raises(UsageError, match="multiples of 4"):
        backbone.latent_shape(8, 10)


def test_sd3_parts_that_do_not_fit_or_are_missing_are_named(
    sd3_folder: Path, without_t5: Path, tmp_path: Path
) -> None:
    broken = copied(sd3_folder, tmp_path / "broken")
    shutil.rmtree(broken / "text_encoder_3")
    with pytest.raises(PrerequisiteError, match="text_encoder_3"):
        sd3.load_backbone(broken)
    mixed = copied(sd3_folder, tmp_path / "mixed")
    shutil.rmtree(mixed / "text_encoder_2")
    shutil.copytree(mixed / "text_encoder", mixed / "text_encoder_2")
    with pytest.raises(CorruptArtifactError, match="pooled 24 for 20"):
        sd3.load_backbone(mixed)
    index = copied(without_t5, tmp_path / "index") / "model_index.json"
    data = json.loads(index.read_text())
    index.write_text(json.dumps({**data, "text_encoder_2": [None, None]}))
    with pytest.raises(UsageError, match="no text_encoder_2"):
        sd3.load_backbone(index.parent)
    scheduler = copied(without_t5, tmp_path / "shift") / "scheduler" / "scheduler_config.json"
    data = json.loads(scheduler.read_text())
    scheduler.write_text(json.dumps({**data, "use_dynamic_shifting": True}))
    with pytest.raises(UsageError, match="without a fixed shift"):
        sd3.load_backbone(scheduler.parents[1])


def test_a_lora_is_put_on_the_joint_attention_alone(sd3_folder: Path) -> None:
    """RealAlign's targets: all eight projections of `attn`, none of the second attention."""
    names = [n for n, _ in sd3.load_backbone(sd3_folder).denoiser.named_modules()]
    chosen = [n for n in names if n.endswith(tuple(f".{t}" for t in sd3.LORA_TARGETS))]
    assert not any("attn2" in n for n in chosen) and any("attn2.to_q" in n for n in names)
    assert len(chosen) == 8 * 3 - 1  # the last block puts out no text


# SANA


@torch.no_grad()
def test_sana_texts_are_encoded_as_the_stock_pipeline_does(sana_folder: Path) -> None:
    stock = SanaPipeline.from_pretrained(sana_folder)
    lines = list(sana.default_instruction())
    states, mask, negative, negative_mask = stock.encode_prompt(
        TEXTS, negative_prompt="a blue", complex_human_instruction=lines
    )
    backbone = sana.load_backbone(sana_folder)
    condition = backbone.encode_prompts(TEXTS)
    assert condition["encoder_hidden_states"].shape[:2] == (4, 300)
    assert_equal_texts(condition, [states, mask])
    assert_equal_texts(backbone.encode_negative_prompts(["a blue"] * 4), [negative, negative_mask])
    assert not torch.equal(mask, negative_mask)
    assert lines[-1] == "User Prompt: " and len(lines) == 8


def test_a_sana_checkpoint_may_be_made_without_the_instruction(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    write_sana(folder, 0, _max_sequence_length=12, _complex_human_instruction=[])
    backbone = sana.load_backbone(folder)
    condition = backbone.encode_prompts(TEXTS)
    stock = SanaPipeline.from_pretrained(folder)
    states, mask, _, _ = stock.encode_prompt(TEXTS, max_sequence_length=12)
    assert_equal_texts(condition, [states, mask])
    backbone.pipeline().save_pretrained(tmp_path / "again")
    again = sana.load_backbone(tmp_path / "again")
    assert (again.text_tokens, again.instruction) == (12, ())


def test_padding_does_not_reach_the_sana_network(sana_folder: Path) -> None:
    backbone = sana.load_backbone(sana_folder)
    condition = backbone.encode_prompts(PROMPTS[:2])
    x_t, t = normal((2, *backbone.latent_shape(32, 32)), 1), torch.tensor([200.0, 900.0])
    plain = backbone.predict(backbone.denoiser, x_t, t, condition)
    hidden = condition["encoder_attention_mask"] == 0
    assert hidden.any()
    noise = normal(condition["encoder_hidden_states"].shape, 2)
    states = condition["encoder_hidden_states"] + noise * hidden[..., None]
    changed = backbone.predict(
        backbone.denoiser, x_t, t, {**condition, "encoder_hidden_states": states}
    )
    torch.testing.assert_close(changed, plain, rtol=0, atol=FORWARD)
    unmasked = {**condition, "encoder_attention_mask": torch.ones_like(hidden)}
    assert not torch.allclose(
        backbone.predict(backbone.denoiser, x_t, t, unmasked), plain, atol=10 * FORWARD
    )


def test_sana_trains_unshifted_and_samples_shifted(sana_folder: Path) -> None:
    backbone = sana.load_backbone(sana_folder)
    grid = backbone.timesteps((torch.arange(1000, dtype=torch.float64) + 0.5) / 1000)
    assert torch.equal(grid, FlowMatchEulerDiscreteScheduler(shift=1.0).timesteps)
    scheduler = backbone.pipeline().scheduler
    scheduler.set_timesteps(20)
    assert scheduler.config.flow_shift == 3.0
    middle = float(scheduler.sigmas[10])
    assert middle == pytest.approx(3 * 0.5 / 2.0, abs=0.02)


def test_sana_latents_are_scaled_once_and_sizes_are_the_pipeline_s(sana_folder: Path) -> None:
    backbone = sana.load_backbone(sana_folder)
    images = torch.rand((1, 3, 32, 64), generator=torch.Generator().manual_seed(0))
    latents = backbone.encode_images(images)
    assert tuple(latents.shape[1:]) == backbone.latent_shape(32, 64) == (8, 8, 16)
    raw = backbone.vae.encode(images * 2 - 1).latent
    torch.testing.assert_close(latents, raw * 0.41407)
    expected = (backbone.vae.decode(raw).sample / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(backbone.decode(latents), expected, rtol=0, atol=1e-5)
    with pytest.raises(UsageError, match="multiples of 32"):
        backbone.latent_shape(32, 48)


def test_an_image_has_one_latent_in_sana_s_autoencoder(sana_folder: Path) -> None:
    backbone = load_backbone(sana_folder)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    mean = encode_pixels(backbone, pixels, posterior="mean", keys=[0, 1], seed=0)
    again = encode_pixels(backbone, pixels, posterior="mean", keys=[7, 8], seed=9)
    assert torch.equal(mean, again) and mean.shape == (2, *backbone.latent_shape(32, 32))
    with pytest.raises(UsageError, match=r"AutoencoderDC\) gives one latent .* posterior: mean"):
        encode_pixels(backbone, pixels, posterior="sample", keys=[0, 1], seed=0)


def test_gemma_and_the_autoencoder_never_run_in_float16(sana_folder: Path) -> None:
    backbone = sana.load_backbone(sana_folder, dtype="float16")
    assert backbone.text_encoder.dtype is torch.bfloat16
    assert backbone.vae.dtype is torch.bfloat16
    assert {p.dtype for p in backbone.denoiser.parameters()} == {torch.float16}


def test_other_sana_checkpoints_are_refused(sana_folder: Path, tmp_path: Path) -> None:
    broken = copied(sana_folder, tmp_path / "broken")
    scheduler = broken / "scheduler" / "scheduler_config.json"
    data = json.loads(scheduler.read_text())
    scheduler.write_text(json.dumps({**data, "prediction_type": "epsilon"}))
    with pytest.raises(UsageError, match="predicts 'epsilon'"):
        sana.load_backbone(broken)
    with pytest.raises(UsageError, match="SanaPipeline"):
        sd3.load_backbone(sana_folder)
    config = broken / "transformer" / "config.json"
    weights = json.loads(config.read_text())
    config.write_text(json.dumps({**weights, "caption_channels": 24}))
    with pytest.raises((CorruptArtifactError, PrerequisiteError), match="transformer"):
        sana.load_backbone(broken)


# sampling


def test_a_scheduler_for_the_noise_is_refused_for_a_flow_model(without_t5: Path) -> None:
    """Diffusers would read velocities as noise; told the truth, DPM-Solver++ may be used."""
    backbone = sd3.load_backbone(without_t5)
    spec = GenerationSpec(
        steps=2, cfg_scale=1.0, height=8, width=8, dtype="float32", scheduler=DPM_SOLVER
    )
    with pytest.raises(UsageError, match=r"'epsilon', but the family 'sd3' predicts 'flow'"):
        Sampler(backbone, spec)
    told = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    sampler = Sampler(backbone, replace(spec, scheduler_config=told))
    assert sampler.images(["a red circle"], [1]).shape == (1, 8, 8, 3)
