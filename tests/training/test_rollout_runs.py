"""Training on samples of the policy itself: resume, batch split, and both stages in a row."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.api.errors import UsageError
from bench.backbones.sd import StableDiffusionBackbone
from bench.training.checkpoint import latest_checkpoint
from bench.training.export import LORA_FILE
from bench.training.runner import TrainResult
from bench.training.session import open_session
from methods.realalign import RealAlignStage1, RealAlignStage2
from methods.sft import SFT
from tests.precision import EXACT, double_precision
from tests.training.flow import ToyFlowBackbone, toy_flow_backbone
from tests.training.nets import tiny_backbone, tiny_pairs
from tests.training.runs import (
    assert_equal_tensors,
    exported,
    gradients,
    relative_difference,
    rows,
    run,
    saved,
    settings,
)


@pytest.fixture(scope="session")
def flow_backbone(tmp_path_factory: pytest.TempPathFactory) -> ToyFlowBackbone:
    return toy_flow_backbone(tmp_path_factory.mktemp("flow"))


def stage1(**changes: Any) -> RealAlignStage1:
    """Few sampler steps, and a gate that stays open."""
    return RealAlignStage1(**{"rollout_steps": 4, "margin": 10.0, **changes})


class StopError(Exception):
    """Stands for a killed process."""


def interrupted(
    backbone: StableDiffusionBackbone, folder: Path, method: Any, at: int, **options: Any
) -> TrainResult:
    def stop(step: int, steps: int, row: object) -> None:
        if step == at:
            raise StopError

    with pytest.raises(StopError):
        run(backbone, folder, method, options={"progress": stop}, **options)
    return run(backbone, folder, method, **options)


SLOW = pytest.mark.slow
PERIODS = [
    ("epsilon", stage1(policy_sync_every=4, reuse_rollouts=True)),
    ("flow", stage1(policy_sync_every=4, state="re-noised", reuse_rollouts=True)),
    pytest.param("epsilon", stage1(policy_sync_every=4, shared_sigma=2), marks=SLOW),
    pytest.param("epsilon", stage1(policy_sync_every=1), marks=SLOW),
    pytest.param("flow", stage1(policy_sync_every=0, state="re-noised"), marks=SLOW),
]


@pytest.mark.parametrize(("kind", "method"), PERIODS)
def test_resumed_inside_a_period_is_uninterrupted_to_the_bit(
    backbone: StableDiffusionBackbone,
    flow_backbone: ToyFlowBackbone,
    tmp_path: Path,
    kind: str,
    method: RealAlignStage1,
) -> None:
    model = backbone if kind == "epsilon" else flow_backbone
    options: dict[str, Any] = {
        "mode": "lora",
        "steps": 6,
        "save_every": 2,
        "ema_decay": 0.9,
        "ema_rule": "ramp",
        "ema_every": 2,
        "prompt_dropout": 0.3,
        "pairs": tiny_pairs(8),
    }
    straight = run(model, tmp_path / "straight", method, **options)
    resumed = interrupted(model, tmp_path / "broken", method, at=3, **options)
    assert_equal_tensors(exported(straight), exported(resumed))
    for group in ("trainable", "optimiser", "ema", "rollouts"):
        one, two = (saved(tmp_path / name, group, 6) for name in ("straight", "broken"))
        assert_equal_tensors(one, two)
    for one, two in zip(rows(straight), rows(resumed), strict=True):
        assert all(one[key] == two[key] for key in ("loss", "gate_open", "drift_b", "grad_norm"))
    lagging = saved(tmp_path / "straight", "rollouts", 6)
    assert bool(lagging) == (method.policy_sync_every == 4)


@pytest.mark.parametrize(
    "method",
    [
        stage1(policy_sync_every=3, shared_sigma=4),
        pytest.param(stage1(), marks=SLOW),
        pytest.param(stage1(state="re-noised"), marks=SLOW),
    ],
)
def test_one_batch_of_eight_is_eight_of_one(tmp_path: Path, method: RealAlignStage1) -> None:
    options: dict[str, Any] = {"batch": 8, "steps": 2, "prompt_dropout": 0.2, "save_every": 1}
    with double_precision():
        model = tiny_backbone(tmp_path / "double")
        whole, single = (
            run(model, tmp_path / str(size), method, micro_batch=size, **options) for size in (8, 1)
        )
    for one, two in zip(rows(whole), rows(single), strict=True):
        assert one["grad_norm"] == pytest.approx(two["grad_norm"], rel=EXACT)
        for key in ("error_a", "error_b", "reference_error_b"):
            assert one[key] == pytest.approx(two[key], rel=EXACT, abs=1e-12)
    found = relative_difference(gradients(tmp_path / "8"), gradients(tmp_path / "1"))
    assert found < EXACT


@pytest.mark.parametrize("kind", ["epsilon", "flow"])
def test_with_its_own_samples_and_an_open_gate_a_step_is_sft(
    backbone: StableDiffusionBackbone, flow_backbone: ToyFlowBackbone, tmp_path: Path, kind: str
) -> None:
    """The sampled policy is the trained one: the negative half adds no gradient."""
    model = backbone if kind == "epsilon" else flow_backbone
    method = stage1(policy_sync_every=0, state="re-noised")
    for name, objective in (("ranked", method), ("sft", SFT())):
        run(model, tmp_path / name, objective, steps=1, max_grad_norm=None)
    ranked, plain = (gradients(tmp_path / name) for name in ("ranked", "sft"))
    assert relative_difference(plain, ranked) < 1e-6


def test_while_the_sampled_policy_is_the_trained_one_the_target_is_met(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    """N is 0, and N_ref is how far the policy has moved on its own samples."""
    result = run(backbone, tmp_path / "own", stage1(), steps=3, lr=1e-2)
    for row in rows(result):
        assert row["error_b"] < 1e-10
        assert row["reference_error_b"] == pytest.approx(row["drift_b"], rel=1e-3, abs=1e-9)
        assert row["gate_open"] == 1.0
    assert rows(result)[-1]["drift_b"] > 1e-4
    lagging = run(backbone, tmp_path / "lag", stage1(policy_sync_every=3), steps=3, lr=1e-2)
    assert [row["error_b"] > 1e-6 for row in rows(lagging)] == [False, True, True]


def test_the_gate_closes_on_what_is_learnt(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    result = run(backbone, tmp_path, stage1(margin=1e-4), steps=5, lr=3e-3)
    shares = [row["gate_open"] for row in rows(result)]
    assert shares[0] == 1.0 and min(shares) < 1.0


def test_the_cost_counts_the_sampler(backbone: StableDiffusionBackbone, tmp_path: Path) -> None:
    method = stage1(state="re-noised", rollout_steps=5)
    (row,) = rows(run(backbone, tmp_path, method, steps=1))
    assert row["cost_units"] == (5 + 1) + 2 + 2 * 3


def test_the_identity_has_the_variant_and_the_plan(
    backbone: StableDiffusionBackbone, flow_backbone: ToyFlowBackbone, tmp_path: Path
) -> None:
    plans = {}
    for model in (backbone, flow_backbone):
        method = RealAlignStage1(variant="released")
        with open_session(
            method,
            model,
            tiny_pairs(),
            settings(),
            work_dir=tmp_path / model.prediction,
            start_from=None,
            resume=True,
        ) as session:
            assert session.identity["method"]["variant"] == "released"
            plans[model.prediction] = json.loads(json.dumps(session.identity))["rollout"]
    assert plans["epsilon"]["sampler"] == "dpm-solver++" and plans["epsilon"]["sync_every"] == 16
    assert plans["flow"]["sampler"] == "euler" and plans["flow"]["state"] == "re-noised"
    with pytest.raises(UsageError, match=r"method\.margin: 10\.0 -> 0\.5"):
        run(backbone, tmp_path / "run", stage1(), steps=1)
        run(backbone, tmp_path / "run", stage1(margin=0.5), steps=1)


def test_stage_2_starts_at_and_refers_to_stage_1(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    lora = {"mode": "lora", "lora_rank": 4, "lora_alpha": 4.0}
    one = run(
        backbone,
        tmp_path / "one",
        stage1(),
        ema_decay=0.9999,
        ema_rule="ramp",
        prompt_dropout=0.2,
        lr=1e-2,
        **lora,
    )
    assert one.export.name.endswith("-ema")
    start = load_file(one.export / LORA_FILE)
    assert any(bool(t.any()) for n, t in start.items() if "lora_B" in n or ".up." in n)
    options = {"start_from": one.export}
    two = run(
        backbone, tmp_path / "two", RealAlignStage2(kappa=100.0), options=options, steps=2, **lora
    )
    assert rows(two)[0]["loss"] == pytest.approx(math.log(2.0), abs=1e-6)
    still = run(
        backbone,
        tmp_path / "still",
        RealAlignStage2(kappa=100.0),
        options=options,
        steps=1,
        **{**lora, "lr": 0.0},
    )
    assert_equal_tensors(exported(still), start)
    identity = {
        name: json.loads((tmp_path / name / "run.json").read_text())["identity"]
        for name in ("one", "two", "still")
    }
    assert identity["two"]["reference"] == "adapter_copy"
    assert identity["two"]["policy_sha256"] == identity["still"]["policy_sha256"]
    assert identity["two"]["policy_sha256"] != identity["one"]["policy_sha256"]
    # the reference is the start, to the bit, and stays it
    with open_session(
        RealAlignStage2(kappa=100.0),
        backbone,
        tiny_pairs(),
        settings(steps=2, **lora),
        work_dir=tmp_path / "two",
        start_from=one.export,
        resume=True,
    ) as session:
        state = session.denoiser.state_dict()
        frozen = {n: t for n, t in state.items() if ".reference." in n}
        moved = {n.replace(".reference.", ".policy."): t for n, t in frozen.items()}
        assert session.step == 2 and frozen
        assert any(not torch.equal(t, state[n]) for n, t in moved.items())
        flat = sorted(float(t.double().square().sum()) for t in frozen.values())
        assert flat == sorted(float(t.double().square().sum()) for t in start.values())


def test_a_full_network_can_start_stage_1_as_the_backbone(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    """Another method's result, then RealAlign on top, all weights."""
    other = run(backbone, tmp_path / "other", SFT(), steps=1, lr=1e-2)
    result = run(
        backbone, tmp_path / "mine", stage1(), steps=1, options={"start_from": other.export}
    )
    (row,) = rows(result)
    assert row["drift_a"] == 0.0 and row["delta_mean"] == 0.0  # its reference is its start


def test_a_checkpoint_holds_the_lagging_copy(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    run(backbone, tmp_path, stage1(policy_sync_every=2), steps=3, save_every=1, lr=1e-2)
    latest = latest_checkpoint(tmp_path / "checkpoints")
    assert latest is not None
    copy = latest.tensors("rollouts")
    after_two = saved(tmp_path, "trainable", 2)
    for name, tensor in after_two.items():
        assert torch.equal(copy[f"policy/{name}"], tensor)
