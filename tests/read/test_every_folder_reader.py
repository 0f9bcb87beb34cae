"""Each case of what lies in folders, tried on every reader of folders."""

from __future__ import annotations

import json
import logging
import os
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.api.errors import BenchError
from bench.api.folder import read_flat
from bench.data.curation.captions import find_candidates
from bench.data.readers import tables_of
from bench.generation.folder import read_manifest
from bench.harness.folders import read_folder
from evaluators.compbench.folder import import_layout as read_compbench
from evaluators.dpg.folder import import_layout as read_dpg
from evaluators.geneval.folder import read_official as read_geneval
from evaluators.grids import PNG
from evaluators.oneig.folder import MODEL, read_official
from evaluators.rewards.hpsv2_folder import read_official as read_hpsv2
from tests.read.bring import SIDE, pictures, within
from tests.read.picture_readers import suite


@dataclass(frozen=True, kw_only=True)
class FolderReader:
    """A reader.

    Attributes:
        fill: puts three pictures (or what else it reads) in place and returns the folder, below
            the root or the root itself, in which they lie.
        read: returns how many it took.
        strict: a picture of another name is refused, as it would be scored for a prompt.
    """

    fill: Callable[[Path], Path]
    read: Callable[[Path], int]
    strict: bool = False


def _geneval(root: Path) -> Path:
    for number in range(3):
        pictures(root / f"0000{number}" / "samples", 1)
        about = json.dumps({"tag": "x", "prompt": f"a circle {number}"})
        (root / f"0000{number}" / "metadata.jsonl").write_text(about)
    return root / "00001" / "samples"


def _compbench(root: Path) -> Path:
    names = lambda n: f"a red circle {n}_{n:06d}.png"  # noqa: E731
    return pictures(root / "color" / "samples", 3, name=names)


