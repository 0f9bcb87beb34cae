"""What users bring, by the command line: nothing half-read, nothing guessed, no traceback.

Small inputs as people's folders have them; each says what the command does with it. The readers
below the command line, one by one, are tried in `tests/read`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from bench.read.shards import named_weights
from bench.store import Store, read_jsonl
from tests.read.bring import CAPTIONS, broken, mpo, pictures, turned

Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What the command printed since the last call, as one line."""

    def read() -> str:
        out, err = capsys.readouterr()
        text = " ".join((out + err).split())
        assert "Traceback" not in text
        return text

    return read


def score(store: Path, *words: str) -> int:
    quiet = ["--jobs", "1", "--device", "cpu", "--store", str(store)]
    return main(["score", *words, *quiet])


def aesthetic(tmp_path: Path, folder: Path, *words: str) -> int:
    return score(tmp_path / "store", "--evaluator", "aesthetic", "--images", str(folder), *words)


def generate(tmp_path: Path, file: Path, *words: str) -> int:
    steps = ["--prompts", str(file), "--set", "generation.steps=1"]
    quiet = ["--jobs", "1", "--device", "cpu", "--store", str(tmp_path / "store")]
    return main(["generate", *steps, *words, *quiet])


def prompts_of(store: Path) -> list[str]:
    """The prompts of the one image set of a store."""
    (images,) = Store(store).artifacts("images")
    return [prompt["text"] for prompt in images.read_json("suite.json")["prompts"]]


def curated(tmp_path: Path, folder: Path, *words: str) -> dict[str, str]:
    """Run `bench curate` up to its first step and return caption or reason of each image."""
    store = tmp_path / "store"
    quiet = ["--store", str(store), "--device", "cpu", "--set", "size=32"]
    given = ["--images", str(folder), "--limit", "40", *words]
    main(["curate", *given, *quiet, "--set", "colour.rule=none", "--set", "source.min_side=1"])
    (step,) = [a for a in Store(store).artifacts("curation") if a.name.endswith("source")]
    rows = read_jsonl(step.file("records.jsonl"))
    return {row["uid"]: row.get("reason") or row["caption"] for row in rows}


def test_prompts_of_a_jsonl_file_are_read(tmp_path: Path, said: Said) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "a red circle", "tag": "x"}\n{"prompt": "a blue square"}\n')
    assert generate(tmp_path, file) == 0
    assert prompts_of(tmp_path / "store") == ["a red circle", "a blue square"]
    text = file.rename(tmp_path / "p.txt")
    said()
    assert generate(tmp_path, text) == 2
    assert "its lines are JSON objects" in said()


def test_a_line_ends_at_a_line_feed_alone(tmp_path: Path, said: Said) -> None:
    file = tmp_path / "u2028.txt"
    file.write_text("a red circle\u2028beside a blue square\na green dot\n", encoding="utf-8")
    assert generate(tmp_path, file) == 0
    assert prompts_of(tmp_path / "store") == [
        "a red circle\u2028beside a blue square",
        "a green dot",
    ]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_caption_with_hidden_line_ends_stays_whole(tmp_path: Path, form: str) -> None:
    folder = pictures(tmp_path / "photos", 2)
    caption = "a red\u2028circle\x85on\x0cgrey"
    rows = [("00000.png", caption), ("00001.png", "a blue square")]
    if form == "jsonl":
        lines = [json.dumps({"file": f, "caption": c}, ensure_ascii=False) for f, c in rows]
    else:
        lines = ["file,caption", *(f"{f},{c}" for f, c in rows)]
    (folder / f"captions.{form}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert curated(tmp_path, folder)["00000"] == "a red circle on grey"


def test_a_manifest_with_hidden_line_ends(tmp_path: Path, said: Said) -> None:
    folder = pictures(tmp_path / "mine", 2)
    rows = [{"file": f"0000{n}.png", "prompt": f"a red\u2028circle {n}"} for n in range(2)]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / "manifest.jsonl").write_text(text, encoding="utf-8")
    words = ("--evaluator", "pickscore", "--images", str(folder))
    assert score(tmp_path / "store", *words) == 0, said()
    assert prompts_of(tmp_path / "store") == [row["prompt"] for row in rows]


def test_the_numbers_that_geneval_folders_lack_are_said(tmp_path: Path, said: Said) -> None:
    root = tmp_path / "geneval"
    for number in (0, 1, 3):
        pictures(root / f"{number:05d}" / "samples", 1)
        about = {"tag": "single_object", "include": [{"class": "circle", "count": 1}]}
        line = {**about, "prompt": f"a photo of a circle {number}"}
        (root / f"{number:05d}" / "metadata.jsonl").write_text(json.dumps(line))
    (root / "notes.txt").write_text("mine")
    assert score(tmp_path / "store", "--evaluator", "geneval", "--images", str(root)) == 0
    told = said()
    assert "1 of the folders 00000 to 00003 are absent (00002)" in told
    assert told.count("not counted: 1 of another kind (notes.txt)") == 1


