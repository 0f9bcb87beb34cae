"""OneIG's style encoders and DreamSim on random weights at toy width."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from bench.api import (
    CorruptArtifactError,
    ImageRecord,
    ImageSet,
    PrerequisiteError,
    Prompt,
    PromptSuite,
    ProtocolError,
    UsageError,
)
from evaluators.models.dreamsim import ADAPTER, FILES, DreamSim, squashed
from evaluators.models.dreamsim_network import Tower, merge_adapter
from evaluators.models.oneig_style import (
    CHECKPOINT,
    REFERENCES,
    STYLE_ENCODER,
    OneIGStyle,
    csd_input,
    csd_network,
)
from evaluators.oneig.rules import distances
from tests.paper.hub_cache import add_repository
from tests.precision import FORWARD

pytest.importorskip("open_clip")
pytest.importorskip("timm")

SMALL = {"width": 32, "layers": 2, "heads": 2, "output": 16, "size": 56}
SHAPE = {"width": 32, "depth": 3, "heads": 2, "size": 32, "patch": 8, "output": 16}


def randomise(network: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0.0, 0.2, generator=generator)
    return network.eval()


def images(folder: Path, count: int = 5) -> ImageSet:
    rng = np.random.default_rng(0)
    prompts = tuple(Prompt(id=i, text=i) for i in ("a", "b"))
    suite = PromptSuite(name="two", version="1", prompts=prompts)
    records = []
    for prompt in prompts:
        for k in range(count):
            path = f"{prompt.id}{k}.png"
            height, width = rng.integers(30, 90, 2)
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / path)
            records.append(
                ImageRecord(prompt_id=prompt.id, ordinal=k, path=path, sha256="", seed=0)
            )
    return ImageSet(root=folder, suite=suite, images_per_prompt=count, records=tuple(records))


# ------------------------------------------------------------------------------------- style


class SmallStyle(OneIGStyle):
    references_sha256: ClassVar[dict[str, str]] = {}

    def network(self):
        return csd_network(**SMALL)


@pytest.fixture
def style_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home, source = tmp_path / "home", tmp_path / "oneig"
    torch.manual_seed(3)
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        image_size=32, patch_size=8, projection_dim=20,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "se")
    add_repository(home, STYLE_ENCODER, tmp_path / "se")
    (source / CHECKPOINT).parent.mkdir(parents=True)
    csd = randomise(csd_network(**SMALL), 1)
    weights = {f"module.{name}": tensor for name, tensor in csd.state_dict().items()}
    torch.save({"model_state_dict": weights}, source / CHECKPOINT)
    found = {}
    for seed, (encoder, name) in enumerate(REFERENCES.items()):
        width = {"csd": 16, "se": 20}[encoder]
        rows = torch.randn(2, 3, width, generator=torch.Generator().manual_seed(seed))
        rows = nn.functional.normalize(rows, dim=-1)
        torch.save({"cubism": rows[0], "lego": rows[1].bfloat16()}, source / name)
        found[encoder] = hashlib.sha256((source / name).read_bytes()).hexdigest()
    monkeypatch.setattr(SmallStyle, "references_sha256", found)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setenv("ONEIG_HOME", str(source))
    yield source


def test_csd_is_clips_vision_tower_with_a_style_projection() -> None:
    ours = randomise(csd_network(**SMALL), 0)
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        image_size=56, patch_size=14, projection_dim=16, hidden_act="quick_gelu",
    )  # fmt: skip
    theirs = CLIPVisionModelWithProjection(config).eval()
    state = ours.state_dict()
    names = {
        "embeddings.class_embedding": "class_embedding",
        "embeddings.patch_embedding.weight": "conv1.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
    }
    for kind in ("weight", "bias"):
        names |= {f"pre_layrnorm.{kind}": f"ln_pre.{kind}"}
        names |= {f"post_layernorm.{kind}": f"ln_post.{kind}"}
        for i in range(2):
            to, by = f"encoder.layers.{i}.", f"transformer.resblocks.{i}."
            for a, b in (
                ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"), ("mlp.fc1", "mlp.c_fc"),
                ("mlp.fc2", "mlp.c_proj"), ("self_attn.out_proj", "attn.out_proj"),
            ):  # fmt: skip
                names[f"{to}{a}.{kind}"] = f"{by}{b}.{kind}"
    wanted = {f"vision_model.{a}": state[f"backbone.{b}"] for a, b in names.items()}
    wanted["visual_projection.weight"] = state["last_layer_style"].T
    for i in range(2):
        for kind in ("weight", "bias"):
            parts = state[f"backbone.transformer.resblocks.{i}.attn.in_proj_{kind}"].chunk(3)
            for name, part in zip("qkv", parts, strict=True):
                wanted[f"vision_model.encoder.layers.{i}.self_attn.{name}_proj.{kind}"] = part
    missing, unexpected = theirs.load_state_dict(wanted, strict=False)
    assert not unexpected and all("position_ids" in name for name in missing)
    pixels = torch.randn(4, 3, 56, 56, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = nn.functional.normalize(theirs(pixels).image_embeds, dim=-1)
        assert torch.allclose(ours(pixels), expected, atol=1e-5)


def test_csds_input_is_torchvisions() -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    theirs = transforms.Compose(
        [
            transforms.Resize(56, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(56),
            transforms.ToTensor(),
            transforms.Normalize(
                (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
            ),
        ]
    )
    rng = np.random.default_rng(1)
    for _ in range(20):
        height, width = rng.integers(20, 120, 2)
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = theirs(Image.fromarray(picture)).numpy()
        assert np.allclose(csd_input(picture, 56), expected, atol=1e-6)


def test_style_cosines(style_home: Path, tmp_path: Path) -> None:
    pictures = images(tmp_path)
    asked = {"a": ["cubism"], "b": ["lego"]}
    rows = [r for r, _ in SmallStyle().predict(pictures, asked, batch_size=4)]
    assert [(r["prompt_id"], r["ordinal"]) for r in rows] == [
        (r.prompt_id, r.ordinal) for r in pictures.records
    ]
    assert all(len(v) == 3 and np.abs(v).max() <= 1.01 for r in rows for v in r["cosines"].values())
    alone = [r for r, _ in SmallStyle().predict(pictures, asked, batch_size=1)]
    for one, other in zip(rows, alone, strict=True):
        for name in ("csd", "se"):
            assert one["cosines"][name] == pytest.approx(other["cosines"][name], abs=FORWARD)
    with torch.no_grad():
        csd = randomise(csd_network(**SMALL), 1)
        first = np.asarray(Image.open(pictures.root / "a0.png"))
        vector = csd(torch.from_numpy(csd_input(first, 56))[None])
    reference = torch.load(style_home / REFERENCES["csd"], weights_only=True)["cubism"]
    assert rows[0]["cosines"]["csd"] == pytest.approx((reference @ vector[0]).tolist(), abs=FORWARD)
    assert list(SmallStyle().predict(pictures, {})) == []
    with pytest.raises(UsageError, match="no reference of the style 'cubist'"):
        list(SmallStyle().predict(pictures, {"a": ["cubist"]}))


def test_style_refuses_other_references_and_torn_weights(style_home: Path, tmp_path: Path) -> None:
    pictures, asked = images(tmp_path, 1), {"a": ["lego"]}
    identity = SmallStyle().identity()
    weights = torch.load(style_home / CHECKPOINT, weights_only=True)
    weights["model_state_dict"].popitem()
    torch.save(weights, style_home / CHECKPOINT)
    assert SmallStyle().identity() != identity
    with pytest.raises(CorruptArtifactError, match="1 weights of the network are missing"):
        list(SmallStyle().predict(pictures, asked))
    torch.save({"lego": torch.zeros(3, 16)}, style_home / REFERENCES["csd"])
    with pytest.raises(ProtocolError, match="the references of commit 41b4983"):
        list(SmallStyle().predict(pictures, asked))
    (style_home / CHECKPOINT).unlink()
    with pytest.raises(PrerequisiteError, match=r"checkpoint\.pth is not in"):
        SmallStyle().identity()


# ---------------------------------------------------------------------------------- diversity


class SmallDreamSim(DreamSim):
    shape = SHAPE


class _Extractor(nn.Module):
    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.model = tower


class _Ensemble(nn.Module):
    def __init__(self, towers: list[nn.Module]) -> None:
        super().__init__()
        self.extractor_list = nn.ModuleList(_Extractor(tower) for tower in towers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([extractor.model(x) for extractor in self.extractor_list], dim=-1)


@pytest.fixture
def dreamsim_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write the files as the package leaves them, the adapter by peft itself."""
    from peft import LoraConfig, get_peft_model

    home = tmp_path / "dreamsim"
    towers = [randomise(Tower(kind, **SHAPE), seed) for seed, kind in enumerate(FILES)]
    for tower, (kind, name) in zip(towers, FILES.items(), strict=True):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        state = tower.state_dict()
        torch.save(state if kind == "dino" else {"state_dict": state}, home / name)
    torch.manual_seed(9)
    config = LoraConfig(
        r=4, lora_alpha=0.5, lora_dropout=0.3, target_modules=["qkv"], init_lora_weights=False
    )
    ensemble = get_peft_model(_Ensemble(towers), config).eval()
    ensemble.save_pretrained(home / ADAPTER)
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.save(ensemble(pixels), home / "expected.pt")
    monkeypatch.setenv("DREAMSIM_HOME", str(home))
    yield home


