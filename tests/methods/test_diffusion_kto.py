from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.api.errors import ContractError, UsageError
from bench.api.method import Batch
from bench.backbones.sd import StableDiffusionBackbone
from bench.training.objective import evaluate_halves
from bench.training.randomness import Sample
from bench.training.single import SingleImages, for_method
from bench.training.source import TensorPairs, Visits
from bench.validate import validate
from methods.diffusion_kto import DiffusionKTO
from methods.sft import SFT
from tests.methods.fields import Setting
from tests.precision import EXACT, double_precision, of_formula
from tests.training.nets import tiny_backbone, tiny_pairs
from tests.training.runs import gradients, relative_difference, rows, run

CPU = torch.device("cpu")
LABELS = [1.0, -1.0, -1.0, 1.0, 1.0]


def batch_of(setting: Setting, dtype: torch.dtype, labels: list[float]) -> Batch:
    return Batch(
        winner=setting.winner.to(dtype),
        loser=None,
        condition={"shift": setting.prompt["shift"].to(dtype)},
        degraded=None,
        index=torch.arange(len(setting.winner)),
        label=torch.tensor(labels, dtype=torch.float32),
    )


def by_hand(
    prediction: Tensor, reference: Tensor, noise: Tensor, labels: list[float], method: DiffusionKTO
) -> Tensor:
    """The paper's objective, image by image, with beta = kappa and a reward g = R - E."""
    rewards = [
        ((r - n) ** 2).mean() - ((p - n) ** 2).mean()
        for p, r, n in zip(prediction, reference, noise, strict=True)
    ]
    point = max(0.0, float(sum(rewards).detach()) / len(rewards))  # type: ignore[union-attr]
    losses = []
    for reward, label in zip(rewards, labels, strict=True):
        utility = 1 / (1 + torch.exp(-label * method.kappa * (reward - point)))
        weight = method.desirable_weight if label > 0 else method.undesirable_weight
        losses.append(weight * (1 - utility))
    return torch.stack(losses)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_loss_and_gradient_are_the_papers(dtype: torch.dtype, side: float) -> None:
    """`side` turns the moves around, so that the reference point is positive once and zero once."""
    method = DiffusionKTO(kappa=30.0, desirable_weight=1.5, undesirable_weight=0.5)
    setting = Setting()
    noised, _ = setting.noised()
    reference = setting.predict(noised, setting.t, setting.prompt)
    # towards or away from the target: both signs of the mean reward
    moves = (side * 0.1 * (setting.noise - reference)).to(dtype).requires_grad_()

    def refer(x_t: Tensor, t: Tensor, condition: object) -> Tensor:
        return reference.to(dtype)

    evaluation = evaluate_halves(
        method,
        batch_of(setting, dtype, LABELS),
        setting.step(),
        policy=lambda x_t, t, condition: reference.to(dtype) + moves,
        reference=refer,
    )
    exact = moves.detach().double().requires_grad_()
    # the losses in double precision of the very numbers the method saw
    reference, noise = reference.to(dtype).double(), setting.noise
    expected = by_hand(reference + exact, reference, noise, LABELS, method)
    close = {"rtol": of_formula(dtype), "atol": of_formula(dtype)}
    torch.testing.assert_close(evaluation.losses.double(), expected, **close)
    (found,) = torch.autograd.grad(evaluation.loss, moves)
    (wanted,) = torch.autograd.grad(expected.mean(), exact)
    torch.testing.assert_close(found.double(), wanted, **close)
    point = float(-evaluation.delta.mean())
    assert (point > 0) == (side > 0)


def test_it_fulfils_the_contract() -> None:
    assert not validate("methods.diffusion_kto:DiffusionKTO").findings


def test_it_starts_at_half_of_the_weights() -> None:
    method = DiffusionKTO(desirable_weight=3.0, undesirable_weight=1.0)
    batch = batch_of(Setting(), torch.float32, LABELS)
    zero = torch.zeros(5)
    batch = Batch(**{**vars(batch), "mean_delta": zero.mean()})
    assert method.losses(zero, batch).tolist() == [1.5, 0.5, 0.5, 1.5, 1.5]


def test_desirable_images_are_pulled_and_undesirable_ones_pushed() -> None:
    batch = batch_of(Setting(), torch.float32, LABELS)
    delta = torch.zeros(5, requires_grad=True)
    batch = Batch(**{**vars(batch), "mean_delta": torch.zeros(())})
    (slope,) = torch.autograd.grad(DiffusionKTO(kappa=8.0).losses(delta, batch).sum(), delta)
    assert slope.tolist() == [2.0, -2.0, -2.0, 2.0, 2.0]  # kappa / 4, signed


def test_pairs_are_refused_by_the_loss_and_bad_settings_by_the_method() -> None:
    with pytest.raises(ContractError, match="labels"):
        Setting().evaluate(DiffusionKTO())
    with pytest.raises(UsageError, match=r"gamma is 1\.2"):
        DiffusionKTO(gamma=1.2)
    with pytest.raises(UsageError, match="undesirable_weight is 0"):
        DiffusionKTO(undesirable_weight=0.0)


def visits(step: int, count: int = 12) -> Visits:
    return Visits(seed=3, step=step, samples=[Sample(index, 0) for index in range(count)])


