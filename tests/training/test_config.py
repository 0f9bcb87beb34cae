from __future__ import annotations

import json
from typing import Any

import pytest

from bench.api.errors import UsageError
from bench.training.config import TrainConfig


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"steps": 100, "batch": 64, "lr": 1e-5, **changes})


def test_warmup_starts_at_zero_and_reaches_the_rate() -> None:
    warm = config(warmup_steps=100, lr=5.12e-6)
    rates = [warm.lr_at(step) for step in range(100)]
    assert rates[0] == 0.0
    assert warm.lr_at(100) == warm.lr_at(1000) == 5.12e-6
    # 100 steps of a 100-step warm-up: the sum of rates is 49.5 times the rate
    assert sum(rates) == pytest.approx(49.5 * 5.12e-6)
    assert config().lr_at(0) == 1e-5


def test_saved_steps() -> None:
    assert [s for s in range(1, 101) if config(save_every=40).saves_at(s)] == [40, 80, 100]
    assert [s for s in range(1, 101) if config().saves_at(s)] == [100]


def test_identity_leaves_out_how_the_work_is_cut() -> None:
    base = config().identity()
    same = config(
        micro_batch=3, gradient_checkpointing=True, save_every=5, log_every=7, keep_checkpoints=9
    )
    assert same.identity() == base
    for change in ({"lr": 2e-5}, {"seed": 1}, {"batch": 32}, {"precision": "bf16"}, {"steps": 9}):
        assert config(**change).identity() != base


def test_json_round_trip() -> None:
    lora = config(mode="lora", lora_targets=("to_q", "to_v"), ema_decay=0.9)
    assert TrainConfig.from_json(json.loads(json.dumps(lora.to_json()))) == lora


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"mode": "lorra"}, "Did you mean 'lora'"),
        ({"precision": "fp32"}, "unknown precision"),
        ({"reference": "adapter_off"}, "needs mode 'lora'"),
        ({"reference": "frozen_checkpoint"}, "belong together"),
        ({"reference_checkpoint": "x"}, "belong together"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"max_grad_norm": 0.0}, "max_grad_norm"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        config(**change)


def test_unknown_and_missing_keys_are_named() -> None:
    with pytest.raises(UsageError, match="warmup_steps"):
        TrainConfig.from_json({"steps": 1, "batch": 1, "lr": 1.0, "warmup": 3})
    with pytest.raises(UsageError, match="lack batch, lr"):
        TrainConfig.from_json({"steps": 1})
