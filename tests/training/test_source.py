from __future__ import annotations

import pytest
import torch

from bench.api.errors import UsageError
from bench.training.source import TensorPairs
from tests.training.nets import normal, tiny_pairs

CPU = torch.device("cpu")


def test_rows_come_in_the_order_asked_for() -> None:
    pairs = tiny_pairs()
    batch = pairs.batch([3, 0, 3], CPU)
    assert torch.equal(batch.winner, pairs.winner[[3, 0, 3]])
    assert torch.equal(batch.loser, pairs.loser[[3, 0, 3]])
    assert batch.index.tolist() == [3, 0, 3]
    assert batch.degraded is not None and pairs.degraded is not None
    key = "encoder_hidden_states"
    assert torch.equal(batch.degraded[key], pairs.degraded[key][[3, 0, 3]])


def test_identity_degradation_hands_out_the_very_same_tensors() -> None:
    batch = tiny_pairs(identity_degraded=True).batch([1, 2], CPU)
    assert batch.degraded is batch.condition


def test_shuffling_swaps_images_of_a_pair_and_leaves_prompts() -> None:
    plain = tiny_pairs().batch(range(12), CPU)
    pairs = tiny_pairs(shuffle_seed=0)
    batch = pairs.batch(range(12), CPU)
    swapped = [not torch.equal(a, b) for a, b in zip(batch.winner, plain.winner, strict=True)]
    assert 0 < sum(swapped) < 12
    for row, swap in enumerate(swapped):
        assert torch.equal(batch.winner[row], (plain.loser if swap else plain.winner)[row])
        assert torch.equal(batch.loser[row], (plain.winner if swap else plain.loser)[row])
    key = "encoder_hidden_states"
    assert batch.degraded is not None and plain.degraded is not None
    assert torch.equal(batch.degraded[key], plain.degraded[key])
    # a pair is swapped at every visit or at none
    assert torch.equal(pairs.batch([5], CPU).winner[0], batch.winner[5])


def test_another_seed_swaps_other_pairs() -> None:
    batches = [tiny_pairs(shuffle_seed=s).batch(range(12), CPU).winner for s in (0, 1)]
    assert not torch.equal(*batches)


def test_unlike_lengths_are_refused() -> None:
    with pytest.raises(UsageError, match=r"loser.*2"):
        TensorPairs(
            winner=normal((3, 4, 4, 4), 0),
            loser=normal((2, 4, 4, 4), 0),
            condition={"encoder_hidden_states": normal((3, 2, 2), 0)},
        )
