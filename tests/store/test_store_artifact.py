import copy
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from bench.api.errors import CorruptArtifactError, StoreError, UsageError
from bench.store import MANIFEST, Artifact, Store, Work
from bench.store.listing import Listing


def edit(path: Path) -> None:
    """Change one byte, keep the size."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit_unseen(path: Path) -> None:
    """Change one byte, keep size and modification time."""
    stat = path.stat()
    edit(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_what_is_published(micro: Any, tmp_path: Path) -> None:
    artifact = micro.build(
        tmp_path, upstream={"base": "checkpoint/x-0123"}, seeds=[0], device="cpu"
    )
    assert artifact.path == micro.path(tmp_path)
    assert artifact.files == ("shards/0.bin", "shards/1.bin", "summary.json")
    assert sorted(p.name for p in artifact.path.iterdir()) == [MANIFEST, "shards", "summary.json"]
    assert artifact.read_json("summary.json") == {"shards": 2, "value": 0.5}
    manifest = artifact.manifest
    assert manifest["identity"] == {"lr": 1e-5, "steps": 3, "data": {"seed": 0}}
    assert manifest["upstream"] == {"base": "checkpoint/x-0123"}
    assert (manifest["seeds"], manifest["config"]) == ([0], {"jobs": 2})
    assert manifest["provenance"]["device"] == "cpu"
    assert manifest["resumed"] is False
    artifact.verify()
    assert [p.name for p in artifact.path.parent.iterdir()] == [artifact.path.name]
    assert micro.status(tmp_path).state == "complete"
    assert Store(tmp_path).get(artifact.id).manifest == manifest
    assert [a.id for a in Store(tmp_path).artifacts()] == [artifact.id]


def test_a_second_build_makes_nothing(micro: Any, tmp_path: Path, counting_disk: Any) -> None:
    micro.build(tmp_path)
    disk = counting_disk()
    micro.build(tmp_path, disk)
    assert disk.calls == []


def test_equal_content_has_an_equal_content_hash(micro: Any, tmp_path: Path) -> None:
    one, two = micro.build(tmp_path / "a"), micro.build(tmp_path / "b")
    assert one.content_sha256 == two.content_sha256
    assert micro.payload(one) == micro.payload(two)


def test_an_exception_publishes_nothing_and_the_work_is_kept(micro: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.create("pairs", "p", {}) as work:
        work.write_bytes("part.bin", b"half")
        raise ZeroDivisionError
    status = store.status("pairs", "p", {})
    assert (store.find("pairs", "p", {}), status.state) == (None, "partial")
    with store.create("pairs", "p", {}) as work:
        assert work.resumed
        assert (work.path / "part.bin").read_bytes() == b"half"
        work.note("count", 2)
    found = store.find("pairs", "p", {})
    assert found is not None
    assert found.manifest["resumed"] is True
    assert found.manifest["notes"] == {"count": 2}
    with pytest.raises(StoreError, match="already complete"), store.create("pairs", "p", {}):
        pass


@pytest.mark.parametrize("damage", ["truncate", "delete", "edit", "manifest", "no manifest"])
def test_damage_is_found_told_and_mended(
    micro: Any, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = micro.build(tmp_path)
    payload = micro.payload(artifact)
    victim = artifact.path / "shards/1.bin"
    time.sleep(0.002)
    if damage == "truncate":
        victim.write_bytes(victim.read_bytes()[:-1])
    elif damage == "delete":
        victim.unlink()
    elif damage == "edit":
        edit(victim)
    elif damage == "manifest":
        manifest = json.loads((artifact.path / MANIFEST).read_text())
        manifest["config"] = {"jobs": 3}
        (artifact.path / MANIFEST).write_text(json.dumps(manifest))
    else:
        (artifact.path / MANIFEST).unlink()
    status = micro.status(tmp_path)
    assert (micro.find(tmp_path), status.state) == (None, "corrupt")
    assert MANIFEST in status.reason if "manifest" in damage else "shards/1.bin" in status.reason
    with caplog.at_level(logging.WARNING, "bench.store"):
        rebuilt = micro.build(tmp_path)
    assert "removed and made anew" in caplog.text
    assert str(artifact.path) in caplog.text
    assert micro.payload(rebuilt) == payload


def test_an_edit_that_keeps_size_and_time_is_found_by_the_consumer(
    micro: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = micro.build(tmp_path)
    artifact.file("shards/1.bin")
    edit_unseen(artifact.path / "shards/1.bin")
    assert micro.find(tmp_path) is not None  # a cheap look cannot see it
    artifact.file("shards/0.bin")
    with pytest.raises(CorruptArtifactError, match=r"shards/1\.bin was changed.*") as caught:
        artifact.file("shards/1.bin")
    with pytest.raises(CorruptArtifactError, match=r"shards/1\.bin"):
        artifact.verify()
    assert caught.value.artifact_path == artifact.path
    assert copy.copy(caught.value).artifact_path == artifact.path  # as between processes
    with caplog.at_level(logging.WARNING, "bench.store"):
        Store(tmp_path).remove(caught.value.artifact_path)
    assert "shards/1.bin was changed" in caplog.text
    assert not artifact.path.exists()
    micro.build(tmp_path).verify()


def test_a_file_is_hashed_once_while_it_stays_as_it_is(
    micro: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = micro.build(tmp_path)
    artifact.file("shards/0.bin")
    opened: list[Path] = []
    original = Path.open
    monkeypatch.setattr(Path, "open", lambda s, *a, **k: opened.append(s) or original(s, *a, **k))
    artifact.file("shards/0.bin")
    assert opened == []
    os.utime(artifact.path / "shards/0.bin")
    artifact.file("shards/0.bin")
    assert opened == [artifact.path / "shards/0.bin"]


def test_a_copied_store_is_complete_and_its_times_are_put_back(micro: Any, tmp_path: Path) -> None:
    artifact = micro.build(tmp_path)
    victim = artifact.path / "shards/0.bin"
    os.utime(victim, ns=(1, 1))
    assert micro.find(tmp_path) is not None
    assert victim.stat().st_mtime_ns == artifact.manifest["files"]["shards/0.bin"]["mtime_ns"]


def test_remove_and_quarantine_spare_what_was_made_anew(micro: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = micro.build(tmp_path)
    edit(old.path / "summary.json")
    kept = store.quarantine(old)
    assert kept is not None
    assert (kept / "summary.json").exists()
    new = micro.build(tmp_path)
    assert store.quarantine(old) is None
    store.remove(old)
    store.remove(old.path)
    assert micro.find(tmp_path).manifest == new.manifest
    store.remove(new)
    assert micro.find(tmp_path) is None


def test_stale_says_what_has_changed(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def make(work: Work) -> None:
        work.write_json("x.json", 1)

    assert store.status("train", "ddspo", {"lr": 1e-5}).state == "missing"
    store.build("train", "ddspo-efficient", {"lr": 1e-5}, make)
    assert store.status("train", "ddspo", {"lr": 1e-5}).state == "missing"
    store.build("train", "ddspo", {"lr": 1e-5}, make)
    status = store.status("train", "ddspo", {"lr": 2e-5})
    assert (status.state, status.changes) == ("stale", ("lr: 1e-5 -> 2e-5",))
    assert "lr: 1e-5 -> 2e-5" in status.reason


def test_what_a_manifest_cannot_hold_is_refused_before_the_work(tmp_path: Path) -> None:
    def make(work: Work) -> None:
        raise AssertionError("the work was begun")

    with pytest.raises(UsageError, match=r"config\.lr is nan"):
        Store(tmp_path).build("pairs", "p", {}, make, config={"lr": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "/x", MANIFEST, "", "a/../../x"])
def test_a_file_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(UsageError, match=r"path inside|reserved"),
        Store(tmp_path).create("pairs", "p", {}) as work,
    ):
        work.write_bytes(name, b"")


def test_links_and_empty_artifacts_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="would be empty"), store.create("pairs", "p", {}):
        pass
    with pytest.raises(StoreError, match="is a link"), store.create("pairs", "p", {}) as work:
        (work.path / "link").symlink_to(__file__)
    assert store.find("pairs", "p", {}) is None


def test_unknown_file_and_unknown_artifact_name_the_nearest(micro: Any, tmp_path: Path) -> None:
    artifact: Artifact = micro.build(tmp_path)
    with pytest.raises(UsageError, match=r"Did you mean 'summary\.json'"):
        artifact.file("sumary.json")
    with pytest.raises(UsageError, match=f"Did you mean '{artifact.id}'"):
        Store(tmp_path).get(artifact.id[:-1] + "z")


def test_secrets_do_not_reach_the_manifest(tmp_path: Path) -> None:
    with Store(tmp_path).create(
        "pairs", "p", {"url": "https://u:hush@h.org/d"}, config={"hf_token": "hush"}
    ) as work:
        work.write_bytes("x", b"1")
        work.note("from", "https://u:hush@h.org/d")
    found = Store(tmp_path).find("pairs", "p", {"url": "https://u:hush@h.org/d"})
    assert found is not None
    assert b"hush" not in (found.path / MANIFEST).read_bytes()


def test_many_looks_read_each_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan asks of every artifact why it is not there: no reading of all others each time."""
    store = Store(tmp_path)
    for number in range(40):
        store.build("scores", "s", {"n": number}, lambda work: work.write_json("a.json", 1))
        store.build("pairs", f"p{number}", {}, lambda work: work.write_json("a.json", 1))
    (tmp_path / "pairs" / f"{store.path('pairs', 'q', {'n': 1}).name}.partial").mkdir()
    read: list[Path] = []
    scandir = os.scandir

    def counted(path: Path) -> Any:
        read.append(Path(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    listing = Listing(tmp_path)
    wanted = [("scores", "s", {"n": -number}) for number in range(1, 40)]
    wanted += [("pairs", "q", {"n": number}) for number in range(40)]
    states = [store.status(*one, listing=listing) for one in wanted]
    assert sorted(read) == [tmp_path / "pairs", tmp_path / "scores"]
    assert [s.state for s in states] == [store.status(*one).state for one in wanted]
    assert {s.state for s in states} == {"stale", "missing", "partial"}
