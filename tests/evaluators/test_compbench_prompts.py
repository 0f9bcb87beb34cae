import json

import pytest

from bench.api import PrerequisiteError, ProtocolError, UsageError
from evaluators.compbench.metric import CompBench
from evaluators.compbench.prompts import (
    SHA256,
    read_annotations,
    read_file,
    read_official,
    split_prompts,
)

FILES = {
    "color_val.txt": "a green bench and a red car\r\na white shower curtain",
    "shape_val.txt": "a round cookie and a square tin.\r\n",
    "texture_val.txt": "a leather couch\r\na glass vase.",
    "spatial_val.txt": "a girl on the top of a frog\r\na mouse on side of a key",
    "non_spatial_val.txt": "A person is looking at a tower.\r\n",
    "complex_val.txt": "The hat was on the rack.\r\nThe Dog sleeps.\r\nThe cat sits near a cup.",
    "complex_val_spatial.txt": "The hat was on the rack.\r\n",
    "complex_val_action.txt": "The dog sleeps.",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def test_any_line_end_is_read_and_the_full_stop_stays():
    assert split_prompts("a.\r\nb c.") == split_prompts("a.\nb c.\n") == ["a.", "b c."]
    assert split_prompts("a\tunused\r\n") == ["a"]


def test_the_six_files_become_one_suite_with_kinds(folder):
    suite = read_official(folder, pinned=False)
    assert suite.tags == ("color", "shape", "texture", "spatial", "non_spatial", "complex")
    assert [p.id for p in suite][:3] == ["color-000", "color-001", "shape-000"]
    assert suite.prompts[2].text == "a round cookie and a square tin."
    kinds = [p.meta["complex_kind"] for p in suite if p.tag == "complex"]
    assert kinds == ["spatial", "action", "spatialaction"]


def test_annotations_make_the_prompts_scorable(folder):
    path = folder / "annotations.json"
    text = "a girl on the top of a frog"
    path.write_text(
        json.dumps({text: {"objects": ["girl", "frog"]}, "a leather couch": {"phrases": ["it"]}})
    )
    suite = read_official(str(folder), annotations=str(path), pinned=False)
    assert suite == read_official(folder, annotations=read_annotations(path), pinned=False)
    by_text = {p.text: p for p in suite}
    assert by_text[text].meta["objects"] == ["girl", "frog"]
    evaluator = CompBench()
    assert evaluator.queries("vqa", by_text["a leather couch"]) == ("it?",)
    with pytest.raises(UsageError, match="annotations file"):
        evaluator.queries("vqa", by_text["a glass vase."])


def test_edited_or_missing_files_are_refused(folder):
    with pytest.raises(ProtocolError, match=r"color_val.txt has sha256"):
        read_file(folder, "color_val.txt")
    with pytest.raises(ProtocolError, match="complex_val_spatial"):
        read_official(folder)
    (folder / "shape_val.txt").unlink()
    with pytest.raises(PrerequisiteError, match=r"shape_val.txt.*\n.*git clone"):
        read_official(folder, pinned=False)
    with pytest.raises(PrerequisiteError, match=r"nowhere.json is not there"):
        read_annotations(folder / "nowhere.json")


def test_pins_are_the_digests_known_prefixes():
    known = "16342597 37e1a276 fbb53635 8707a1d7 c9953597 dad8df14 04c56cc9 1b808018"
    assert [digest[:8] for digest in SHA256.values()][:8] == known.split()
    assert all(len(digest) == 64 for digest in SHA256.values())


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "no JSON"),
        ("[]", "holds a list"),
        ('{"a cat": {"phrase": []}}', "phrase.*expected an object"),
        ('{"a cat": ["a cat"]}', "a cat"),
    ],
)
def test_annotations_of_another_form_are_refused(tmp_path, content, match):
    path = tmp_path / "annotations.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=match):
        read_annotations(path)
