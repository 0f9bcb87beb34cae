"""What other programs write into prompts, votes, grids and tables: refused, or said."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from bench.api.errors import UsageError
from bench.api.prompts import Prompt, PromptSuite
from bench.data.labels import checked_rows, read_comparisons
from bench.data.readers import ImageReader, tables_of
from bench.read.markup import say_markup
from bench.suites.lines import refuse_two_readings
from evaluators.dpg import folder as dpg
from evaluators.grids import seam
from evaluators.oneig import folder as oneig
from tests.cli.test_doors import Said, generate, said, score
from tests.read.bring import picture, pictures

__all__ = ["said"]  # a fixture


@pytest.mark.parametrize(
    "text",
    [
        "1 apple\n2 apples\n",
        "16:9 frames\n4:3 frames\n",
        "a 3, 2, 1 countdown\n[red] dot\n",
        "2 cats, one dog\n3 cats\n",
    ],
)
def test_prompts_that_begin_with_numbers_stay_prompts(text: str) -> None:
    refuse_two_readings(text.splitlines(), "file")


@pytest.mark.parametrize(
    "text",
    ["# mine\na red circle\n", "a red circle\n// later\n", "#\na red circle\n", "; x\na dot\n"],
)
def test_remarks_among_prompts_are_refused(text: str, tmp_path: Path, said: Said) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text(text)
    assert generate(tmp_path, file) == 2
    assert "lines begin with #, // or ;, as remarks do" in said()


def test_marks_of_other_programs_are_said(tmp_path: Path, said: Said) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a (red:1.3) circle --ar 16:9\na #1 dad mug, 16:9 (4:3), R&B; a-- b\n")
    assert generate(tmp_path, file, "--images-per-prompt", "1", "-q") == 0
    told = said()
    assert "1 of 2 prompts hold weights in brackets (word:1.3); here they are words" in told
    assert "1 of 2 prompts hold switches (--ar 16:9)" in told and "web pages" not in told


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a cat <lora:detail:0.8>", "networks"),
        ("a [cat:dog:0.5]", "weights"),
        ("a cat --no text", "switches"),
        ("a __colour__ cat", "wildcards"),
        ("a {red|blue} cat", "wildcards"),
        ("a cat BREAK a dog", "breaks"),
        ("salt &amp; pepper", "escapes of web pages"),
        ("a cat\\nand a dog", "written escapes"),
        ("a cat<br>and a dog", "tags"),
        ("a sign that says (HELLO: WORLD), 5 < 7 > 3, snake_case, C:\\new_york & co; a -- b", ""),
    ],
)
def test_each_kind_of_mark(text: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        say_markup([text, "a plain cat"], "file")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == bool(kind)
    assert not kind or f"1 of 2 prompts hold {kind}" in told[0]


def suite(*ids: str) -> PromptSuite:
    prompts = tuple(Prompt(id=one, text=f"a cat {one}", tag="x") for one in ids)
    return PromptSuite(name="few", version="1", prompts=prompts)


def smooth(path: Path, number: int, side: int) -> None:
    """A picture that goes on everywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(number, (4, 4)).resize((side, side), Image.Resampling.BICUBIC).save(path)


