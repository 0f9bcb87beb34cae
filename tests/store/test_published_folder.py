"""A published folder: old or new at every moment, each damage named, files of others left alone."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.api.errors import StoreError, UsageError
from bench.store import MANIFEST, Disk, finish_publication, publish_folder, read_folder
from bench.store.folder import STAGED

OLD = {"table.json": b"old", "records.bin": b"\x00" * 300, "old.png": b"picture"}
NEW = {"table.json": b"new", "records.bin": b"\x01" * 300, "sets/a/images/1.png": b"picture"}


class KilledError(BaseException):
    """What stands for kill -9: nothing of the store catches it."""


class StoppingDisk(Disk):
    """Stops at change number `at`, from 0."""

    def __init__(self, at: int = -1) -> None:
        self.calls: list[str] = []
        self.at = at

    def before(self, operation: str, path: Path) -> None:
        self.calls.append(f"{operation} {path.name}")
        if len(self.calls) - 1 == self.at:
            raise KilledError


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert publish_folder(tmp_path / "f", OLD)
    return tmp_path / "f"


def test_what_is_published_is_read_and_the_same_again_writes_nothing(folder: Path) -> None:
    found = read_folder(folder)
    assert found.files == OLD and found.faults == {} and found.extras == ()
    disk = StoppingDisk()
    assert not publish_folder(folder, OLD, disk=disk)
    assert {call.split()[0] for call in disk.calls} <= {"makedirs", "create_exclusive", "unlink"}
    assert sorted(contents(folder)) == sorted([*OLD, MANIFEST])


def test_equal_files_have_equal_manifests_whenever_they_were_written(
    folder: Path, tmp_path: Path
) -> None:
    publish_folder(tmp_path / "again", dict(reversed(OLD.items())))
    os.utime(folder / "table.json", ns=(1, 1))
    assert read_folder(folder).faults == {}
    assert (folder / MANIFEST).read_bytes() == (tmp_path / "again" / MANIFEST).read_bytes()


@pytest.mark.parametrize("before", [None, OLD], ids=["first", "replacing"])
def test_stopped_at_any_change_it_is_the_old_version_or_the_new_one(
    tmp_path: Path, before: dict[str, bytes] | None
) -> None:
    def begin(folder: Path) -> Path:
        if before is not None:
            publish_folder(folder, before)
            (folder / "mine.txt").write_text("of the owner")
        return folder

    whole = StoppingDisk()
    publish_folder(begin(tmp_path / "whole"), NEW, disk=whole)
    expected = contents(tmp_path / "whole")
    seen = set()
    for at in range(len(whole.calls)):
        folder = begin(tmp_path / str(at))
        with pytest.raises(KilledError):
            publish_folder(folder, NEW, disk=StoppingDisk(at))
        found = read_folder(folder)
        if before is None and MANIFEST in found.faults:
            seen.add("old")
        else:
            assert found.faults == {}, (at, whole.calls[at])
            seen.add("new" if found.files == NEW else "old")
            assert found.files in (NEW, before), (at, whole.calls[at])
        finish_publication(folder)
        assert not (folder / STAGED).exists()
        assert read_folder(folder).files == found.files
        publish_folder(folder, NEW)
        assert contents(folder) == expected
    assert seen == {"old", "new"}


def test_files_of_others_are_named_and_left(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "old.png").write_bytes(b"mine too")  # no longer what was sealed
    publish_folder(folder, NEW)
    found = read_folder(folder)
    assert found.extras == ("notes.txt", "old.png") and found.faults == {}
    assert (folder / "old.png").read_bytes() == b"mine too"


@pytest.mark.parametrize(
    ("harm", "name", "said"),
    [
        (lambda f: (f / "table.json").write_bytes(b"odd"), "table.json", "was changed"),
        (lambda f: (f / "records.bin").write_bytes(b""), "records.bin", "0 bytes instead of 300"),
        (lambda f: (f / "old.png").unlink(), "old.png", "is missing"),
        (lambda f: (f / MANIFEST).unlink(), MANIFEST, "is missing"),
        (
            lambda f: (f / MANIFEST).write_bytes(
                (f / MANIFEST).read_bytes().replace(b'"size": 3', b'"size": 4')
            ),
            MANIFEST,
            "was edited",
        ),
        (lambda f: (f / MANIFEST).write_bytes(b"[]"), MANIFEST, "was edited"),
    ],
)
def test_damage_is_named_and_mended_by_publishing_again(
    folder: Path, harm: Callable[[Path], object], name: str, said: str
) -> None:
    harm(folder)
    found = read_folder(folder)
    assert list(found.faults) == [name] and said in found.faults[name]
    assert name not in found.files
    assert publish_folder(folder, OLD)
    assert read_folder(folder).files == OLD


def test_an_edit_that_keeps_size_and_time_is_found(folder: Path) -> None:
    file = folder / "records.bin"
    times = file.stat()
    file.write_bytes(b"\x00" * 299 + b"\x01")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "was changed" in read_folder(folder).faults["records.bin"]


def test_damage_to_what_is_staged_is_found(folder: Path) -> None:
    counted = StoppingDisk()
    publish_folder(folder.with_name("other"), NEW, disk=counted)
    first = next(n for n, call in enumerate(counted.calls) if call == "replace table.json")
    with pytest.raises(KilledError):
        publish_folder(folder, NEW, disk=StoppingDisk(first))
    (folder / STAGED / "records.bin").write_bytes(b"\x02" * 300)
    assert list(read_folder(folder).faults) == ["records.bin"]
    publish_folder(folder, NEW)
    assert read_folder(folder).files == NEW


@pytest.mark.parametrize("name", ["../x", "/x", MANIFEST, f"{STAGED}/x", ""])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        publish_folder(tmp_path / "f", {name: b""})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_beneath_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        publish_folder(tmp_path / "file" / "f", OLD)
    assert MANIFEST in read_folder(tmp_path / "file").faults


def test_the_seal_holds_in_a_clone_with_other_line_endings(tmp_path: Path) -> None:
    """`-text` in .gitattributes keeps the bytes, whatever the user's git would do to text."""
    attributes = Path(__file__).parents[2] / ".gitattributes"
    source = tmp_path / "source"
    publish_folder(source / "results" / "t", {"table.md": b"a\nb\n", "table.csv": b"a,b\r\n1,2\n"})
    (source / ".gitattributes").write_bytes(attributes.read_bytes())

    def git(*words: str, where: Path) -> None:
        plain = ("-c", "user.name=x", "-c", "user.email=x@x", "-c", "core.autocrlf=true")
        subprocess.run(["git", *plain, *words], cwd=where, check=True, capture_output=True)

    git("init", "-q", where=source)
    git("add", ".", where=source)
    git("commit", "-q", "-m", "x", where=source)
    git("clone", "-q", str(source), str(tmp_path / "clone"), where=tmp_path)
    assert read_folder(tmp_path / "clone" / "results" / "t").faults == {}
