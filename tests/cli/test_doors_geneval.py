"""GenEval's folders whose metadata asks for what is never found, by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_doors import Said, said, score
from tests.read.bring import pictures

__all__ = ["said"]  # a fixture

CIRCLE = {"class": "circle", "count": 1}


def layout(root: Path, include: list[Any], **more: Any) -> Path:
    for number in range(2):
        pictures(root / f"{number:05d}" / "samples", 1)
        about = {"tag": "single_object", "include": include, "prompt": f"a circle {number}"}
        (root / f"{number:05d}" / "metadata.jsonl").write_text(json.dumps({**about, **more}))
    return root


def geneval(tmp_path: Path, root: Path, *words: str) -> int:
    return score(tmp_path / "store", "--evaluator", "geneval", "--images", str(root), *words)


@pytest.mark.parametrize(
    ("clause", "hint"),
    [
        ({"class": "cirle", "count": 1}, "does not know class 'cirle'"),
        ({"class": "bench", "count": 1}, "tiny-detector does not know class 'bench'"),
        ({**CIRCLE, "color": "redd"}, "does not know colour 'redd'"),
        ({**CIRCLE, "colour": "red"}, "unknown key 'colour'. Did you mean 'color'"),
        ({**CIRCLE, "color": None}, "color is None; expected a name"),
        ({"class": "circle", "count": "1"}, "count is '1'; expected a whole number"),
        ({"class": "circle", "count": 1.0}, "count is 1.0; expected a whole number"),
        ({"class": "circle", "count": 0}, "count is 0; expected a whole number from 1"),
        ({"class": "circle"}, "count is None"),
        ({"count": 1}, "class is None; expected a name"),
        (
            {**CIRCLE, "position": ["leftof", 0]},
            "unknown relation 'leftof'. Did you mean 'left of'",
        ),
        ({**CIRCLE, "position": ["left of", 1]}, "the number of an earlier clause"),
        ({**CIRCLE, "position": "left of"}, "position is 'left of'"),
        ("circle", "is 'circle'; expected an object"),
        (None, "is None; expected an object"),
    ],
)
def test_a_clause_that_nothing_can_meet_is_refused(
    clause: Any, hint: str, tmp_path: Path, said: Said
) -> None:
    root = layout(tmp_path / "geneval", [CIRCLE, clause])
    assert geneval(tmp_path, root) in (1, 2)
    told = said()
    assert hint in told and '"overall"' not in told and "detector on" not in told


def test_metadata_with_a_key_that_is_not_read_is_refused(tmp_path: Path, said: Said) -> None:
    assert geneval(tmp_path, layout(tmp_path / "g", [CIRCLE], exlude=[CIRCLE])) == 2
    assert "unknown key 'exlude'. Did you mean 'exclude'" in said()


def test_a_manifest_is_held_to_the_same_clauses(tmp_path: Path, said: Said) -> None:
    folder = pictures(tmp_path / "mine", 1)
    line = {"file": "00000.png", "prompt": "a circle", "tag": "single_object"}
    meta = {"include": [{"class": "circle", "count": 1, "position": ["above", 0]}]}
    (folder / "manifest.jsonl").write_text(json.dumps({**line, "meta": meta}))
    assert geneval(tmp_path, folder) == 2
    assert "the number of an earlier clause" in said()


def test_what_lies_beside_the_samples_is_said(tmp_path: Path, said: Said) -> None:
    root = layout(tmp_path / "geneval", [CIRCLE])
    pictures(root / "00001", 2)
    pictures(root / "00001" / "samples2", 3)
    (root / "00000" / "grid.png").write_bytes((root / "00001" / "00000.png").read_bytes())
    assert geneval(tmp_path, root) == 0
    told = said()
    assert "2 of another kind (00000.png, 00001.png), 3 pictures in sub-folders (samples2" in told
    assert "grid.png" not in told


def test_a_tag_that_is_no_task_is_refused(tmp_path: Path, said: Said) -> None:
    assert geneval(tmp_path, layout(tmp_path / "g", [CIRCLE], tag="single-object")) == 2
    assert "has the tag 'single-object', which is no GenEval task" in said()


def test_prompts_of_something_else_than_their_clauses_are_said(tmp_path: Path, said: Said) -> None:
    red = {**CIRCLE, "color": "red"}
    above = {"class": "square", "count": 1, "position": ["above", 0]}
    rows = [
        ("single_object", [CIRCLE], "a photo of a square"),
        ("counting", [CIRCLE], "a photo of a circle"),
        ("position", [CIRCLE], "a photo of one circle"),
        ("two_object", [CIRCLE, CIRCLE], "a circle and a circle"),
        ("single_object", [CIRCLE], "a photo of the circle"),
        ("single_object", [CIRCLE], "a photo of the circle"),
        ("colors", [red], "a red circle"),
        ("position", [CIRCLE, above], "a square above a circle"),
        ("color_attr", [red, {**red, "color": "blue"}], "a red circle and a blue circle"),
    ]
    root = tmp_path / "g"
    for number, (tag, include, prompt) in enumerate(rows):
        pictures(root / f"{number:05d}" / "samples", 1)
        about = {"tag": tag, "include": include, "prompt": prompt}
        (root / f"{number:05d}" / "metadata.jsonl").write_text(json.dumps(about))
    assert geneval(tmp_path, root, "-q") == 0
    told = said()
    assert "1 of 9 prompts name none of the classes that they ask for: 00000" in told
    assert "2 of 9 prompts have clauses of another task than their tag: 00001" in told
    assert "1 of 9 prompts ask twice for one class: one object may be both: 00003" in told
    assert "1 of 9 prompts are equal to an earlier one; each counts: 00005 as 00004" in told


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        ({"exclude": [CIRCLE]}, "asks for 1 of 'circle' and excludes 1 or more"),
        ({"prompt": " "}, "has no text"),
        ({"prompt": "nan"}, "has no text"),
    ],
)
def test_prompts_that_no_picture_can_meet_are_refused(
    more: dict[str, Any], hint: str, tmp_path: Path, said: Said
) -> None:
    assert geneval(tmp_path, layout(tmp_path / "g", [CIRCLE], **more)) == 2
    assert hint in said()


def manifest(folder: Path, *tags: str) -> Path:
    lines = [
        json.dumps({"file": f"{n:05d}.png", "prompt": f"a circle {n}", "tag": tag})
        for n, tag in enumerate(tags)
    ]
    (pictures(folder, len(tags)) / "manifest.jsonl").write_text("\n".join(lines))
    return folder


def test_tags_that_an_evaluator_does_not_know_are_said(tmp_path: Path, said: Said) -> None:
    ask = ("--evaluator", "hpsv2", "-q", "--images")
    mixed = manifest(tmp_path / "mixed", "anime", "Anime", "photos", "photo")
    assert score(tmp_path / "store", *ask, str(mixed)) == 0
    assert "2 of 4 prompts have tags that are no style ('Anime', 'photos')" in said()
    assert score(tmp_path / "store", *ask, str(manifest(tmp_path / "other", "a", "b"))) == 0
    assert "no style" not in said()
    none = manifest(tmp_path / "none", "anime")
    assert score(tmp_path / "store", "--evaluator", "oneig", "--images", str(none)) == 1
    assert "oneig gives no metric: suite folder:none has no prompts that" in said()
