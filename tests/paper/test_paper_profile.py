"""The paper profile, whole: the real repositories' names and files, at toy width, without network.

    python -m bench run --table 1a --profile paper --limit 6

runs as a user would run it. Only sizes are changed, by `--set`: what loads, trains, exports,
samples, detects, scores and reports is the code that works on the published checkpoints.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluators.geneval.prompts import OBJECT_NAMES, TASKS, geneval_suite
from evaluators.geneval.rules import COLORS
from tests.paper.place import LIMIT, PROMPTS, ROWS, Place, make_place
from tests.paper.repositories import CLIP_LARGE, DETECTOR, SD


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(*(tmp_path_factory.mktemp(n) for n in ("home", "repositories", "work")))


@pytest.fixture(scope="module")
def table(place: Place) -> dict[str, Any]:
    """The table's JSON, after checking that the run ended well."""
    done = place.table("--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_geneval_is_measured_on_all_six_tasks(table: dict[str, Any]) -> None:
    cells = {cell["row"]: cell for cell in table["cells"] if cell["column"] == "GE"}
    assert tuple(cells) == ROWS
    assert table["partial"] is True
    for cell in cells.values():
        assert cell["state"] == "measured", cell["reason"]
        assert cell["estimate"]["n"] == 4 * LIMIT
        assert set(TASKS) < set(cell["parts"])
        assert cell["protocol"]["suite"]["prompts"] == LIMIT
        assert cell["protocol"]["generation"]["scheduler"] == "default"
        backend = cell["protocol"]["backends"]["detector"]
        assert backend["backend"] == "geneval-hf"
        assert set(backend["models"]) == {DETECTOR, CLIP_LARGE}


def test_other_columns_say_what_they_lack(table: dict[str, Any]) -> None:
    reasons = {cell["column"]: cell["reason"] for cell in table["cells"] if cell["reason"]}
    assert set(reasons) == {"CB", "FID", "IS"}
    assert "assets fetch t2i-compbench" in reasons["CB"]
    assert "assets fetch coco-30k" in reasons["FID"] and reasons["IS"] == reasons["FID"]
    assert all(cell["state"] == "n/a" for cell in table["cells"] if cell["column"] in reasons)


def test_the_variant_is_named_in_what_is_written(place: Place, table: dict[str, Any]) -> None:
    folder = place.work / "outputs" / "tables" / "1a"
    assert "GE (geneval-hf)" in (folder / "table.md").read_text()
    assert "geneval-hf" in (folder / "table.csv").read_text()


def test_pairs_come_from_the_users_prompts(place: Place, table: dict[str, Any]) -> None:
    (pairs,) = place.artifacts("pairs")
    rows = lines(pairs / "pairs.jsonl")
    assert [row["prompt"] for row in rows] == [p for p in PROMPTS if len(p.split()) >= 2]


def test_trained_networks_are_exported_and_sampled_from(
    place: Place, table: dict[str, Any]
) -> None:
    trained = place.artifacts("train")
    assert len(trained) == 2
    for folder in trained:
        assert len(lines(folder / "metrics.jsonl")) == 2
        export = folder / "exports"
        weights = sorted(path.relative_to(export) for path in export.rglob("*.safetensors"))
        assert len(weights) == 2  # one for each saved step
    pictures = {}
    for folder in place.artifacts("images"):
        records = lines(folder / "records.jsonl")
        assert len(records) == 4 * LIMIT
        # stable-diffusion-v1-4.METHOD.t0.SUITE..., and of the base without METHOD.t0
        trained_with = folder.name.removeprefix("stable-diffusion-v1-4.").partition(".t0.")
        row = trained_with[0] if trained_with[1] else "base"
        pictures[row] = [record["sha256"] for record in records]
    assert tuple(sorted(pictures)) == tuple(sorted(ROWS))
    base = set(pictures["base"])
    assert len(base) > 1
    for row in ("diffusion-dpo", "ddspo"):
        assert not base & set(pictures[row])
    assert pictures["diffusion-dpo"] != pictures["ddspo"]


def test_detections_and_colors_were_made(place: Place, table: dict[str, Any]) -> None:
    prompts = {prompt.id: prompt for prompt in geneval_suite()}
    colors = set()
    for folder in place.artifacts("predictions"):
        for record in lines(folder / "predictions.jsonl"):
            asked = {
                clause["class"]
                for clause in prompts[record["prompt_id"]].meta["include"]
                if "color" in clause
            }
            for detection in record["detections"]:
                assert detection["class"] in OBJECT_NAMES
                assert ("color" in detection) == (detection["class"] in asked)
                colors.add(detection.get("color"))
    assert colors & set(COLORS)


def test_the_same_command_again_has_nothing_to_do(place: Place, table: dict[str, Any]) -> None:
    done = place.table("--json")
    assert done.returncode == 0, done.stderr
    assert "complete: nothing to do" in done.stderr
    assert json.loads(done.stdout) == table


def test_an_empty_cache_offline_ends_with_the_commands(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    empty = Place(home=tmp_path / "home", work=tmp_path)
    done = empty.table("--offline")
    assert done.returncode == 3, done.stderr
    for repository in (SD, DETECTOR):
        assert f"{repository} is not in the Hugging Face cache" in done.stderr
        assert f" {repository}" in done.stderr.partition("to mend it")[2]
    assert not (tmp_path / "outputs").exists() or not list((tmp_path / "outputs").glob("[!.]*/*"))
