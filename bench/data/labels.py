"""From rows of a table to comparisons: ties dropped, winners first, faults listed. No torch."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.api.errors import PrerequisiteError, UsageError
from bench.data.comparisons import COLUMNS, DOUBTS, Comparison
from bench.data.readers import (
    CAPTION,
    FIRST,
    IMAGE,
    LOSER,
    SECOND,
    WINNER,
    ImageReader,
    ImageRef,
    TableRow,
    read_table,
)
from bench.data.remarks_on_rows import columns_left, say_equal, say_left, say_repeated
from bench.read.folders import few
from bench.read.markup import say_markup
from bench.read.table_text import require_spelt
from bench.read.text import require_characters, shown, stands_for_nothing

LOG = logging.getLogger(__name__)

_SHOWN = 20
_SINGLE = {
    **{"1": 1, "1.0": 1, "true": 1, "exclusive_win": 1, "intersections": 1},
    **{"-1": -1, "-1.0": -1, "0": -1, "0.0": -1, "false": -1, "exclusive_lose": -1},
}
"""Labels of single images; the words are those of Diffusion-KTO's published table."""

Patterns = tuple[str | None, str | None]
"""Where winner and loser are, with `{uid}` in it; None where the table says it."""


class _RowError(Exception):
    """A row cannot be used."""


def wanted_uids(file: Path) -> list[str]:
    """Return the column `uid` of a CSV, as text, each once.

    Raises:
        PrerequisiteError: there is no such file.
        UsageError: it has no such column, or no rows.
    """
    if not file.is_file():
        raise PrerequisiteError(f"there is no list of uids at {file}", fix="name the CSV's path")
    rows = [row.values.get("uid") for row in read_table(file)]
    if not rows or any(not uid for uid in rows):
        raise UsageError(f"{file}: expected a CSV whose column 'uid' is filled in every row.")
    return list(dict.fromkeys(str(uid) for uid in rows))


def read_comparisons(
    tables: Sequence[Path],
    *,
    uids: Sequence[str] | None = None,
    patterns: Patterns = (None, None),
    limit: int | None = None,
    unpaired: bool = False,
) -> tuple[list[Comparison], dict[str, Any]]:
    """Return the comparisons of some tables and what was counted.

    Raises:
        UsageError: rows cannot be used (all are listed), uids are missing, or nothing is left.
    """
    found: list[Comparison] = []
    faults: list[str] = []
    counts: Counter[str] = Counter()
    left: list[str] = []
    splits: set[str] = set()
    doubted = 0
    wanted = None if uids is None else set(uids)
    for table in tables:
        for row in read_table(table):
            if not counts["rows"]:
                require_spelt(list(row.values), COLUMNS, shown(table))
                left = columns_left(list(row.values))
            uid = str(row.values.get("uid") or "")
            if wanted is not None and uid not in wanted:
                continue
            counts["rows"] += 1
            if row.values.get("split") not in (None, ""):
                splits.add(str(row.values["split"]))
            try:
                comparison = _comparison(row, uid, patterns)
            except _RowError as error:
                faults.append(f"{row.where}: {error}")
                continue
            if comparison is None:
                counts["ties"] += 1
                continue
            found.append(comparison)
            doubted += any(_is_false(row.values.get(name)) for name in DOUBTS)
            if limit is not None and uids is None and len(found) == limit:
                break
        if limit is not None and uids is None and len(found) == limit:
            break
    _raise(faults)
    if len(splits) > 1:
        raise UsageError(
            f"{shown(tables[0])}: its column split says {' and '.join(sorted(splits))}: all rows "
            "would be taken. Keep those that are meant, and take the column out"
        )
    if doubted:
        LOG.warning(
            "%d of %d rows say that nobody decided (%s: false); they are taken as label_0 says, as "
            "the published programs do",
            doubted,
            len(found),
            " or ".join(DOUBTS),
        )
    if uids is not None:
        found = _in_order(found, uids)[: limit or None]
    if not found:
        raise UsageError(
            f"{', '.join(map(str, tables[:3]))}: no row is left of {counts['rows']}, "
            f"{counts['ties']} of them ties; expected at least one comparison."
        )
    if len({(row.loser is None, row.label is None) for row in found}) > 1:
        raise UsageError("some rows have a loser or a label and others have none; split the table.")
    say_markup([row.caption for row in found], shown(tables[0]))
    say_left(left, found, shown(tables[0]))
    say_repeated(found)
    if unpaired:
        found = _singles(found)
    return found, {**{"ties": 0}, **counts}


