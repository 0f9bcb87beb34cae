"""Policy and reference: where they come from, what is trained, what they predict."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.api.errors import PrerequisiteError, UsageError
from bench.backbones.sd import StableDiffusionBackbone
from bench.training.export import load_export
from bench.training.networks import build_policy, build_reference
from methods.ddspo import DDSPO
from methods.diffusion_dpo import DiffusionDPO
from tests.precision import FORWARD
from tests.training.nets import LATENT, TEXT_WIDTH, TOKENS, normal
from tests.training.runs import KAPPA, exported, gradients, rows, run, settings

X = normal((3, *LATENT), 21)
T = torch.tensor([10, 400, 900])
CONDITION = {"encoder_hidden_states": normal((3, TOKENS, TEXT_WIDTH), 22)}


def predict(backbone: StableDiffusionBackbone, denoiser: torch.nn.Module) -> Tensor:
    with torch.no_grad():
        return backbone.predict(denoiser, X, T, CONDITION)


def test_f15_a_fresh_adapter_changes_nothing_and_learns_through_b_alone(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    base = predict(backbone, backbone.denoiser)
    policy = build_policy(backbone, settings(mode="lora"), None)
    reference = build_reference("adapter_off", backbone, settings(mode="lora"), policy)
    assert torch.equal(predict(backbone, policy), base)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1)
        assert torch.equal(reference.predict(X, T, CONDITION), base)
        assert not torch.allclose(predict(backbone, policy), base, atol=1e-3)
    result = run(backbone, tmp_path, mode="lora", steps=1)
    assert rows(result)[0]["loss"] == pytest.approx(math.log(2.0), abs=1e-6)
    found = gradients(tmp_path)
    for name, gradient in found.items():
        assert (".lora_A." in name) == (not gradient.any()), name


@pytest.mark.parametrize("kind", ["adapter_off", "adapter_copy"])
def test_the_adapter_is_back_after_the_reference_was_asked(
    backbone: StableDiffusionBackbone, kind: str
) -> None:
    config = settings(mode="lora")
    policy = build_policy(backbone, config, None)
    opened = [name for name, p in policy.named_parameters() if p.requires_grad]
    reference = build_reference(kind, backbone, config, policy)
    with torch.no_grad():
        reference.predict(X, T, CONDITION)
    assert [name for name, p in policy.named_parameters() if p.requires_grad] == opened
    with pytest.raises(RuntimeError):  # also when the forward fails
        reference.predict(X[:, :1], T, CONDITION)
    assert [name for name, p in policy.named_parameters() if p.requires_grad] == opened
    assert all(".policy." in name for name in opened)


def test_half_precision_checkpoints_are_trained_in_float32(tmp_path: Path) -> None:
    from tests.training.nets import tiny_backbone

    half = tiny_backbone(tmp_path)
    half.denoiser.half()
    policy = build_policy(half, settings(), None)
    assert {p.dtype for p in policy.parameters()} == {torch.float32}


class TestSecondStage:
    """A stage that starts from what an earlier one exported."""

    def test_lora_continues_and_compares_with_its_start(
        self, backbone: StableDiffusionBackbone, tmp_path: Path
    ) -> None:
        first = run(backbone, tmp_path / "1", mode="lora", lora_rank=4, lora_alpha=6.0)
        trained = predict(backbone, load_export(backbone, first.export))
        assert not torch.allclose(trained, predict(backbone, backbone.denoiser), atol=1e-4)

        config = settings(mode="lora", lora_rank=4, lora_alpha=6.0)
        policy = build_policy(backbone, config, first.export)
        reference = build_reference("adapter_copy", backbone, config, policy)
        torch.testing.assert_close(predict(backbone, policy), trained, rtol=0, atol=FORWARD)
        with torch.no_grad():
            start = reference.predict(X, T, CONDITION)
        torch.testing.assert_close(start, trained, rtol=0, atol=FORWARD)

        options = {"start_from": first.export}
        second = run(
            backbone,
            tmp_path / "2",
            DiffusionDPO(kappa=KAPPA),
            options=options,
            mode="lora",
            lora_rank=4,
            lora_alpha=6.0,
        )
        assert rows(second)[0]["loss"] == pytest.approx(math.log(2.0), abs=1e-6)
        assert exported(second).keys() == exported(first).keys()
        moved = predict(backbone, load_export(backbone, second.export))
        assert not torch.allclose(moved, trained, atol=1e-5)

    def test_full_starts_from_an_adapter_or_a_network(
        self, backbone: StableDiffusionBackbone, tmp_path: Path
    ) -> None:
        for mode in ("lora", "full"):
            first = run(backbone, tmp_path / f"{mode}-1", mode=mode)
            trained = predict(backbone, load_export(backbone, first.export))
            policy = build_policy(backbone, settings(), first.export)
            torch.testing.assert_close(predict(backbone, policy), trained, rtol=0, atol=1e-5)
            assert all(p.requires_grad for p in policy.parameters())
            second = run(
                backbone, tmp_path / f"{mode}-2", options={"start_from": first.export}, steps=1
            )
            assert rows(second)[0]["loss"] == pytest.approx(math.log(2.0), abs=1e-6)

    def test_the_reference_can_be_another_checkpoint(
        self, backbone: StableDiffusionBackbone, tmp_path: Path
    ) -> None:
        first = run(backbone, tmp_path / "1", lr=1e-2)
        other = {"reference": "frozen_checkpoint", "reference_checkpoint": str(first.export)}
        reference = build_reference(
            "frozen_checkpoint",
            backbone,
            settings(**other),
            build_policy(backbone, settings(), None),
        )
        trained = predict(backbone, load_export(backbone, first.export))
        with torch.no_grad():
            assert torch.equal(reference.predict(X, T, CONDITION), trained)
        # the policy starts elsewhere, so the first loss is not log 2 and is not required to be
        away = run(backbone, tmp_path / "2", DiffusionDPO(kappa=KAPPA), steps=1, **other)
        assert abs(rows(away)[0]["loss"] - math.log(2.0)) > 1e-4
        assert rows(away)[0]["drift_a"] > 1e-6
        # stage two as a rule: start and reference are the first stage's result
        stage = run(
            backbone,
            tmp_path / "3",
            options={"start_from": first.export},
            steps=1,
            **other,
        )
        assert rows(stage)[0]["loss"] == pytest.approx(math.log(2.0), abs=1e-6)

    def test_what_does_not_fit_together_is_refused(
        self, backbone: StableDiffusionBackbone, tmp_path: Path
    ) -> None:
        lora = run(backbone, tmp_path / "lora", mode="lora", steps=1).export
        full = run(backbone, tmp_path / "full", steps=1).export
        with pytest.raises(UsageError, match="adapter_off' is the base"):
            run(
                backbone,
                tmp_path / "a",
                options={"start_from": lora},
                mode="lora",
                reference="adapter_off",
            )
        with pytest.raises(UsageError, match="full network and mode is 'lora'"):
            run(backbone, tmp_path / "b", options={"start_from": full}, mode="lora")
        with pytest.raises(UsageError, match="rank 8 and alpha"):
            run(backbone, tmp_path / "c", options={"start_from": lora}, mode="lora", lora_rank=4)
        with pytest.raises(PrerequisiteError, match="holds no trained network"):
            run(backbone, tmp_path / "d", options={"start_from": tmp_path})


def test_a_method_without_reference_gets_none(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    from methods.sft import SFT

    row = rows(run(backbone, tmp_path, SFT(), steps=1))[0]
    assert not any(key.startswith(("reference", "drift", "delta")) for key in row)
    assert DDSPO.uses_reference and not SFT.uses_reference
