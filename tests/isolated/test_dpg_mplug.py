"""mPLUG's worker behind a stand-in for modelscope: the exchange, the folder, DPG-Bench's scores."""

from __future__ import annotations

import sysconfig
import textwrap
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.api import ImageRecord, ImageSet, Predictions, PromptSuite
from bench.api.errors import PrerequisiteError
from bench.api.prompts import Prompt
from evaluators.dpg.metric import DPG, VQA
from evaluators.isolated import environments
from evaluators.isolated.process import WorkerError
from evaluators.isolated.questions import FILES, MODEL, MPlugAnswers, model_folder, places

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}

PIPELINES = """
    import os
    from PIL import Image
    from modelscope.utils.constant import Tasks

    def pipeline(task, model=None, device="gpu"):
        assert task == Tasks.visual_question_answering and device == "cpu"
        assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
        words = open(os.path.join(model, "vocab.txt")).read().split()
        print("load checkpoint from", model)

        def answer(asked):
            assert sorted(asked) == ["image", "question"] and asked["image"].mode == "RGB"
            pixel = asked["image"].getpixel((0, 0))
            seen = words[pixel.index(max(pixel))]
            said = "yes" if seen in asked["question"].lower() else "no"
            return {"text": {"odd": ["yes"]}.get(asked["question"], said)}

        return answer
"""
CONSTANT = """
    class Tasks:
        visual_question_answering = "visual-question-answering"
"""


def make_environment(home: Path, version: str) -> Path:
    """Return the interpreter of an environment with a package named modelscope, and Pillow."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(home)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "host.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    for name, code in (
        ("__init__.py", ""),
        ("pipelines.py", PIPELINES),
        ("utils/__init__.py", ""),
        ("utils/constant.py", CONSTANT),
    ):
        path = site / "modelscope" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(code))
    about = site / f"modelscope-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: modelscope\nVersion: {version}\n"
    )
    return home / "bin" / "python"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("env"), "1.18.0")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "model"
    place.mkdir()
    for name in FILES:
        (place / name).write_text(" ".join(COLORS))
    monkeypatch.setenv("BENCH_MPLUG_MODEL", str(place))
    return place


@pytest.fixture
def backend(python: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> MPlugAnswers:
    monkeypatch.setenv("BENCH_ENV_DPG_MPLUG", str(python))
    made = MPlugAnswers()
    made.device = "cpu"
    return made


def prompt(number: int, *colors: str) -> Prompt:
    """Ask for an object, and for its colours one after another, each a child of the first."""
    questions = {"1": f"Is there a {' '.join(COLORS)} thing?"}
    questions |= {str(i): f"Is the thing {c.upper()}?" for i, c in enumerate(colors, start=2)}
    return Prompt(
        id=str(number),
        text="a thing",
        tag="dpg",
        meta={
            "questions": questions,
            "parents": {n: [0] if n == "1" else [1] for n in questions},
            "tuples": {n: "attribute - color (thing)" for n in questions},
        },
    )


def pictures(root: Path, prompts: tuple[Prompt, ...], colors: tuple[str, ...]) -> ImageSet:
    records = []
    for one, color in zip(prompts, colors, strict=True):
        pixels = np.full((8, 8, 3), COLORS[color], np.uint8)
        Image.fromarray(pixels).save(root / f"{one.id}.png")
        records.append(
            ImageRecord(prompt_id=one.id, ordinal=0, path=f"{one.id}.png", sha256="", seed=0)
        )
    suite = PromptSuite(name="colours", version="1", prompts=prompts)
    return ImageSet(root=root, suite=suite, images_per_prompt=1, records=tuple(records))


def test_questions_are_answered_and_scored(backend: MPlugAnswers, tmp_path: Path) -> None:
    prompts = (prompt(0, "red"), prompt(1, "red", "green", "blue"), prompt(2, "blue"))
    images = pictures(tmp_path, prompts, ("red", "green", "red"))
    evaluator = DPG()
    queries = {p.id: evaluator.queries(VQA, p) for p in prompts}
    found = list(backend.predict(images, queries, batch_size=2))
    assert [record["answers"] for record, _ in found] == [
        ["yes", "yes"],
        ["yes", "no", "yes", "no"],
        ["yes", "no"],
    ]
    predictions = {VQA: Predictions(records=[record for record, _ in found])}
    records = list(evaluator.score(images.suite, predictions))
    assert [record["score"] for record in records] == [100.0, 50.0, 50.0]
    score = evaluator.aggregate(records, predictions)["score"].value
    assert score == pytest.approx(200 / 3)


def test_the_version_of_modelscope_is_part_of_the_identity(
    backend: MPlugAnswers, folder: Path
) -> None:
    first = backend.identity()
    assert first["packages"]["modelscope"] == "1.18.0" and set(first["weights"]) == {"model"}
    (folder / "pytorch_model.bin").write_text("another checkpoint")
    assert backend.identity()["weights"] != first["weights"]


def test_another_generation_of_modelscope_is_refused(
    backend: MPlugAnswers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_ENV_DPG_MPLUG", str(make_environment(tmp_path / "new", "2.0.0")))
    environments._described.cache_clear()
    with pytest.raises(WorkerError, match=r"modelscope 2\.0\.0 \(expected 1\.\*\)"):
        backend.identity()


def test_answers_that_are_no_texts_are_refused(backend: MPlugAnswers, tmp_path: Path) -> None:
    images = pictures(tmp_path, (prompt(0),), ("red",))
    with pytest.raises(WorkerError, match="expected 1 texts"):
        list(backend.predict(images, {"0": ["odd"]}))


def test_the_model_is_found_or_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_MPLUG_MODEL", raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "theirs"))
    with pytest.raises(PrerequisiteError, match=f"modelscope download --model damo/{MODEL}"):
        model_folder()
    for place in reversed(list(places())):
        place.mkdir(parents=True)
        with pytest.raises(PrerequisiteError, match=r"has no configuration\.json, config\.yaml"):
            model_folder()
        for name in FILES:
            (place / name).touch()
        assert model_folder() == place


def test_a_missing_environment_says_how_to_make_it(
    backend: MPlugAnswers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_ENV_DPG_MPLUG")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    with pytest.raises(PrerequisiteError, match="BENCH_ENV_DPG_MPLUG"):
        backend.identity()