def test_the_merged_adapter_gives_what_peft_gives(dreamsim_home: Path) -> None:
    towers = SmallDreamSim().towers("cpu")
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = torch.cat([tower(pixels) for tower in towers.values()], dim=-1)
        bare = randomise(Tower("dino", **SHAPE), 0)(pixels)
    expected = torch.load(dreamsim_home / "expected.pt", weights_only=True)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found[:, :32], bare, atol=1e-3)


def test_towers_are_timms() -> None:
    """DINO's against timm's transformer: the class token before the last norm."""
    from timm.models.vision_transformer import VisionTransformer

    ours = randomise(Tower("dino", **SHAPE), 4)
    theirs = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=2, num_classes=0
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    seen = []
    theirs.blocks[-1].register_forward_hook(lambda _m, _i, output: seen.append(output))
    with torch.no_grad():
        theirs(pixels)
        assert torch.allclose(ours(pixels), seen[0][:, 0], atol=1e-5)


def test_clip_and_open_clip_differ_by_their_activation() -> None:
    clip, other = Tower("clip", **SHAPE), Tower("open_clip", **SHAPE)
    other.load_state_dict(randomise(clip, 6).state_dict())
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert (clip(pixels) - other(pixels)).abs().max() > 1e-4
    assert clip(pixels).shape == (2, 16)


