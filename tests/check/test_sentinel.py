"""A detector that does not see what is there refuses to report."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.api import Backend, ImageSet
from bench.cli import main
from evaluators import sentinel
from evaluators.models.tiny_detector import TinyDetector
from evaluators.sentinel import SentinelError, expectations, findings, sentinel_images

COMMITTED = Path(__file__).parents[2] / "results" / "regression"
Change = Callable[[dict[str, Any]], Mapping[str, Any]]


@pytest.fixture(autouse=True)
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has passed yet in this process."""
    monkeypatch.setattr(sentinel, "_passed", set())
    monkeypatch.delenv(sentinel.SKIP, raising=False)


class Knowing(Backend):
    """Says what is expected, changed in one way."""

    name = "knowing"
    version = 1
    change: Change = staticmethod(lambda thing: thing)
    set_name = "photos"

    def predict(self, images: ImageSet, queries: Any, *, batch_size: int = 64) -> Iterator[Any]:
        pictures = {Path(p["file"]).stem: p for p in expectations(self.set_name)["pictures"]}
        for record in images.records:
            things = [
                dict(self.change({"score": 0.95, "color": None, **thing}))
                for thing in pictures[record.prompt_id]["objects"]
            ]
            yield {"prompt_id": record.prompt_id, "ordinal": 0, "detections": things}, {}


def test_pictures_are_there_and_boxes_lie_in_them() -> None:
    for name in ("photos", "tiny"):
        images = sentinel_images(name)
        images.require_complete()
        for picture in expectations(name)["pictures"]:
            with Image.open(images.root / picture["file"]) as opened:
                width, height = opened.size
            for thing in picture["objects"]:
                x0, y0, x1, y1 = thing["box"]
                assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height


def test_the_tiny_detector_passes() -> None:
    assert findings(TinyDetector(), "tiny") == []
    TinyDetector().self_check()


@pytest.mark.parametrize("name", ["photos", "tiny"])
def test_one_that_knows_passes(name: str) -> None:
    backend = Knowing()
    backend.set_name = name
    assert findings(backend, name) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: {**t, "class": "dog" if t["class"] == "cat" else t["class"]}, "expected a cat"),
        (lambda t: {**t, "score": 0.4}, "found nothing"),
        (lambda t: {**t, "box": [v / 3 for v in t["box"]]}, "expected a person at"),
        (lambda t: {**t, "box": [t["box"][1], t["box"][0], t["box"][3], 20]}, "cup.jpg"),
    ],
    ids=["class", "score", "scale", "axes"],
)
def test_one_that_is_wrong_refuses(change: Change, said: str) -> None:
    backend = Knowing()
    backend.change = change
    with pytest.raises(SentinelError, match="refuses to report") as raised:
        sentinel.require_sentinel(backend, "photos")
    assert said in str(raised.value)


def test_colours_and_numbers_count_in_the_tiny_world() -> None:
    backend = Knowing()
    backend.set_name = "tiny"
    backend.change = lambda t: {**t, "color": "green" if t["color"] == "red" else t["color"]}
    assert findings(backend, "tiny") == [
        "two_objects.png: expected a red circle at [3.5, 10.5, 14.5, 21.5]; found it green"
    ]

    class Doubling(Knowing):
        def predict(self, *given: Any, **options: Any) -> Iterator[Any]:
            for record, arrays in super().predict(*given, **options):
                yield {**record, "detections": record["detections"] * 2}, arrays

    doubling = Doubling()
    doubling.set_name = "tiny"
    wrong = findings(doubling, "tiny")
    assert len(wrong) == 3 and all("nothing else is there" in text for text in wrong)


def test_nothing_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Red and blue exchanged, as by a reader of BGR files: no number, exit 1, and the reason."""
    from evaluators.models import tiny_detector

    find = tiny_detector.find
    monkeypatch.setattr(tiny_detector, "find", lambda pixels: find(pixels[..., ::-1].copy()))
    assert main(["check", "--evaluators", "geneval", "--from", str(COMMITTED)]) == 1
    shown = capsys.readouterr()
    assert "tiny-detector refuses to report" in shown.err
    assert "expected a red circle" in shown.err
    assert shown.out == ""
    monkeypatch.setenv(sentinel.SKIP, "1")
    assert main(["check", "--evaluators", "geneval", "--from", str(COMMITTED)]) == 1
    assert "colors: committed" in capsys.readouterr().out  # the drift itself


def test_a_graph_stops_before_predictions_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.api.folder import read_flat
    from bench.executors.local import run_graph
    from bench.steps.graph import Graph
    from bench.steps.imported import import_images
    from bench.steps.predictions import PredictionStep
    from bench.steps.step import stored_step
    from bench.store import Store

    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(np.zeros((32, 32, 3), dtype=np.uint8)).save(folder / "a.png")
    store, graph = Store(tmp_path / "store"), Graph()
    images = graph.add(stored_step(import_images(store, read_flat(folder))))
    step = PredictionStep(
        name="p",
        identity={"of": images},
        upstream={"images": images},
        backend="tiny-detector",
        queries={},
        prompts=None,
        label="detector",
    )
    key = graph.add(step)
    monkeypatch.setattr(TinyDetector, "confidence", lambda *_: 0.01)
    outcome = run_graph(graph, [key], store, jobs=1)
    assert "refuses to report" in outcome.failures[key].message
    assert outcome.exit_code == 1
    assert list(store.artifacts("predictions")) == []