def _comparison(row: TableRow, uid: str, patterns: Patterns) -> Comparison | None:
    """Return what a row says, None for a tie."""
    _require_one(row, CAPTION, "captions")
    _require_one_layout(row)
    caption = row.first(CAPTION)
    if isinstance(caption, str):
        try:
            require_characters(caption, "the caption")
        except UsageError as error:
            raise _RowError(str(error)) from None
    if not isinstance(caption, str) or not caption.strip():
        raise _RowError(
            f"the caption is {caption!r}; expected text in one of {', '.join(CAPTION)}. "
            "Fill it in, or take the row out"
        )
    if stands_for_nothing(caption):
        raise _RowError(
            f"the caption is {caption!r}, as programs write a cell that was empty. Fill it in, or "
            "take the row out"
        )
    said = _Said(where=row.where, caption=caption, uid=uid)
    if any(patterns):
        if not uid:
            raise _RowError("there is no uid, and the images are named by it; add a column 'uid'")
        winner, loser = (
            None if p is None else ImageRef(file=row.file.parent / p.format(uid=uid))
            for p in patterns
        )
        if winner is None:
            raise _RowError("there is no pattern for winners; set `winner`")
        return said.pair(winner, loser)
    if "label_0" in row.values:
        first, second = _image(row, FIRST), _image(row, SECOND)
        label = _number(row.values["label_0"])
        best = str(row.values.get("best_image_uid") or "")
        worse = row.values.get("image_1_uid" if label == 1.0 else "image_0_uid")
        if label in (0.0, 1.0) and best and best == worse:
            raise _RowError(f"label_0 is {label:g}, and best_image_uid names the other image")
        if label == 0.5:
            return None
        if label not in (0.0, 1.0):
            raise _RowError(
                f"label_0 is {row.values['label_0']!r}; expected 1, 0 or 0.5 (a tie). Mend it, or "
                "take the row out"
            )
        other = row.values.get("label_1")
        if other not in (None, "") and _number(other) != 1.0 - label:
            raise _RowError(f"label_0 is {label:g} and label_1 {other!r}; mend one of them")
        uid_0, uid_1 = (str(row.values.get(f"image_{n}_uid") or "") for n in (0, 1))
        if label == 1.0:
            return said.pair(first, second, uids=(uid_0, uid_1))
        return said.pair(second, first, uids=(uid_1, uid_0))
    if any(name in row.values for name in WINNER):
        paired = any(name in row.values for name in LOSER)
        return said.pair(_image(row, WINNER), _image(row, LOSER) if paired else None)
    label_text = row.values.get("label")
    if label_text is None:
        return said.pair(_image(row, IMAGE), None)
    known = _SINGLE.get(str(label_text).strip().lower())
    if known is None:
        raise _RowError(f"the label is {label_text!r}; expected 1 or -1 (or 0). Mend it")
    return replace(said.pair(_image(row, IMAGE), None), label=known)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Said:
    """What all kinds of rows say."""

    where: str
    caption: str
    uid: str

    def pair(
        self, winner: ImageRef, loser: ImageRef | None, *, uids: tuple[str, str] = ("", "")
    ) -> Comparison:
        if winner == loser:
            raise _RowError(f"winner and loser are one image, {winner}; take the row out")
        return Comparison(
            where=self.where,
            caption=self.caption,
            uid=self.uid,
            winner=winner,
            loser=loser,
            winner_uid=uids[0],
            loser_uid=uids[1],
        )


