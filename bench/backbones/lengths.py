"""How many tokens a text has, and how many of them a checkpoint reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.backbones.base import Backbone

_NO_LIMIT = 1_000_000
"""Tokenizers without a limit of their own state a huge number."""


def token_counts(backbone: Backbone, texts: Sequence[str]) -> tuple[int | None, list[int]]:
    """Return how many tokens the text encoder reads of a text, and how many each has.

    A family that does not read as its tokenizer says has a method `token_counts(texts)` of its own.

    None and no counts where the backbone names no tokenizer, or that has no limit.
    """
    own: Any = getattr(backbone, "token_counts", None)
    if own is not None:
        limit, counts = own(list(texts))
        return int(limit), list(counts)
    tokenizer = getattr(backbone, "tokenizer", None)
    if tokenizer is None or tokenizer.model_max_length > _NO_LIMIT:
        return None, []
    return int(tokenizer.model_max_length), counts_of(tokenizer, texts)


def counts_of(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text by a tokenizer of transformers."""
    found = tokenizer(list(texts), truncation=False, verbose=False).input_ids
    return [len(ids) for ids in found]
