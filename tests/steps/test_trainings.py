"""Named data sets, stages, starts and weights of rows, as far as the graph: nothing is computed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.api.errors import UsageError
from bench.api.registry import METHODS
from bench.config import load_yaml, override
from bench.report.collect import _provenance
from bench.spec.methods import training_plan
from bench.spec.profile import load_profile
from bench.spec.request import Request, make_request
from bench.spec.table import read_table
from bench.steps.cells import TableGraph, build_graph
from bench.steps.images import ImageStep
from bench.store import Store

STAGED = "tests.steps.toymethods:WarmThenPrefer"
COLUMN = {
    "key": "GE",
    "label": "GenEval",
    "evaluator": "geneval",
    "metric": "overall",
    "higher_is_better": True,
    "decimals": 3,
}


def graph(
    profile: Path, rows: Sequence[dict[str, Any]], *overrides: str, only: str | None = None
) -> TableGraph:
    """The graph of a table of these rows, in the micro profile."""
    labelled = [{"label": row["key"], **row} for row in rows]
    data = {"title": "t", "source": "s", "rows": labelled, "columns": [COLUMN]}
    table = read_table("toy", data)
    request = Request(
        table=table,
        profile=load_profile(str(profile), overrides=overrides),
        rows=tuple(row for row in table.rows if only in (None, row.key)),
        columns=table.columns,
    )
    return build_graph(request, Store(profile.parent / "store"))


def of(found: TableGraph, kind: str) -> dict[str, Any]:
    """Nodes of a kind by name."""
    return {node.name: node for node in found.graph if node.kind == kind}


def test_a_data_set_is_made_once_for_all_that_name_it(pure_profile: Path) -> None:
    rows = [
        {"key": "ddspo", "method": "ddspo"},
        {"key": "dpo", "method": "diffusion-dpo"},
        {"key": "dpo-other", "method": "diffusion-dpo", "data": "other"},
        {"key": "dpo-own", "method": "diffusion-dpo", "data": "pairs"},
    ]
    named = "data={other: {kind: generated, seed: 5}, unused: {kind: generated, seed: 6}}"
    found = graph(pure_profile, rows, named, "training.methods.ddspo.data=other")
    assert set(of(found, "pairs")) == {"checkpoint.pairs", "checkpoint.other"}
    used = {name: node.upstream["pairs"] for name, node in of(found, "train").items()}
    assert set(used) == {  # whichever row asked: two ask for Diffusion-DPO on the profile's pairs
        "checkpoint.ddspo.t0",
        "checkpoint.diffusion-dpo.t0",
        "checkpoint.diffusion-dpo.other.t0",
    }
    assert used["checkpoint.ddspo.t0"] == used["checkpoint.diffusion-dpo.other.t0"]
    assert used["checkpoint.diffusion-dpo.t0"] != used["checkpoint.ddspo.t0"]
    other = of(found, "pairs")["checkpoint.other"]
    assert other.identity["spec"]["seed"] == 5
    assert other.identity["suite"] == of(found, "pairs")["checkpoint.pairs"].identity["suite"]


def test_a_data_set_of_the_profiles_settings_is_the_same_pairs_under_another_name(
    pure_profile: Path,
) -> None:
    rows = [{"key": "ddspo", "method": "ddspo", "data": "other"}]
    found = graph(pure_profile, rows, "data={other: {kind: generated}}")
    plain = graph(pure_profile, [{"key": "ddspo", "method": "ddspo"}])
    named, own = of(found, "pairs")["checkpoint.other"], of(plain, "pairs")["checkpoint.pairs"]
    assert named.identity == own.identity


@pytest.mark.parametrize(
    ("rows", "overrides", "message"),
    [
        ({"data": "othr"}, ["data={other: {kind: generated}}"], "'other'"),
        ({"data": "other"}, ["data={other: {kind: genrated}}"], "data.other.*'generated'"),
        ({"data": "other"}, ["data={other: {kind: generated, sed: 1}}"], "data.other.*'seed'"),
        ({}, ["data={other: {seed: 1}}"], "data.other lacks kind"),
        ({}, ["data={pairs: {kind: generated}}"], "means the profile's own pairs"),
        ({}, ["training.methods.ddspo.dta=x"], "'data'"),
        ({}, ["training.methods.ddspo.stages={warm: {lr: 1}}"], "stage"),
        ({"start": "dpoo"}, [], "'dpo'"),
        ({"start": "ddspo"}, [], "start from each other: ddspo -> ddspo"),
        ({"start": "circle"}, [], "ddspo -> circle -> ddspo"),
        ({"start": "ceiling"}, [], "nothing was trained"),
    ],
)
def test_wrong_rows_and_settings_name_key_and_cure(
    rows: dict[str, Any], overrides: list[str], message: str, pure_profile: Path
) -> None:
    table = [
        {"key": "ddspo", "method": "ddspo", **rows},
        {"key": "dpo", "method": "diffusion-dpo"},
        {"key": "circle", "method": "diffusion-dpo", "start": "ddspo"},
        {"key": "ceiling", "render": "exact"},
    ]
    with pytest.raises(UsageError, match=message):
        graph(pure_profile, table, *overrides, only="ddspo")


def test_each_stage_is_a_training_that_starts_from_the_one_before(pure_profile: Path) -> None:
    found = graph(pure_profile, [{"key": "both", "method": STAGED}])
    warm, prefer = (
        of(found, "train")["checkpoint.sft.t0"],
        of(found, "train")["checkpoint.warm-then-prefer.t0"],
    )
    assert prefer.upstream["start"] == warm.id
    assert prefer.identity["start"] == {"train": warm.id, "step": None}
    assert "start" not in warm.upstream and "start" not in warm.identity
    assert warm.identity["train"]["weight_decay"] == 0.0
    assert prefer.identity["train"]["weight_decay"] == 0.01
    assert "stage warm (1 of 2)" in warm.label and "stage prefer (2 of 2)" in prefer.label
    (images,) = of(found, "images").values()
    assert images.upstream == {"checkpoint": prefer.id}


def test_a_stage_alone_shares_its_training_with_the_whole(pure_profile: Path) -> None:
    rows = [{"key": "both", "method": STAGED}, {"key": "sft", "method": "sft"}]
    same = "training.methods.sft.train.weight_decay=0.0"
    assert len(of(graph(pure_profile, rows, same), "train")) == 2
    trained = [n.id for n in graph(pure_profile, rows).graph if n.kind == "train"]
    assert len(trained) == 3


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("stages={prefer: {lr: 2e-3}}", {"checkpoint.warm-then-prefer.t0"}),
        (
            "stages={warm: {train: {lr: 2e-3}}}",
            {"checkpoint.sft.t0", "checkpoint.warm-then-prefer.t0"},
        ),
        ("train={lr: 2e-3}", {"checkpoint.sft.t0", "checkpoint.warm-then-prefer.t0"}),
        ("method={kappa: 7.0}", {"checkpoint.warm-then-prefer.t0"}),
        ("stages={prefer: {data: other}}", {"checkpoint.warm-then-prefer.t0"}),
    ],
)
def test_a_stages_settings_make_that_stage_and_what_follows_stale(
    override: str, changed: set[str], pure_profile: Path
) -> None:
    rows = [{"key": "both", "method": STAGED}]
    data = "data={other: {kind: generated, seed: 5}}"
    before = {n.id for n in graph(pure_profile, rows, data).graph}
    key = f"training.methods.{WHOLE}."
    after = graph(pure_profile, rows, data, key + override)
    assert {n.name for n in after.graph if n.kind == "train" and n.id not in before} == changed


WHOLE = "warm-then-prefer"


def test_which_settings_of_a_stage_win(pure_profile: Path) -> None:
    """Code that departs beats the whole method's settings; the stage's own settings beat all.

    So it is in a file; what is set on the command line beats the file and the code.
    """
    rows = [{"key": "both", "method": STAGED}]

    def decay(*changes: str, told: tuple[str, ...] = ()) -> tuple[float, float]:
        data = load_yaml(pure_profile)
        for change in changes:
            override(data, change)
        file = pure_profile.with_name("changed") / "micro.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(data))
        found = of(graph(file, rows, *told), "train")
        first, second = found["checkpoint.sft.t0"], found["checkpoint.warm-then-prefer.t0"]
        return first.identity["train"]["weight_decay"], second.identity["train"]["weight_decay"]

    common = "training.common.weight_decay=0.5"
    whole = f"training.methods.{WHOLE}.train.weight_decay=0.25"
    stage = f"training.methods.{WHOLE}.stages={{warm: {{weight_decay: 0.125}}}}"
    assert decay(common) == (0.0, 0.5)
    assert decay(common, whole) == (0.0, 0.25)
    assert decay(common, whole, stage) == (0.125, 0.25)
    assert decay(common, whole, stage, told=("training.common.weight_decay=0.75",)) == (0.75, 0.75)
    assert decay(common, stage, told=(whole,)) == (0.25, 0.25)
    assert decay(common, told=(whole, stage)) == (0.125, 0.25)


def test_published_settings_of_a_stage_beat_the_methods_code(pure_profile: Path) -> None:
    """RealAlign keeps a moving average in stage 2 on SD-3.5-M, on SD-1.5 it keeps none."""
    for backbone, expected in (("sd-1.5", None), ("sd-3.5-m", 0.9)):
        chosen = f"training={{published: {backbone}}}"
        profile = load_profile(str(pure_profile), overrides=[chosen])
        first, second = training_plan(profile, "realalign", 0).stages
        assert second.train.ema_decay == expected and first.train.prompt_dropout == 0.2
        assert first.train.mode == "lora" and second.train.lr == pytest.approx(2.56e-6)
        assert second.method.config()["kappa"] == (1000.0 if expected is None else 50.0)
    plain = load_profile(str(pure_profile), overrides=["training={published: sd-2}"])
    with pytest.raises(UsageError, match=r"unknown backbone 'sd-2'.*'sd-1.5'"):
        training_plan(plain, "realalign", 0)


def test_a_row_may_start_from_another_row_with_the_same_seed(pure_profile: Path) -> None:
    rows = [
        {"key": "dpo", "method": "diffusion-dpo"},
        {"key": "dpo-and-ddspo", "method": "ddspo", "start": "dpo"},
        {"key": "from-base", "method": "ddspo", "start": "base"},
        {"key": "base", "checkpoint": "base"},
        {"key": "ddspo", "method": "ddspo"},
    ]
    found = of(graph(pure_profile, rows), "train")
    assert (
        found["checkpoint.ddspo.on-diffusion-dpo.t0"].upstream["start"]
        == found["checkpoint.diffusion-dpo.t0"].id
    )
    assert "start" not in found["checkpoint.ddspo.t0"].identity  # of two rows
    assert len(found) == 3
    # the row it starts from need not be asked for
    alone = of(graph(pure_profile, rows, only="dpo-and-ddspo"), "train")
    assert set(alone) == {"checkpoint.diffusion-dpo.t0", "checkpoint.ddspo.on-diffusion-dpo.t0"}


def test_a_lora_on_a_fully_trained_network_is_sampled_on_top_of_it(pure_profile: Path) -> None:
    rows = [
        {"key": "dpo", "method": "diffusion-dpo"},
        {"key": "both", "method": STAGED, "start": "dpo"},
    ]
    lora = f"training.methods.{WHOLE}.train={{mode: lora, lora_rank: 2, lora_alpha: 2}}"
    found = graph(pure_profile, rows, lora)
    trained = of(found, "train")
    warm, prefer = (
        trained[f"checkpoint.{name}.t0"]
        for name in (
            "warm-then-prefer.on-diffusion-dpo.warm",
            "warm-then-prefer.on-diffusion-dpo",
        )
    )
    assert warm.start is None
    assert warm.backbone.location == trained["checkpoint.diffusion-dpo.t0"].id
    assert prefer.start.location == warm.id
    assert prefer.backbone == warm.backbone
    (images,) = [n for n in of(found, "images").values() if n.upstream == {"checkpoint": prefer.id}]
    assert images.checkpoint.base == warm.backbone


def test_a_lora_of_another_rank_is_refused_before_anything_runs(pure_profile: Path) -> None:
    rows = [
        {"key": "dpo", "method": "diffusion-dpo"},
        {"key": "both", "method": "ddspo", "start": "dpo"},
    ]
    lora = "training.common.mode=lora"
    wide = "training.methods.diffusion-dpo.train={lora_rank: 4, lora_alpha: 4}"
    with pytest.raises(UsageError, match=r"LoRA of rank 4.*training of both says lora_rank: 8"):
        graph(pure_profile, rows, lora, wide)
    assert len(of(graph(pure_profile, rows, lora), "train")) == 2


def test_weights_that_are_not_there_leave_the_other_rows_alone(
    pure_profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    rows = [
        {"key": "base", "checkpoint": "base"},
        {"key": "theirs", "weights": "nobody/has-this"},
        {"key": "theirs-and-ddspo", "method": "ddspo", "start": "nobody/has-this"},
        {"key": "on-theirs", "method": "ddspo", "start": "theirs"},
        {"key": "variable", "weights": "${NO_SUCH_WEIGHTS}/lora"},
    ]
    found = graph(pure_profile, rows)
    reasons = {cell.row: cell.reason for cell in found.cells}
    assert reasons.pop("base") == ""
    assert all(reason.startswith("not run: ") for reason in reasons.values())
    assert "python -m bench assets fetch nobody/has-this" in reasons["theirs"]
    assert "NO_SUCH_WEIGHTS" in reasons["variable"]
    assert not found.missing and not of(found, "train")


def test_the_table_of_all_methods_has_them_all_and_is_of_validation_prompts(
    tmp_path: Path,
) -> None:
    request = make_request("methods", columns=["GE"])
    found = build_graph(request, Store(tmp_path))
    assert not found.missing and all(cell.step for cell in found.cells)
    assert request.profile.protocol == "validation"
    assert {node.identity["suite"]["name"] for node in of(found, "images").values()} == {
        "geneval-tiny-live-validation"
    }
    trained = {node.method for node in of(found, "train").values()}
    assert set(METHODS.names()) - trained == {"ddspo-efficient"}  # there by its presets
    assert make_request("methods", protocol="test").profile.protocol == "test"


def test_a_row_may_be_a_way_of_sampling(pure_profile: Path) -> None:
    rows = [
        {"key": "base", "checkpoint": "base"},
        {"key": "plain", "checkpoint": "base", "sampling": {"cfg_scale": 1.0}, "note": "no CFG"},
    ]
    found = graph(pure_profile, rows)
    images = [node for node in found.graph if isinstance(node, ImageStep)]
    assert sorted(node.spec.cfg_scale for node in images) == [1.0, 2.0]


def test_the_chain_of_a_cell_names_every_stage(pure_profile: Path) -> None:
    rows = [
        {"key": "dpo", "method": "diffusion-dpo", "data": "other"},
        {"key": "both", "method": STAGED, "start": "dpo"},
    ]
    found = graph(pure_profile, rows, "data={other: {kind: generated, seed: 5}}", only="both")
    (cell,) = found.cells
    store = Store(pure_profile.parent / "stand-ins")
    for node in found.graph:  # stand-ins: the chain is read off manifests and the graph
        store.build(node.kind, node.name, node.identity, lambda work: work.write_json("x", {}))
    node = found.graph[str(cell.step)]
    artifact = store.get(node.id)
    chain = _provenance(artifact, found, node.id)["artifacts"]
    trained = of(found, "train")
    assert (
        chain["checkpoint"] == trained["checkpoint.warm-then-prefer.on-diffusion-dpo.other.t0"].id
    )
    assert (
        chain["start"] == trained["checkpoint.warm-then-prefer.on-diffusion-dpo.other.warm.t0"].id
    )
    assert chain["start.start"] == trained["checkpoint.diffusion-dpo.other.t0"].id
    assert chain["start.start.pairs"] == of(found, "pairs")["checkpoint.other"].id
    assert chain["pairs"] == chain["start.pairs"] == of(found, "pairs")["checkpoint.pairs"].id


def test_rows_that_only_sample_differently_share_their_training(tmp_path: Path) -> None:
    request = make_request("guidance", rows=["base", "ddspo"], columns=["GE"], seeds=[0])
    found = build_graph(request, Store(tmp_path))
    assert sorted(of(found, "train")) == ["tiny-sd-noisy.ddspo.t0"]
    images = [step for step in found.graph if step.kind == "images"]
    assert len(images) == 2 * 8  # two models, each at eight scales
