"""What a row of a table of images says: a winner with its loser, or a single image. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from bench.data.readers import CAPTION, FIRST, IMAGE, LOSER, SECOND, WINNER, ImageRef

DOUBTS = ("has_label", "are_different")
"""Columns of Pick-a-Pic that say whether somebody decided."""
COLUMNS = (
    *(*CAPTION, *FIRST, *SECOND, *WINNER, *LOSER, *IMAGE, *DOUBTS),
    *("uid", "label", "label_0", "label_1", "best_image_uid", "image_0_uid", "image_1_uid"),
)
"""All that is read of a table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A winner with its loser, or (with a label) a single image.

    Attributes:
        where: file and row, for messages.
        caption: under which the images were compared.
        winner: the preferred image, or the single one.
        loser: None for single images and for sets of winners alone.
        label: +1 or -1 of a single image.
        uid: of the row, where the table has it.
        winner_uid, loser_uid: of the images, likewise.
    """

    where: str
    caption: str
    winner: ImageRef
    loser: ImageRef | None = None
    label: int | None = None
    uid: str = ""
    winner_uid: str = ""
    loser_uid: str = ""
