"""The conditions of a set's texts: stored where they are small, else made when they are read.

    texts.safetensors   a condition's tensors (U, ...), one row per distinct text; or
    encoder.json        the checkpoint and the precision that give them

Embeddings of many texts fill disks (47 of the 60 GB that 200,000 pairs of SD-1.4 would take), and
making them anew takes less than a hundredth of a training step. Each text is encoded alone, by the
same encoder in the same precision, so a condition is the same to the bit either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.api.errors import UsageError
from bench.backbones.base import Backbone
from bench.backbones.condition import concatenate_conditions
from bench.data.parts import Parts, join_parts
from bench.data.spec import TEXTS_STORED, texts_fit
from bench.generation.checkpoint import CheckpointRef, load_pipeline_backbone
from bench.generation.text import TextCache
from bench.store import Artifact, Store, Work, read_safetensors, write_safetensors

TEXTS_FILE, ENCODER_FILE = "texts.safetensors", "encoder.json"
TEXTS_PER_PART = 256

Conditions = Callable[[Sequence[str]], Mapping[str, Tensor]]
"""Texts -> their condition; the first axis of each tensor has their number."""


def settle_texts(
    work: Work,
    backbone: Backbone,
    texts: Sequence[str],
    *,
    choice: str = TEXTS_STORED,
    checkpoint: CheckpointRef | None = None,
    dtype: str = "float32",
) -> Conditions:
    """Store the conditions of distinct texts, or what makes them, and return what gives them.

    Args:
        work: the working folder.
        backbone: encodes them.
        texts: the texts.
        choice: one of `bench.data.spec.TEXTS`.
        checkpoint, dtype: what the backbone was loaded from, and in which precision.
    """
    cache = TextCache(backbone)
    if checkpoint is None or choice == TEXTS_STORED or not texts:
        keep = True
    else:
        sizes = (stored(tensor).nbytes for tensor in cache.training(texts[0]).values())
        keep = texts_fit(choice, len(texts) * sum(sizes))
    if keep:
        _write_texts(work, cache, texts)
        return TextRows(work.path, texts)
    assert checkpoint is not None
    work.write_json(ENCODER_FILE, {"checkpoint": checkpoint.to_json(), "dtype": dtype})
    return made_when_read(cache)


def made_when_read(cache: TextCache) -> Conditions:
    """Return what encodes texts to train on, each alone."""
    return lambda texts: concatenate_conditions([cache.training(text) for text in texts])


def _write_texts(work: Work, cache: TextCache, texts: Sequence[str]) -> None:
    """Encode each distinct text, alone (see `TextCache`), and write the conditions."""
    parts = Parts(work, "texts")
    starts = range(0, len(texts), TEXTS_PER_PART)
    for number, start in enumerate(starts):
        some = texts[start : start + TEXTS_PER_PART]
        if parts.read(number, len(some)) is None:
            condition = concatenate_conditions([cache.training(text) for text in some])
            arrays = {k: stored(v) for k, v in condition.items()}
            write_safetensors(work, parts.name(number), arrays)
            parts.seal(number)
    join_parts(work, TEXTS_FILE, parts.paths(len(starts)))


class TextRows:
    """The stored conditions by text.

    Args:
        folder: that holds `TEXTS_FILE`.
        texts: in the order of its rows.
    """

    def __init__(self, folder: Path, texts: Sequence[str]) -> None:
        self._row = {text: row for row, text in enumerate(texts)}
        self._arrays = read_safetensors(folder / TEXTS_FILE)

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return the condition of B texts, as it was stored."""
        rows = [self._row[text] for text in texts]
        return {name: torch.from_numpy(array[rows]) for name, array in self._arrays.items()}


def stored(tensor: Tensor) -> np.ndarray:
    """Return a tensor as it is stored: float16 stays, all else becomes float32."""
    kept = tensor if tensor.dtype == torch.float16 else tensor.float()
    array: np.ndarray = kept.detach().cpu().contiguous().numpy()
    return array


def conditions_of(artifact: Artifact, store: Store, *, device: str | None) -> Conditions | None:
    """Return what encodes the texts of a set that does not store them; None for one that does.

    Of the checkpoint, all but the text encoders is let go of.

    Raises:
        PrerequisiteError: the checkpoint is not on this machine.
        CorruptArtifactError: the artifact's bytes were changed.
    """
    if ENCODER_FILE not in artifact.files:
        return None
    data: Mapping[str, Any] = artifact.read_json(ENCODER_FILE)
    checkpoint = CheckpointRef.from_json(data["checkpoint"])
    backbone = load_pipeline_backbone(checkpoint, store, dtype=data["dtype"], device=device)
    parts: Any = backbone
    parts.denoiser, parts.vae = nn.Identity(), None
    return made_when_read(TextCache(backbone))


def no_conditions(artifact: Artifact) -> UsageError:
    """Return the error for a set without embeddings that is read without an encoder."""
    return UsageError(
        f"{artifact.id} stores no embeddings of its texts: open it with what makes them, "
        "bench.data.texts.conditions_of(artifact, store, device=...)."
    )
