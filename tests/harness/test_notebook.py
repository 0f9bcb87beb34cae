"""The example notebook runs, and what it leaves is what the command line says."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench import harness
from bench.api.errors import PrerequisiteError, UsageError
from bench.cli import main
from tests.harness.notebook import run_notebook

FILE = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def ran(folder: Path) -> dict[str, Any]:
    """The notebook's names, run in an empty folder; `shown` has what its cells end with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HF_HUB_OFFLINE", "1")
        names, shown = run_notebook(FILE)
    return {**names, "shown": shown}


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def table_arguments(ran: dict[str, Any]) -> list[str]:
    sets = [word for assignment in ran["small"] for word in ("--set", assignment)]
    return ["--table", "1a", "--rows", "base,ddspo", "--cols", "GE", "--limit", "8", *sets]


def test_its_files_have_no_outputs() -> None:
    cells = json.loads(FILE.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_it_trains_generates_scores_and_shows(ran: dict[str, Any]) -> None:
    assert (ran["trained"].export / "unet").is_dir() or any(ran["trained"].export.iterdir())
    pictures = [value for value in ran["shown"] if isinstance(value, Image.Image)]
    assert len(pictures) == 2 and pictures[0].size == (192, 192)
    assert len(ran["images"]) == len(ran["scores"].records)
    assert "| overall " in ran["scores"]._repr_markdown_()
    assert "DDSPO" in ran["table"]._repr_markdown_()
    assert {(m.row, m.column) for m in ran["moved"]} >= {("ddspo", "GE")}


def test_the_command_line_finds_all_done(
    ran: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *table_arguments(ran), "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert {step["state"] for step in steps} == {"cached"}
    assert main(["run", *table_arguments(ran)]) == 0
    said = capsys.readouterr()
    assert "complete: nothing to do" in said.err
    assert said.out == str(ran["table"])


def test_the_training_of_the_table_is_the_one_above(ran: dict[str, Any]) -> None:
    trained = [cell.provenance["artifacts"].get("checkpoint") for cell in ran["table"].cells]
    assert ran["trained"].id in trained
    states = {step.id: step.state for step in ran["plan"].steps}
    assert states[ran["trained"].id] == "cached"


def test_what_is_there_is_not_made_again(ran: dict[str, Any]) -> None:
    events: list[harness.Event] = []
    again = harness.run("1a", **ran["asked"], on_event=events.append)
    assert again.outcome.was_complete and not again.written and not events
    assert again.cells == ran["table"].cells
    assert harness.train("ddspo", overrides=ran["small"]).id == ran["trained"].id


def test_cells_and_forms(ran: dict[str, Any], tmp_path: Path) -> None:
    table = ran["table"]
    value = table.value("base", "GE")
    cell = next(c for c in table.cells if c.row == "base")
    assert value.estimate is not None and cell.estimate is not None
    assert value.estimate.value == pytest.approx(cell.estimate.value)
    assert next(csv.reader(io.StringIO(table.render("csv"))))
    names = {path.name for path in table.save(tmp_path / "kept")}
    assert {"table.md", "table.json", "records.parquet", "command.txt", "samples.png"} <= names
    opened = harness.open_table(tmp_path / "kept")
    assert opened.cells == table.cells and opened.verdicts == table.verdicts
    assert opened.render("html") == table.render("html")
    with pytest.raises(UsageError, match=r"unknown picture 'sample\.png'.*samples\.png"):
        opened.picture("sample.png")


def test_frames_need_pandas(ran: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for found in (ran["table"], ran["scores"]):
        with pytest.raises(PrerequisiteError, match="pip install pandas"):
            found.to_pandas()


def test_frames(ran: dict[str, Any]) -> None:
    pytest.importorskip("pandas")
    frame = ran["table"].to_pandas()
    assert list(frame["row"]) == [cell.row for cell in ran["table"].cells]
    assert len(ran["scores"].to_pandas()) == len(ran["images"])


def test_scores_are_saved_with_what_was_measured(ran: dict[str, Any], tmp_path: Path) -> None:
    files = ran["scores"].save(tmp_path / "scores")
    kept = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert kept["images"] == ran["images"].id and all(path.is_file() for path in files)
    assert kept["metrics"]["overall"]["value"] == ran["scores"].metrics["overall"].value


def test_a_folder_is_scored_as_the_images_in_it(ran: dict[str, Any], tmp_path: Path) -> None:
    ran["images"].write_folder(tmp_path / "official", "geneval")
    found = harness.score(tmp_path / "official", "geneval", store=tmp_path / "store")
    assert found.metrics["overall"].value == ran["scores"].metrics["overall"].value
    with pytest.raises(UsageError, match="no folder"):
        harness.score("nowhere", "geneval")


def test_prompts_may_be_texts(ran: dict[str, Any]) -> None:
    texts = ["a red circle", "two blue squares"]
    images = harness.generate(prompts=texts, images_per_prompt=1, seed=3)
    assert [prompt.text for prompt in images.image_set.suite] == texts
    with pytest.raises(UsageError, match="has no image caption-000009/0"):
        images.picture("caption-000009")