def test_single_pictures_in_the_place_of_grids_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        smooth(tmp_path / "single" / f"p{number}.png", number, 64)
        grid = Image.new("RGB", (64, 64))
        for place in range(4):
            smooth(tmp_path / "tile.png", 10 * number + place, 32)
            grid.paste(Image.open(tmp_path / "tile.png"), (place % 2 * 32, place // 2 * 32))
        (tmp_path / "grids").mkdir(exist_ok=True)
        grid.save(tmp_path / "grids" / f"p{number}.png")
        assert seam(grid, columns=2, rows=2) > 3
    few = suite("p0", "p1", "p2")
    assert len(dpg.read_official(tmp_path / "grids", suite=few).records) == 12
    assert "single pictures" not in caplog.text
    dpg.read_official(tmp_path / "single", suite=few)
    assert "in 3 of 3 files no edge is seen between tiles: are they single" in caplog.text


def test_oneig_takes_no_longer_number_for_a_prompts(tmp_path: Path) -> None:
    few = suite("anime-007")
    smooth(tmp_path / "anime" / "m" / "0071.webp", 1, 64)
    with pytest.raises(Exception, match="1 of 1 prompts have no grid"):
        oneig.read_official(tmp_path, suite=few)
    smooth(tmp_path / "anime" / "m" / "007.webp", 1, 64)
    assert len(oneig.read_official(tmp_path, suite=few).records) == 4


def test_pairs_that_repeat_or_contradict_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures(tmp_path, 3)
    (tmp_path / "00003.png").write_bytes((tmp_path / "00000.png").read_bytes())
    rows = [(0, 1), (1, 0), (0, 1), (0, 2)]
    lines = [
        json.dumps({"caption": "a cat", "winner": f"0000{a}.png", "loser": f"0000{b}.png"})
        for a, b in rows
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    found, _ = read_comparisons([tmp_path / "pairs.jsonl"])
    assert len(found) == 4
    assert "1 of 4 rows repeat an earlier row; each counts" in caplog.text
    assert "2 of 4 rows say the contrary of one; each counts" in caplog.text
    checked_rows(found, ImageReader())
    assert "two equal pictures" not in caplog.text
    line = {"caption": "a cat", "winner": "00000.png", "loser": "00003.png"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(line))
    found, _ = read_comparisons([tmp_path / "pairs.jsonl"])
    checked_rows(found, ImageReader())
    assert "1 of 1 pairs are of two equal pictures" in caplog.text


@pytest.mark.parametrize("names", [["cat", "dog"], ["lose", "-1"], ["exclusive_lose", "true"]])
def test_the_number_of_a_class_is_no_label(names: list[str], tmp_path: Path) -> None:
    """`datasets` writes folders of classes as numbers, with their names in the file's schema."""
    features = {"label": {"names": names, "_type": "ClassLabel"}, "caption": {"_type": "Value"}}
    table = pyarrow.table(
        {"caption": ["a", "b"], "label": [0, 1], "image": ["00000.png", "00001.png"]}
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pictures(tmp_path, 2)
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    if names[0] == "exclusive_lose":
        found, _ = read_comparisons([tmp_path / "train.parquet"])
        assert [row.label for row in found] == [-1, 1]
        return
    with pytest.raises(UsageError, match=f"the label is '{names[0]}'"):
        read_comparisons([tmp_path / "train.parquet"])


def test_a_folder_of_arrow_files_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "data-00000-of-00001.arrow").write_bytes(b"x")
    with pytest.raises(UsageError, match="save_to_disk of datasets writes; save it as Parquet"):
        tables_of(tmp_path, "train")


@pytest.mark.parametrize("name", ["fid_stats.npz", "/data/stats.NPZ", "stats.pkl"])
def test_statistics_of_other_programs_are_called_so(
    name: str, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    folder = pictures(tmp_path / "mine", 2)
    ask = ["--evaluator", "fid", "--images", str(folder), "--reference", name]
    assert score(tmp_path / "store", *ask) == 2
    assert f"{name}: statistics of other programs are not read" in said()


def study(tmp_path: Path, said: Said, count: int) -> dict[str, Any]:
    """A study of so many pairs, laid out by the command line; what a votes file holds but votes."""
    words = []
    for side in range(2):
        folder = pictures(tmp_path / f"side{side}", 0)
        lines = []
        for number in range(count):
            picture(number + 100 * side).save(folder / f"{number}.png")
            lines.append(json.dumps({"file": f"{number}.png", "prompt": f"a cat {number}"}))
        (folder / "manifest.jsonl").write_text("\n".join(lines))
        words += ["--images", str(folder)]
    ask = ["--evaluator", "human", *words, "--export", str(tmp_path / "study")]
    assert score(tmp_path / "store", *ask) == 0
    page = (tmp_path / "study" / "form-1.html").read_text()
    about = json.loads(page.partition('id="about">')[2].partition("</script>")[0])
    return {key: about[key] for key in ("format", "study", "form")}


def test_votes_that_are_not_what_they_seem(tmp_path: Path, said: Said) -> None:
    about = study(tmp_path, said, 8)
    rng = np.random.default_rng(0)
    cast = [{"item": n + 1, "choice": ("left", "right")[int(rng.integers(2))]} for n in range(8)]

    def count(*files: dict[str, Any]) -> tuple[int, str]:
        paths = []
        for number, data in enumerate(files):
            path = tmp_path / f"votes-{number}.json"
            path.write_text(json.dumps({**about, "votes": cast, **data}))
            paths.append(str(path))
        said()
        return score(tmp_path / "store", "--evaluator", "human", "--votes", *paths), said()

    for names in (("Anna", " anna "), ("Zo\u00eb", "Zoe\u0308"), ("Max M", "max  m")):
        code, told = count({"voter": names[0]}, {"voter": names[1]})
        assert code == 1 and "there is a file of voter" in told
    code, told = count({"voter": "Anna", "votes": [{"item": True, "choice": "left"}]})
    assert code == 2 and "is no vote" in told
    code, told = count({"voter": "Anna", "form": True})
    assert code == 2 and "no file of a form (form missing or wrong)" in told
    code, told = count({"voter": "Anna"}, {"voter": "Ben"})
    assert code == 0 and "the votes of 'Ben' are those of 'Anna', all 8 of them" in told
