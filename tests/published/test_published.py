"""Published hyperparameters: the facts they must agree with, and what a wrong file is told."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from bench.api.errors import UsageError
from bench.api.registry import METHODS
from bench.api.stages import stages_of
from bench.data.perturbation.options import read_options
from bench.published import backbones, entries, entry, methods, read_entry
from bench.published.card import config_card
from bench.published.entry import Entry, Stage
from bench.spec.methods import make_method
from bench.spec.profile import load_profile
from bench.training.config import TrainConfig

EVERY = [(m, b) for m in methods() for b in entries(m)]


@pytest.mark.parametrize(("method", "backbone"), EVERY)
def test_every_entry_can_be_trained_and_names_its_sources(method: str, backbone: str) -> None:
    found = entry(method, backbone)
    assert found.sources and all(found.sources)
    for stage in found.stages:
        config = TrainConfig.from_json(stage.train())
        assert config.batch == stage.batch and config.lr == stage.lr
    if method in METHODS.names():
        made = make_method(METHODS.load(method), found.settings())
        assert {k: made.config()[k] for k in found.settings()} == found.settings()


def test_rate_times_beta_is_the_same_in_all_runs_of_ddspos_authors() -> None:
    for method, backbone in (
        ("ddspo", "sd-1.4"),
        ("ddspo", "sd-1.5"),
        ("ddspo", "sdxl"),
        ("ddspo", "sana-600m"),
        ("diffusion-dpo", "sd-1.4"),
    ):
        (stage,) = entry(method, backbone).stages
        assert stage.beta is not None
        assert stage.lr * stage.beta.value == pytest.approx(0.08192), (method, backbone)


def test_latents_have_the_sizes_the_conventions_are_stated_for() -> None:
    known = {"sd-1.5": 4 * 64 * 64, "sdxl": 4 * 128 * 128, "sana-600m": 32 * 32 * 32}
    for name, elements in known.items():
        resolution = 512 if name == "sd-1.5" else 1024
        assert backbones()[name].latent_elements(resolution) == elements


def test_the_same_beta_is_another_one_in_the_papers_sum() -> None:
    """16000 on SD-1.4 is 0.488 in the notation of the sum of squares, on SDXL 0.122."""
    for backbone, expected in (("sd-1.4", 0.488), ("sdxl", 0.122)):
        found = entry("ddspo", backbone)
        kappa = found.settings()["kappa"]
        assert kappa / found.latent_elements == pytest.approx(expected, abs=5e-4)


def test_realaligns_stages() -> None:
    found = entry("realalign", "sd-1.5")
    first, second = found.stages
    assert (first.lr, first.steps, first.lora and first.lora.rank) == (1e-4, 1600, 4)
    assert second.lr == pytest.approx(1e-8 * 256) and second.warmup_updates == 125
    assert first.lora == second.lora  # stage 2 goes on with the adapter of stage 1
    alone = entry("realalign-stage2", "sd-1.5")
    assert alone.settings() == {"kappa": 1000.0} and alone.stages[0].lr == second.lr


def test_a_family_names_its_only_entry() -> None:
    assert entry("realalign", "sd3").backbone.name == "sd-3.5-m"
    with pytest.raises(UsageError, match=r"several backbones: sd-1.4, sd-1.5"):
        entry("ddspo", "sd")


def _entry(**changes: Any) -> Entry:
    stage = {
        "mode": "full",
        "batch": 8,
        "lr": 1e-5,
        "lr_as_stated": "1e-5",
        "steps": 10,
        "warmup_updates": 0,
        "optimiser": "adamw",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "precision": "no",
    }
    data = {
        "resolution": 512,
        "pairs": "p",
        "timesteps": "t",
        "checkpoint_used": "c",
        "sources": ["s"],
        "training": {**stage, **changes.pop("training", {})},
    }
    return read_entry("ddspo", changes.pop("backbone", "sdxl"), {**data, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "sdlx"}, "'sdxl'"),
        ({"resolutoin": 512}, "'resolution'"),
        ({"sources": []}, "names no source"),
        ({"stages": {}}, "exactly one of training and stages"),
        ({"training": {"lrr": 1}}, "'lr'"),
        ({"training": {"mode": "lora"}}, "belong together"),
        ({"training": {"optimiser": "adam"}}, "'adamw'"),
        ({"training": {"beta": {"value": 1, "convention": "beta_half"}}}, "'beta_half_mean'"),
        ({"training": {"ema": {"decoy": 0.9}}}, "'decay'"),
    ],
)
def test_a_wrong_entry_names_the_key(changes: dict[str, Any], message: str) -> None:
    assert isinstance(_entry().stages[0], Stage)
    with pytest.raises(UsageError, match=message):
        _entry(**changes)


BACKBONES = [*backbones(), "sd", "sdxl", "sana", "sd3"]


@pytest.mark.parametrize("method", METHODS.names())
def test_every_method_has_a_card_on_every_backbone_or_is_said_to_have_none(method: str) -> None:
    """A card, the two backbones a family stands for, or that nothing was published."""
    shown = set()
    for backbone in BACKBONES:
        try:
            card = config_card(method, backbone)
        except UsageError as error:
            told = "no settings were published for method|family '.*' has several backbones"
            assert re.search(told, str(error)), (method, backbone)
        else:
            shown.add(card["backbone"])
            assert card["method"] == method and card["sources"] and card["trainings"]
            assert all(row["effective batch"] and row["effective lr"] for row in card["trainings"])
    assert shown == set(entries(method))


def test_the_fitted_pair_and_the_distillation_are_those_of_the_launchers() -> None:
    winners, losers, align = entry("ddspo-dd-cpp", "sdxl").stages
    assert (winners.lr, winners.steps, winners.warmup_updates) == (1e-4, 300, 0)
    assert replace(losers, name="winners") == winners
    assert winners.lora is not None and (winners.lora.rank, winners.lora.alpha) == (4, 4)
    assert align.beta is not None and align.beta.value == 8000
    assert align.lr == pytest.approx(2.5e-9 * 2048)
    (distilled,) = entry("guidance-distillation", "sd-1.4").stages
    assert (distilled.batch, distilled.lr) == (8 * 16 * 4, 5e-5)
    assert (distilled.steps, distilled.warmup_updates) == (50_000, 500)
    for preset in ("ddspo-not-paired", "ddspo-rand-positive"):
        assert entry(preset, "sd-1.4").stages == entry("ddspo-efficient", "sd-1.4").stages
    assert not entries("ddspo-one-image")


def test_stages_of_published_entries_are_the_method_s() -> None:
    for method, backbone in EVERY:
        found = [stage.name for stage in entry(method, backbone).stages]
        if found == [""]:
            continue
        assert found == [s.name for s in stages_of(make_method(METHODS.load(method), {}))]


@pytest.mark.parametrize(("data", "rule"), [("text-alignment", "llm-ta"), ("aesthetics", "llm-aq")])
def test_the_paper_profile_names_the_language_model_of_ddspos_authors(data: str, rule: str) -> None:
    settings = load_profile("paper").data[data].settings
    assert settings["perturbation"] == rule
    options = read_options(rule, settings["perturbation_options"])
    assert options.model == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert (options.temperature, options.max_new_tokens) == (0.7, 256)
    assert options.fallback == "drop"
