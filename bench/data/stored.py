"""What every kind of pair set leaves on disk, and one way of writing it.

    latents.safetensors   winner (N, C, h, w); loser likewise, where the set has losers; more of
                          each where it is drawn at every visit (`bench.data.augmentation`)
    texts.safetensors     a condition's tensors (U, ...), one row per distinct text; or
                          encoder.json, what makes them (see `bench.data.texts`)
    texts.jsonl           those texts
    pairs.jsonl           one row per pair, see `StoredRow`
    report.json           what is known of the pairs

No torch at import, but for `write_set`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from bench.api.errors import BenchError
from bench.store import Work, write_jsonl, write_safetensors

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from bench.backbones.base import Backbone

LOG = logging.getLogger(__name__)

PAIRS_PER_PART = 32

Progress = Callable[[int, int], None]
Latents = Callable[[int, int], Mapping[str, "Tensor"]]
"""(first, end of the rows) -> "winner" and, where there are losers, "loser": (rows, C, h, w)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRow:
    """One pair, or one single image.

    Attributes:
        id: unique in the set.
        prompt: c.
        degraded: c⁻, or None where the set has none.
        prompt_id: where the prompts come from a suite.
        seed: of both images, where they were sampled.
        label: +1 or -1 of a single image; None for pairs.
        notes: whatever else is known of the row: files, uids, scores.
    """

    id: str
    prompt: str
    degraded: str | None = None
    prompt_id: str = ""
    seed: int | None = None
    label: int | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StoredRow:
        """Read a row of any kind of set; keys that only its kind knows become notes."""
        known = {f.name for f in fields(cls)}
        own = {key: value for key, value in data.items() if key in known}
        more = {key: value for key, value in data.items() if key not in known}
        notes = {**own.pop("notes", {}), **more}
        return cls(**own, notes=notes)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping without what the row does not have."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v for k, v in values.items() if v is not None and v not in ("", {})}


def distinct_texts(rows: Iterable[StoredRow]) -> tuple[str, ...]:
    """Return each prompt and degraded prompt once, in order of first appearance."""
    texts = (text for row in rows for text in (row.prompt, row.degraded) if text is not None)
    return tuple(dict.fromkeys(texts))


def write_set(
    work: Work,
    backbone: Backbone,
    rows: Sequence[StoredRow],
    latents: Latents,
    facts: Mapping[str, Any],
    *,
    texts_as: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write all files of a set and return the report.

    Latents are made in parts of fixed length; an interrupted attempt goes on with the part it was
    at, so `latents` must be a function of the rows asked for alone.

    Args:
        work: the working folder.
        backbone: encodes the texts.
        rows: N rows.
        latents: makes those of some rows.
        facts: further entries of the report.
        texts_as: arguments of `bench.data.texts.settle_texts`; None stores the texts' embeddings.
        progress: called after each part.

    Raises:
        BenchError: a latent is NaN or infinite.
        StoreError: the disk fails.
    """
    from bench.data.augmentation import STD
    from bench.data.pairs import LATENTS_FILE, REPORT_FILE, ROWS_FILE, TEXT_LIST_FILE
    from bench.data.parts import Parts, join_parts
    from bench.data.report import spread
    from bench.data.texts import settle_texts
    from bench.store import read_safetensors

    texts = distinct_texts(rows)
    write_jsonl(work, ROWS_FILE, (row.to_json() for row in rows))
    write_jsonl(work, TEXT_LIST_FILE, ({"text": text} for text in texts))
    settle_texts(work, backbone, texts, **(texts_as or {}))
    parts = Parts(work, "latents")
    starts = range(0, len(rows), PAIRS_PER_PART)
    for number, start in enumerate(starts):
        end = min(start + PAIRS_PER_PART, len(rows))
        if parts.read(number, end - start) is None:
            made = latents(start, end)
            write_safetensors(work, parts.name(number), _checked(made, rows[start:end]))
            parts.seal(number)
        if progress:
            progress(end, len(rows))
    join_parts(work, LATENTS_FILE, parts.paths(len(starts)))
    stored = read_safetensors(work.path / LATENTS_FILE)
    spreads = {name: spread(array) for name, array in stored.items() if not name.endswith(STD)}
    report = set_report(backbone, rows, spreads, facts)
    work.write_json(REPORT_FILE, report)
    return report


def _checked(latents: Mapping[str, Tensor], rows: Sequence[StoredRow]) -> dict[str, np.ndarray]:
    """Return the latents as arrays; a NaN or an infinity is an error that names the row."""
    import torch

    from bench.data.texts import stored

    for name, tensor in latents.items():
        finite = torch.isfinite(tensor.flatten(1)).all(dim=1)
        if not bool(finite.all()):
            row = rows[int((~finite).nonzero()[0])]
            where = row.notes.get(name) or f"prompt {row.prompt!r}"
            raise BenchError(
                f"the {name} latents of row {row.id} ({where}) are NaN or infinite; expected "
                "finite numbers. Load the checkpoint in float32, or leave the row out."
            )
    return {name: stored(tensor) for name, tensor in latents.items()}


def set_report(
    backbone: Backbone,
    rows: Sequence[StoredRow],
    latent_std: Mapping[str, float],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the report of a set: sizes, latents' scale, prompts over the token limit."""
    from bench.data.report import over_length_share
    from bench.training.checks import LATENT_STD

    low, high = LATENT_STD
    expected = all(low <= value <= high for value in latent_std.values())
    if not expected:
        LOG.warning(
            "the latents have standard deviations %s; expected %g to %g: was the VAE's scaling "
            "factor applied exactly once?", dict(latent_std), low, high
        )  # fmt: skip
    share = over_length_share(backbone, [row.prompt for row in rows])
    over = None if share is None else round(share * len(rows))
    if over:
        LOG.warning("%d of %d prompts are longer than the text encoder reads", over, len(rows))
    labels = [row.label for row in rows if row.label is not None]
    return {
        "pairs": len(rows),
        "distinct_texts": len(distinct_texts(rows)),
        "words_mean": sum(len(row.prompt.split()) for row in rows) / len(rows),
        "over_length": over,
        "over_length_share": share,
        "latent_std": dict(latent_std),
        "latent_std_expected": expected,
        "labels": {"+1": labels.count(1), "-1": labels.count(-1)} if labels else None,
        **facts,
    }
