"""Tables of captions and of pairs, and manifests, that say two things: by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.data.curation.captions import find_candidates
from tests.cli.test_doors import Said, aesthetic, curated, said
from tests.read.bring import pictures

__all__ = ["said"]  # a fixture


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("captions.csv", "file,caption,text\n00000.png,a,b\n", "unlike texts in caption and text"),
        ("captions.csv", "file,image,text\n00000.png,1.png,b\n", "unlike texts in file and image"),
        ("captions.csv", "file,caption\n00000.png,nan\n", "'nan' stands for an empty cell"),
        (
            "metadata.jsonl",
            '{"file_name": "00000.png", "text": ["a", "b"]}',
            "text is \"['a', 'b']",
        ),
        ("metadata.jsonl", '{"file_name": "00000.png", "text": 5}', "text is '5' (a int)"),
        ("metadata.jsonl", '{"file_name": "00000.png", "text": true}', "text is 'True' (a bool)"),
        ("metadata.jsonl", '{"file_name": {"path": "00000.png"}, "text": "a"}', "(a dict)"),
    ],
)
def test_a_row_that_says_two_things_is_dropped_with_the_reason(
    name: str, text: str, reason: str, tmp_path: Path
) -> None:
    folder = pictures(tmp_path / "photos", 2)
    (folder / name).write_text(text)
    faults = [candidate.fault for candidate in find_candidates(folder) if candidate.fault]
    assert any(reason in fault for fault in faults), faults


def test_unlike_captions_are_dropped_by_the_command(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", 2)
    rows = "file,caption,text\n00000.png,a red circle,a blue square\n00001.png,a dot,a dot\n"
    (folder / "captions.csv").write_text(rows)
    found = curated(tmp_path, folder)
    assert "unlike texts in caption and text" in found["captions.csv, line 2"]
    assert found["00001"] == "a dot"


def test_a_heading_in_capitals_is_refused(tmp_path: Path, said: Said) -> None:
    folder = pictures(tmp_path / "photos", 1)
    (folder / "captions.csv").write_text("file,Caption\n00000.png,a red circle\n")
    with pytest.raises(ValueError, match="not enough values"):
        curated(tmp_path, folder)
    assert "the column 'Caption' is spelt 'caption' here" in said()


@pytest.mark.parametrize(
    ("lines", "hint"),
    [
        ([{"prompt": ""}], "line 1: the prompt is ''"),
        ([{"prompt": " \u200b"}], "line 1: the prompt is"),
        ([{"prompt": "None"}], "line 1: the prompt is 'None'"),
        ([{"prompt": "a"}, {"prompt": "b"}], "line 2: '00000.png' is named on line 1 already"),
        ([{"prompt": "a"}, {"prompt": "a", "file": "./00000.png"}], "is named on line 1 already"),
    ],
)
def test_a_manifest_that_says_nothing_or_one_thing_twice_is_refused(
    lines: list[dict[str, str]], hint: str, tmp_path: Path, said: Said
) -> None:
    folder = pictures(tmp_path / "mine", 1)
    text = "\n".join(json.dumps({"file": "00000.png", **line}) for line in lines)
    (folder / "manifest.jsonl").write_text(text)
    assert aesthetic(tmp_path, folder) == 2
    assert hint in said()
