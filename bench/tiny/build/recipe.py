"""The order in which the world's assets are made, each resumable and published by one rename."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import (
    CLIPModel,
    CLIPTextModelWithProjection,
)

from bench.api.errors import CorruptArtifactError, UsageError, unknown
from bench.tiny.assets import NAMES, folder_sha256, weights_folder
from bench.tiny.build.calibrate import calibrate
from bench.tiny.build.cards import write_card
from bench.tiny.build.clip import train_clip
from bench.tiny.build.heads import (
    train_features,
    train_phrases,
)
from bench.tiny.build.inpaint import train_inpaint
from bench.tiny.build.noisy import train_noisy
from bench.tiny.build.sana import encode_scenes_dc, train_sana
from bench.tiny.build.scorers import BUILDERS, save_image_processor
from bench.tiny.build.sd import train_sd
from bench.tiny.build.sd3 import train_sd3
from bench.tiny.build.sdxl import train_sdxl
from bench.tiny.build.shared import Recipe
from bench.tiny.networks import save_network

log = logging.getLogger("bench.assets")


def _build_sd(recipe: Recipe, folder: Path) -> dict[str, Any]:
    pipeline, facts = train_sd(
        recipe.scenes, recipe.latents, recipe.vae, recipe.text_start, recipe.tokenizer,
        recipe.work / "sd",
    )  # fmt: skip
    pipeline.to(torch.float16).save_pretrained(folder)
    pipeline.to(torch.float32)
    return {**facts, "vae": recipe.facts("vae"), "text_start": recipe.facts("clip")}


def _build_sd3(recipe: Recipe, folder: Path) -> dict[str, Any]:
    clip = CLIPModel.from_pretrained(recipe.finished("tiny-clip"), dtype=torch.float32)
    pipeline, facts = train_sd3(
        recipe.scenes, recipe.finished_sd_latents, recipe.finished_sd.vae, clip, recipe.tokenizer,
        recipe.work_from("sd3", "tiny-sd", "tiny-clip"),
    )  # fmt: skip
    pipeline.to(torch.float16).save_pretrained(folder)
    return {**facts, **recipe.hashes("tiny-sd", "tiny-clip")}


def _build_sana(recipe: Recipe, folder: Path) -> dict[str, Any]:
    latents = encode_scenes_dc(recipe.autoencoder, recipe.scenes, recipe.work / "latents-dc-0.npy")
    pipeline, facts = train_sana(recipe.scenes, latents, recipe.autoencoder, recipe.work / "sana")
    pipeline.to(torch.float16).save_pretrained(folder)
    return {**facts, "autoencoder": recipe.facts("autoencoder")}


def _build_inpaint(recipe: Recipe, folder: Path) -> dict[str, Any]:
    pipeline, facts = train_inpaint(
        recipe.scenes, recipe.finished_sd_latents, recipe.finished_sd,
        recipe.work_from("inpaint", "tiny-sd"),
    )  # fmt: skip
    _save_half(pipeline, folder)
    return {**facts, **recipe.hashes("tiny-sd")}


def _build_noisy(recipe: Recipe, folder: Path) -> dict[str, Any]:
    name = "noisy" if recipe.seed == 0 else f"noisy-seed-{recipe.seed}"
    pipeline, facts = train_noisy(
        recipe.scenes, recipe.finished_sd_latents, recipe.finished_sd,
        recipe.work_from(name, "tiny-sd"), seed=recipe.seed,
    )  # fmt: skip
    _save_half(pipeline, folder)
    return {**facts, **recipe.hashes("tiny-sd")}


def _build_sdxl(recipe: Recipe, folder: Path) -> dict[str, Any]:
    second = CLIPTextModelWithProjection.from_pretrained(
        recipe.finished("tiny-clip"), dtype=torch.float32
    )
    pipeline, facts = train_sdxl(
        recipe.scenes, recipe.finished_sd_latents, recipe.finished_sd, second,
        recipe.work_from("sdxl", "tiny-sd", "tiny-clip"),
    )  # fmt: skip
    _save_half(pipeline, folder)
    return {**facts, **recipe.hashes("tiny-sd", "tiny-clip")}


def _save_half(pipeline: Any, folder: Path) -> None:
    """Write a pipeline in float16; parts it shares with others stay in float32."""
    pipeline.to(torch.float16).save_pretrained(folder)
    pipeline.to(torch.float32)


def _build_clip(recipe: Recipe, folder: Path) -> dict[str, Any]:
    model, facts = train_clip(
        recipe.scenes, recipe.tokenizer, recipe.work / "clip-scorer",
        steps=760, lr=7e-4, start=recipe.text_start, stream=12,
    )  # fmt: skip
    model.to(torch.float16).save_pretrained(folder)
    recipe.tokenizer.save_pretrained(folder)
    save_image_processor(folder)
    return facts


def _build_features(recipe: Recipe, folder: Path) -> dict[str, Any]:
    net, facts = train_features(recipe.truths, recipe.work / "features")
    save_network(net, folder, {"class": "bench.tiny.networks.FeatureNet"})
    return facts


def _build_vqa(recipe: Recipe, folder: Path) -> dict[str, Any]:
    net, facts = train_phrases(recipe.truths, recipe.work / "vqa")
    save_network(net, folder, {"class": "bench.tiny.networks.PhraseNet"})
    return facts


def _build_detector(recipe: Recipe, folder: Path) -> dict[str, Any]:
    return calibrate(recipe.truths, folder)


_BUILDERS: dict[str, Callable[[Recipe, Path], dict[str, Any]]] = {
    "tiny-sd": _build_sd,
    "tiny-features": _build_features,
    "tiny-vqa": _build_vqa,
    "tiny-detector": _build_detector,
    "tiny-clip": _build_clip,
    "tiny-sd3": _build_sd3,
    "tiny-sana": _build_sana,
    "tiny-inpaint": _build_inpaint,
    "tiny-sdxl": _build_sdxl,
    "tiny-sd-noisy": _build_noisy,
    **BUILDERS,
}
SEEDED = ("tiny-sd-noisy",)
"""Assets whose recipe takes a seed: further bases of the same kind, which are not shipped."""


def build(
    names: Sequence[str], work: Path, out: Path, *, again: bool = False, seed: int = 0
) -> dict[str, str]:
    """Make the named assets (all when empty) and return their hashes.

    Args:
        names: assets to make.
        work: folder for scenes, states and everything resumable.
        out: where the finished folders go.
        again: make assets that are already in `out`, too.
        seed: of the named assets, all of which must be in SEEDED unless it is 0, the shipped one.

    Raises:
        UsageError: no asset has a given name, or another seed than 0 is asked for of an asset that
            takes none or in the place of the shipped one.
    """
    for name in names:
        if name not in NAMES:
            raise unknown("asset", name, NAMES)
    if seed:
        _require_seedable(names, out, seed)
    torch.set_num_threads(1)
    recipe = Recipe(work, out, seed)
    for name in [n for n in _BUILDERS if n in (names or NAMES)]:
        folder = out / name
        if folder.is_dir() and not again:
            log.info("%s: already at %s", name, folder)
            continue
        partial = out / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        facts = _BUILDERS[name](recipe, partial)
        _forget_paths(partial)
        write_card(name, partial, facts, seed=seed)
        shutil.rmtree(folder, ignore_errors=True)
        require_finite(partial)
        partial.replace(folder)
        log.info("%s: written to %s", name, folder)
    return write_hashes(out)


def _require_seedable(names: Sequence[str], out: Path, seed: int) -> None:
    """Refuse a seed that is not asked for by name, or whose result would pass for the shipped."""
    if seed < 0:
        raise UsageError(f"--seed is 0 or above; found {seed}")
    strangers = [name for name in names or NAMES if name not in SEEDED]
    if strangers:
        raise UsageError(
            f"--seed {seed} is for {', '.join(SEEDED)}; found {', '.join(strangers)}, whose recipe "
            "takes no seed. Name the assets that take one."
        )
    if out.resolve() == weights_folder().resolve():
        raise UsageError(
            f"--seed {seed} would overwrite the shipped {', '.join(names)}, which is seed 0; give "
            "another folder with --out."
        )


def _forget_paths(folder: Path) -> None:
    """Take out of the configurations where on this machine their networks were loaded from."""
    for file in folder.rglob("*.json"):
        config = json.loads(file.read_text())
        if isinstance(config, dict) and config.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def require_finite(folder: Path) -> None:
    """Refuse weights that half precision could not hold.

    Raises:
        CorruptArtifactError: naming the first file and tensor with a NaN or an infinity.
    """
    for file in sorted(folder.rglob("*.safetensors")):
        for name, tensor in load_file(file).items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise CorruptArtifactError(
                    f"{file.relative_to(folder)}: {name} holds a NaN or an infinity; expected "
                    "weights within float16. Look at its size in the state of the training."
                )


def write_hashes(out: Path) -> dict[str, str]:
    """Write and return `SHA256.json`, one hash per asset folder in `out`."""
    folders = sorted(p for p in out.iterdir() if p.is_dir() and not p.name.startswith("."))
    hashes = {folder.name: folder_sha256(folder) for folder in folders}
    temporary = out / "SHA256.json.tmp"
    temporary.write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")
    temporary.replace(out / "SHA256.json")
    return hashes
