"""The kind `labelled`: pairs of images that somebody compared, or single images with a label.

Pick-a-Pic v2 from the hub's cache, or any table of images (`bench.data.readers`). Ties are
dropped, `label_0 = 0` exchanges the images, repeated pairs stay. Winner and loser are flipped
independently of each other, as the published trainers do: once for each image, by a coin keyed by
(seed, side, row), or with `augmentation: per-visit` at every visit, as they do.

Caption dropout is no matter of the data: see `prompt_dropout` of the training's settings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from bench.api.errors import UsageError, unknown
from bench.api.files import blob_sha256
from bench.data.augmentation import ONCE, Draws, side_latents
from bench.data.comparisons import Comparison
from bench.data.kinds import How, Reading, read_settings
from bench.data.labels import checked_rows, read_comparisons, wanted_uids
from bench.data.readers import ImageReader, ImageRef, dataset_folder, tables_of
from bench.data.spec import KIND, TEXTS_AUTO, texts_fit
from bench.data.stored import StoredRow, write_set
from bench.generation.checkpoint import (
    CheckpointRef,
    device_name,
    load_pipeline_backbone,
    pick_device,
)
from bench.generation.parts import native_side
from bench.read.names import artifact_name
from bench.store import Artifact, Store, Work, canonical_json, file_hash

if TYPE_CHECKING:
    from torch import Tensor

    from bench.backbones.base import Backbone

VERSION = 2
"""Bumped when the pairs of unchanged settings may change."""

LONG_CAPTIONS = ("error", "cut")

_BATCH_PIXELS = 8 * 512 * 512
_LISTED = 10


@dataclass(frozen=True, kw_only=True)
class LabelledSettings:
    """The settings.

    Attributes:
        path: a table, or a folder that holds one; or
        hub: a data set in the Hugging Face cache, such as `yuvalkirstain/pickapic_v2`.
        revision: of the hub's data set.
        split: of a folder of Parquet files.
        uids: a CSV with a column `uid`: only these rows, in that order (a published selection).
        winner, loser: where images are whose table names none: a path with `{uid}` in it.
        limit: take the first rows alone, ties not counted.
        unpaired: single images in place of pairs: one that was preferred at least once is
            desirable, any other undesirable (Diffusion-KTO, appendix A.1).
        resolution: pixels of a side; None is what the checkpoint's network was made for.
        flip: mirror half of the images.
        posterior: see `bench.data.images.POSTERIORS`.
        long_captions: what a caption with more tokens than the text encoder reads is: an
            `"error"`, or `"cut"` as the published programs do. None takes the first for `path`,
            the second for `hub`.
        dtype: precision of the encoders.
        augmentation: when both are drawn; see `bench.data.augmentation`.
        seed: of flips and posterior samples, where they are drawn once; otherwise the training's.
        texts: see `bench.data.spec.TEXTS`.

    Raises:
        UsageError: a value is out of range, or not one of `path` and `hub` is given.
    """

    path: str | None = None
    hub: str | None = None
    revision: str | None = None
    split: str | None = "train"
    uids: str | None = None
    winner: str | None = None
    loser: str | None = None
    limit: int | None = None
    unpaired: bool = False
    resolution: int | None = None
    flip: bool = True
    posterior: str = "sample"
    augmentation: str = ONCE
    long_captions: str | None = None
    dtype: str = "float32"
    seed: int = 0
    texts: str = TEXTS_AUTO

    def __post_init__(self) -> None:
        texts_fit(self.texts, 0)
        if (self.path is None) == (self.hub is None):
            raise UsageError("give one of path (a table or its folder) and hub (a data set's id).")
        if self.revision is not None and self.hub is None:
            raise UsageError("revision is that of a data set on the hub; leave it out with path.")
        small = self.resolution is not None and self.resolution < 8
        if small or (self.limit is not None and self.limit < 1):
            raise UsageError("resolution must be 8 or more, and limit 1 or more.")
        _ = self.draws  # its values are checked there
        if self.long_captions not in (None, *LONG_CAPTIONS):
            raise unknown("long_captions", str(self.long_captions), LONG_CAPTIONS)

    @property
    def draws(self) -> Draws:
        """What is drawn of the images, and when."""
        return Draws(posterior=self.posterior, flip=self.flip, augmentation=self.augmentation)

    @property
    def refuses_long(self) -> bool:
        """Whether a caption over the token limit is an error."""
        return (self.long_captions or ("cut" if self.path is None else "error")) == "error"

    def folder(self) -> Path:
        """Return where the tables are.

        Raises:
            PrerequisiteError: the hub's data set is not in the cache.
        """
        if self.hub is not None:
            return dataset_folder(self.hub, self.revision)
        return Path(str(self.path)).expanduser()

    def side(self, checkpoint: CheckpointRef) -> int:
        """Return the pixels of a side (UsageError: neither settings nor checkpoint say it)."""
        if self.resolution is not None:
            return self.resolution
        while checkpoint.base is not None:
            checkpoint = checkpoint.base
        return native_side(checkpoint.folder())

    def comparisons(self) -> tuple[list[Comparison], dict[str, Any]]:
        """Return the rows that are used, and what was counted on the way.

        Raises:
            PrerequisiteError, UsageError: the tables are missing or cannot be used.
        """
        uids = None if self.uids is None else wanted_uids(Path(self.uids).expanduser())
        return read_comparisons(
            tables_of(self.folder(), self.split),
            uids=uids,
            patterns=(self.winner, self.loser),
            limit=self.limit,
            unpaired=self.unpaired,
        )


def identity(
    store: Store, checkpoint: CheckpointRef, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the identity of the set; see `bench.data.kinds.PairKind`."""
    return dict(reading(store, checkpoint, settings).identity)


