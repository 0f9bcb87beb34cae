"""What `plan` budgets with: operations of published backbones over a GPU's peak."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from bench.api.errors import UsageError
from bench.api.generation import GenerationSpec
from bench.cli import main
from bench.executors.plan import Plan, Step
from bench.published import backbones
from bench.published.gpus import gpu, gpus
from bench.spec.methods import training_plan
from bench.spec.profile import load_profile
from bench.steps.cost import SAMPLING_SHARE, cost_of, pair_forwards

SDXL = "checkpoint.location=stabilityai/stable-diffusion-xl-base-1.0"


def spec(side: int, dtype: str = "float16") -> GenerationSpec:
    return GenerationSpec(
        scheduler="default", steps=25, cfg_scale=7.5, height=side, width=side, dtype=dtype
    )


@pytest.mark.parametrize("name", ["sd-1.4", pytest.param("sdxl", marks=pytest.mark.slow)])
def test_operations_are_those_of_the_published_configuration(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    program = import_module("flops")
    module, inputs = program.network(name)
    known = backbones()[name]
    assert sum(p.numel() for p in module.parameters()) == known.parameters
    assert program.count(module, inputs) == known.forward_flops
    assert program.decoding(name) == known.decode_flops


def test_images_cost_their_forwards_and_a_decoding() -> None:
    cost = cost_of(load_profile("paper"))
    found, sd = gpu("a100"), backbones()["sd-1.4"]
    flops = 50 * sd.forward_flops + sd.decode_flops
    assert cost.images(10, spec(512)) == pytest.approx(10 * flops / (312e12 * SAMPLING_SHARE))
    assert cost.images(1, spec(256)) == pytest.approx(cost.images(1, spec(512)) / 4)
    assert cost.images(1, spec(512, "float32")) > 10 * cost.images(1, spec(512))
    assert found.half_tflops > found.single_tflops
    # where the memory is slow, it is what takes the time
    slow = replace(cost, gpu=replace(found, bandwidth=1.0))
    assert slow.images(1, spec(512)) > 100 * cost.images(1, spec(512))


def test_sdxl_costs_what_its_operations_are_over_those_of_sd() -> None:
    sd, sdxl = (cost_of(load_profile("paper", overrides=o)) for o in ((), [SDXL]))
    ratio = sdxl.images(1, spec(1024)) / sd.images(1, spec(512))
    assert 8 < ratio < 8.7
    stage = training_plan(load_profile("paper"), "diffusion-dpo", 0).stages[0]
    assert 8 < sdxl.training(stage) / sd.training(stage) < 8.7


def test_a_step_costs_the_forwards_of_its_objective() -> None:
    profile = load_profile("paper", overrides=["training.published=null"])
    tiny = load_profile("tiny")
    forwards = {m: pair_forwards(training_plan(tiny, m, 0).stages[0]) for m in ("sft", "ddspo")}
    assert forwards == {"sft": 3.0, "ddspo": 8.0}
    lora = training_plan(tiny, "ddspo", 0).stages[0]
    assert pair_forwards(replace(lora, train=replace(lora.train, mode="lora"))) == 6.0
    assert profile.speed.gpu == "a100"


def test_a_base_that_nobody_counted_keeps_the_profiles_seconds() -> None:
    own = load_profile("paper", overrides=["checkpoint.location=me/mine"])
    assert cost_of(own).images(1, spec(512)) == pytest.approx(50 * own.speed.image_step_seconds)
    assert cost_of(own).words() == ""
    named = load_profile("paper", overrides=["checkpoint.location=me/mine", "speed.backbone=sdxl"])
    assert "SDXL base 1.0" in cost_of(named).words()
    wrong = load_profile("paper", overrides=["speed.backbone=sd-2"])
    with pytest.raises(UsageError, match="unknown backbone 'sd-2'"):
        cost_of(wrong)


def test_every_gpu_says_where_its_figures_are_from() -> None:
    assert {"a100", "h100", "rtx4090"} <= set(gpus())
    assert all(g.source and g.bandwidth > 500 and g.memory_gb >= 24 for g in gpus().values())


def test_a_chain_of_steps_takes_its_sum_however_many_workers() -> None:
    def step(name: str, seconds: float, *upstream: str, kind: str = "train") -> Step:
        return Step(
            id=name, label=name, state="missing", reason="", seconds=seconds, bytes=10,
            kind=kind, rows=("a",) if name != "pairs" else ("a", "b"), upstream=upstream,
        )  # fmt: skip

    plan = Plan(
        steps=(
            step("pairs", 10, kind="pairs"),
            step("one", 50, "pairs"),
            step("two", 40, "one"),
            step("beside", 30),
        ),
        missing=(),
    )
    assert (plan.seconds(1), plan.seconds(2), plan.seconds(9)) == (130, 100, 100)
    assert plan.by_kind() == {"pairs": 10, "train": 120}
    assert plan.by_row() == {"shared": 10, "a": 120}
    assert (plan.bytes, plan.peak_bytes(4)) == (40, 50)


def test_plan_names_gpu_hours_phases_rows_and_what_is_far_from_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"a photo of thing {n} upon a table\n" for n in range(100)))
    monkeypatch.setenv("DDSPO_PAIR_PROMPTS", str(prompts))
    words = ["plan", "--table", "1a", "--profile", "paper", "--store", str(tmp_path / "s")]
    assert main([*words, "--gpu", "h100", "--gpus", "8"]) == 3  # the weights are not here
    said = " ".join(capsys.readouterr().out.split())
    for text in (
        "with 8 GPUs", "of 1 GPU by kind", "by row", "times: H100 80 GB (SXM), by arithmetic",
        "train ddspo, seed 0: 100 pairs", "published: 200,000 pairs", "models of the whole table: ",
    ):  # fmt: skip
        assert text in said, text
    assert main([*words, "--gpu", "h1000"]) == 2
    assert "unknown GPU 'h1000'. Did you mean 'h100'" in capsys.readouterr().err
    assert main(["plan", "--table", "1a", "--gpu", "h100", "--store", str(tmp_path / "s")]) == 2
    assert "--set speed.backbone=NAME" in capsys.readouterr().err
    assert main([*words, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["seconds_by_row"].keys() >= {"base", "ddspo"} and found["jobs"] == 1
