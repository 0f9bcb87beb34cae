"""The frozen annotations, what they are made of, and the suites they go into."""

import hashlib
import json
from importlib.util import find_spec

import pytest

from bench.api import CorruptArtifactError, PrerequisiteError, ProtocolError
from evaluators.compbench import noun_phrases
from evaluators.compbench.noun_phrases import Parse, annotate, freeze, frozen, read_nouns
from evaluators.compbench.parse import Word
from evaluators.compbench.prompts import MORE_CATEGORIES, read_official
from evaluators.compbench.rules import CATEGORIES, questions
from tests.evaluators.test_compbench_prompts import FILES

PARSED = Parse(
    words=(
        Word("The", "DET"),
        Word("red", "ADJ"),
        Word("hat", "NOUN"),
        Word("on", "ADP"),
        Word("top", "NOUN"),
        Word("of", "ADP"),
        Word("two", "NUM"),
        Word("mice", "NOUN"),
    ),
    chunks=("The red hat", "top", "two mice"),
)


def test_every_prompt_that_needs_an_annotation_has_one():
    found = frozen()
    keys = {
        "phrases": ("color", "shape", "texture", "complex"),
        "objects": ("spatial", "3d_spatial", "complex"),
        "counts": ("numeracy",),
        "clip_text": ("complex",),
    }
    for key, categories in keys.items():
        wanted = {f"{category}-{n:03d}" for category in categories for n in range(300)}
        assert {name for name, row in found.items() if key in row} == wanted
    assert all(questions(row["phrases"]) for row in found.values() if "phrases" in row)
    assert all(all(row["objects"]) for name, row in found.items() if "spatial-" in name)
    assert all(1 <= n <= 8 for row in found.values() for _, n in row.get("counts", ()))


def test_frozen_annotations_agree_with_what_upstream_says_of_its_prompts():
    assert frozen()["color-000"] == {"phrases": ["a green bench", "a blue bowl"]}
    assert frozen()["3d_spatial-000"] == {"objects": ["dog", "desk"]}
    assert frozen()["numeracy-299"]["counts"] == [
        ["cup", 2],
        ["painting", 3],
        ["lamp", 4],
        ["banana", 4],
    ]


def test_a_third_of_the_spatial_prompts_names_what_the_official_detector_has_no_label_for():
    """By exact match with UniDet's labels, so the best possible mean is two thirds."""
    absent = {"sofa", "cow", "table", "mouse", "bag", "phone", "computer", "painting", "wallet"}
    spatial = [row["objects"] for name, row in frozen().items() if name.startswith("spatial-")]
    assert len(spatial) == 300
    assert sum(bool(absent & set(objects)) for objects in spatial) == 100


def test_an_edited_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "edited.json"
    path.write_bytes(noun_phrases.FILE.read_bytes().replace(b"bench", b"couch", 1))
    monkeypatch.setattr(noun_phrases, "FILE", path)
    frozen.cache_clear()
    with pytest.raises(CorruptArtifactError, match="install the harness again"):
        frozen()
    monkeypatch.undo()
    assert hashlib.sha256(noun_phrases.FILE.read_bytes()).hexdigest() == noun_phrases.SHA256


def test_each_category_gets_what_its_rules_need():
    assert annotate("color", PARSED) == {"phrases": ["The red hat", "top", "two mice"]}
    assert annotate("3d_spatial", PARSED) == {"objects": ["hat", "mice"]}
    assert annotate("numeracy", PARSED, [("mouse", "mice")]) == {"counts": [["mouse", 2]]}
    assert annotate("complex", PARSED) == {
        "phrases": ["The red hat", "top", "two mice"],
        "objects": ["hat", "mice"],
        "clip_text": "The hat on top of two mice",
    }
    assert annotate("non_spatial", PARSED) == {}


def test_freezing_is_by_place_in_the_file(monkeypatch):
    monkeypatch.setattr(noun_phrases, "parse", lambda texts, model: [PARSED for _ in texts])
    text = freeze({"color": ["a", "b"], "non_spatial": ["c"]}, [])
    assert list(json.loads(text)) == ["color-000", "color-001"]


@pytest.mark.skipif(find_spec("spacy") is not None, reason="spaCy is installed")
def test_without_spacy_other_prompts_say_what_to_install():
    with pytest.raises(PrerequisiteError, match=r"spacy==3\.6\.1"):
        noun_phrases.parse(["a cat"])


def test_nouns_are_those_of_the_pinned_file(tmp_path, monkeypatch):
    with pytest.raises(PrerequisiteError, match=r"new_objects\.txt is not there"):
        read_nouns(tmp_path)
    data = b"mouse - mice\r\nToy Car - toy cars\r\n"
    (tmp_path / "new_objects.txt").write_bytes(data)
    with pytest.raises(ProtocolError, match="not the file of commit"):
        read_nouns(tmp_path)
    monkeypatch.setattr(noun_phrases, "OBJECTS_SHA256", hashlib.sha256(data).hexdigest())
    assert read_nouns(tmp_path) == [("mouse", "mice"), ("toy car", "toy cars")]


@pytest.fixture
def pinned(tmp_path, monkeypatch):
    """A folder of eight files taken for the pinned ones."""
    files = {**FILES, "3d_spatial_val.txt": "a dog in front of a desk", "numeracy_val.txt": "two"}
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
        digest = hashlib.sha256(text.encode()).hexdigest()
        monkeypatch.setitem(read_official.__globals__["SHA256"], name, digest)
    return tmp_path


def test_pinned_prompts_come_with_their_annotations(pinned):
    suite = read_official(pinned, extended=True)
    assert suite.tags == (*CATEGORIES, *MORE_CATEGORIES)
    assert suite.name == "t2i-compbench-plus"
    for prompt in suite:
        assert {**frozen().get(prompt.id, {}), **prompt.meta} == dict(prompt.meta)
    six = read_official(pinned, pinned=False)
    assert [p.meta for p in six] == [p.meta for p in suite if p.tag in CATEGORIES]
    (pinned / "color_val.txt").write_text("another")
    edited = read_official(pinned, pinned=False)
    assert "phrases" not in edited.prompts[0].meta
    assert all("phrases" in p.meta for p in edited if p.tag in ("shape", "texture"))
