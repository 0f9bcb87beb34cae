"""The table verbs' options and exit codes; nothing here imports torch."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from bench.cli import main
from bench.report.collect import command_words
from bench.spec.request import make_request


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("run --table 1A", "'1a'"),
        ("run --table 1a --profile tinny", "'tiny'"),
        ("run --table 1a --rows ddpso", "'ddspo'"),
        ("run --table 1a --cols GE,FIDD", "'FID'"),
        ("run --table 1a --method diffusion-dop", "'diffusion-dpo'"),
        ("run --table 1a --method realaling", "'realalign'"),
        ("run --table 1a --method bench.nowhere:Class", "no module"),
        ("run --table 1a --method nowhere.py:Class", "no file"),
        ("run --table 1a --set traning.common.lr=1", "'training'"),
        ("run --table 1a --set training.common.lr", "KEY=VALUE"),
        ("run --table 1a --protocol tets", "'test'"),
        ("run --table 1a --seeds 0,x", "0,1,2"),
        ("run --table 1a --limit 0", "at least 1"),
        ("run --table 1a --jobs 0", "at least 1"),
        ("run --table 1a --executor slurm", "'slurm'"),
        ("run --table 1a --ray-address 127.0.0.1:6379", "--executor ray"),
        ("run --tabel 1a", "--table"),
        ("plan --table 1a --row ddspo", "--rows"),
        ("report --table 1aa", "'1a'"),
        ("report --table 1a", "run the table first"),
        ("train ddsop", "'ddspo'"),
        ("train ddspo --pairs shufled", "'shuffled'"),
        ("train", "name one method"),
        ("train ddspo --method sft", "name one method"),
        ("train ddspo --stage stage1", "it has none"),
        ("train realalign --stage stage3", "stage1, stage2"),
        ("train ddspo --data photoes", "data set of profile tiny"),
        ("train ddspo --start-from ddpso", "'ddspo'"),
        ("train ddspo --start-from train/none-0123456789ab", "no artifact"),
        ("train ddspo --set 'data={x: {kind: rendred}}' --data x", "'rendered'"),
        ("train realalign --set training.methods.realalign.stages.stage3.lr=1", "'stage1'"),
        ("show method ddspo --backbone sdlx", "'sdxl'"),
        ("show method sft --backbone sdxl", "no settings were published"),
        ("show table 1a --backbone sdxl", "belongs to a method"),
        ("generate --col GF", "'GE'"),
        ("generate --checkpoint tiny-sdd", "'tiny-sd'"),
        ("score --images images/none-0123456789ab", "no artifact"),
        ("score --geneval-folder nowhere", "no folder"),
        ("score", "required"),
        ("show cell 1a", "TABLE/ROW/COLUMN"),
    ],
)
def test_a_wrong_word_is_exit_two_with_the_nearest(
    words: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = shlex.split(words)
    assert main([*arguments, "--store", str(tmp_path / "store")]) == 2
    said = capsys.readouterr()
    assert hint in said.err and said.out == ""
    assert not list((tmp_path / "store").glob("[!.]*"))


def test_plan_lists_every_artifact_with_cost_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    words = ["--table", "1a", "--limit", "6", "--seeds", "0,1", "--store", str(store)]
    assert main(["plan", *words, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["seconds"] > 0 and plan["bytes"] > 0
    assert sum(step["id"].startswith("train/") for step in plan["steps"]) == 4
    assert {step["state"] for step in plan["steps"]} == {"missing"}
    assert main(["run", *words, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert f"{len(plan['steps'])} artifacts to make, 0 cached" in text
    assert "train ddspo, seed 1" in text
    assert not list(store.glob("[!.]*"))  # but for what is remembered of large files


@pytest.mark.parametrize(
    "words",
    [
        "run --table 1a --profile tiny --seeds 0",
        "run --table 1a --profile tiny --controls --seeds 0,1,2",
        "run --table 1a --profile tiny --rows base,sft --cols GE --seeds 0 --limit 24",
        "run --table 1a --profile tiny --seeds 0 --protocol validation "
        "--method examples.my_method:IPO --set training.common.lr=2e-5",
        "run --table 1a --profile paper --seeds 3 --protocol official",
    ],
)
def test_the_recorded_command_is_the_one_that_asks_for_the_table(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    from bench.cli._parser import Parser
    from bench.cli._request import request_of
    from bench.cli.run import register

    parser = Parser(prog="bench")
    register(parser.add_subparsers(dest="verb"))
    request = request_of(parser.parse_args(shlex.split(words)))
    assert list(command_words(request)) == shlex.split(words)


def test_a_row_is_asked_for_in_the_order_of_the_table() -> None:
    request = make_request("1a", rows=["ddspo", "base"], columns=["IS", "GE"])
    assert [row.key for row in request.rows] == ["base", "ddspo"]
    assert [column.key for column in request.columns] == ["GE", "IS"]


def test_what_a_training_costs_is_told_before_it_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "realalign", "--dry-run", "--store", str(tmp_path / "store")]
    words += ["--set", "training.methods.realalign.train={}"]
    small = "training.common={mode: lora, steps: 10, batch: 20, micro_batch: 6, lr: 1e-4}"
    assert main([*words, "--set", small, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["trainings"]
    assert first["label"].startswith("train realalign, stage stage1 (1 of 2)")
    assert second["artifact"].startswith("train/tiny-sd-noisy.realalign.t0-")
    assert first["micro_batches"] == 4  # 6 + 6 + 6 + 2
    assert first["visits"] == 200 and first["epochs"] == pytest.approx(200 / first["pairs"])
    assert 0 < first["trainable"] < 0.2 * first["parameters"]
    memory = second["memory"]
    assert memory["optimiser"] == 2 * memory["gradients"] == 8 * second["trainable"]
    assert second["memory_total"] == sum(memory.values())
    assert first["hours"] > second["hours"] > 0  # it samples from the policy
    assert main([*words, "--set", small]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "20 pairs = 6 x 4 micro-batches, 1 process" in text
    assert "0.0001 (effective, whatever the number of devices)" in text
    assert "estimate" in text and not list((tmp_path / "store").glob("train"))


@pytest.mark.parametrize(
    ("words", "images", "settings"),
    [
        (["ddspo"], 1024, "profile tiny"),
        (["ddspo-not-paired"], 512, "profile tiny"),
        (["realalign-stage2"], 0, "profile tiny"),
        (["sft", "--set", "training.published=sd-1.4", "--set", "training.otherwise=ddspo"], 1024,
         "none were published for sft on sd-1.4; taken are those of ddspo"),
        (["diffusion-dpo", "--set", "training.published=sdxl", "--data", "picks"], 1024,
         "published for diffusion-dpo on sdxl, changed by profile tiny"),
    ],
)  # fmt: skip
def test_images_to_sample_and_the_source_of_settings_are_told(
    words: list[str], images: int, settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", *words, "-n", "--store", str(tmp_path / "store")]
    assert main([*asked, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["trainings"]
    assert (found["images"], found["settings"]) == (images, settings)
    assert found["data"].startswith("pairs/tiny-sd-noisy.") and found["data_there"] is False
    assert main(asked) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert (f"{images:,} images to sample first" if images else "no image to sample") in text


def test_the_rate_does_not_depend_on_the_number_of_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for processes in ("1", "4"):
        asked = ["train", "ddspo", "-n", "--json", "--store", str(tmp_path / "s")]
        assert main([*asked, "--ranks", processes]) == 0
        found += json.loads(capsys.readouterr().out)["trainings"]
    one, four = found
    assert (one["micro_batches"], four["micro_batches"]) == (1, 1)
    assert one["train"] == four["train"] and one["artifact"] == four["artifact"]


def test_published_settings_are_shown_as_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "method", "ddspo", "--backbone", "sdxl", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    (training,) = card["trainings"]
    assert training["effective batch"] == 2048 and training["effective lr"] == 5.12e-6
    (strength,) = card["strength"]
    assert strength["kappa"] == 8000 and strength["beta_half_mean"] == 16000
    assert strength["beta_sum"] == pytest.approx(0.12207, abs=1e-5)
    assert training["optimiser"] == "adafactor, weight decay 0.01" and card["sources"]
    assert not card["departures"]
    assert main(["show", "method", "ddspo", "--backbone", "sd-3-m", "--json"]) == 0
    (departure,) = json.loads(capsys.readouterr().out)["departures"]
    assert "sigma squared" in departure["departure"]
    assert main(["show", "method", "realalign", "--backbone", "sd-1.5"]) == 0
    text = capsys.readouterr().out
    assert "stage1" in text and "2.56e-06" in text and "1600" in text
    assert main(["show", "method", "realalign", "--backbone", "sd-3.5-m"]) == 0
    wide = capsys.readouterr().out
    assert max(map(len, (text + wide).splitlines())) <= 80 and "None" not in wide
    assert main(["show", "method", "realalign"]) == 0
    assert "realalign-stage2" in capsys.readouterr().out
