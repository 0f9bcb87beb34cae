"""The catalogue of prompt suites: read, fetched, pinned, refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bench import suites
from bench.api.errors import CorruptArtifactError, ProtocolError, UsageError
from bench.api.prompts import PromptSuite
from bench.cli import main
from bench.harness import assets
from bench.suites import SuiteEntry, catalog, entry_of, fetch_suite, load_suite, local
from bench.suites.catalog import CATALOG, Reader, SuiteFile, read_catalog
from bench.suites.reading import read_prompts
from tests.assets.server import Site, serve

LINES = b"a red circle\r\na blue square\r\n\r\nthe last one"


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def entry(reader: Reader | None = None, **changes: object) -> SuiteEntry:
    given = {
        "name": "toy",
        "title": "three prompts",
        "prompts": 3,
        "licence": "CC0",
        "source": "someone/toy@abc1234, toy.txt",
        "reader": reader or Reader(format="lines", files={"toy.txt": ""}),
        "files": (SuiteFile(name="toy.txt", url="http://nowhere/toy.txt"),),
        "folder": "toy",
        **changes,
    }
    return SuiteEntry(**given)  # type: ignore[arg-type]


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site(files={"/toy.txt": LINES})) as found:
        yield found


def known(monkeypatch: pytest.MonkeyPatch, *entries: SuiteEntry) -> None:
    """Put entries in place of the catalogue's."""
    by_name = {e.name: e for e in entries}
    monkeypatch.setattr(local, "entry_of", by_name.__getitem__)
    both = {**catalog(), **by_name}
    for module in (assets, suites):  # each has names of its own
        monkeypatch.setattr(module, "entry_of", by_name.__getitem__)
        monkeypatch.setattr(module, "catalog", lambda: both)


def on(site: Site, sha256: str | None = None) -> SuiteEntry:
    return entry(files=(SuiteFile(name="toy.txt", url=f"{site.url}/toy.txt", sha256=sha256),))


def test_the_issue_s_suites_are_there_with_licence_source_and_size() -> None:
    sizes = {name: e.prompts for name, e in catalog().items()}
    assert sizes == {
        "geneval": 553,
        "t2i-compbench": 1800,
        "t2i-compbench-plus": 2400,
        "hpdv2": 3200,
        "partiprompts": 1632,
        "pickapic-v2-test": 500,
        "drawbench-unique": 200,
        "coco-30k": 30000,
        "oneig-en": 1120,
        "oneig-zh": 1320,
        "dpg-bench": 1065,
    }
    for e in catalog().values():
        assert (e.licence and "@" in e.source) or "hub data set" in e.source
        assert all(f.url.startswith("https://") for f in e.files)
    unpinned = {e.name for e in catalog().values() if any(f.sha256 is None for f in e.files)}
    assert unpinned == {"hpdv2", "coco-30k", "dpg-bench"}


def test_geneval_is_made_here() -> None:
    suite = load_suite("geneval")
    assert len(suite) == 553 and suite.licence == "MIT"
    counting = load_suite("geneval:counting")
    assert len(counting) == 80 and counting.name == "geneval:counting"
    with pytest.raises(UsageError, match="'counting'"):
        load_suite("geneval:countin")


def test_an_unknown_suite_is_told_the_nearest() -> None:
    with pytest.raises(UsageError, match="'partiprompts'"):
        load_suite("partiprompt")


def test_a_suite_that_is_not_here_names_command_and_licence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    assert main(["score", "--images", str(tmp_path / "x"), "--suite", "hpdv2"]) == 3
    said = capsys.readouterr().err
    assert "python -m bench assets fetch hpdv2" in said and "licence" in said
    assert str(tmp_path / "cache") in said


@pytest.mark.parametrize(
    ("reader", "contents", "texts", "tags"),
    [
        (
            Reader(format="lines", files={"f": ""}),
            {"f": 'a\u2028b\r\n"q"\r\nc'.encode()},
            ["a\u2028b", '"q"', "c"],
            [""],
        ),
        (
            Reader(format="json-list", files={"x": "anime", "y": "photo"}),
            {"x": b'["a", "b"]', "y": b'["c"]'},
            ["a", "b", "c"],
            ["anime", "photo"],
        ),
        (
            Reader(format="tsv", files={"f": ""}, columns={"text": "P", "tag": "C", "note": "N"}),
            {"f": b'P\tC\tN\n"a" b\tx\t1\nb\tx\t2\nc\ty\t\n'},
            ['"a" b', "b", "c"],
            ["x", "y"],
        ),
        (
            Reader(format="csv", files={"f": "t"}, columns={"text": 1, "id": 0}),
            {"f": b'id,p\n1,"a, b"\n2,b\n3,c\n'},
            ["a, b", "b", "c"],
            ["t"],
        ),
    ],
)
def test_formats(
    reader: Reader, contents: Mapping[str, bytes], texts: list[str], tags: list[str]
) -> None:
    suite = read_prompts(entry(reader), contents)
    assert [p.text for p in suite] == texts
    assert list(suite.tags) == tags
    assert suite.version == "abc1234" and suite.licence == "CC0"


