"""What a plug-in reads at run time is seen; where it changes, what it made is made anew."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.store import Store
from tests.steps.micro import forked, table_arguments
from tests.steps.toys import save_checkpoint, write_profile

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

DETECTOR = """
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar
from tests.steps.toys import ToyDetector

FOLDER = Path(__file__).parents[1] / "".join(["da", "ta"])
AT_IMPORT = float((FOLDER.parent / f"{'at'}_import").read_text())

class Reading(ToyDetector):
    name: ClassVar[str] = "reading-detector"

    def predict(self, images, queries, *, batch_size=64):
        os.environ["SET_BY_ITSELF"] = "1"
        with ThreadPoolExecutor(1) as pool:
            scale = float(pool.submit(Path("working").read_text).result())
        scale *= AT_IMPORT * float(os.environ.get("READING_SCALE", os.environ["SET_BY_ITSELF"]))
        for path in sorted(FOLDER.iterdir()):
            scale *= float(path.read_text())
        for record, arrays in super().predict(images, queries, batch_size=batch_size):
            for found in record["detections"]:
                found["score"] *= scale
            yield record, arrays
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A profile with the detector, and the files that it reads."""
    (tmp_path / "plug").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "plug" / "reading_detector.py").write_text(DETECTOR)
    (tmp_path / "data" / "a").write_text("1")
    for name in ("at_import", "working"):
        (tmp_path / name).write_text("1")
    monkeypatch.chdir(tmp_path)
    named = {"tests.steps.toys:ToyDetector": "reading_detector:Reading"}
    write_profile(tmp_path, save_checkpoint(tmp_path / "checkpoint"), **named)
    monkeypatch.syspath_prepend(tmp_path / "plug")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'plug'}{os.pathsep}{os.environ['PYTHONPATH']}")
    return tmp_path


def run(place: Path) -> str:
    """The base's GenEval; returns what was said."""
    log = place / "log"
    log.unlink(missing_ok=True)
    row = ["--rows", "base", "--cols", "GE", "--trust"]
    words = table_arguments(place / "micro.yaml", place / "store", *row)
    status = os.waitstatus_to_exitcode(os.waitpid(forked(words, log), 0)[1])
    assert status == 0, log.read_text()
    return log.read_text()


def scores(place: Path) -> list[float]:
    """Of the detections that are stored now."""
    (made,) = Store(place / "store").artifacts("predictions")
    lines = made.file("predictions.jsonl").read_text().splitlines()
    return [found["score"] for line in lines for found in json.loads(line)["detections"]]


def test_files_folders_and_variables_that_a_plug_in_reads_are_looked_at_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place)
    first = scores(place)
    (made,) = Store(place / "store").artifacts("predictions")
    seen = made.manifest["observed"]
    assert set(seen["files"]) == {str(place / name) for name in ("data/a", "at_import", "working")}
    assert set(seen["working_folder"]) == {str(place)}
    assert set(seen["folders"]) == {str(place / "data")}
    assert set(seen["environment"]) == {"READING_SCALE"}
    changes: dict[str, Callable[[], object]] = {
        "data/a": lambda: (place / "data" / "a").write_text("0.5"),
        "at_import": lambda: (place / "at_import").write_text("0.5"),
        "working": lambda: (place / "working").write_text("0.5"),
        "$READING_SCALE": lambda: monkeypatch.setenv("READING_SCALE", "0.5"),
        "other names": lambda: (place / "data" / "b").write_text("0.5"),
    }
    for number, (named, change) in enumerate(changes.items(), start=1):
        change()
        said = run(place)
        assert named in said and "made anew" in said
        assert scores(place) == pytest.approx([one * 0.5**number for one in first])
    assert "anew" not in run(place)


def test_an_artifact_brought_from_another_store_is_noticed_by_what_was_made_from_the_first(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(place)
    store = Store(place / "store")
    (images,) = store.artifacts("images")
    (before,) = store.artifacts("scores")
    kept = place / "kept"
    shutil.copytree(images.path, kept)
    shutil.rmtree(images.path)
    with store.create(images.kind, images.name, images.identity) as work:
        shutil.copytree(kept, work.path, dirs_exist_ok=True)
        (work.path / "manifest.json").unlink()
        (work.path / "more").write_text("another content")
    assert "made from another images/" in run(place)
    (after,) = store.artifacts("scores")
    assert after.manifest["created"] != before.manifest["created"]
