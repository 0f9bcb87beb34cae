"""The SD-1.x adapter: loading, encoding, the forward process, pipelines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from bench.api.errors import CorruptArtifactError, PrerequisiteError, UsageError
from bench.backbones.sd import StableDiffusionBackbone, load_backbone
from tests.precision import FORWARD
from tests.training.nets import LATENT, TEXT_WIDTH, TOKENS, normal, tiny_backbone

ROOT = Path(__file__).parents[2]
HUB_ID = "CompVis/stable-diffusion-v1-4"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionBackbone:
    return tiny_backbone(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def folder(made: StableDiffusionBackbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    made.pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "broken")
    return tmp_path / "broken"


def test_a_saved_pipeline_is_loaded_whole(made: StableDiffusionBackbone, folder: Path) -> None:
    loaded = load_backbone(folder)
    for part in ("text_encoder", "vae", "denoiser"):
        expected = getattr(made, part).state_dict()
        found = getattr(loaded, part).state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[k], found[k]) for k in expected)
        assert not any(p.requires_grad for p in getattr(loaded, part).parameters())
    assert type(loaded.scheduler).__name__ == "PNDMScheduler"
    assert loaded.scaling_factor == 0.9
    assert loaded.num_train_timesteps == 1000
    half = load_backbone(folder, dtype="bfloat16")
    assert {p.dtype for p in half.denoiser.parameters()} == {torch.bfloat16}


def test_a_hub_id_is_loaded_from_the_cache_without_network(folder: Path, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / f"models--{HUB_ID.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    code = (
        "from bench.backbones.sd import load_backbone\n"
        "from bench.api.errors import PrerequisiteError\n"
        f"b = load_backbone({HUB_ID!r})\n"
        f"assert b.checkpoint == {HUB_ID!r}\n"
        "print(float(b.denoiser.conv_in.weight.sum()))\n"
        "try:\n"
        "    load_backbone('owner/absent')\n"
        "except PrerequisiteError as error:\n"
        "    assert error.exit_code == 3 and 'hf download owner/absent' in str(error), error\n"
        "else:\n"
        "    raise AssertionError('a checkpoint that is not there was loaded')\n"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    weights = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert float(done.stdout) == float(weights["conv_in.weight"].sum())


@pytest.mark.parametrize(
    "part", ["model_index.json", "unet", "vae", "text_encoder", "tokenizer", "scheduler"]
)
def test_missing_parts_are_named(broken: Path, part: str) -> None:
    path = broken / part
    path.unlink() if path.is_file() else shutil.rmtree(path)
    with pytest.raises(PrerequisiteError, match=part) as caught:
        load_backbone(broken)
    assert caught.value.exit_code == 3 and caught.value.fix in str(caught.value)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match="nowhere"):
        load_backbone(tmp_path / "nowhere")


def edit_json(path: Path, edit: Callable[[dict[str, object]], None]) -> None:
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def test_other_predictions_and_families_are_refused(broken: Path) -> None:
    scheduler = broken / "scheduler" / "scheduler_config.json"
    edit_json(scheduler, lambda d: d.update(prediction_type="v_prediction"))
    with pytest.raises(UsageError, match="v_prediction"):
        load_backbone(broken)
    edit_json(broken / "model_index.json", lambda d: d.update(_class_name="SanaPipeline"))
    with pytest.raises(UsageError, match="SanaPipeline"):
        load_backbone(broken)


def test_weights_that_do_not_fill_the_network_are_refused(broken: Path) -> None:
    file = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    short = {k: v for k, v in weights.items() if k != "conv_in.weight"}
    save_file(short, file, metadata={"format": "pt"})
    with pytest.raises(CorruptArtifactError, match=r"missing_keys, e\.g\. conv_in\.weight"):
        load_backbone(broken)


def test_a_pipeline_saved_with_an_adapter_attached_is_refused(folder: Path, tmp_path: Path) -> None:
    # diffusers writes base_layer keys, and fills the attention at random when reading them back
    pipeline = load_backbone(folder).pipeline()
    pipeline.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    pipeline.save_pretrained(tmp_path / "saved")
    with pytest.raises(CorruptArtifactError, match="adapter"):
        load_backbone(tmp_path / "saved")


def test_prompts_are_padded_and_cut_to_the_model_s_length(made: StableDiffusionBackbone) -> None:
    texts = ["a red circle", "", "a blue square left of a red circle and two " * 4]
    condition = made.encode_prompts(texts)
    assert set(condition) == {"encoder_hidden_states"}
    together = condition["encoder_hidden_states"]
    assert together.shape == (3, TOKENS, TEXT_WIDTH) and not together.requires_grad
    for row, text in enumerate(texts):
        alone = made.encode_prompts([text])["encoder_hidden_states"][0]
        torch.testing.assert_close(together[row], alone, rtol=0, atol=FORWARD)
    assert not torch.allclose(together[0], together[1])
    pipeline_embeds, _ = made.pipeline().encode_prompt(
        texts, torch.device("cpu"), num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    torch.testing.assert_close(together, pipeline_embeds, rtol=0, atol=FORWARD)


def test_noising_follows_the_checkpoint_s_schedule(made: StableDiffusionBackbone) -> None:
    clean, noise = normal((4, *LATENT), 1), normal((4, *LATENT), 2)
    t = torch.tensor([0, 1, 500, 999])
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    share = torch.cumprod(1 - betas, 0)[t].view(-1, 1, 1, 1)
    expected = share.sqrt() * clean + (1 - share).sqrt() * noise
    torch.testing.assert_close(
        made.add_noise(clean, noise, t).double(), expected, rtol=1e-5, atol=1e-6
    )
    library = DDPMScheduler.from_config(made.scheduler.config).add_noise(clean, noise, t)
    assert torch.equal(made.add_noise(clean, noise, t), library)
    assert made.true_target(clean, noise, t) is noise


def test_timesteps_are_uniform_over_all_levels(made: StableDiffusionBackbone) -> None:
    uniform = torch.tensor([0.0, 0.000999, 0.001, 0.5, 1 - 2.0**-53], dtype=torch.float64)
    assert made.timesteps(uniform).tolist() == [0, 0, 1, 500, 999]
    grid = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    assert torch.bincount(made.timesteps(grid)).tolist() == [4] * 1000


def test_prediction_is_the_network_s_plain_output(made: StableDiffusionBackbone) -> None:
    x = normal((2, *LATENT), 3)
    t = torch.tensor([3, 700])
    condition = made.encode_prompts(["a red circle", "two blue square"])
    denoiser = made.denoiser
    assert isinstance(denoiser, UNet2DConditionModel)
    expected = denoiser(x, t, condition["encoder_hidden_states"]).sample
    assert torch.equal(made.predict(denoiser, x, t, condition), expected)


def test_latents_are_scaled_once_on_the_way_in_and_out(made: StableDiffusionBackbone) -> None:
    images = torch.rand((2, 3, 8, 16), generator=torch.Generator().manual_seed(0))
    latents = made.encode_images(images)
    assert tuple(latents.shape[1:]) == made.latent_shape(8, 16) == (4, 4, 8)
    raw = made.vae.encode(images * 2 - 1).latent_dist.mean
    torch.testing.assert_close(latents, 0.9 * raw)
    decoded = made.decode(latents)
    torch.testing.assert_close(decoded, (made.vae.decode(raw).sample / 2 + 0.5).clamp(0, 1))
    assert decoded.min() >= 0 and decoded.max() <= 1
    with pytest.raises(UsageError, match="multiples of 2"):
        made.latent_shape(8, 9)


def test_pipelines_have_no_safety_checker_and_their_own_sampler(
    made: StableDiffusionBackbone,
) -> None:
    one, two = made.pipeline(), made.pipeline()
    assert one.safety_checker is None
    assert one.scheduler is not two.scheduler
    assert one.unet is made.denoiser
    other = tiny_unet_like(made)
    assert made.pipeline(other).unet is other


def tiny_unet_like(backbone: StableDiffusionBackbone) -> torch.nn.Module:
    return type(backbone.denoiser).from_config(backbone.denoiser.config)  # type: ignore[attr-defined,no-any-return]