def _manifest(root: Path) -> Path:
    pictures(root, 3)
    rows = [{"file": f"0000{n}.png", "prompt": f"a circle {n}"} for n in range(3)]
    (root / "manifest.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return root


def _curation(root: Path) -> Path:
    pictures(root, 3)
    for number in range(3):
        (root / f"0000{number}.txt").write_text("a circle")
    return root


def _tables(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    (root / "pairs.csv").write_text("caption,winner\na,0.png\n")
    return root


def _good(root: Path) -> int:
    return sum(candidate.fault is None for candidate in find_candidates(root))


PLAIN = suite("00000", "00001", "00002")
ANIME = suite("anime-000", "anime-001", "anime-002", tag="anime")


def _dpg(root: Path) -> int:
    out = root.parent / "tiles"
    shutil.rmtree(out, ignore_errors=True)
    half = SIDE // 2
    found = read_dpg(root, out, suite=PLAIN, resolution=half, images_per_prompt=1, tile_format=PNG)
    return len(found.records)


READERS: dict[str, FolderReader] = {
    "a flat folder": FolderReader(
        fill=lambda root: pictures(root, 3), read=lambda root: len(read_flat(root).records)
    ),
    "a manifest": FolderReader(
        fill=_manifest, read=lambda root: len(read_manifest(root).records)
    ),
    "a folder of a metric": FolderReader(
        fill=lambda root: pictures(root, 3),
        read=lambda root: len(read_folder(root, evaluator="aesthetic").records),
    ),
    "curation": FolderReader(fill=_curation, read=_good),
    "labelled pairs": FolderReader(
        fill=_tables, read=lambda root: 3 * len(tables_of(root, None))
    ),
    "GenEval": FolderReader(
        fill=_geneval, read=lambda root: len(read_geneval(root).records), strict=True
    ),
    "T2I-CompBench": FolderReader(
        fill=_compbench, read=lambda root: len(read_compbench(root).records), strict=True
    ),
    "HPSv2": FolderReader(
        fill=lambda root: pictures(root / "anime", 3),
        read=lambda root: len(read_hpsv2(root, suite=ANIME).records),
        strict=True,
    ),
    "DPG-Bench": FolderReader(fill=lambda root: pictures(root, 3), read=_dpg),
    "OneIG": FolderReader(
        fill=lambda root: pictures(root / "anime" / MODEL, 3, name=lambda n: f"00{n}.webp"),
        read=lambda root: len(read_official(root, suite=ANIME).records) // 4,
    ),
}  # fmt: skip


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> FolderReader:
    return READERS[request.param]


def _file(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(b"\0\1\2") and None  # type: ignore[return-value]


def _folder(name: str) -> Callable[[Path], None]:
    return lambda folder: pictures(folder / name, 2) and None  # type: ignore[func-returns-value]


LEFT = {
    "a hidden file": _file(".DS_Store"),
    "a shadow of macOS": _file("._00000.png"),
    "a hidden picture": lambda folder: pictures(folder, 1, name=lambda _: ".x.png") and None,
    "a hidden table": _file("._t.csv"),
    "a checkpoint of a notebook": _folder(".ipynb_checkpoints"),
    "what a Mac's zip holds": _folder("__MACOSX"),
    "thumbnails of Windows": _file("Thumbs.db"),
    "thumbnails in capitals": _file("THUMBS.DB"),
    "settings of a folder": _file("desktop.ini"),
    "thumbnails of a NAS": _folder("@eaDir"),
    "a lock of an office program": _file("~$pairs.csv"),
    "a hidden link to nowhere": lambda folder: (folder / ".lock").symlink_to("nowhere"),
    "Git's folder": _folder(".git"),
    "compiled Python": _folder("__pycache__"),
}


@pytest.mark.parametrize("case", LEFT)
@pytest.mark.parametrize("at_top", [False, True], ids=["inside", "at the top"])
def test_what_systems_leave_behind_is_never_counted(
    case: str, at_top: bool, reader: FolderReader, tmp_path: Path
) -> None:
    root = tmp_path / "mine"
    inside = reader.fill(root)
    LEFT[case](root if at_top else inside)
    assert reader.read(root) == 3


OTHERS = {
    "a note": _file("notes.md"),
    "a film": _file("film.mp4"),
    "a phone's picture": _file("IMG_1.heic"),
    "an archive": _file("all.zip"),
    "a half-loaded file": _file("00009.png.part"),
    "a copy of an editor": _file("00000.png~"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_files_are_said(
    case: str, reader: FolderReader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "mine"
    inside = reader.fill(root)
    OTHERS[case](inside)
    (name,) = [f.name for f in inside.iterdir() if f.read_bytes() == b"\0\1\2"]
    with caplog.at_level(logging.INFO):
        try:
            assert reader.read(root) == 3
        except BenchError as error:
            assert reader.strict and name in str(error)
            return
    quiet = reader in (READERS["a manifest"], READERS["labelled pairs"])  # they name their files
    assert quiet or f"not counted: 1 of another kind ({name})" in caplog.text


def _loop(folder: Path) -> None:
    (folder / "again").symlink_to(folder, target_is_directory=True)


@pytest.mark.parametrize("case", ["more", "a.png", "sub folder"])
def test_pictures_in_sub_folders_are_counted_or_said(
    case: str, reader: FolderReader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "mine"
    inside = reader.fill(root)
    pictures(inside / case, 2)
    if reader is READERS["labelled pairs"]:
        return  # pictures lie where its tables say
    with caplog.at_level(logging.INFO):
        if reader is READERS["curation"]:
            assert reader.read(root) == 3  # the two have no captions, and are dropped with a word
            faults = [c.fault for c in find_candidates(root) if c.fault]
            assert len(faults) == 2 and all(f.startswith("no caption") for f in faults)
            return
        if reader is READERS["a manifest"]:
            with pytest.raises(BenchError, match="2 pictures that it does not name"):
                read_folder(root, evaluator="pickscore")
            return
        assert reader.read(root) == 3
    assert f"2 pictures in sub-folders ({case} (2))" in caplog.text


@pytest.mark.parametrize("suffix", [".png", ".csv", ".jsonl", ".parquet"])
def test_links_that_lead_nowhere_are_named(
    suffix: str, reader: FolderReader, tmp_path: Path
) -> None:
    root = tmp_path / "mine"
    inside = reader.fill(root)
    (inside / f"00009{suffix}").symlink_to("/mnt/gone/x")
    if reader is READERS["a manifest"]:
        with pytest.raises(BenchError, match="lead nowhere"):
            read_folder(root, evaluator="pickscore")
        return
    with pytest.raises(BenchError, match=rf"00009{suffix} -> /mnt/gone/x"):
        reader.read(root)


def test_folders_that_link_to_themselves_end(reader: FolderReader, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    _loop(reader.fill(root))
    with within(20):
        try:
            assert reader.read(root) == 3
        except BenchError as error:
            assert "links to a folder that it lies in" in str(error)


@pytest.mark.parametrize(
    "name", ["my images #1 (v2) é", "日本語", "a%20b", "[x]", "*", "-rf", "a'b\"c", "x" * 200]
)
def test_folders_of_any_name(name: str, reader: FolderReader, tmp_path: Path) -> None:
    root = tmp_path / name
    reader.fill(root)
    assert reader.read(root) == 3


def test_links_to_pictures_elsewhere_are_pictures(reader: FolderReader, tmp_path: Path) -> None:
    root, disk = tmp_path / "mine", tmp_path / "disk"
    inside = reader.fill(root)
    inside.rename(disk)
    inside.parent.mkdir(exist_ok=True, parents=True)
    inside.symlink_to(disk, target_is_directory=True)
    assert reader.read(root) == 3
    inside.unlink()
    inside.mkdir()
    for file in disk.iterdir():
        (inside / file.name).symlink_to(file)
    assert reader.read(root) == 3


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"caf\xe9.csv"])
def test_names_that_are_no_text_are_shown_and_refused(
    name: bytes, reader: FolderReader, tmp_path: Path
) -> None:
    root = tmp_path / "mine"
    inside = reader.fill(root)
    with open(os.path.join(os.fsencode(inside), name), "wb") as file:  # noqa: PTH118, PTH123
        file.write(b"x")
    if reader is READERS["a manifest"]:
        with pytest.raises(BenchError, match=r"no UTF-8"):
            read_folder(root, evaluator="pickscore")
        return
    with pytest.raises(BenchError, match=r"caf\\udce9.* no UTF-8") as caught:
        reader.read(root)
    str(caught.value).encode()


def test_two_forms_of_one_name_are_refused(reader: FolderReader, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    inside = reader.fill(root)
    for form in ("NFC", "NFD"):
        pictures(inside, 1, name=lambda _, f=form: unicodedata.normalize(f, "é.png"))  # type: ignore[misc]
    read = reader.read
    if reader is READERS["a manifest"]:
        read = lambda root: len(read_folder(root, evaluator="pickscore").records)  # noqa: E731
    with pytest.raises(BenchError, match="Unicode form"):
        read(root)


def test_a_manifest_finds_names_in_either_form(tmp_path: Path) -> None:
    name = "é.png"
    pictures(tmp_path, 1, name=lambda _: unicodedata.normalize("NFD", name))
    line = json.dumps({"file": unicodedata.normalize("NFC", name), "prompt": "a"})
    (tmp_path / "manifest.jsonl").write_text(line)
    assert len(read_manifest(tmp_path).records) == 1


def test_two_pictures_of_one_name_are_refused(reader: FolderReader, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    inside = reader.fill(root)
    first = next((f for f in sorted(inside.iterdir()) if f.suffix in (".png", ".webp")), None)
    if first is None:
        return  # a table has no pictures
    pictures(inside, 1, name=lambda _: first.with_suffix(".JPEG").name)
    read = reader.read
    if reader is READERS["a manifest"]:
        read = lambda root: len(read_folder(root, evaluator="pickscore").records)  # noqa: E731
    with pytest.raises(BenchError) as caught:
        read(root)
    assert ".JPEG" in str(caught.value)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_text("x"), lambda _: None])
def test_no_folder_or_an_empty_one(
    make: Callable[[Path], None], reader: FolderReader, tmp_path: Path
) -> None:
    root = tmp_path / "mine"
    make(root)
    with pytest.raises(BenchError):
        reader.read(root)
