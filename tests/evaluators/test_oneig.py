"""OneIG over stored predictions: dimensions, black tiles, profiles, bad input."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bench.api import IncompleteError, Predictions, Prompt, PromptSuite, UsageError
from evaluators.oneig.metric import DIVERSITY, OCR, REASONING, STYLE, TILES, VQA, OneIG

GRAPH = {
    "questions": {"1": "Is there a cat?", "2": "Is the cat red?", "10": "Is its tail long?"},
    "parents": {"1": [0], "2": [1], "10": [2]},
}
META = {
    "object": GRAPH,
    "text": {"text": "['HELLO WORLD']"},
    "reasoning": {"answer": "K2"},
    "style": {"style": "cubism", **GRAPH},
}


def suite(*tags: str, count: int = 2, **more: object) -> PromptSuite:
    prompts = tuple(
        Prompt(id=f"{tag}-{i}", text=f"{tag} {i}", tag=tag, meta={**META[tag], **more})
        for tag in tags
        for i in range(count)
    )
    return PromptSuite(name="small", version="1", prompts=prompts)


ALL = suite(*META)


def predict(prompts: PromptSuite, *, images: int = 4, black=(), answers=None, text="HELLO WORLD"):
    evaluator = OneIG()
    values = {
        VQA: {"answers": answers or ["Yes", "No", "Yes"]},
        OCR: {"text": text},
        REASONING: {"cosine": [0.25]},
        STYLE: {"cosines": {"csd": [0.1, 0.5], "se": [-0.2, 0.1]}},
        DIVERSITY: {},
    }
    records = {role: [] for role in evaluator.spec.backends}
    for p in prompts:
        for k in range(images):
            key = {"prompt_id": p.id, "ordinal": k}
            records[TILES].append({**key, "largest": 0 if (p.id, k) in black else 255})
            for role, found in values.items():
                if evaluator.wants(role, p):
                    records[role].append({**key, **json.loads(json.dumps(found))})
    rows = np.random.default_rng(0).normal(size=(len(prompts) * images, 12))
    return {
        role: Predictions(
            records=found,
            arrays={"embedding": rows.astype(np.float32)} if role == DIVERSITY else {},
        )
        for role, found in records.items()
    }


def metrics(prompts, predictions, evaluator=None):
    evaluator = evaluator or OneIG()
    records = evaluator.score(prompts, predictions)
    json.dumps(records, allow_nan=False)
    return {k: e.value for k, e in evaluator.aggregate(records, predictions).items()}


def test_each_prompt_counts_in_its_own_dimensions() -> None:
    evaluator = OneIG()
    wanted = {p.tag: [r for r in evaluator.spec.backends if evaluator.wants(r, p)] for p in ALL}
    assert wanted == {
        "object": [TILES, VQA, DIVERSITY],
        "text": [TILES, OCR, DIVERSITY],
        "reasoning": [TILES, REASONING, DIVERSITY],
        "style": [TILES, VQA, STYLE, DIVERSITY],
    }


def test_queries_are_in_the_order_of_their_numbers_and_never_tell_the_wanted_text() -> None:
    evaluator = OneIG()
    by_tag = {p.tag: p for p in ALL}
    assert evaluator.queries(VQA, by_tag["object"]) == tuple(GRAPH["questions"].values())
    assert evaluator.queries(OCR, by_tag["text"]) == ("128",)
    long = replace(by_tag["text"], meta={"text": "a " * 61})
    assert evaluator.queries(OCR, long) == ("256",)
    assert evaluator.queries(STYLE, by_tag["style"]) == ("cubism",)
    assert evaluator.queries(REASONING, by_tag["reasoning"]) == ("K2",)
    assert evaluator.queries(TILES, by_tag["text"]) == evaluator.queries(VQA, by_tag["text"]) == ()


def test_all_metrics() -> None:
    predictions = predict(ALL)
    found = metrics(ALL, predictions)
    # the second question is no, so the third is zeroed only by the clean rule... of ancestors
    assert found["alignment"] == pytest.approx(1 / 3)
    assert found["reasoning"] == pytest.approx(0.25)
    assert found["style"] == pytest.approx((0.5 + 0.1) / 2)
    assert (found["text"], found["completion_rate"], found["word_accuracy"]) == (1, 1, 1)
    assert found["edit_distance"] == 0
    rows = predictions[DIVERSITY].arrays["embedding"].reshape(len(ALL), 4, -1)
    pairs = [1 - np.corrcoef(rows[p])[i, j] for p in range(8) for i in range(4) for j in range(i)]
    assert found["diversity"] == pytest.approx(np.mean(pairs), abs=1e-6)


def test_a_grandchild_survives_in_the_faithful_profile_only() -> None:
    one = suite("object")
    predictions = predict(one, answers=["No", "Yes", "Yes"])
    assert metrics(one, predictions)["alignment"] == pytest.approx(1 / 3)
    assert metrics(one, predictions, OneIG(profile="clean"))["alignment"] == 0


def test_soft_answers_count_above_a_half() -> None:
    one = suite("object")
    predictions = predict(one)
    soft = [{**r, "answers": None, "yes": [0.9, 0.6, 0.5]} for r in predictions[VQA].records]
    soft_predictions = {**predictions, VQA: Predictions(records=soft)}
    assert metrics(one, soft_predictions)["alignment"] == pytest.approx(2 / 3)


def test_text_is_scored_over_all_images_together() -> None:
    both = suite("text")
    records = predict(both)
    half = [
        {**r, "text": "HELLO" if r["ordinal"] % 2 else "HELLO WORLD"} for r in records[OCR].records
    ]
    found = metrics(both, {**records, OCR: Predictions(records=half)})
    assert found["edit_distance"] == 3 and found["completion_rate"] == 0.5
    assert found["word_accuracy"] == 0.75
    assert found["text"] == pytest.approx(1 - 3 * 0.5 * 0.25 / 100)
    chinese = suite("text", language="ZH")
    zh = metrics(chinese, {**records, OCR: Predictions(records=half)})
    assert zh["text"] == pytest.approx(1 - 3 * 0.5 * 0.25 / 50)


def test_black_tiles_are_left_out_or_punished() -> None:
    black = {(f"{tag}-0", 3) for tag in META}
    predictions = predict(ALL, black=black)
    records = OneIG().score(ALL, predictions)
    assert [r["black"] for r in records] == [
        (r["prompt_id"], r["ordinal"]) in black for r in records
    ]
    assert all(r["alignment"] is None and r["diversity"] is None for r in records if r["black"])
    faithful, clean = metrics(ALL, predictions), metrics(ALL, predictions, OneIG(profile="clean"))
    assert faithful["alignment"] == pytest.approx(1 / 3)
    assert clean["alignment"] == pytest.approx(7 / 8 / 3)
    assert clean["completion_rate"] == 7 / 8 and faithful["completion_rate"] == 1
    assert clean["style"] == pytest.approx(0.3 * 7 / 8)


def test_a_black_tile_of_a_lossy_file_is_seen_by_the_clean_profile_only() -> None:
    one = suite("object")
    predictions = predict(one)
    grey = [{**r, "largest": 5} for r in predictions[TILES].records]
    lossy = {**predictions, TILES: Predictions(records=grey)}
    assert metrics(one, lossy)["alignment"] == pytest.approx(1 / 3)
    assert metrics(one, lossy, OneIG(profile="clean"))["alignment"] == 0


def test_a_prompt_of_black_tiles_alone_is_skipped_by_the_faithful_profile() -> None:
    one = suite("object", "text")
    black = {("object-0", k) for k in range(4)} | {("text-0", k) for k in range(4)}
    found = OneIG().aggregate(OneIG().score(one, predict(one, black=black)), {})
    assert found["alignment"].n == 4 and found["alignment"].clusters == 1
    assert found["text"].n == 4


def test_metrics_without_prompts_are_not_there() -> None:
    one = suite("text")
    assert set(metrics(one, predict(one))) == {
        "text", "edit_distance", "completion_rate", "word_accuracy", "diversity",
    }  # fmt: skip
    assert "diversity" not in metrics(one, predict(one, images=1))


def test_classes_are_pooled_not_averaged() -> None:
    three = PromptSuite(
        name="three",
        version="1",
        prompts=(*suite("object", count=2).prompts, *suite("style", count=1).prompts),
    )
    predictions = predict(three)
    yes = [
        {**r, "answers": ["Yes"] * 3 if r["prompt_id"] == "style-0" else ["No"] * 3}
        for r in predictions[VQA].records
    ]
    changed = {**predictions, VQA: Predictions(records=yes)}
    assert metrics(three, changed)["alignment"] == pytest.approx(1 / 3)
    records = list(OneIG().score(three, changed))
    # a table's paired comparison averages over tags: there is one
    assert {r["tag"] for r in records} == {"oneig"}
    assert {r["class"] for r in records} == {"object", "style"}


def test_order_of_records_does_not_matter() -> None:
    predictions = predict(ALL)
    turned = {
        role: Predictions(
            records=list(reversed(p.records)), arrays={k: a[::-1] for k, a in p.arrays.items()}
        )
        for role, p in predictions.items()
    }
    assert list(OneIG().score(ALL, predictions)) == list(OneIG().score(ALL, turned))


def test_bad_predictions_are_refused() -> None:
    predictions = predict(ALL)
    short = Predictions(records=predictions[VQA].records[:-1])
    with pytest.raises(
        IncompleteError, match="no oneig-vqa prediction for 1 of 16 images: style-1/3"
    ):
        OneIG().score(ALL, {**predictions, VQA: short})
    few = Predictions(records=[{**r, "answers": ["Yes"]} for r in predictions[VQA].records])
    with pytest.raises(ValueError, match="expected one for each of 3 questions"):
        OneIG().score(ALL, {**predictions, VQA: few})
    broken = [{**r, "cosine": [float("nan")]} for r in predictions[REASONING].records]
    with pytest.raises(ValueError, match="image reasoning-0/0: cosine is nan"):
        OneIG().score(ALL, {**predictions, REASONING: Predictions(records=broken)})
    mute = [{**r, "text": None} for r in predictions[OCR].records]
    with pytest.raises(ValueError, match="expected a text"):
        OneIG().score(ALL, {**predictions, OCR: Predictions(records=mute)})
    unsaid = Predictions(records=predictions[DIVERSITY].records)
    with pytest.raises(IncompleteError, match="no array 'embedding'"):
        OneIG().score(ALL, {**predictions, DIVERSITY: unsaid})
    with pytest.raises(UsageError, match="Did you mean 'clean'"):
        OneIG(profile="claen")


def test_a_graph_with_an_unknown_parent_is_refused() -> None:
    wrong = suite("object", parents={"1": [0], "2": [7]})
    with pytest.raises(UsageError, match="object-0: 7 stands among the parents"):
        OneIG().queries(VQA, wrong.prompts[0])
