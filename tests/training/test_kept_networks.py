"""What a training holds: no unused network, frozen weights as autocast would cast them."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.api.method import Method
from bench.backbones import load_backbone
from bench.training import session
from bench.training.networks import keep_half
from methods.ddspo import DDSPO
from methods.realalign import RealAlignStage1
from tests.tiny_families import FAMILIES, random_pairs, write_checkpoint
from tests.training.nets import tiny_backbone
from tests.training.runs import KAPPA, assert_equal_tensors, exported, run

TAKE = {"take_base": True}


def held(kind: type[nn.Module]) -> list[nn.Module]:
    gc.collect()
    return [found for found in gc.get_objects() if type(found) is kind]


def gone(part: nn.Module) -> bool:
    """Whether a part of a checkpoint has no memory any more."""
    return all(tensor.is_meta for tensor in part.parameters())


class Counting(DDSPO):
    """Counts the networks that are there when a step is taken."""

    def link(self, delta: torch.Tensor) -> torch.Tensor:
        COUNTED.append(len(held(KIND[0])))
        return super().link(delta)


COUNTED: list[int] = []
KIND: list[type[nn.Module]] = []


@pytest.mark.parametrize(
    ("changes", "networks"),
    [({}, 2), ({"mode": "lora"}, 1), ({"mode": "lora", "reference": "frozen_copy"}, 2)],
)
def test_a_training_holds_the_networks_it_uses(
    tmp_path: Path, changes: dict[str, Any], networks: int
) -> None:
    before = run(tiny_backbone(tmp_path / "a"), tmp_path / "copied", **changes)
    own = tiny_backbone(tmp_path / "b")
    KIND[:] = [type(own.denoiser)]
    others = len(held(KIND[0])) - 1
    COUNTED.clear()
    result = run(own, tmp_path / "taken", Counting(kappa=KAPPA), options=TAKE, **changes)
    assert {count - others for count in COUNTED} == {networks}
    assert gone(own.vae) and gone(own.text_encoder)
    assert_equal_tensors(exported(result), exported(before))


def test_what_a_training_may_not_take_is_left_as_it_is(tmp_path: Path) -> None:
    own = tiny_backbone(tmp_path / "a")
    before = {name: tensor.clone() for name, tensor in own.denoiser.state_dict().items()}
    run(own, tmp_path / "work")
    assert not gone(own.vae) and not gone(own.text_encoder)
    assert_equal_tensors(dict(own.denoiser.state_dict()), before)


def test_another_reference_is_put_into_an_untouched_copy_of_the_base(tmp_path: Path) -> None:
    first = run(tiny_backbone(tmp_path / "a"), tmp_path / "first", mode="lora")
    changes = {
        "mode": "lora", "reference": "frozen_checkpoint",
        "reference_checkpoint": str(first.export), "steps": 2,
    }  # fmt: skip
    copied = run(tiny_backbone(tmp_path / "b"), tmp_path / "copied", **changes)
    taken = run(tiny_backbone(tmp_path / "c"), tmp_path / "taken", options=TAKE, **changes)
    assert_equal_tensors(exported(taken), exported(copied))


def test_a_resumed_training_takes_the_base_too(tmp_path: Path) -> None:
    whole = run(tiny_backbone(tmp_path / "a"), tmp_path / "whole", steps=4, save_every=2)

    class StoppedError(Exception):
        pass

    def stop(done: int, *_: Any) -> None:
        if done == 3:
            raise StoppedError

    options = {**TAKE, "progress": stop}
    with pytest.raises(StoppedError):
        run(tiny_backbone(tmp_path / "b"), tmp_path / "cut", options=options, steps=4, save_every=2)
    own = tiny_backbone(tmp_path / "c")
    result = run(own, tmp_path / "cut", options=TAKE, steps=4, save_every=2)
    assert_equal_tensors(exported(result), exported(whole))
    assert gone(own.text_encoder)


HALVES = [
    pytest.param(family, mode, method, id=f"{family}-{mode}-{method.name}")
    for family in FAMILIES
    for mode in ("full", "lora")
    for method in (DDSPO(kappa=KAPPA), *([RealAlignStage1()] if family == "sd" else []))
]


@pytest.mark.parametrize(("family", "mode", "method"), HALVES)
def test_half_precision_of_frozen_weights_changes_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, mode: str, method: Method
) -> None:
    folder = write_checkpoint(family, tmp_path / "checkpoint")
    kept: list[int] = []

    def trained(name: str) -> dict[str, torch.Tensor]:
        backbone = load_backbone(folder)
        pairs = random_pairs(backbone)
        found = run(
            backbone,
            tmp_path / name,
            method,
            pairs=pairs,
            options=TAKE,
            mode=mode,
            precision="bf16",
        )
        return exported(found)

    def counted(network: nn.Module, precision: str) -> None:
        keep_half(network, precision)
        half = [p for p in network.parameters() if p.dtype == torch.bfloat16]
        assert not any(p.requires_grad for p in half)
        kept.append(sum(p.numel() for p in half))

    monkeypatch.setattr(session, "keep_half", counted)
    half = trained("half")
    assert max(kept) > 1000
    monkeypatch.setattr(session, "keep_half", lambda *_: None)
    assert_equal_tensors(half, trained("whole"))


def test_float32_runs_keep_all_in_float32(tmp_path: Path) -> None:
    network = tiny_backbone(tmp_path).denoiser
    keep_half(network, "no")
    assert {p.dtype for p in network.parameters()} == {torch.float32}