def reading(store: Store, checkpoint: CheckpointRef, settings: Mapping[str, Any]) -> Reading:
    """Return the identity of the set, and how much there is to encode."""
    found = read_settings(LabelledSettings, settings, "labelled")
    rows, _ = found.comparisons()
    side = found.side(checkpoint)
    return Reading(
        identity=_identity(store, checkpoint, found, rows, side),
        pairs=len(rows),
        images=sum(1 if row.loser is None else 2 for row in rows),
        side=side,
        native=_native(checkpoint) or side,
    )


def _native(checkpoint: CheckpointRef) -> int | None:
    """Return the side that a checkpoint's network was made for, None where it does not say it."""
    while checkpoint.base is not None:
        checkpoint = checkpoint.base
    try:
        return native_side(checkpoint.folder())
    except UsageError:
        return None


def _identity(
    store: Store,
    checkpoint: CheckpointRef,
    found: LabelledSettings,
    rows: list[Comparison],
    side: int,
) -> dict[str, Any]:
    return {
        "kind": "labelled",
        "version": VERSION,
        "checkpoint": checkpoint.identity(store),
        "rows_sha256": _rows_hash(rows),
        "unpaired": found.unpaired,
        "resolution": side,
        "flip": found.flip,
        "posterior": found.posterior,
        "dtype": found.dtype,
        "seed": found.seed,
        **found.draws.entry(),
    }


def draws(settings: Mapping[str, Any]) -> Draws:
    """Return what is drawn of the images, and when; see `bench.data.kinds.PairKind`."""
    return read_settings(LabelledSettings, settings, "labelled").draws


def _require_short(backbone: Backbone, rows: list[Comparison]) -> None:
    """Make sure that the text encoder reads whole captions.

    Raises:
        UsageError: it cuts some; their rows are named.
    """
    from bench.backbones.lengths import token_counts

    limit, counts = token_counts(backbone, [row.caption for row in rows])
    if limit is None:
        return
    long = [(row, count) for row, count in zip(rows, counts, strict=True) if count > limit]
    if long:
        shown = [
            f"{row.where}: the caption has {count} tokens ({row.caption[:40]!r}...)"
            for row, count in long[:_LISTED]
        ]
        more = [] if len(long) <= _LISTED else [f"and {len(long) - _LISTED} more"]
        raise UsageError(
            "\n  ".join(
                [f"{len(long)} captions are longer than the text encoder reads", *shown, *more]
            )
            + f"\nShorten them to {limit} tokens, start and end among them, or set long_captions: "
            "cut, as the published programs do."
        )


