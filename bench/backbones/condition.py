"""Operations on conditions: mappings of tensors whose first axis runs over the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.api.errors import ContractError
from bench.api.method import Condition

ConditionKey = tuple[tuple[str, int], ...]
"""What tells two conditions apart without reading their values; see `condition_key`."""


def condition_key(condition: Condition) -> ConditionKey:
    """Return a key that is equal for two conditions holding the very same tensor objects.

    The key is valid while the tensors are alive: it holds their `id`, never their values.
    """
    return tuple(sorted((name, id(tensor)) for name, tensor in condition.items()))


def concatenate_conditions(conditions: Sequence[Condition]) -> dict[str, Tensor]:
    """Join conditions of (B_i, ...) tensors into one of (sum of B_i, ...).

    Raises:
        ContractError: the conditions do not hold the same names, or there is none.
    """
    if not conditions:
        raise ContractError("no conditions to concatenate; expected at least one.")
    names = set(conditions[0])
    for condition in conditions[1:]:
        if set(condition) != names:
            raise ContractError(
                f"conditions hold unlike tensors: {sorted(names)} and {sorted(condition)}; "
                "make all of them with the same backbone's encode_prompts."
            )
    if len(conditions) == 1:
        return dict(conditions[0])
    return {name: torch.cat([c[name] for c in conditions]) for name in conditions[0]}


def select_condition(condition: Condition, rows: Tensor) -> dict[str, Tensor]:
    """Return rows of a condition; `rows` is a (B,) tensor of integer positions."""
    return {name: tensor.index_select(0, rows) for name, tensor in condition.items()}


def condition_to(
    condition: Condition, device: torch.device | str, dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Return the condition on `device`; floating tensors become `dtype` where one is given."""
    return {
        name: tensor.to(device, dtype if tensor.is_floating_point() else None)
        for name, tensor in condition.items()
    }


def batch_size(condition: Condition) -> int:
    """Return the length of the batch axis.

    Raises:
        ContractError: the tensors disagree about it.
    """
    sizes = {name: tensor.shape[0] for name, tensor in condition.items()}
    if len(set(sizes.values())) != 1:
        raise ContractError(f"the tensors of a condition have unlike batch sizes: {sizes}.")
    return next(iter(sizes.values()))
