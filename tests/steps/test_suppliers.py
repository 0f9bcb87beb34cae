"""Stages that supply targets to a later one: the graph, and all three trained in a row."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bench.executors.local import run_graph
from bench.spec.table import RowSpec
from bench.steps.training import add_training
from bench.store import Store
from tests.steps.test_others_weights import Shelf, shelf  # noqa: F401  (a fixture)
from tests.steps.test_trainings import graph, of

ROW = {"key": "pair", "method": "ddspo-dd-cpp"}


def test_both_fits_start_from_the_base_and_the_last_stage_names_them(pure_profile: Path) -> None:
    nodes = of(graph(pure_profile, [ROW]), "train")
    assert len(nodes) == 3
    (align,) = [node for node in nodes.values() if "suppliers" in node.identity]
    fits = [node for node in nodes.values() if node is not align]
    assert {node.identity["method"]["config"]["images"] for node in fits} == {"winners", "losers"}
    assert all("start" not in node.identity for node in nodes.values())
    assert {align.upstream[f"supplier/{side}"] for side in ("winners", "losers")} == {
        node.id for node in fits
    }
    by_side = {node.identity["method"]["config"]["images"]: node.id for node in fits}
    assert align.upstream["supplier/losers"] == by_side["losers"]
    assert all(node.identity["train"]["mode"] == "lora" for node in fits)


def test_another_fit_makes_the_last_stage_stale_and_nothing_else(pure_profile: Path) -> None:
    before = {n.id for n in of(graph(pure_profile, [ROW]), "train").values()}
    changed = "training.methods.ddspo-dd-cpp={stages: {losers: {train: {lr: 3e-4}}}}"
    after = {n.id for n in of(graph(pure_profile, [ROW], changed), "train").values()}
    assert len(before & after) == 1  # the winners' fit


def test_the_three_stages_are_trained_through_the_graph(
    shelf: Shelf,  # noqa: F811
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "store")
    source = shelf.source(
        store, "training.methods.ddspo-dd-cpp={method: {fit_steps: 2, fit_lr: 1e-2}}"
    )
    key = add_training(source, RowSpec(key="pair", label="pair", method="ddspo-dd-cpp"), 0)
    assert run_graph(source.graph, [key], store, jobs=1).exit_code == 0
    run = json.loads((store.get(key).path / "run.json").read_text())
    hashes = run["identity"]["suppliers"]
    assert set(hashes) == {"winners", "losers"} and hashes["winners"] != hashes["losers"]
    first = json.loads((store.get(key).path / "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(math.log(2), rel=1e-6)
    assert first["error_a"] > 0.0  # its target is the winners' network, not the reference
