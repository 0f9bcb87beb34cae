"""What is said of tables of labelled images: what is not read, and what stands there twice."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from bench.data.comparisons import COLUMNS, Comparison
from bench.read.folders import few

LOG = logging.getLogger(__name__)

_OF_PICKAPIC = (
    *("created_at", "ranking_id", "user_id", "num_example_per_prompt", "__index_level_0__"),
    *("image_0_url", "image_1_url", "jpg_0", "jpg_1", "model_0", "model_1"),
)
"""Columns of the published sets that nobody expects to be read."""


def columns_left(columns: Sequence[str]) -> list[str]:
    """Return the columns of a table that are not read."""
    read = (*COLUMNS, *_OF_PICKAPIC)
    beside = ["label"] if "label_0" in columns and "label" in columns else []
    return [name for name in columns if name not in read] + beside


def say_left(left: Sequence[str], found: Sequence[Comparison], where: str) -> None:
    """Log which columns are not read, and what is inferred where none says who won.

    Args:
        left: columns that are not read.
        found: the rows.
        where: they come from.
    """
    if left:
        LOG.warning("%s: columns that are not read: %s", where, few(left, 8))
    if found[0].loser is not None:
        return
    labels = {row.label for row in found}
    if labels == {None}:
        told = "no column says who won (winner and loser, label_0, label): each is a winner"
        LOG.warning("%s: %d single images: %s", where, len(found), told)
    elif len(labels) == 1:
        told = "desirable" if labels == {1} else "undesirable"
        LOG.warning("%s: all %d images are %s", where, len(found), told)


def say_repeated(found: Sequence[Comparison]) -> None:
    """Log how many rows stand in the table twice, and how many say the contrary, too."""
    seen: set[tuple[Any, ...]] = set()
    again, against = 0, 0
    for row in found:
        sides = [
            uid or ref for uid, ref in ((row.winner_uid, row.winner), (row.loser_uid, row.loser))
        ]
        again += (row.caption, row.label, *sides) in seen
        if row.loser is not None:
            against += (row.caption, None, *reversed(sides)) in seen
        elif row.label is not None:
            against += (row.caption, -row.label, *sides) in seen
        seen.add((row.caption, row.label, *sides))
    _say(again, len(found), "rows repeat an earlier row; each counts")
    _say(against, len(found), "rows say the contrary of one; each counts")


def say_equal(
    rows: Sequence[Comparison], winners: Sequence[bytes], losers: Sequence[bytes]
) -> None:
    """Log pairs of equal pictures, and pictures of an earlier row under other names.

    Args:
        rows: the table's.
        winners, losers: a hash of each row's pictures; empty where there is none.
    """
    both = list(zip(rows, winners, losers, strict=True))
    equal = [row.where for row, one, other in both if one == other]
    if equal:
        LOG.warning(
            "%d of %d pairs are of two equal pictures, which nobody can tell apart (%s); each "
            "counts",
            *(len(equal), len(rows), few(equal)),
        )
    named: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    again, against = 0, 0
    for row, one, other in both:
        names = (row.winner, row.loser)
        again += named.get((row.caption, row.label, one, other), names) != names
        turned = named.get((row.caption, row.label, other, one))
        against += bool(other) and one != other and turned not in (None, names[::-1])
        named.setdefault((row.caption, row.label, one, other), names)
    _say(again, len(rows), "rows are of an earlier one's pictures under other names; each counts")
    told = "rows say the contrary of one with these pictures under other names; each counts"
    _say(against, len(rows), told)


def _say(count: int, rows: int, told: str) -> None:
    if count:
        LOG.warning("%d of %d %s", count, rows, told)