def _rows_hash(rows: list[Comparison]) -> str:
    """Return the sha256 over captions, labels and image files: contents, not places."""
    digest = hashlib.sha256()
    for row in rows:
        images = [_image_hash(ref) for ref in (row.winner, row.loser) if ref is not None]
        digest.update(canonical_json([row.caption, row.label, *images]).encode("ascii"))
    return digest.hexdigest()


def _image_hash(ref: ImageRef) -> list[Any]:
    real = ref.file.resolve()
    whole = blob_sha256(ref.file) or (file_hash(real) if real.is_file() else "missing")
    return [whole, ref.row, ref.column]


def build(
    store: Store,
    checkpoint: CheckpointRef,
    settings: Mapping[str, Any],
    **how: Unpack[How],
) -> Artifact:
    """Return the set, made; see `bench.data.kinds.PairKind`.

    Raises:
        UsageError: rows cannot be used; all of them are listed before anything is encoded.
    """
    found = read_settings(LabelledSettings, settings, "labelled")
    where = pick_device(how.get("device"))
    side_pixels = found.side(checkpoint)

    def make(work: Work) -> None:
        reader = ImageReader()
        comparisons, counts = found.comparisons()
        checked_rows(comparisons, reader)
        backbone = load_pipeline_backbone(checkpoint, store, dtype=found.dtype, device=where)
        if found.refuses_long:
            _require_short(backbone, comparisons)
        rows = [_stored_row(n, row) for n, row in enumerate(comparisons)]
        size = how.get("batch_size") or max(1, _BATCH_PIXELS // side_pixels**2)

        def side_of(side: int, start: int, end: int) -> dict[str, Tensor]:
            refs = [(row.winner, row.loser)[side] for row in comparisons[start:end]]
            images = [reader.pixels(ref, side_pixels) for ref in refs if ref is not None]
            return side_latents(
                backbone,
                images,
                found.draws,
                side=side,
                start=start,
                seed=found.seed,
                batch=size,
            )

        def latents(start: int, end: int) -> dict[str, Tensor]:
            losers = comparisons[0].loser is not None
            return side_of(0, start, end) | (side_of(1, start, end) if losers else {})

        facts = {
            **counts,
            "posterior": found.posterior,
            "flip": found.flip,
            **found.draws.entry(),
        }
        encoded = {"choice": found.texts, "checkpoint": checkpoint, "dtype": found.dtype}
        write_set(
            work, backbone, rows, latents, facts, texts_as=encoded, progress=how.get("progress")
        )

    label = (found.hub or Path(str(found.path)).stem).replace("/", "-")
    return store.build(
        KIND,
        how.get("name") or artifact_name(f"labelled.{label}.s{found.seed}"),
        identity(store, checkpoint, settings),
        make,
        upstream={"reference": checkpoint.location} if checkpoint.kind == "train" else None,
        seeds={"pairs": found.seed},
        config={"checkpoint": checkpoint.to_json(), "hub": found.hub, "revision": found.revision},
        device=device_name(where),
        exclude=("parts/*",),
    )


def _stored_row(number: int, row: Comparison) -> StoredRow:
    notes = {"uid": row.uid} if row.uid else {}
    for side, ref in (("winner", row.winner), ("loser", row.loser)):
        if ref is not None:
            notes[side] = f"{ref.file.name}" + ("" if ref.row is None else f"#{ref.row}")
    return StoredRow(id=f"{number:06d}", prompt=row.caption, label=row.label, notes=notes)
