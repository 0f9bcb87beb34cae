"""Tables of pairs that say two things, or hold part of a set, or a part twice."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.api.errors import IncompleteError, UsageError
from bench.data.comparisons import Comparison
from bench.data.labels import read_comparisons
from bench.data.readers import tables_of
from tests.read.bring import picture as made
from tests.read.bring import pictures, png


def read(place: Path, split: str | None = "train") -> list[Comparison]:
    return read_comparisons(tables_of(place, split))[0]


def table(tmp_path: Path, columns: str, *rows: str) -> Path:
    folder = pictures(tmp_path / "pairs", 4)
    (folder / "pairs.csv").write_text("\n".join([columns, *rows]) + "\n")
    return folder


@pytest.mark.parametrize(
    ("columns", "row", "hint"),
    [
        ("caption,winner,chosen,loser", "a,0,2,1", "unlike images in winner and chosen"),
        ("caption,jpg_0,jpg_1,image_0,label_0", "a,0,1,2,1", "unlike images in jpg_0 and image_0"),
        ("caption,winner,loser,label_0", "a,0,1,0", "both label_0 and winner say"),
        ("caption,jpg_0,jpg_1,label_0,label_1", "a,0,1,1,1", "label_0 is 1 and label_1 '1'"),
        ("caption,jpg_0,jpg_1,label_0,label_1", "a,0,1,0,0", "label_0 is 0 and label_1 '0'"),
        ("caption,winner,loser,label", "a,0,1,-1", "there is a label beside winner"),
        ("caption,image,jpg_0,jpg_1", "a,2,0,1", "there is jpg_0 and no label_0"),
        ("caption,image_0,image_1,label", "a,0,1,0", "there is image_0 and no label_0"),
        ("caption,preferred,rejected", "a,0,1", "there is rejected and none of winner, chosen"),
        ("caption,winner,loser", "a,0,0", "winner and loser are one image"),
        ("caption,winner,loser", "nan,0,1", "the caption is 'nan', as programs write"),
        ("caption,Winner,Loser,image", "a,0,1,2", "the column 'Winner' is spelt 'winner' here"),
        ("Caption,winner,loser", "a,0,1", "the column 'Caption' is spelt 'caption' here"),
        (
            "caption,jpg_0,jpg_1,label_0,best_image_uid,image_0_uid,image_1_uid",
            "a,0,1,1,v,u,v",
            "best_image_uid names the other image",
        ),
    ],
)
def test_a_table_that_says_two_things_is_refused(
    columns: str, row: str, hint: str, tmp_path: Path
) -> None:
    names = [*columns.split(",")]
    of_images = {name for name in names if "mage" in name or name[:3] in ("jpg", "win", "los")}
    of_images |= {"chosen", "preferred", "rejected", "Winner", "Loser"}
    cells = [
        f"0000{cell}.png" if name in of_images and "uid" not in name else cell
        for name, cell in zip(names, row.split(","), strict=True)
    ]
    with pytest.raises(UsageError, match=hint):
        read(table(tmp_path, columns, ",".join(cells)))


def test_rows_that_nobody_decided_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ("a,00000.png,00001.png,1,False", "b,00000.png,00001.png,0,True")
    folder = table(tmp_path, "caption,jpg_0,jpg_1,label_0,has_label", *rows)
    with caplog.at_level(logging.WARNING):
        assert len(read(folder)) == 2
    assert "1 of 2 rows say that nobody decided" in caplog.text


def shard(path: Path, **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns: Mapping[str, Any] = {
        "caption": ["a", "b"],
        "jpg_0": [png(made(0)), png(made(1))],
        "jpg_1": [png(made(2)), png(made(3))],
        "label_0": [1.0, 0.0],
        **more,
    }
    pq.write_table(pa.table(dict(columns)), path)


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["train"], 2),
        (["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"], 4),
        (["train-00000-of-00002-0b807df992fb1d3a", "train-00001-of-00002-1b807df992fb1d3b"], 4),
        (["train_0", "train_1", "trainer"], 4),
        (["data/train-00000-of-00001", "data/validation"], 2),
    ],
)
def test_parts_of_a_split_are_read(names: list[str], rows: int, tmp_path: Path) -> None:
    for name in names:
        shard(tmp_path / f"{name}.parquet")
    assert len(read(tmp_path)) == rows


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (["train-00000-of-00003", "train-00002-of-00003"], "lacks 1 of the 3 parts of train: tr"),
        (["train-00001-of-00002"], "lacks 1 of the 2 parts of train: train-00000-of-00002"),
        (["a/train-00000-of-00001", "b/train-00000-of-00001"], "lie in 2 folders"),
        (["train", "train (1)"], r"train \(1\).parquet: is it a part"),
        (["train", "train-backup"], "train-backup.parquet: is it a part"),
        (["train", "train-00000-of-00001"], "holds train as 1 parts and as files without"),
        (["train-00000-of-00002", "train-00001-of-00002", "train-00000-of-00001"], "would come tw"),
    ],
)
def test_parts_that_lack_or_come_twice_are_refused(
    names: list[str], hint: str, tmp_path: Path
) -> None:
    for name in names:
        shard(tmp_path / f"{name}.parquet")
    with pytest.raises((UsageError, IncompleteError), match=hint):
        read(tmp_path)


def test_a_path_beside_an_image_in_parquet_only_says_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "train.parquet"
    columns = {"text": ["a"], "image": [png(made(0))], "file_name": ["gone.png"]}
    pq.write_table(pa.table(columns), file)
    (row,) = read(tmp_path)
    assert row.winner.column == "image" and row.loser is None
