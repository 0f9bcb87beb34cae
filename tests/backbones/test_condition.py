from __future__ import annotations

import pytest
import torch

from bench.api.errors import ContractError
from bench.backbones.condition import (
    batch_size,
    concatenate_conditions,
    condition_key,
    condition_to,
    select_condition,
)


def test_conditions_are_joined_name_by_name() -> None:
    one = {"text": torch.zeros(2, 3), "pooled": torch.ones(2, 1)}
    two = {"pooled": torch.zeros(1, 1), "text": torch.ones(1, 3)}
    joined = concatenate_conditions([one, two])
    assert torch.equal(joined["text"], torch.tensor([[0.0] * 3, [0.0] * 3, [1.0] * 3]))
    assert torch.equal(joined["pooled"], torch.tensor([[1.0], [1.0], [0.0]]))
    assert batch_size(joined) == 3


def test_unlike_conditions_are_refused() -> None:
    with pytest.raises(ContractError, match=r"\['text'\].*\['pooled', 'text'\]"):
        concatenate_conditions(
            [{"text": torch.zeros(1)}, {"text": torch.zeros(1), "pooled": torch.zeros(1)}]
        )
    with pytest.raises(ContractError, match="at least one"):
        concatenate_conditions([])
    with pytest.raises(ContractError, match="unlike batch sizes"):
        batch_size({"text": torch.zeros(2), "pooled": torch.zeros(3)})


def test_rows_and_dtypes() -> None:
    condition = {"text": torch.arange(6.0).view(3, 2), "mask": torch.tensor([1, 0, 1])}
    rows = select_condition(condition, torch.tensor([2, 0]))
    assert rows["text"].tolist() == [[4.0, 5.0], [0.0, 1.0]] and rows["mask"].tolist() == [1, 1]
    half = condition_to(condition, "cpu", torch.float16)
    assert half["text"].dtype is torch.float16 and half["mask"].dtype is torch.int64


def test_keys_tell_tensors_apart_by_object() -> None:
    tensor = torch.zeros(2)
    assert condition_key({"text": tensor}) == condition_key(dict(text=tensor))
    assert condition_key({"text": tensor}) != condition_key({"text": tensor.clone()})
