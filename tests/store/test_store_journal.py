"""Journals of unfinished work: what is not as it was when it was made does not count."""

import logging
from pathlib import Path

import pytest

from bench.api.errors import StoreError
from bench.store import Entry, Journal


def filled(root: Path) -> Journal:
    journal = Journal(root, "parts/index.jsonl")
    for name in ("a", "b", "c"):
        (root / name).write_bytes(name.encode() * 100)
        journal.seal(name, [name], {"row": ord(name)})
    return journal


def test_whole_entries_are_found_again_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries = filled(tmp_path).entries
    found = Journal(tmp_path, "parts/index.jsonl").entries
    assert found == entries and found["b"].data == {"row": 98} and len(found["b"].files) == 1
    assert not caplog.records


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_file_is_dropped_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    filled(tmp_path)
    file = tmp_path / "b"
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"b" * 99 + (b"x" if damage == "flip" else b""))
    with caplog.at_level(logging.WARNING, "bench.store"):
        assert set(Journal(tmp_path, "parts/index.jsonl").entries) == {"a", "c"}
    assert len(caplog.records) == 1
    assert f"{tmp_path}: b: not as it was" in caplog.text
    caplog.clear()
    assert set(Journal(tmp_path, "parts/index.jsonl").entries) == {"a", "c"}
    assert not caplog.records  # it is said once


def test_every_changed_byte_of_a_line_is_found(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "parts/index.jsonl"
    whole = path.read_bytes()
    begin, end = whole.index(b"\n") + 1, whole.index(b"\n", whole.index(b"\n") + 1)
    for place in range(begin, end):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        found = Journal(tmp_path, "parts/index.jsonl").entries
        assert set(found) == {"a", "c"}, place


def test_a_torn_last_line_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path)
    path = tmp_path / "parts/index.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    again = Journal(tmp_path, "parts/index.jsonl")
    assert set(again.entries) == {"a", "b"}
    assert not caplog.records
    again.add([Entry(key="d")])
    assert set(Journal(tmp_path, "parts/index.jsonl").entries) == {"a", "b", "d"}


def test_what_is_used_is_looked_at_once_more(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    journal.require("a")
    (tmp_path / "a").write_bytes(b"other")
    with pytest.raises(StoreError, match="run the same command again"):
        journal.require("a")
    with pytest.raises(StoreError, match="is gone"):
        journal.seal("x", ["x"])
