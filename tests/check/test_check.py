"""`bench check --evaluators`: committed images scored again; every drift is found and named."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.api import Predictions
from bench.check.image_sets import read_set
from bench.check.regression import TOLERANCE, compare, signatures
from bench.cli import main
from bench.store import MANIFEST, publish_folder
from evaluators.models.tiny_detector import TinyDetector

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "results" / "regression"
SET = "geneval-tiny-live-validation"
THERE = f"sets/{SET}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The committed folder, of which `scores.json` may be changed."""
    (tmp_path / "sets").symlink_to(COMMITTED / "sets")
    for name in ("scores.json", MANIFEST):
        shutil.copy(COMMITTED / name, tmp_path)
    return tmp_path


def scores(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "scores.json").read_text())
    return found


def commit(folder: Path, changed: dict[str, Any]) -> None:
    publish_folder(folder, {"scores.json": json.dumps(changed).encode()})


def check(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    code = main(["check", *argv, "--json"])
    report = json.loads(capsys.readouterr().out)
    return code, {row["evaluator"]: row for row in report["evaluators"]}


def test_the_committed_numbers_hold(capsys: pytest.CaptureFixture[str]) -> None:
    code, rows = check(capsys, "--evaluators", "geneval,fid", "--from", str(COMMITTED))
    assert (code, rows["geneval"]["state"], rows["fid"]["state"]) == (0, "ok", "ok")
    assert rows["geneval"]["images"] == 48
    assert rows["fid"]["metrics"]["fid"]["value"] > 1


@pytest.mark.slow
def test_all_of_them_hold(capsys: pytest.CaptureFixture[str]) -> None:
    code, rows = check(capsys, "--evaluators", "--from", str(COMMITTED))
    assert code == 0, rows
    checked = {name for name, row in rows.items() if row["state"] == "ok"}
    assert checked == set(scores(COMMITTED)["evaluators"])
    assert {row["state"] for row in rows.values()} <= {"ok", "not checked"}


def test_a_moved_metric_is_named_with_its_distance(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = scores(folder)
    changed["evaluators"]["geneval"]["metrics"]["counting"]["value"] += 0.25
    commit(folder, changed)
    code, rows = check(capsys, "--evaluators", "geneval", "--from", str(folder))
    assert code == 1
    (drift,) = rows["geneval"]["drifts"]
    assert drift["what"] == "counting"
    assert drift["change"] == pytest.approx(0.25)
    assert drift["allowed"] == TOLERANCE
    assert main(["check", "--evaluators", "geneval", "--from", str(folder)]) == 1
    assert (
        "geneval: counting: committed 0.875, found 0.625: moved by 0.25" in capsys.readouterr().out
    )
    far = ("--evaluators", "geneval", "--from", str(folder), "--tolerance", "0.3")
    assert main(["check", *far]) == 0


def test_a_drift_too_small_for_the_metrics_is_seen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Confidences 0.002 lower change no verdict, and are found in the raw predictions."""
    sure = TinyDetector.confidence
    monkeypatch.setattr(TinyDetector, "confidence", lambda *a: sure(*a) - 0.002)
    code, rows = check(capsys, "--evaluators", "geneval", "--from", str(COMMITTED))
    assert code == 1
    (drift,) = rows["geneval"]["drifts"]
    assert drift["what"].startswith("raw detector: ")
    assert TOLERANCE < drift["change"] < 0.01
    assert "of 48 images" in drift["where"]


def test_update_writes_what_was_asked_for_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = scores(folder)
    damaged = copy.deepcopy(before)
    for name in ("geneval", "fid"):
        damaged["evaluators"][name]["version"] = 99
    commit(folder, damaged)
    code, rows = check(capsys, "--evaluators", "geneval", "--update", "--from", str(folder))
    assert code == 0
    assert rows["geneval"]["note"] == "version 99 -> 1"
    after = scores(folder)
    assert after["evaluators"]["geneval"] == before["evaluators"]["geneval"]
    assert after["evaluators"]["fid"]["version"] == 99
    assert list(after["evaluators"]) == sorted(after["evaluators"])


def test_a_changed_or_missing_image_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = SET
    shutil.copytree(COMMITTED / "sets" / name, tmp_path / "sets" / name)
    for file in ("scores.json", MANIFEST):
        shutil.copy(COMMITTED / file, tmp_path)
    images = read_set(tmp_path, name)
    one, other = images.root / images.records[3].path, images.root / images.records[4].path
    other.write_bytes(one.read_bytes())
    assert main(["check", "--evaluators", "geneval", "--from", str(tmp_path)]) == 1
    assert other.name in capsys.readouterr().err
    other.unlink()
    assert main(["check", "--evaluators", "geneval", "--from", str(tmp_path)]) == 1
    assert images.records[4].key in capsys.readouterr().err
    shutil.rmtree(images.root)
    assert main(["check", "--evaluators", "geneval", "--from", str(tmp_path)]) == 3
    assert "--update" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        "scores.json",
        MANIFEST,
        *(f"sets/{SET}/{n}" for n in ("suite.json", "records.jsonl", MANIFEST)),
    ],
)
def test_an_edit_of_what_is_committed_is_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the numbers, or of prompts and list, which hold no hash of their own."""
    shutil.copytree(COMMITTED / "sets" / SET, tmp_path / "sets" / SET)
    for file in ("scores.json", MANIFEST):
        shutil.copy(COMMITTED / file, tmp_path)
    text = (tmp_path / name).read_text()
    digit = next(place for place in range(len(text) // 2, len(text)) if text[place] in "12345678")
    (tmp_path / name).write_text(f"{text[:digit]}{int(text[digit]) + 1}{text[digit + 1 :]}")
    assert main(["check", "--evaluators", "geneval", "--from", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert f"{Path(name).name} was" in said and "git checkout -- " in said
    assert main(["doctor", "--store", str(tmp_path / "none"), "--results", str(tmp_path)]) == 1
    assert f"{Path(name).name} was" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        ((), 2, "--evaluators"),
        (("--evaluators", "genevil"), 2, "geneval"),
        (("--evaluators", "human"), 2, "no numbers of human are committed"),
        (("--evaluators", "--tolerance", "-1"), 2, "0 or more"),
        (("--evaluators", "--from", "nowhere"), 2, "nowhere"),
        (("--evaluators", "--from", "."), 3, "--update"),
    ],
)
def test_what_cannot_be_asked(
    argv: tuple[str, ...],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", *argv]) == code
    assert said in capsys.readouterr().err


def test_what_is_compared() -> None:
    same = {"value": 0.5, "low": 0.4, "high": None, "n": 8}
    signature = {"box": [2, 0.1, 0.2], "words": "0"}
    before = {"metrics": {"a": same, "b": same}, "raw": {"r": {"x/0": signature}}}
    assert compare(before, copy.deepcopy(before)) == []
    now = copy.deepcopy(before)
    del now["metrics"]["b"]
    now["metrics"]["a"] = {"value": 0.5 + 0.9 * TOLERANCE, "low": None, "high": None, "n": 9}
    now["raw"]["r"]["x/0"]["words"] = "1"
    found = {drift.what: drift for drift in compare(before, now)}
    assert set(found) == {"a.low", "n of a", "b", "b.low", "raw r: words"}
    assert found["b"].found is None and found["b"].change is None
    now["raw"]["r"]["x/0"] = {"words": "0"}
    assert compare(before, now)[-1].what == "raw r: number of box"


def test_signatures_hold_numbers_and_words() -> None:
    record = {"prompt_id": "p", "ordinal": 1, "things": [{"box": [1, 2.0], "class": "cross"}]}
    arrays = {"features": np.array([[3.0, 5.0]])}
    signature = signatures(Predictions(records=[record], arrays=arrays))["p/1"]
    assert signature["things.box"] == [2, 1.5, pytest.approx(2.5**0.5)]
    assert signature["features"] == [2, 4.0, pytest.approx(17**0.5)]
    for thing, same in (
        ({"box": [1, 2.0], "class": "cross"}, True),
        ({"box": [1, 2.0], "class": "circle"}, False),
        ({"box": [1, 3.0], "class": "cross"}, False),
        ({"box": [1, 2.0, 2.0], "class": "cross"}, False),
    ):
        changed = Predictions(records=[{**record, "ordinal": 0, "things": [thing]}], arrays=arrays)
        assert (signatures(changed)["p/0"] == signature) == same


def test_the_committed_images_are_few() -> None:
    sizes = [path.stat().st_size for path in COMMITTED.rglob("*") if path.is_file()]
    assert sum(sizes) < 1_500_000
