"""How the assets that score pictures are put together: CLIP scorers, rewards, quality."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPImageProcessorPil, CLIPModel

from bench.tiny.build.aesthetic import save_head, train_aesthetic
from bench.tiny.build.answered import train_unifiedreward
from bench.tiny.build.cards import write_card
from bench.tiny.build.clip import MEAN, STD
from bench.tiny.build.judged import train_hpsv3
from bench.tiny.build.listed import save_imagereward, train_imagereward
from bench.tiny.build.quality import train_deqa
from bench.tiny.build.rewards import pick_choices, train_hpsv2, train_pickscore
from bench.tiny.build.shared import Recipe
from bench.tiny.build.towers import save_open_clip
from bench.tiny.networks import PhraseNet, WordList, load_network, save_network


def save_image_processor(folder: Path) -> None:
    """Write the settings of an image processor for 32x32 pixels."""
    CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32},
        image_mean=list(MEAN), image_std=list(STD),
    ).save_pretrained(folder)  # fmt: skip


def _examined(recipe: Recipe, name: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts with how the scorer agrees with the others; their cards are noted, too."""
    recipe.exam.note(name, facts)
    noted = recipe.exam.noted()
    for other in noted:
        if other != name and (recipe.out / other).is_dir():
            write_card(other, recipe.out / other, noted[other])
    return noted[name]


def _clip(recipe: Recipe) -> CLIPModel:
    found: CLIPModel = CLIPModel.from_pretrained(
        recipe.finished("tiny-clip"), dtype=torch.float32
    ).eval()
    return found


def _build_hpsv2(recipe: Recipe, folder: Path) -> dict[str, Any]:
    model, facts = train_hpsv2(
        _clip(recipe), recipe.tokenizer, recipe.finished_sd.vae, recipe.exam,
        recipe.work_from("tiny-hpsv2", "tiny-sd", "tiny-clip"),
    )  # fmt: skip
    save_open_clip(model, folder)
    recipe.tokenizer.save_pretrained(folder)
    return _examined(recipe, "tiny-hpsv2", {**facts, **recipe.hashes("tiny-clip")})


def _build_pickscore(recipe: Recipe, folder: Path) -> dict[str, Any]:
    model, facts = train_pickscore(
        _clip(recipe), recipe.tokenizer, recipe.finished_sd.vae, recipe.exam,
        recipe.work_from("tiny-pickscore", "tiny-sd", "tiny-clip"),
    )  # fmt: skip
    model.to(torch.float16).save_pretrained(folder)
    recipe.tokenizer.save_pretrained(folder)
    save_image_processor(folder)
    return _examined(recipe, "tiny-pickscore", {**facts, **recipe.hashes("tiny-clip")})


def _build_aesthetic(recipe: Recipe, folder: Path) -> dict[str, Any]:
    work = recipe.work_from("tiny-aesthetic", "tiny-sd", "tiny-clip")
    choices = pick_choices(recipe.finished_sd.vae, work)
    head, facts = train_aesthetic(_clip(recipe), choices, work)
    save_head(head, folder)
    return {**facts, **recipe.hashes("tiny-clip")}


def _build_imagereward(recipe: Recipe, folder: Path) -> dict[str, Any]:
    eyes = load_network(PhraseNet(len(WordList().ids)), recipe.finished("tiny-vqa"))
    assert isinstance(eyes, PhraseNet)
    net, facts = train_imagereward(
        eyes, recipe.tokenizer, recipe.finished_sd.vae, recipe.exam,
        recipe.work_from("tiny-imagereward", "tiny-sd", "tiny-vqa"),
    )  # fmt: skip
    save_imagereward(net, facts, folder)
    recipe.tokenizer.save_pretrained(folder)
    return _examined(recipe, "tiny-imagereward", {**facts, **recipe.hashes("tiny-vqa")})


def _build_hpsv3(recipe: Recipe, folder: Path) -> dict[str, Any]:
    net, facts = train_hpsv3(
        _clip(recipe), recipe.tokenizer, recipe.finished_sd.vae, recipe.exam,
        recipe.work_from("tiny-hpsv3", "tiny-sd", "tiny-clip"),
    )  # fmt: skip
    save_network(net, folder, {"class": "bench.tiny.reward_networks.PairReader"})
    return _examined(recipe, "tiny-hpsv3", {**facts, **recipe.hashes("tiny-clip")})


def _build_unifiedreward(recipe: Recipe, folder: Path) -> dict[str, Any]:
    net, facts = train_unifiedreward(
        _clip(recipe), recipe.tokenizer, recipe.finished_sd.vae, recipe.exam,
        recipe.work_from("tiny-unifiedreward", "tiny-sd", "tiny-clip"),
    )  # fmt: skip
    save_network(net, folder, {"class": "bench.tiny.reward_networks.AnswerReader"})
    return _examined(recipe, "tiny-unifiedreward", {**facts, **recipe.hashes("tiny-clip")})


def _build_deqa(recipe: Recipe, folder: Path) -> dict[str, Any]:
    work = recipe.work_from("tiny-deqa", "tiny-sd")
    net, facts = train_deqa(recipe.finished_sd.vae, recipe.exam, work)
    save_network(net, folder, {"class": "bench.tiny.reward_networks.QualityNet"})
    return _examined(recipe, "tiny-deqa", facts)


BUILDERS: dict[str, Callable[[Recipe, Path], dict[str, Any]]] = {
    "tiny-hpsv2": _build_hpsv2,
    "tiny-pickscore": _build_pickscore,
    "tiny-aesthetic": _build_aesthetic,
    "tiny-imagereward": _build_imagereward,
    "tiny-hpsv3": _build_hpsv3,
    "tiny-unifiedreward": _build_unifiedreward,
    "tiny-deqa": _build_deqa,
}
