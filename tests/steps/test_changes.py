"""`changes:` of a row: what an ablation varies of the settings a method is trained by."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main
from bench.report.collect import empty_table
from bench.spec.request import make_request
from bench.steps.cells import build_graph
from bench.steps.training import TrainingStep
from bench.store import Store

TABLE = """\
title: t
source: s
rows:
  - {key: base, label: base, checkpoint: base}
  - {key: plain, label: "+ plain", method: diffusion-dpo}
  - {key: same, label: "+ same", method: diffusion-dpo, changes: {train: {lr: 1.0e-5}}}
  - {key: long, label: "+ long", method: diffusion-dpo,
     changes: {train: {steps: 540}, method: {kappa: 3.0}}}
columns:
  - {key: GE, label: g, evaluator: geneval, metric: overall, per_image: correct,
     higher_is_better: true, decimals: 4}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(TABLE)
    return path


def trained(file: Path, *sets: str, rows: tuple[str, ...] = ()) -> dict[str, TrainingStep]:
    """The trainings of a request, by what their labels say is changed."""
    request = make_request(str(file), overrides=sets, rows=rows)
    graph = build_graph(request, Store(file.parent / "store")).graph
    return {step.label: step for step in graph if isinstance(step, TrainingStep)}


def test_what_a_row_changes_comes_after_the_profile_s_settings(file: Path) -> None:
    found = trained(file, rows=("long",))
    ((label, step),) = found.items()
    assert label == "train diffusion-dpo (steps 540, kappa 3.0), seed 0"
    assert (step.train.steps, step.train.lr, step.settings["kappa"]) == (540, 1e-5, 3.0)


def test_a_change_that_changes_nothing_is_the_same_training(file: Path) -> None:
    assert len(trained(file, rows=("plain", "same"))) == 1
    assert len(trained(file)) == 2


def test_what_the_command_line_sets_wins(file: Path) -> None:
    sets = ("training.common.steps=7", "training.methods.diffusion-dpo.method.beta_half_mean=500")
    (step,) = trained(file, *sets, rows=("long",)).values()
    plain = trained(file, *sets, rows=("plain",))
    assert step.train.steps == 7 and [s.id for s in plain.values()] == [step.id]


def test_the_table_says_what_was_changed(file: Path) -> None:
    rows = empty_table(make_request(str(file)), ()).rows
    assert rows[3]["changes"] == {"train": {"steps": 540}, "method": {"kappa": 3.0}}
    assert "changes" not in rows[1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{trian: {steps: 5}}", "unknown key 'changes.trian'. Did you mean train"),
        ("{train: {stepps: 5}}", "stepps"),
        ("{train: {steps: 2.5}}", "steps"),
        ("{train: {seed: 5}}", "the training seed is set by --seeds"),
        ("{method: {kapa: 5}}", "unknown setting 'kapa'. Did you mean 'kappa'"),
        ("{train: 5}", "changes.train"),
        ("5", "changes"),
    ],
)
def test_refused_on_the_command_line(
    file: Path, capsys: pytest.CaptureFixture[str], given: str, said: str
) -> None:
    file.write_text(TABLE.replace("{train: {lr: 1.0e-5}}", given))
    words = ["plan", "--table", str(file), "--store", str(file.parent / "s")]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said.replace("'", "") in error.replace("'", "") and error.count("\n") == 1


def test_a_row_without_a_method_has_no_settings_to_change(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(
        TABLE.replace("checkpoint: base", "checkpoint: base, changes: {train: {lr: 1}}")
    )
    assert main(["plan", "--table", str(file), "--store", str(file.parent / "s")]) == 2
    assert "has changes and no method to train" in capsys.readouterr().err
