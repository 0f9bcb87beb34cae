"""Every change of the file system may fail, or be the last thing the process does."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.api.errors import StoreError
from bench.store import Store


@pytest.fixture(autouse=True)
def device_that_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of waits for the device would be most of the time; the seam's calls all happen."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def failing(number: int) -> Callable[[Path], None]:
    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    return fail


def change_count(micro: Any, root: Path, counting_disk: Any) -> int:
    disk = counting_disk()
    micro.build(root, disk)
    wanted = {"makedirs", "create_exclusive", "write_bytes", "fsync", "fsync_directory"}
    assert wanted | {"replace", "unlink", "remove_tree"} == set(disk.calls)
    return len(disk.calls)


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_failure_at_any_change_publishes_nothing_or_all(
    micro: Any, tmp_path: Path, counting_disk: Any, number: int
) -> None:
    count = change_count(micro, tmp_path / "whole", counting_disk)
    payload = micro.payload(micro.find(tmp_path / "whole"))
    refused = 0
    for at in range(count):
        root = tmp_path / str(at)
        try:
            micro.build(root, counting_disk(at, failing(number)))
        except StoreError as error:
            refused += 1
            text = str(error)
            assert errno.errorcode[number] in text
            assert str(root) in text
            assert "to mend it" in text
            assert micro.status(root).state != "corrupt"
        else:
            # leftovers of the lock may stay behind; the artifact itself is whole
            assert micro.find(root) is not None
        found = micro.find(root)
        assert found is None or micro.payload(found) == payload
        assert micro.payload(micro.build(root)) == payload, at
        assert micro.status(root).state == "complete"
    assert refused >= count - 1


def test_a_failure_among_many_files_publishes_nothing(tmp_path: Path, counting_disk: Any) -> None:
    def make(work: Any) -> None:
        for index in range(40):
            (work.path / f"{index}.png").write_bytes(b"x")

    disk = counting_disk(30, failing(errno.EIO))
    with pytest.raises(StoreError, match="input/output error"):
        Store(tmp_path, disk=disk).build("images", "p", {}, make)
    assert disk.calls[30] == "fsync"
    assert Store(tmp_path).find("images", "p", {}) is None
    disk = counting_disk()
    Store(tmp_path, disk=disk).build("images", "p", {}, make).verify()
    assert disk.calls.count("fsync") == 41  # each file and the manifest


def test_a_kill_at_any_change_is_continued_to_the_same_bytes(
    micro: Any, tmp_path: Path, counting_disk: Any, in_child: Any, kill_self: Any
) -> None:
    count = change_count(micro, tmp_path / "whole", counting_disk)
    whole = micro.find(tmp_path / "whole")
    payload = micro.payload(whole)
    resumed = 0
    for at in range(count):
        root = tmp_path / str(at)
        disk = counting_disk(at, kill_self)
        assert in_child(lambda root=root, disk=disk: micro.build(root, disk)) == -9
        found = micro.find(root)
        assert found is None or micro.payload(found) == payload
        rebuilt = micro.build(root)
        assert micro.payload(rebuilt) == payload, at
        assert rebuilt.content_sha256 == whole.content_sha256
        left = {p.name for p in rebuilt.path.parent.iterdir()} - {rebuilt.path.name}
        assert left <= {rebuilt.path.name + ".lock"}  # killed between publication and release
        resumed += rebuilt.manifest["resumed"]
    assert resumed >= 10


def test_a_kill_in_the_middle_of_a_write_is_continued_to_the_same_bytes(
    micro: Any, tmp_path: Path, counting_disk: Any, in_child: Any, kill_self: Any
) -> None:
    payload = micro.payload(micro.build(tmp_path / "whole"))

    class TearingDisk(counting_disk):  # type: ignore[misc]
        writes = 0

        def write_bytes(self, path: Path, data: bytes) -> None:
            self.writes += 1
            torn = self.writes == self.tear
            super().write_bytes(path, data[: len(data) // 2] if torn else data)
            if torn:
                kill_self(path)

    for tear in range(1, 6):
        root = tmp_path / str(tear)
        disk = TearingDisk()
        disk.tear = tear
        assert in_child(lambda root=root, disk=disk: micro.build(root, disk)) == -9
        assert micro.find(root) is None
        assert micro.payload(micro.build(root)) == payload


def test_a_kill_while_a_corrupt_artifact_is_replaced(
    micro: Any, tmp_path: Path, counting_disk: Any, in_child: Any, kill_self: Any
) -> None:
    for at in range(7):
        root = tmp_path / str(at)
        artifact = micro.build(root)
        payload = micro.payload(artifact)
        (artifact.path / "summary.json").write_bytes(b"cut")
        disk = counting_disk(at, kill_self)
        assert in_child(lambda root=root, disk=disk: micro.build(root, disk)) == -9
        assert micro.find(root) is None
        assert micro.payload(micro.build(root)) == payload


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space is left on the device"),
        (errno.EROFS, "the file system is read-only"),
    ],
)
def test_a_full_disk_met_by_the_work_itself(tmp_path: Path, number: int, words: str) -> None:
    with pytest.raises(StoreError, match=words), Store(tmp_path).create("pairs", "p", {}) as work:
        raise OSError(number, "message", str(work.path / "image.png"))
    with pytest.raises(FileNotFoundError), Store(tmp_path).create("pairs", "p", {}) as work:
        (work.path / "missing").read_bytes()  # a mistake of the work stays what it is


@pytest.mark.parametrize("beneath", ["", "deep/er"])
def test_a_root_beneath_a_file(micro: Any, tmp_path: Path, beneath: str) -> None:
    (tmp_path / "file").write_text("mine")
    root = tmp_path / "file" / beneath
    assert micro.status(root).state == "missing"
    with pytest.raises(StoreError, match=f"{tmp_path / 'file'} is a file"):
        micro.build(root)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_where_the_artifact_should_lie_is_not_touched(micro: Any, tmp_path: Path) -> None:
    path = micro.path(tmp_path)
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(StoreError, match="is a file"):
        micro.build(tmp_path)
    assert path.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission(micro: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="permission is denied"):
            micro.build(tmp_path)
    finally:
        tmp_path.chmod(0o700)