def test_a_visit_shows_the_winner_or_the_loser_with_its_label() -> None:
    pairs = tiny_pairs()
    source = SingleImages(pairs=pairs, share=0.8)
    whole = source.visited(visits(0), CPU)
    assert whole.label is not None and whole.loser is None
    assert pairs.loser is not None
    for row, label in enumerate(whole.label.tolist()):
        side = pairs.winner if label > 0 else pairs.loser
        assert torch.equal(whole.winner[row], side[row])
    # a function of the visit: of neither the micro-batch nor the order in it
    part = source.visited(Visits(seed=3, step=0, samples=[Sample(5, 0), Sample(2, 0)]), CPU)
    assert torch.equal(part.winner, whole.winner[[5, 2]])
    many = torch.stack([source.visited(visits(step), CPU).label for step in range(200)])  # type: ignore[misc]
    share = float((many > 0).float().mean())
    assert share == pytest.approx(0.8, abs=4 * (0.16 / many.numel()) ** 0.5)
    assert len({tuple(row.tolist()) for row in many}) > 100  # drawn anew at each visit


class Labelled(TensorPairs):
    """Winner-only data with a label for each image."""

    labels = [1, -1, -1, 1] + [-1] * 8


def test_stored_labels_are_drawn_by_class() -> None:
    pairs = tiny_pairs()
    source = SingleImages(
        pairs=Labelled(winner=pairs.winner, loser=None, condition=pairs.condition), share=0.8
    )
    counts = torch.zeros(12)
    for step in range(200):
        batch = source.visited(visits(step), CPU)
        assert batch.label is not None
        assert [Labelled.labels[i] for i in batch.index.tolist()] == batch.label.tolist()
        assert torch.equal(batch.winner, pairs.winner[batch.index])
        counts.index_add_(0, batch.index, torch.ones(12))
    # 0.8 over two images, 0.2 over ten
    chance = torch.tensor([0.4 if label > 0 else 0.02 for label in Labelled.labels])
    spread = 5 * (2400 * chance * (1 - chance)).sqrt()
    assert bool(((counts - 2400 * chance).abs() < spread).all())


def test_sets_without_undesirable_images_are_refused() -> None:
    pairs = tiny_pairs()
    winners = TensorPairs(winner=pairs.winner, loser=None, condition=pairs.condition)
    with pytest.raises(UsageError, match="neither losers nor labels"):
        SingleImages(pairs=winners, share=0.8).visited(visits(0), CPU)

    class Liked(TensorPairs):
        labels = [1] * 12

    liked = Liked(winner=pairs.winner, loser=None, condition=pairs.condition)
    with pytest.raises(UsageError, match="label -1"):
        SingleImages(pairs=liked, share=0.8)
    with pytest.raises(UsageError, match="depend on the visit"):
        for_method(pairs, DiffusionKTO()).batch([0], CPU)
    assert for_method(pairs, SFT()) is pairs


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionBackbone:
    return tiny_backbone(tmp_path_factory.mktemp("kto"))


def test_micro_batches_change_nothing_but_rounding(tmp_path: Path) -> None:
    """The reference point is the mean over the whole batch, however it is cut."""
    method = DiffusionKTO(kappa=20.0)
    with double_precision():
        model = tiny_backbone(tmp_path / "double")
        whole = run(model, tmp_path / "whole", method, steps=1)
        cut = run(model, tmp_path / "cut", method, steps=1, micro_batch=2)
    one, two = gradients(tmp_path / "whole"), gradients(tmp_path / "cut")
    assert relative_difference(one, two) < EXACT
    # the second step has a reference point above zero, which the micro-batches alone differ in
    with double_precision():
        lines = rows(run(model, tmp_path / "2 whole", method, steps=2))
        again = rows(run(model, tmp_path / "2 cut", method, micro_batch=2, steps=2))
    assert again[1]["loss"] == pytest.approx(lines[1]["loss"], rel=EXACT)
    assert rows(cut)[0]["loss"] == pytest.approx(rows(whole)[0]["loss"], rel=EXACT)


def test_it_trains_and_sft_trains_on_winners_alone(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    for gamma in (0.0, 1.0):  # all undesirable, all desirable
        method = DiffusionKTO(kappa=20.0, gamma=gamma)
        lines = rows(run(backbone, tmp_path / f"kto-{gamma}", method, steps=6))
        assert lines[0]["loss"] == pytest.approx(0.5, abs=1e-6)
        reward = lines[-1]["reference_error_a"] - lines[-1]["error_a"]
        assert (reward > 0.01) if gamma else (reward < -0.01)
    pairs = tiny_pairs()
    winners = TensorPairs(winner=pairs.winner, loser=None, condition=pairs.condition)
    alone = run(backbone, tmp_path / "alone", SFT(), pairs=winners, steps=2)
    both = run(backbone, tmp_path / "both", SFT(), pairs=pairs, steps=2)
    assert [row["loss"] for row in rows(alone)] == [row["loss"] for row in rows(both)]
    with pytest.raises(UsageError, match="have no losers"):
        from methods.diffusion_dpo import DiffusionDPO

        run(backbone, tmp_path / "dpo", DiffusionDPO(), pairs=winners, steps=1)
