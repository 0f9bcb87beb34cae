"""The same code in float64: what a bound on an algorithm is checked with.

In float32 the last bits of a sum depend on the processor's vector units and on the number of
threads, and a few steps of training amplify them up to a thousand times: a bound that holds on
every machine would then be too wide to see a changed formula. In float64 the same amplification
leaves 1e-13, so a bound of 1e-10 holds everywhere and sees a change of one part in a thousand
million.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.backbones.base import Backbone
from bench.training.randomness import CounterStream

EXACT = 1e-10
"""Relative bound for numbers computed twice in float64: the largest difference seen between
instruction sets is 1.2e-13, after eight steps of training."""

FORWARD = 256 * torch.finfo(torch.float32).eps
"""What one forward of a float32 network may move by, of max(1, its value): 3e-5. Another batch
size, processor or thread count takes kernels that add in another order, and a network sums some
hundred terms in each of some ten layers; up to 25 units were seen. A picture, prompt or mask taken
for another moves it by thousands."""


def of_formula(dtype: torch.dtype) -> float:
    """Return what a loss or gradient written down in another order may differ by.

    The same number of units of rounding in either precision, of max(1, its value).
    """
    return 512 * torch.finfo(dtype).eps


@contextmanager
def double_precision() -> Iterator[None]:
    """Let what says float32, here and in the libraries, mean float64.

    The numbers drawn stay the float32 ones, made wider. Networks and pairs are made inside; one
    read from float32 files is read outside, where a file's float32 still means that, and `doubled`.
    """
    draw = CounterStream.normal

    def normal(stream: CounterStream, samples: Sequence[Any], shape: Sequence[int]) -> Tensor:
        return draw(stream, samples, shape).double()

    with pytest.MonkeyPatch.context() as patch:
        single = torch.float32
        torch.set_default_dtype(torch.float64)
        patch.setattr(torch, "float32", torch.float64)
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        patch.setattr(CounterStream, "normal", normal)
        try:
            yield
        finally:
            torch.set_default_dtype(single)


def doubled(backbone: Backbone) -> Backbone:
    """Return the backbone with all its networks turned to float64, in place."""
    for part in vars(backbone).values():
        if isinstance(part, nn.Module):
            part.double()
    return backbone
