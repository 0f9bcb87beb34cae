"""A planned claim or a control on a number of what chose the training data is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.api.errors import UsageError
from bench.cli import main
from bench.data.curated import chosen_by
from bench.spec.request import make_request
from bench.steps.cells import build_graph
from bench.store import Store

TABLE = """\
title: t
source: s
rows:
  - {key: base, label: base, checkpoint: base}
  - {key: photos, label: p, method: sft, data: %s}
  - {key: later, label: l, method: ddspo, start: photos%s}
columns:
  - {key: GE, label: g, evaluator: geneval, metric: overall, per_image: correct,
     higher_is_better: true, decimals: 4}
  - {key: Pick, label: g, evaluator: pickscore, metric: raw/tiny, per_image: raw,
     higher_is_better: true, decimals: 4}
claims:
  - %s
profiles:
  tiny: {settings: {data: {chosen: {kind: curated, preset: tiny,
                                    changes: {scores.backend: tiny-pickscore}}}}}
"""
PLANNED = "{better: later, worse: base, column: Pick, planned: true}"
Ask = Callable[..., None]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Builds the graph of the table with some changes."""

    def found(data: str = "photos", more: str = "", claim: str = PLANNED) -> None:
        file = tmp_path / "mine.yaml"
        file.write_text(TABLE % (data, more, claim))
        build_graph(make_request(str(file), controls=True), Store(tmp_path / "store"))

    return found


def test_what_chose_the_data_is_known_before_it_is_made(tmp_path: Path) -> None:
    assert chosen_by(Store(tmp_path), {"preset": "tiny"}) == ("tiny-clip",)
    changed = {"preset": "tiny", "changes": {"scores.backend": "tiny-pickscore"}}
    assert chosen_by(Store(tmp_path), changed) == ("tiny-pickscore",)
    assert chosen_by(Store(tmp_path), {"run": "curation/x-0123456789ab"}) == ()


def test_a_planned_claim_on_it_is_refused_also_through_a_start(ask: Ask) -> None:
    ask()  # clean renders were chosen by nobody
    with pytest.raises(
        UsageError,
        match=r"mine.yaml:13: planned claim later > base is on Pick, which tiny-pickscore measures",
    ):
        ask("chosen")
    ask("chosen", claim=PLANNED.replace("Pick", "GE"))  # another metric
    ask("chosen", claim=PLANNED.replace(", planned: true", ""))  # judged, and marked circular


def test_so_is_a_reward_and_a_control(ask: Ask) -> None:
    with pytest.raises(UsageError, match="chose the training data of row later or was its reward"):
        ask(more=", rewards: [tiny-pickscore]")
    ask(more=", rewards: [tiny-imagereward]")
    plain = PLANNED.replace(", planned: true", "")
    with pytest.raises(UsageError, match=r"mine.yaml:6: control later is on Pick"):
        ask("chosen", more=", control: improves, columns: [GE, Pick]", claim="{best: photos, "
            "columns: [GE], among: [base]}")  # fmt: skip
    ask("chosen", more=", control: improves, columns: [GE]", claim=plain.replace("later", "photos"))


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(TABLE % ("chosen", "", PLANNED))
    assert main(["plan", "--table", str(file), "--store", str(tmp_path / "store")]) == 2
    said = capsys.readouterr().err
    assert f"{file}:13: planned claim" in said and "Take another column" in said
