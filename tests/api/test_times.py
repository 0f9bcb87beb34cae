"""Prompts that are asked several times: images, records and means of a suite that has some."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.api import ImageSet, IncompleteError, Predictions, Prompt, PromptSuite
from bench.api.registry import EVALUATORS
from bench.generation.image_set import image_jobs, read_suite, suite_json
from bench.validate.sample import rendered_sample
from evaluators.geneval import folder
from evaluators.geneval.metric import DETECTOR, GenEval

ONE = {"include": [{"class": "circle", "count": 1}]}
SUITE = PromptSuite(
    name="toy",
    version="1",
    prompts=(
        Prompt(id="a", text="a circle", tag="single_object", meta=ONE, times=3),
        Prompt(id="b", text="two circles", tag="counting", meta=ONE),
        Prompt(id="c", text="a red circle", tag="counting", meta=ONE),
    ),
)
KEYS = ["a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "b/0", "b/1", "c/0", "c/1"]


def test_a_prompt_asked_once_has_the_hash_it_had_before_there_was_such_a_field() -> None:
    once = PromptSuite(name="s", version="1", prompts=(Prompt(id="a", text="x", times=1),))
    assert "times" not in once.prompts[0].to_json()
    assert once.sha256 == "4bc7df212fa82216f0596575900a43aca00835a7255735d0d73c5aa67994c110"
    thrice = PromptSuite(name="s", version="1", prompts=(Prompt(id="a", text="x", times=3),))
    assert thrice.sha256 != once.sha256
    assert read_suite(suite_json(thrice)) == thrice


def test_a_prompt_is_asked_at_least_once() -> None:
    with pytest.raises(ValueError, match="prompt a: times is 0; expected at least 1"):
        Prompt(id="a", text="x", times=0)


def test_images_are_so_many_times_as_many_and_have_noise_of_their_own() -> None:
    jobs = image_jobs(SUITE, 2, seed=5)
    assert [f"{j.prompt.id}/{j.ordinal}" for j in jobs] == KEYS
    assert SUITE.count(2) == len(jobs) == len({j.seed for j in jobs}) == len({j.path for j in jobs})
    # the noise of an image does not depend on how often its prompt is asked
    once = PromptSuite(name="s", version="1", prompts=(Prompt(id="a", text="a circle"),))
    assert [j.seed for j in image_jobs(once, 2, seed=5)] == [j.seed for j in jobs[:2]]


def test_a_set_that_lacks_one_of_them_is_incomplete(tmp_path: Path) -> None:
    images = ImageSet(root=tmp_path, suite=SUITE, images_per_prompt=2, records=())
    with pytest.raises(IncompleteError, match="lacks 10 of 10 images: a/0, a/1, a/2, a/3, a/4"):
        images.require_complete()


def _detections(keys: list[str], wrong: set[str]) -> dict[str, Predictions]:
    rows = []
    for key in keys:
        prompt_id, ordinal = key.split("/")
        boxes = [] if key in wrong else [{"class": "circle", "score": 0.99, "box": [0, 0, 9, 9]}]
        rows.append({"prompt_id": prompt_id, "ordinal": int(ordinal), "detections": boxes,
                     "width": 32, "height": 32})  # fmt: skip
    return {DETECTOR: Predictions(records=rows)}


def test_a_task_is_the_mean_of_its_images_and_the_whole_the_mean_of_tasks() -> None:
    evaluator, given = GenEval(), _detections(KEYS, {"a/0", "a/1", "b/0"})
    records = list(evaluator.score(SUITE, given))
    assert [f"{r['prompt_id']}/{r['ordinal']}" for r in records] == KEYS
    found = evaluator.aggregate(records, given)
    assert found["single_object"].value == pytest.approx(4 / 6)
    assert found["counting"].value == pytest.approx(3 / 4)
    # six images of one task weigh no more than four of the other
    assert found["overall"].value == pytest.approx((4 / 6 + 3 / 4) / 2)
    assert found["images_correct"].value == pytest.approx(7 / 10)


@pytest.mark.parametrize("lost", ["a/5", "a/0", "b/1"])
def test_an_image_without_a_prediction_is_missed(lost: str) -> None:
    with pytest.raises(IncompleteError, match=f"for 1 of 10 images: {lost}"):
        list(GenEval().score(SUITE, _detections([k for k in KEYS if k != lost], set())))


@pytest.mark.parametrize(
    "name", ["geneval", "t2i-compbench", "t2i-compbench-plus", "fid", "hpsv2", "unifiedreward",
             "oneig", "dpg"]
)  # fmt: skip
def test_every_evaluator_scores_every_image(name: str) -> None:
    evaluator = EVALUATORS.load(name)()
    sample = rendered_sample(evaluator)
    suite = sample.suite
    assert [prompt.times for prompt in suite][:2] == [2, 1]
    given = sample.predictions
    keys = Counter((r["prompt_id"], r["ordinal"]) for r in evaluator.score(suite, given))
    assert keys == Counter((p.id, k) for p, k in suite.images(sample.images_per_prompt))


def test_geneval_s_folders_hold_as_many_as_each_prompt_was_asked(tmp_path: Path) -> None:
    from bench.api.folder import image_set

    files: dict[tuple[str, int], tuple[str, str | None]] = {}
    for prompt, ordinal in SUITE.images(2):
        path = tmp_path / f"{prompt.id}-{ordinal}.png"
        Image.fromarray(np.full((4, 4, 3), 9 * len(files), np.uint8)).save(path)
        files[prompt.id, ordinal] = (path.name, None)
    images = image_set(tmp_path, SUITE, files)
    assert (images.images_per_prompt, len(images.records)) == (2, 10)
    folder.export_layout(images, tmp_path / "official")
    again = folder.import_layout(tmp_path / "official", suite=SUITE)
    assert [r.key for r in again.records] == KEYS
    (tmp_path / "official" / "00000" / "samples" / "00005.png").unlink()
    with pytest.raises(IncompleteError, match="lacks 1 of 10 images"):
        folder.import_layout(tmp_path / "official", suite=SUITE)
