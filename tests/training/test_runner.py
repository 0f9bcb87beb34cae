"""The training loop on networks of toy width."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.api.errors import BenchError, DivergedError, PrerequisiteError, UsageError
from bench.api.method import Method
from bench.backbones.sd import StableDiffusionBackbone
from bench.training.checkpoint import latest_checkpoint, module_sha256
from bench.training.session import open_session
from methods.ddspo import DDSPO
from methods.diffusion_dpo import DiffusionDPO
from methods.sft import SFT
from tests.precision import EXACT, double_precision
from tests.training.nets import tiny_backbone, tiny_pairs
from tests.training.runs import (
    KAPPA,
    assert_equal_tensors,
    exported,
    gradients,
    relative_difference,
    rows,
    run,
    settings,
)

LOG_2 = math.log(2.0)
PREFERENCE = [DDSPO(kappa=8000.0), DiffusionDPO(kappa=8000.0)]
MODES = ["full", "lora"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", PREFERENCE)
def test_first_loss_is_log_2(
    backbone: StableDiffusionBackbone, tmp_path: Path, method: Method, mode: str
) -> None:
    result = run(backbone, tmp_path, method, steps=1, mode=mode, micro_batch=2)
    (row,) = rows(result)
    assert row["loss"] == pytest.approx(LOG_2, abs=1e-6)
    assert row["implicit_accuracy"] == 0.5
    assert row["drift_a"] == row["drift_b"] == row["delta_mean"] == 0.0
    if isinstance(method, DDSPO):
        assert row["error_a"] == 0.0  # the winner's target is the reference's own prediction
        assert row["error_b"] > 1e-4
        assert row["cost_units"] == (9 if mode == "full" else 7)
    else:
        assert row["cost_units"] == (8 if mode == "full" else 6)


def test_bf16_starts_at_log_2_within_its_rounding(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    for mode in MODES:
        result = run(
            backbone, tmp_path / mode, DDSPO(kappa=8000.0), steps=1, mode=mode, precision="bf16"
        )
        assert rows(result)[0]["loss"] == pytest.approx(LOG_2, abs=1e-3)
        assert all(t.dtype is torch.float32 for t in exported(result).values())


@pytest.mark.parametrize("method", [*PREFERENCE, SFT()])
def test_micro_batches_change_nothing_but_rounding(tmp_path: Path, method: Method) -> None:
    method = replace(method, kappa=KAPPA) if hasattr(method, "kappa") else method  # type: ignore[type-var]
    with double_precision():
        model = tiny_backbone(tmp_path / "double")
        results = [
            run(model, tmp_path / str(micro), method, batch=8, micro_batch=micro, steps=1)
            for micro in (8, 3, 1)
        ]
    one = rows(results[0])[0]
    for micro, result in zip((3, 1), results[1:], strict=True):
        (other,) = rows(result)
        assert one["loss"] == pytest.approx(other["loss"], rel=EXACT)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=EXACT)
        found = relative_difference(gradients(tmp_path / "8"), gradients(tmp_path / str(micro)))
        assert found < EXACT


@pytest.mark.parametrize("mode", MODES)
def test_resumed_is_uninterrupted_to_the_bit(
    backbone: StableDiffusionBackbone, tmp_path: Path, mode: str
) -> None:
    options: dict[str, Any] = {
        "mode": mode,
        "ema_decay": 0.5,
        "save_every": 2,
        "steps": 5,
        "log_every": 3,
    }
    straight = run(backbone, tmp_path / "straight", **options)

    class StopError(Exception):
        pass

    def stop(step: int, steps: int, row: object) -> None:
        if step == 3:
            raise StopError

    with pytest.raises(StopError):
        run(backbone, tmp_path / "broken", options={"progress": stop}, **options)
    latest = latest_checkpoint(tmp_path / "broken" / "checkpoints")
    assert latest is not None and latest.step == 2
    resumed = run(backbone, tmp_path / "broken", **options)

    assert list(straight.exports) == list(resumed.exports) == [2, 4, 5]
    assert_equal_tensors(exported(straight), exported(resumed))
    for group in ("trainable", "optimiser", "ema"):
        checkpoints = [
            latest_checkpoint(tmp_path / name / "checkpoints") for name in ("straight", "broken")
        ]
        assert checkpoints[0] and checkpoints[1]
        assert_equal_tensors(checkpoints[0].tensors(group), checkpoints[1].tensors(group))
    for one, two in zip(rows(straight), rows(resumed), strict=True):
        for key in one.keys() - {"samples_per_second", "peak_memory_mb"}:
            assert one[key] == two[key], key


def test_a_finished_run_is_not_repeated(backbone: StableDiffusionBackbone, tmp_path: Path) -> None:
    first = run(backbone, tmp_path)
    lines = first.metrics.read_text()
    again = run(backbone, tmp_path, options={"progress": lambda *_: pytest.fail("it trained")})
    assert again.export == first.export and again.steps == first.steps
    assert again.metrics.read_text() == lines
    anew = run(backbone, tmp_path, options={"resume": False})
    assert_equal_tensors(exported(anew), exported(first))
    assert len(rows(anew)) == 3


def test_resume_refuses_another_run_and_says_what_differs(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    run(backbone, tmp_path)
    with pytest.raises(UsageError, match=r"training\.lr: 0\.001 -> 0\.002"):
        run(backbone, tmp_path, lr=2e-3)
    with pytest.raises(UsageError, match=r"method\.kappa: 20\.0 -> 21\.0"):
        run(backbone, tmp_path, DDSPO(kappa=21.0))
    with pytest.raises(UsageError, match="policy_sha256"):
        run(tiny_backbone(tmp_path / "other", seed=1), tmp_path)
    with pytest.raises(UsageError, match=r"pairs\.identity\.shuffle_seed: None -> 0"):
        run(backbone, tmp_path, pairs=tiny_pairs(shuffle_seed=0))
    run(backbone, tmp_path, micro_batch=2)  # how the work is cut is free


def test_seeds(backbone: StableDiffusionBackbone, tmp_path: Path) -> None:
    zero = exported(run(backbone, tmp_path / "0", seed=0))
    torch.manual_seed(12345)  # no global generator enters
    torch.randn(7)
    assert_equal_tensors(zero, exported(run(backbone, tmp_path / "0b", seed=0)))
    assert relative_difference(zero, exported(run(backbone, tmp_path / "1", seed=1))) > 1e-6
    adapters = [
        exported(run(backbone, tmp_path / f"l{seed}{k}", seed=seed, mode="lora", steps=1, lr=0.0))
        for seed, k in ((0, "a"), (0, "b"), (1, "a"))
    ]
    assert_equal_tensors(adapters[0], adapters[1])
    assert relative_difference(adapters[0], adapters[2]) > 0.1


@pytest.mark.parametrize("mode", MODES)
def test_all_trained_parameters_move_and_nothing_else(
    backbone: StableDiffusionBackbone, tmp_path: Path, mode: str
) -> None:
    before = module_sha256(backbone.denoiser)
    start = {k: v.clone() for k, v in backbone.denoiser.state_dict().items()}
    kwargs: dict[str, Any] = {"work_dir": tmp_path, "start_from": None, "resume": True}
    config = settings(mode=mode)
    with open_session(DDSPO(), backbone, tiny_pairs(), config, **kwargs) as session:
        names = set(session.trainable)
        initial = {k: v.detach().clone() for k, v in session.trainable.items()}
    if mode == "full":
        assert names == {name for name, _ in backbone.denoiser.named_parameters()}
    else:
        assert names and all(".lora_A.policy" in n or ".lora_B.policy" in n for n in names)
    run(backbone, tmp_path, mode=mode)
    with open_session(DDSPO(kappa=KAPPA), backbone, tiny_pairs(), config, **kwargs) as session:
        assert session.step == 3
        for name, parameter in session.trainable.items():
            assert not torch.equal(parameter.detach(), initial[name]), f"{name} did not move"
        base = {
            name.replace(".base_layer", ""): tensor
            for name, tensor in session.denoiser.state_dict().items()
            if "lora_" not in name
        }
    assert module_sha256(backbone.denoiser) == before
    if mode == "lora":
        assert_equal_tensors(base, start)


@pytest.mark.parametrize(
    ("mode", "reference"),
    [("full", "frozen_copy"), ("lora", "adapter_off"), ("lora", "frozen_copy")],
)
def test_the_reference_stays_what_it_was(
    backbone: StableDiffusionBackbone, tmp_path: Path, mode: str, reference: str
) -> None:
    config = settings(mode=mode, reference=reference)
    kwargs: dict[str, Any] = {"work_dir": tmp_path, "start_from": None, "resume": True}
    pairs = tiny_pairs()
    batch = pairs.batch(range(6), torch.device("cpu"))
    t = torch.arange(6) * 150
    expected = backbone.predict(backbone.denoiser, batch.winner, t, batch.condition)
    run(backbone, tmp_path, mode=mode, reference=reference)
    with (
        open_session(DDSPO(kappa=KAPPA), backbone, pairs, config, **kwargs) as session,
        torch.no_grad(),
    ):
        assert session.step == 3 and session.reference is not None
        found = session.reference.predict(batch.winner, t, batch.condition)
        moved = backbone.predict(session.policy, batch.winner, t, batch.condition)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not torch.allclose(moved, expected, atol=1e-4)


def test_adapter_off_is_frozen_copy(backbone: StableDiffusionBackbone, tmp_path: Path) -> None:
    runs = [
        run(backbone, tmp_path / kind, mode="lora", reference=kind, micro_batch=3)
        for kind in ("adapter_off", "adapter_copy", "frozen_copy")
    ]
    for other in runs[1:]:
        assert_equal_tensors(exported(runs[0]), exported(other))
        assert [r["loss"] for r in rows(runs[0])] == [r["loss"] for r in rows(other)]


@pytest.mark.parametrize("mode", MODES)
def test_gradient_checkpointing_changes_nothing(
    backbone: StableDiffusionBackbone, tmp_path: Path, mode: str
) -> None:
    for reference in ["auto"] if mode == "full" else ["adapter_off", "adapter_copy"]:
        off = run(backbone, tmp_path / f"off-{reference}", mode=mode, reference=reference)
        on = run(
            backbone,
            tmp_path / f"on-{reference}",
            mode=mode,
            reference=reference,
            gradient_checkpointing=True,
        )
        assert relative_difference(exported(off), exported(on)) < 1e-6
        for one, two in zip(rows(off), rows(on), strict=True):
            assert one["loss"] == pytest.approx(two["loss"], rel=1e-6)


def test_without_degradation_ddspo_does_not_move(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    result = run(backbone, tmp_path, DDSPO(kappa=8000.0), pairs=tiny_pairs(identity_degraded=True))
    for row in rows(result):
        assert row["grad_norm"] == 0.0 and row["loss"] == pytest.approx(LOG_2, abs=1e-6)
    assert_equal_tensors(exported(result), dict(backbone.denoiser.state_dict()))


def test_training_lowers_the_loss(backbone: StableDiffusionBackbone, tmp_path: Path) -> None:
    result = run(backbone, tmp_path, steps=30, batch=12, lr=2e-4, log_every=5, micro_batch=12)
    losses = [row["loss"] for row in rows(result)]
    assert losses[-1] < losses[0] - 0.01
    assert rows(result)[-1]["implicit_accuracy"] > 0.7


@dataclass(frozen=True, kw_only=True)
class Explodes(DiffusionDPO):
    """The loss is NaN once the policy has left the reference."""

    def link(self, delta: Tensor) -> Tensor:
        return super().link(delta) + torch.where(delta == 0, 0.0, float("nan"))


@pytest.mark.parametrize("log_every", [1, 10])
def test_divergence_stops_and_keeps_the_last_good_checkpoint(
    backbone: StableDiffusionBackbone, tmp_path: Path, log_every: int
) -> None:
    # with warm-up the first update has rate 0: step 0 and 1 are good, step 2 is not
    with pytest.raises(DivergedError, match="step 2: the loss is nan"):
        run(
            backbone,
            tmp_path,
            Explodes(kappa=KAPPA),
            steps=8,
            warmup_steps=100,
            save_every=2,
            log_every=log_every,
        )
    latest = latest_checkpoint(tmp_path / "checkpoints")
    assert latest is not None and latest.step == 2
    assert all(torch.isfinite(t).all() for t in latest.tensors("trainable").values())


def test_too_little_memory_is_explained(
    backbone: StableDiffusionBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*args: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(backbone, "predict", exhausted)
    with pytest.raises(PrerequisiteError, match="lower micro_batch"):
        run(backbone, tmp_path)


@pytest.mark.parametrize("factor", [0.1, 5.5])
def test_latents_of_the_wrong_scale_are_refused(
    backbone: StableDiffusionBackbone, tmp_path: Path, factor: float
) -> None:
    pairs = tiny_pairs()
    with pytest.raises(UsageError, match=r"standard deviation .* scaling factor \(0\.9\)"):
        run(backbone, tmp_path, pairs=replace(pairs, loser=pairs.loser * factor))


def test_pairs_without_degraded_prompts_are_refused(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    pairs = replace(tiny_pairs(), degraded=None)
    with pytest.raises(UsageError, match="ddspo needs degraded prompts"):
        run(backbone, tmp_path / "a", pairs=pairs)
    run(backbone, tmp_path / "b", DiffusionDPO(kappa=KAPPA), pairs=pairs, steps=1)


def test_dropout_in_the_network_is_refused(tmp_path: Path) -> None:
    leaky = tiny_backbone(tmp_path, dropout=0.1)
    with pytest.raises(UsageError, match=r"drops out 0\.1"):
        run(leaky, tmp_path / "run")


def test_a_policy_that_does_not_start_at_its_reference_is_explained(
    backbone: StableDiffusionBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.training import session

    def disturbed(*args: Any, **kwargs: Any) -> Any:
        reference = build(*args, **kwargs)
        with torch.no_grad():
            next(reference.module.parameters()).add_(0.1)
        return reference

    build = session.build_reference
    monkeypatch.setattr(session, "build_reference", disturbed)
    with pytest.raises(BenchError, match=r"expected loss\(0\) = 0\.6931"):
        run(backbone, tmp_path)


def test_metrics_are_means_over_the_window(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    fine = rows(run(backbone, tmp_path / "1", steps=4))
    coarse = rows(run(backbone, tmp_path / "4", steps=4, log_every=4))
    assert [row["step"] for row in coarse] == [4]
    for key in ("loss", "error_a", "reference_error_b", "delta_mean", "drift_b", "grad_norm"):
        mean = sum(row[key] for row in fine) / 4
        assert coarse[0][key] == pytest.approx(mean, rel=1e-5, abs=1e-9), key
    assert coarse[0]["clipped"] == sum(r["grad_norm"] > 1.0 for r in fine) / 4


def test_gradients_are_clipped_to_the_norm(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    for name, limit in (("free", None), ("clipped", 1e-3)):
        run(backbone, tmp_path / name, steps=1, max_grad_norm=limit)
    free, clipped = gradients(tmp_path / "free"), gradients(tmp_path / "clipped")
    norm = torch.cat([g.flatten() for g in free.values()]).norm()
    assert float(torch.cat([g.flatten() for g in clipped.values()]).norm()) < 1e-3
    scaled = {k: v * (1e-3 / norm) for k, v in free.items()}
    assert relative_difference(clipped, scaled) < 1e-3


def test_moving_average(backbone: StableDiffusionBackbone, tmp_path: Path) -> None:
    result = run(backbone, tmp_path, ema_decay=0.75, save_every=1)
    assert result.export.name == "step-00000003-ema"
    weights = [dict(backbone.denoiser.state_dict())]
    for step in (1, 2, 3):
        plain = result.exports[step].with_name(f"step-{step:08d}")
        weights.append(exported(replace(result, export=plain)))
    expected = weights[0]
    for later in weights[1:]:
        expected = {k: 0.75 * expected[k] + 0.25 * later[k] for k in expected}
    assert relative_difference(exported(result), expected) < 1e-6


def test_a_tracker_gets_every_line(backbone: StableDiffusionBackbone, tmp_path: Path) -> None:
    class Tracker:
        def __init__(self) -> None:
            self.seen: list[tuple[int, dict[str, Any]]] = []

        def log(self, data: dict[str, Any], *, step: int) -> None:
            self.seen.append((step, data))

    tracker = Tracker()
    result = run(backbone, tmp_path, options={"tracker": tracker})
    assert [data for _, data in tracker.seen] == rows(result)
    assert [step for step, _ in tracker.seen] == [1, 2, 3]
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["identity"]["method"] == {"name": "ddspo", "version": 1, "kappa": KAPPA}
