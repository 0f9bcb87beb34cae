"""open_clip's networks and tokenizer, with a clear error where the library is not installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from bench.api.errors import PrerequisiteError


def require_open_clip() -> Any:
    """Return the module `open_clip`.

    Raises:
        PrerequisiteError: it is not installed.
    """
    try:
        import open_clip
    except ImportError as error:
        raise PrerequisiteError(
            f"open_clip cannot be imported ({error})", fix="pip install 'align-bench[metrics]'"
        ) from None
    return open_clip


def named_config(name: str) -> dict[str, Any]:
    """Return open_clip's own configuration of an architecture, e.g. `"ViT-H-14"`."""
    config: dict[str, Any] = require_open_clip().get_model_config(name)
    return config


def new_network(config: Mapping[str, Any]) -> Any:
    """Return an unfilled CLIP with `embed_dim`, `vision_cfg`, `text_cfg` and perhaps `quick_gelu`.

    The activation is GELU unless the configuration says otherwise: HPSv2's ViT-H-14 has GELU.
    """
    require_open_clip()
    from open_clip.model import CLIP

    return CLIP(**config)


Tokenise = Callable[[Sequence[str]], Any]
"""Texts to token ids (N, L)."""


def byte_pair_counts(texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text, start and end among them."""
    require_open_clip()
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    return [len(tokenizer.encode(text)) + 2 for text in texts]


@lru_cache
def byte_pair_tokenizer(context: int = 77) -> Tokenise:
    """Return CLIP's own tokenizer: lower case, cut at `context` tokens, padded with 0.

    It is made once a process: reading its words takes as long as a network's look at a picture.
    """
    require_open_clip()
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer(context_length=context)
    return lambda texts: tokenizer(list(texts))