def test_links_that_lead_nowhere_are_named(tmp_path: Path, said: Said) -> None:
    folder = pictures(tmp_path / "linked", 3)
    (folder / "00006.png").symlink_to("missing/00006.png")
    assert aesthetic(tmp_path, folder) == 1
    assert "1 links lead nowhere: 00006.png -> missing/00006.png" in said()


@pytest.mark.parametrize("name", ["my images #1 (v2) é", "日本", "-x", "a" * 200])
def test_a_folder_of_any_name_is_scored(tmp_path: Path, name: str, said: Said) -> None:
    assert aesthetic(tmp_path, pictures(tmp_path / name, 2)) == 0, said()


def test_prompts_in_a_file_of_any_name(tmp_path: Path, said: Said) -> None:
    file = tmp_path / "my prompts (v2) #1.txt"
    file.write_text(
        'a red circle, "quoted" #1, 50% off & a/b\\c très 日本語 🎨\n', encoding="utf-8"
    )
    assert generate(tmp_path, file) == 0, said()


def test_names_of_255_bytes(tmp_path: Path, said: Said) -> None:
    folder = tmp_path / "long"
    pictures(folder, 1, name=lambda n: "ü" * 125 + f"{n}.png")
    pictures(folder, 1, name=lambda n: "x" * 250 + f"{n}.png")
    assert aesthetic(tmp_path, folder) == 0, said()


def test_pictures_of_unlike_sizes(tmp_path: Path, said: Said) -> None:
    folder = pictures(tmp_path / "sizes", 4)
    Image.new("RGB", (40, 24)).save(folder / "other.png")
    assert aesthetic(tmp_path, folder) == 1
    assert "1 of 5 pictures are not of 32 x 32 pixels: other.png (40 x 24)" in said()
    assert aesthetic(tmp_path, folder, "--any-size") == 0, said()
    words = ("--evaluator", "fid", "--images", str(folder), "--any-size")
    assert score(tmp_path / "store", *words) == 1
    assert "tiny-features looks at pictures of one size" in said()


def test_what_systems_leave_in_a_folder_is_no_picture(tmp_path: Path, said: Said) -> None:
    folder = pictures(tmp_path / "photos", 3)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._00000.png"):
        (folder / name).write_bytes(b"\0\1")
    pictures(folder / ".ipynb_checkpoints", 1)
    pictures(folder / "__MACOSX", 1)
    (folder / "notes.txt").write_text("mine")
    pictures(folder / "more", 5)
    assert aesthetic(tmp_path, folder, "--json") == 0
    told = said()
    assert (
        "not counted: 1 of another kind (notes.txt), 5 pictures in sub-folders (more (5))" in told
    )
    assert "6 hidden or left by a system" in told and '"n": 3' in told


@pytest.mark.parametrize("verb", ["score", "curate"])
def test_a_phone_s_file_of_two_pictures_is_one(tmp_path: Path, verb: str, said: Said) -> None:
    folder = tmp_path / "phone"
    folder.mkdir()
    for number in range(2):
        mpo(folder / f"{number}.jpg")
        (folder / f"{number}.txt").write_text(CAPTIONS[number])
    if verb == "curate":
        assert curated(tmp_path, folder) == {"0": CAPTIONS[0], "1": CAPTIONS[1]}
    else:
        assert aesthetic(tmp_path, folder) == 0
        assert "2 of 2 pictures are of several photographs (MPO), the first taken" in said()


def test_photographs_are_turned_upright_wherever_they_are_read(tmp_path: Path, said: Said) -> None:
    folder = tmp_path / "turned"
    turned(folder / "a.png")
    assert aesthetic(tmp_path, folder) == 0
    assert "turned upright, as their EXIF says: a.png" in said()
    (images,) = Store(tmp_path / "store").artifacts("images")
    with Image.open(images.file("images/a-0.png")) as stored:
        assert np.asarray(stored)[0, 0, 0] == 0 and np.asarray(stored)[-1, 0, 0] == 255


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"a red circle\na caf\xe9 sign\n", "line 2: byte 18 (0xe9) behind 'a caf' is no UTF-8"),
        ("a red circle".encode("utf-16-le"), "a NUL character (UTF-16 without its mark?)"),
        (b"a red circle\ra blue square\r", "line 1: a carriage return inside the line"),
        (b"\n \n", "holds no prompt"),
    ],
)
def test_prompts_that_are_no_text(tmp_path: Path, data: bytes, hint: str, said: Said) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes(data)
    assert generate(tmp_path, file) == 2
    told = said()
    assert hint in told and str(file) in told