def _require_one_layout(row: TableRow) -> None:
    """Refuse a row that says in two ways which image is preferred, or in none (_RowError)."""
    for names in (FIRST, SECOND, WINNER, LOSER, IMAGE):
        _require_one(row, names, "images")
    labelled, two = "label_0" in row.values, _has(row, (*FIRST, *SECOND))
    paired = _has(row, (*WINNER, *LOSER))
    if labelled and paired:
        raise _RowError(f"both label_0 and {paired} say which image is preferred; keep one")
    if two and not (labelled or paired):
        raise _RowError(f"there is {two} and no label_0, which says which image is preferred")
    if paired and not _has(row, WINNER):
        raise _RowError(f"there is {paired} and none of {', '.join(WINNER)}")
    if paired and row.values.get("label") not in (None, ""):
        raise _RowError(f"there is a label beside {paired}: which of them is meant? Keep one")


def _has(row: TableRow, names: Sequence[str]) -> str:
    """Return the first of these columns that the table has, or nothing."""
    return next((name for name in names if name in row.values), "")


def _require_one(row: TableRow, names: Sequence[str], what: str) -> None:
    """Refuse a row with two unlike values for one thing (_RowError)."""
    found = {name: row.values[name] for name in names if row.values.get(name)}
    inside = {n: v for n, v in found.items() if isinstance(v, ImageRef) and v.row is not None}
    found = inside or found  # beside an image itself, a path only says where it was
    if len({str(value) for value in found.values()}) > 1:
        raise _RowError(f"unlike {what} in {' and '.join(found)}; keep one of these columns")


def _image(row: TableRow, names: Sequence[str]) -> ImageRef:
    found = row.first(names)
    if not isinstance(found, ImageRef):
        raise _RowError(
            f"there is no image in {' or '.join(names)}; the columns are "
            f"{', '.join(row.values)}. Name the image's file there"
        )
    return found


def _is_false(value: Any) -> bool:
    return value is not None and str(value).strip().lower() in ("false", "0", "0.0", "no")


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _in_order(found: list[Comparison], uids: Sequence[str]) -> list[Comparison]:
    """Return the rows of the uids, in their order; the first row of a uid counts."""
    by_uid: dict[str, Comparison] = {}
    for row in found:
        by_uid.setdefault(row.uid, row)
    if len(by_uid) < len(found):
        LOG.warning(
            "%d of %d rows have the uid of an earlier one, and are left out",
            *(len(found) - len(by_uid), len(found)),
        )
    missing = [uid for uid in uids if uid not in by_uid]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(uids)} uids are not in the table, or their row is a tie, e.g. "
            f"{', '.join(missing[:5])}; is it the data set they were published for?"
        )
    return [by_uid[uid] for uid in uids]


def _singles(found: list[Comparison]) -> list[Comparison]:
    """Return each image once; one that won at least once is desirable."""
    if found[0].label is not None:
        return found
    images: dict[ImageRef | str, Comparison] = {}
    for row in found:
        sides = ((row.winner, row.winner_uid, 1), (row.loser, row.loser_uid, -1))
        for ref, uid, label in sides:
            if ref is None:
                continue
            key = uid or ref
            if key not in images:
                images[key] = replace(row, winner=ref, loser=None, label=label)
            elif label == 1:
                images[key] = replace(images[key], label=1)
    return list(images.values())


def checked_rows(rows: Sequence[Comparison], reader: ImageReader) -> None:
    """Open every image.

    Raises:
        UsageError: images are missing or broken; all are listed, with their rows.
    """
    faults = []
    seen: dict[str, list[bytes]] = {"winner": [], "loser": []}
    for side, digests in seen.items():  # a column at a time, as Parquet files are read
        for row in rows:
            ref = getattr(row, side)
            digest, fault = (b"", "") if ref is None else reader.looked_at(ref)
            digests.append(digest)
            if fault:
                faults.append(
                    f"{row.where}: image {ref}: {fault}. Fetch it again, or take the row out"
                )
    _raise(faults)
    reader.odd.say(few(sorted({shown(row.winner.file) for row in rows})))
    say_equal(rows, seen["winner"], seen["loser"])


def _raise(faults: Sequence[str]) -> None:
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults[:_SHOWN])
        more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise UsageError(f"{len(faults)} rows cannot be used:\n{listed}{more}")
