"""What is SDXL's own: two encoders, the pooled vector, sizes, zeros for no prompt, its VAE."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.api.errors import CorruptArtifactError, UsageError
from bench.api.generation import GenerationSpec
from bench.backbones.sdxl import StableDiffusionXLBackbone, load_backbone
from bench.generation.sample import Sampler
from tests.precision import FORWARD
from tests.tiny_families import DEGRADED, PIXELS, PROMPTS, probe, write_checkpoint

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint("sdxl", tmp_path_factory.mktemp("sdxl") / "checkpoint")


@pytest.fixture(scope="module")
def backbone(folder: Path) -> StableDiffusionXLBackbone:
    return load_backbone(folder)


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "broken"))


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_conditions_are_the_pipeline_s(backbone: StableDiffusionXLBackbone) -> None:
    condition = backbone.encode_prompts(PROMPTS)
    states, _, pooled, _ = backbone.pipeline().encode_prompt(
        list(PROMPTS), device=CPU, do_classifier_free_guidance=False
    )
    torch.testing.assert_close(condition["encoder_hidden_states"], states, rtol=0, atol=FORWARD)
    torch.testing.assert_close(condition["text_embeds"], pooled, rtol=0, atol=FORWARD)
    assert pooled.shape == (len(PROMPTS), 12)


def test_a_degraded_prompt_replaces_the_pooled_vector_too(
    backbone: StableDiffusionXLBackbone,
) -> None:
    one, other = backbone.encode_prompts(PROMPTS), backbone.encode_prompts(DEGRADED)
    assert set(one) == {"encoder_hidden_states", "text_embeds"}
    for name, tensor in one.items():
        changed = (tensor - other[name]).flatten(1).abs().amax(1)
        assert bool((changed > 1e-3).all()), name


def test_no_prompt_is_all_zeros_only_where_the_checkpoint_says_so(
    backbone: StableDiffusionXLBackbone, broken: Path
) -> None:
    found = backbone.encode_negative_prompts(["", "a red circle"])
    plain = backbone.encode_prompts(["", "a red circle"])
    for name, tensor in found.items():
        assert not tensor[0].any() and plain[name][0].any()
        assert torch.equal(tensor[1], plain[name][1])
    edit(broken / "model_index.json", force_zeros_for_empty_prompt=False)
    other = load_backbone(broken)
    assert other.pipeline().config.force_zeros_for_empty_prompt is False
    found = other.encode_negative_prompts([""])
    torch.testing.assert_close(found["text_embeds"], plain["text_embeds"][:1])


def seen_sizes(backbone: StableDiffusionXLBackbone, height: int, width: int) -> Tensor:
    """Return the time ids the stock pipeline gives its UNet."""
    seen = []
    handle = backbone.denoiser.register_forward_pre_hook(
        lambda _m, _a, kwargs: seen.append(kwargs["added_cond_kwargs"]["time_ids"]),
        with_kwargs=True,
    )
    try:
        spec = GenerationSpec(steps=1, cfg_scale=3.0, height=height, width=width)
        Sampler(backbone, spec).latents(backbone.encode_prompts(PROMPTS[:1]), [1])
    finally:
        handle.remove()
    return seen[0]


def test_sizes_are_the_pipeline_s_unless_the_condition_has_its_own(
    backbone: StableDiffusionXLBackbone,
) -> None:
    for height, width in ((8, 8), (8, 16)):
        ids = seen_sizes(backbone, height, width)
        assert ids.tolist() == [backbone.time_ids(height, width).tolist()] * 2
    x_t, t, condition = probe(backbone)
    plain = backbone.predict(backbone.denoiser, x_t, t, condition)
    same = backbone.time_ids(PIXELS, PIXELS).expand(2, 6)
    own = {**condition, "time_ids": same}
    assert torch.equal(backbone.predict(backbone.denoiser, x_t, t, own), plain)
    cropped = {**condition, "time_ids": same + torch.tensor([0, 0, 3.0, 3.0, 0, 0])}
    assert not torch.allclose(backbone.predict(backbone.denoiser, x_t, t, cropped), plain)


def test_the_published_vae_stays_in_float32_where_the_rest_is_float16(
    folder: Path, broken: Path
) -> None:
    half = load_backbone(folder, dtype="float16")
    assert (half.vae.dtype, half.text_encoder_2.dtype) == (torch.float32, torch.float16)
    assert {p.dtype for p in half.denoiser.parameters()} == {torch.float16}
    assert load_backbone(folder, dtype="bfloat16").vae.dtype == torch.bfloat16
    edit(broken / "vae" / "config.json", force_upcast=False)  # as the fp16-fix VAE has it
    assert load_backbone(broken, dtype="float16").vae.dtype == torch.float16


def test_training_noises_by_the_sampler_s_schedule(backbone: StableDiffusionXLBackbone) -> None:
    assert type(backbone.scheduler).__name__ == "EulerDiscreteScheduler"
    expected = backbone.scheduler.alphas_cumprod
    assert torch.equal(backbone.training_scheduler.alphas_cumprod, expected)


def test_what_does_not_fit_together_is_refused(broken: Path, folder: Path) -> None:
    second = broken / "text_encoder_2"
    weights = load_file(second / "model.safetensors")
    weights["text_projection.weight"] = weights["text_projection.weight"][:10].contiguous()
    save_file(weights, second / "model.safetensors", metadata={"format": "pt"})
    edit(second / "config.json", projection_dim=10)
    with pytest.raises(CorruptArtifactError, match="pooled vector and sizes of width 58"):
        load_backbone(broken)
    edit(broken / "model_index.json", _class_name="StableDiffusionXLImg2ImgPipeline")
    with pytest.raises(UsageError, match="not the refiner"):
        load_backbone(broken)
    shutil.rmtree(broken)
    shutil.copytree(folder, broken)
    edit(broken / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    with pytest.raises(UsageError, match="v_prediction"):
        load_backbone(broken)