def test_a_manifest_that_is_no_utf8_names_file_and_byte(tmp_path: Path, said: Said) -> None:
    folder = pictures(tmp_path / "mine", 1)
    (folder / "manifest.jsonl").write_bytes(b'{"file": "00000.png", "prompt": "caf\xe9"}\n')
    assert score(tmp_path / "store", "--evaluator", "pickscore", "--images", str(folder)) == 2
    assert "manifest.jsonl, line 1: byte 36 (0xe9)" in said()


@pytest.mark.parametrize("count", [1, 3])
def test_a_reference_of_broken_pictures_names_the_file(
    tmp_path: Path, count: int, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    folder = pictures(tmp_path / "photos", count)
    broken(folder / "zero.png")
    words = ["--fid-reference", "x", "--images", str(folder), "--protocol", "tiny-features"]
    assert main(["assets", "build", *words]) == 1
    assert "zero.png: broken: the file is empty" in said()


def test_a_reference_of_one_picture_is_none(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    folder = pictures(tmp_path / "photos", 1)
    words = ["--fid-reference", "x", "--images", str(folder), "--protocol", "tiny-features"]
    assert main(["assets", "build", *words]) == 1
    assert "a reference of 1 picture has no covariance; expected two or more" in said()


def test_equal_prompts_are_counted(tmp_path: Path, said: Said) -> None:
    file = tmp_path / "dup.txt"
    file.write_text("a red circle\na red circle\na blue square\n")
    assert generate(tmp_path, file) == 0
    assert "1 of 3 prompts are equal to an earlier one ('a red circle')" in said()


def test_a_lora_is_sampled_on_top_of_the_base(tmp_path: Path, said: Said) -> None:
    from bench.generation.checkpoint import CheckpointRef, load_pipeline_backbone
    from tests.steps.test_others_weights import write_lora

    ref = CheckpointRef(kind="shipped", location="tiny-sd")
    backbone = load_pipeline_backbone(ref, Store(tmp_path / "store"), device="cpu")
    write_lora(backbone, tmp_path / "lora", rank=2)
    file = tmp_path / "two.txt"
    file.write_text("a red circle\na blue square\n")
    assert generate(tmp_path, file, "--checkpoint", str(tmp_path / "lora")) == 0, said()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pytorch_lora_weights.bin").write_bytes(b"x" * 64)
    assert generate(tmp_path, file, "--checkpoint", str(tmp_path / "bin")) == 3
    assert "holds no weights" in said()


@pytest.mark.parametrize(
    ("index", "hint"),
    [
        ("{", "cannot be read"),
        ('["x"]', "holds a list; expected an object"),
        ("[" * 100_000, "brackets nested too deeply"),
    ],
)
def test_a_pipeline_s_index_that_is_none(tmp_path: Path, index: str, hint: str, said: Said) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "model_index.json").write_text(index)
    file = tmp_path / "one.txt"
    file.write_text("a red circle\n")
    assert generate(tmp_path, file, "--checkpoint", str(folder)) == 2
    told = said()
    assert hint in told and "broken/model_index.json" in told


def test_a_configuration_nested_without_end_names_no_weights(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text("[" * 100_000)
    assert list(named_weights(config)) == []


def test_a_folder_that_can_be_read_in_two_ways_is_refused(tmp_path: Path, said: Said) -> None:
    folder = pictures(tmp_path / "mine", 3)
    line = {"file": "00000.png", "prompt": "a red circle"}
    (folder / "manifest.jsonl").write_text(json.dumps(line))
    assert aesthetic(tmp_path, folder) == 2
    assert "a manifest.jsonl of 1 images and 2 pictures that it does not name" in said()
    assert aesthetic(tmp_path, folder, "--layout", "manifest") == 0
    assert "not counted: 2 pictures that manifest.jsonl does not name" in said()
    assert aesthetic(tmp_path, folder, "--layout", "official") == 0
    assert "not counted: 1 of another kind (manifest.jsonl)" in said()


@pytest.mark.parametrize(
    ("ordinal", "code", "hint"),
    [
        (10**9, 2, "ordinal is"),
        (10**30, 2, "ordinal is"),
        (999_999, 1, "lacks 999999 of 1000000 images"),
    ],
)
def test_a_huge_ordinal_does_not_loop(
    tmp_path: Path, ordinal: int, code: int, hint: str, said: Said
) -> None:
    folder = pictures(tmp_path / "mine", 1)
    line = {"file": "00000.png", "prompt": "a red circle", "ordinal": ordinal}
    (folder / "manifest.jsonl").write_text(json.dumps(line))
    assert aesthetic(tmp_path, folder) == code
    assert hint in said()