def test_embeddings_and_distances(dreamsim_home: Path, tmp_path: Path) -> None:
    pictures = images(tmp_path)
    rows = np.stack([a["embedding"] for _, a in SmallDreamSim().predict(pictures, {})])
    assert rows.shape == (10, 32 + 16 + 16) and rows.dtype == np.float32
    alone = [a["embedding"] for _, a in SmallDreamSim().predict(pictures, {}, batch_size=1)]
    assert np.allclose(rows, np.stack(alone), atol=1e-5)
    # DreamSim's own distance: mean off, unit norm, cosine
    unit = torch.from_numpy(rows - rows.mean(axis=1, keepdims=True))
    expected = 1 - nn.functional.cosine_similarity(unit[0], unit[1:], dim=-1)
    assert np.allclose(distances(rows)[0, 1:], expected.numpy(), atol=1e-6)


def test_pictures_are_squashed_not_cropped() -> None:
    picture = np.zeros((20, 60, 3), dtype=np.uint8)
    picture[:, :30] = 255
    seen = squashed(picture, 32)
    assert seen.shape == (3, 32, 32) and seen[:, :, :14].min() > 0.9 and seen[:, :, 18:].max() < 0.1


def test_dreamsim_refuses_missing_and_strange_files(
    dreamsim_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = SmallDreamSim().identity()
    assert set(identity["weights"]) == {*FILES, "config", "adapter"}
    towers = [Tower(kind, **SHAPE) for kind in FILES]
    for names in (["extractor_list.0.model.head.lora_A.weight"], ["whatever"]):
        adapter = {name: torch.zeros(4, 32) for name in names}
        with pytest.raises(CorruptArtifactError):
            merge_adapter(towers, adapter, scale=1.0, source=Path("x"))
    (dreamsim_home / ADAPTER / "adapter_config.json").write_text(json.dumps({"r": 0}))
    with pytest.raises(CorruptArtifactError, match="no rank and alpha"):
        SmallDreamSim().towers("cpu")
    (dreamsim_home / FILES["clip"]).unlink()
    with pytest.raises(PrerequisiteError, match=r"clip_vitb16_pretrain\.pth\.tar is not in"):
        SmallDreamSim().identity()
    monkeypatch.delenv("DREAMSIM_HOME")
    with pytest.raises(PrerequisiteError, match="DREAMSIM_HOME"):
        SmallDreamSim().identity()
