import hashlib
from collections import Counter

import numpy as np
import pytest

from bench.api import ProtocolError
from evaluators.geneval import prompts as geneval_prompts
from evaluators.geneval.prompts import (
    OBJECT_NAMES,
    PROMPTS_SHA256,
    TASKS,
    generate_metadata,
    geneval_suite,
    metadata_jsonl,
    plural,
    with_article,
)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_official_list_is_regenerated_byte_for_byte():
    assert sha256(metadata_jsonl(generate_metadata())).startswith("5c48e0813e81")


def test_the_official_prompt_file_is_regenerated_byte_for_byte():
    text = "".join(entry["prompt"] + "\n" for entry in generate_metadata())
    assert sha256(text) == PROMPTS_SHA256


def test_suite_has_the_published_task_sizes_and_line_numbers_as_ids():
    suite = geneval_suite()
    sizes = Counter(prompt.tag for prompt in suite)
    assert sizes == {
        "single_object": 80,
        "two_object": 99,
        "counting": 80,
        "colors": 94,
        "position": 100,
        "color_attr": 100,
    }
    assert suite.tags == TASKS
    assert [p.id for p in suite][::552] == ["00000", "00552"]
    assert len({p.text for p in suite}) == 553
    counting = next(p for p in suite if p.tag == "counting")
    (wanted,), (unwanted,) = counting.meta["include"], counting.meta["exclude"]
    assert unwanted == {"class": wanted["class"], "count": wanted["count"] + 1}


def test_a_limited_suite_holds_all_six_tasks_and_grows_monotonically():
    suite = geneval_suite()
    before: set[str] = set()
    for n in (6, 7, 30, 100):
        limited = suite.limited(n)
        assert set(limited.tags) == set(TASKS)
        assert before <= {p.id for p in limited}
        before = {p.id for p in limited}


def test_another_seed_gives_another_list_and_another_numpy_stream_is_refused(monkeypatch):
    assert metadata_jsonl(generate_metadata(seed=44)) != metadata_jsonl(generate_metadata())
    drawn_before = np.random.default_rng

    def other(seed: int) -> np.random.Generator:
        return drawn_before(seed + 1)

    monkeypatch.setattr(geneval_prompts.np.random, "default_rng", other)
    with pytest.raises(ProtocolError, match="5c48e0813e81"):
        geneval_suite()


def test_class_names_are_cocos_order_with_the_renamed_ones():
    assert len(OBJECT_NAMES) == len(set(OBJECT_NAMES)) == 80
    assert [OBJECT_NAMES[i] for i in (0, 64, 65, 66, 79)] == [
        "person",
        "computer mouse",
        "tv remote",
        "computer keyboard",
        "toothbrush",
    ]


def test_no_person_is_asked_in_a_colour():
    clauses = [c for entry in generate_metadata() for c in entry["include"]]
    assert not [c for c in clauses if "color" in c and c["class"] == "person"]


@pytest.mark.parametrize(
    ("name", "article", "many"),
    [
        ("apple", "an apple", "apples"),
        ("bus", "a bus", "buses"),
        ("umbrella", "an umbrella", "umbrellas"),
        ("knife", "a knife", "knifes"),
    ],
)
def test_english_is_upstreams(name, article, many):
    assert (with_article(name), plural(name)) == (article, many)
