"""How many tokens of a text a network of transformers reads, and how many a text has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.read.json_text import read_json


def longest_text(folder: Path) -> int:
    """Return how many tokens of a text the CLIPModel in a folder reads."""
    config: Any = read_json(folder / "config.json")
    return int(config.get("text_config", {}).get("max_position_embeddings", 77))


def counts(folder: Path, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text by the CLIPTokenizer in a folder."""
    from transformers import CLIPTokenizer

    return counts_of(CLIPTokenizer.from_pretrained(folder, local_files_only=True), texts)


def counts_of(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text by a tokenizer of transformers."""
    found = tokenizer(list(texts), truncation=False, verbose=False).input_ids
    return [len(ids) for ids in found]