@pytest.mark.parametrize(
    ("reader", "data", "hint"),
    [
        (Reader(format="lines", files={"f": ""}), b"a\nb", "hold 2 prompts, expected 3"),
        (Reader(format="lines", files={"f": ""}, each=4), b"a\nb\nc", "expected 4"),
        (Reader(format="lines", files={"f": ""}), b"\xe9\xff", "no UTF-8"),
        (Reader(format="json-list", files={"f": ""}), b"{", "no JSON"),
        (Reader(format="json-list", files={"f": ""}), b"[1]", "no list of texts"),
        (Reader(format="tsv", files={"f": ""}, columns={"text": "P"}), b"Q\na", "no column 'P'"),
        (Reader(format="csv", files={"f": ""}, columns={"text": 2}), b"a,b,c\n1", "1 columns"),
        (
            Reader(format="csv", files={"f": ""}, columns={"text": 1, "id": 0}),
            b"i,p\n1,a\n1,b\n2,c",
            "prompt ids are not unique, e.g. ['1']",
        ),
    ],
)
def test_files_of_another_kind_are_refused(reader: Reader, data: bytes, hint: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_prompts(entry(reader), {"f": data})
    assert hint in str(caught.value)


def test_prompts_that_are_not_the_catalogued_ones_are_refused() -> None:
    toy = entry(prompts_sha256="0" * 64)
    with pytest.raises(ProtocolError, match="read otherwise"):
        read_prompts(toy, {"toy.txt": LINES})


def test_an_unpinned_file_is_pinned_at_the_first_fetch(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known(monkeypatch, on(site))
    suite = fetch_suite("toy")
    assert [p.text for p in suite] == ["a red circle", "a blue square", "the last one"]
    folder = tmp_path / "cache" / "suites" / "toy"
    pins = json.loads((folder / "pins.json").read_text())
    assert pins["toy.txt"]["sha256"] == hashlib.sha256(LINES).hexdigest()
    assert load_suite("toy").sha256 == suite.sha256
    (folder / "toy.txt").write_bytes(LINES + b"!")
    with pytest.raises(CorruptArtifactError, match="assets fetch toy"):
        load_suite("toy")
    (folder / "toy.txt").unlink()
    site.files["/toy.txt"] = LINES + b"!"
    with pytest.raises(CorruptArtifactError, match="It was not kept"):  # the pin outlives the file
        fetch_suite("toy")


def test_a_pinned_file_with_another_hash_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known(monkeypatch, on(site, "0" * 64))
    with pytest.raises(CorruptArtifactError, match="expected 0000"):
        fetch_suite("toy")
    (tmp_path / "toy.txt").write_bytes(LINES)
    with pytest.raises(CorruptArtifactError, match="cannot be compared"):
        fetch_suite("toy", source=tmp_path)
    assert not list((tmp_path / "cache").rglob("toy.txt"))


def test_files_the_user_has_serve_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known(monkeypatch, entry())
    (tmp_path / "mine.txt").write_bytes(LINES)
    assert len(fetch_suite("toy", source=tmp_path / "mine.txt")) == 3
    assert len(load_suite("toy")) == 3
    with pytest.raises(UsageError, match="a folder that holds toy"):
        fetch_suite("toy", source=tmp_path / "nowhere")


def test_what_nobody_vouches_for_is_not_kept(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known(monkeypatch, replace(on(site), prompts=4))
    with pytest.raises(ProtocolError, match="hold 3 prompts, expected 4"):
        fetch_suite("toy")
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_the_command_line_shows_licence_and_hash(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known(monkeypatch, on(site))
    assert main(["assets", "fetch", "toi"]) == 2
    assert "'toy'" in capsys.readouterr().err
    assert main(["assets", "fetch", "toy", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["licence"] == "CC0" and len(row["sha256"]) == 64
    assert main(["assets", "fetch", "toy", "CompVis/x", "--from", "x"]) == 2
    assert "--from is for one prompt suite" in capsys.readouterr().err
    assert main(["list", "suites", "--json"]) == 0
    rows = {r["name"]: r for r in json.loads(capsys.readouterr().out)}
    assert rows["geneval"]["here"] == "made here" and rows["hpdv2"]["here"] == "no"
    assert rows["hpdv2"]["pinned"] == "at first fetch"


def test_a_missing_file_on_the_server_is_exit_three(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site.files.clear()
    known(monkeypatch, on(site))
    assert main(["assets", "fetch", "toy"]) == 3
    assert "status 404" in capsys.readouterr().err


def test_a_catalogue_with_a_slip_is_refused(tmp_path: Path) -> None:
    good = CATALOG.read_text()
    for before, after, hint in [
        ("licence: MIT", "license: MIT", "Did you mean 'licence'"),
        ("sha256: 37e1a276", "sha256: xyz", "expected 8 to 64 hex digits"),
        ("format: json-list", "format: jsonlist", "one known format"),
    ]:
        assert before in good
        path = tmp_path / "catalog.yaml"
        path.write_text(good.replace(before, after))
        with pytest.raises(UsageError) as caught:
            read_catalog(path)
        assert hint in str(caught.value)


def test_each_entry_has_a_name_of_its_own() -> None:
    assert all(entry_of(name).name == name for name in catalog())


def test_a_suite_is_read_once_while_its_files_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    known(monkeypatch, on(site))
    fetch_suite("toy")
    read: list[str] = []
    true = read_prompts

    def counted(entry: SuiteEntry, contents: Mapping[str, bytes]) -> PromptSuite:
        read.append(entry.name)
        return true(entry, contents)

    monkeypatch.setattr(local, "read_prompts", counted)
    assert load_suite("toy") is load_suite("toy")
    assert read == ["toy"]
    path = local.suite_folder(on(site)) / "toy.txt"
    path.write_bytes(LINES.replace(b"red", b"new"))
    with pytest.raises(CorruptArtifactError, match=r"toy\.txt has sha256"):
        load_suite("toy")
    path.write_bytes(LINES)
    assert load_suite("toy").prompts[0].text == "a red circle"
    # another entry of that name, of the same file, is another suite
    known(monkeypatch, replace(on(site), licence="other"))
    assert load_suite("toy").licence == "other"
