"""Weights of others as rows and as starts, and stages, on a pipeline of toy width: all is run."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from bench.api.errors import CorruptArtifactError, PrerequisiteError, UsageError
from bench.backbones.base import Backbone
from bench.backbones.lora_files import find_lora
from bench.executors.local import run_graph
from bench.generation.checkpoint import (
    CheckpointRef,
    export_folder,
    load_pipeline_backbone,
)
from bench.generation.parts import LORA_FILE, find_weights, require_fits
from bench.generation.weights import content_hash
from bench.report.collect import table_data
from bench.report.stored import make_report
from bench.spec.profile import load_profile
from bench.spec.request import Request
from bench.spec.table import RowSpec, read_table
from bench.steps.builder import GraphBuilder
from bench.steps.cells import build_graph
from bench.steps.graph import Graph
from bench.steps.initial import weights_checkpoint
from bench.steps.training import add_training
from bench.store import Store
from bench.training.export import POLICY, export_lora
from tests.paper.hub_cache import add_repository
from tests.steps.test_trainings import COLUMN, STAGED, WHOLE
from tests.steps.toys import save_checkpoint, write_profile
from tests.training.nets import normal, tiny_backbone

torch.set_num_threads(1)
KINDS = ("pipeline", "network", "nested", "lora")


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """A base checkpoint with its profile, and weights of each kind beside it."""

    folder: Path
    profile: Path
    base: CheckpointRef

    def source(self, store: Store, *overrides: str) -> GraphBuilder:
        profile = load_profile(str(self.profile), overrides=overrides)
        return GraphBuilder(profile=profile, store=store, graph=Graph())


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("shelf")
    checkpoint = save_checkpoint(folder / "checkpoint")
    base = CheckpointRef(kind="path", location=str(checkpoint))
    backbone = load_pipeline_backbone(base, Store(folder / "store"), device="cpu")
    with torch.no_grad():
        for parameter in backbone.denoiser.parameters():
            parameter.mul_(1.1)
    backbone.denoiser.save_pretrained(folder / "network")
    backbone.denoiser.save_pretrained(folder / "nested" / "unet")
    backbone.pipeline().save_pretrained(folder / "pipeline")
    fresh = load_pipeline_backbone(base, Store(folder / "store"), device="cpu")
    write_lora(fresh, folder / "lora", rank=2)
    return Shelf(folder=folder, profile=write_profile(folder, checkpoint), base=base)


def write_lora(backbone: Backbone, folder: Path, *, rank: int, alpha: float = 2.0) -> None:
    """Write a LoRA that changes what the network predicts."""
    targets = list(backbone.lora_targets)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, init_lora_weights=False)
    torch.manual_seed(3)
    backbone.denoiser.add_adapter(config, adapter_name=POLICY)
    export_lora(backbone.denoiser, folder)


def prediction(backbone: Backbone) -> torch.Tensor:
    condition = backbone.encode_prompts(["a red circle"])
    x_t, t = normal((1, 4, 4, 4), 5), torch.tensor([500])
    with torch.no_grad():
        return backbone.predict(backbone.denoiser, x_t, t, condition)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_each_kind_are_put_where_they_belong(
    kind: str, shelf: Shelf, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    ref = weights_checkpoint(shelf.source(store), str(shelf.folder / kind), "row theirs")
    assert (ref.base is None) == (kind == "pipeline")
    found = prediction(load_pipeline_backbone(ref, store, device="cpu"))
    base = prediction(load_pipeline_backbone(shelf.base, store, device="cpu"))
    assert not torch.allclose(found, base, atol=1e-4)
    if kind != "lora":
        whole = CheckpointRef(kind="path", location=str(shelf.folder / "pipeline"))
        expected = prediction(load_pipeline_backbone(whole, store, device="cpu"))
        assert torch.equal(found, expected)
    assert ref.identity(store) != shelf.base.identity(store)
    assert CheckpointRef.from_json(ref.to_json()) == ref


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_found_in_the_hubs_cache_and_are_the_same(
    kind: str, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_repository(tmp_path, "owner/name", shelf.folder / kind)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    hub, here = find_weights("owner/name", None, hub=True), shelf.folder / kind
    local = find_weights(str(here), None, hub=False)
    assert hub.kind == local.kind
    assert content_hash(hub.folder) == content_hash(local.folder)


def test_weights_of_another_network_name_file_and_tensor(shelf: Shelf, tmp_path: Path) -> None:
    wide = tiny_backbone(tmp_path / "parts", block_out_channels=(16, 32))
    wide.denoiser.save_pretrained(tmp_path / "network")
    write_lora(wide, tmp_path / "lora", rank=2)
    for kind in ("network", "lora"):
        found = find_weights(str(tmp_path / kind), None, hub=False)
        with pytest.raises(UsageError, match=r"another network than .*unet") as error:
            require_fits(found, Path(shelf.base.location) / "unet")
        tensor = {"network": "conv_in.bias of shape (16,) against (8,)", "lora": ".lora."}[kind]
        assert str(tmp_path / kind) in str(error.value) and tensor in str(error.value)


def test_broken_and_absent_weights_say_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match="no folder"):
        find_weights(str(tmp_path / "none"), None, hub=False)
    with pytest.raises(PrerequisiteError, match="holds no weights"):
        find_weights(str(tmp_path), None, hub=False)
    (tmp_path / LORA_FILE).write_bytes(b"not safetensors")
    found = find_weights(str(tmp_path), None, hub=False)
    with pytest.raises(CorruptArtifactError, match="no whole safetensors file"):
        require_fits(found, tmp_path)


def test_a_published_lora_of_another_rank_is_refused_naming_its_file(
    shelf: Shelf, tmp_path: Path
) -> None:
    row = RowSpec(key="both", label="b", method="ddspo", start=str(shelf.folder / "lora"))
    source = shelf.source(Store(tmp_path), "training.common.mode=lora")
    with pytest.raises(UsageError, match=r"lora_weights.safetensors is a LoRA of rank 2 and alpha"):
        add_training(source, row, 0)


def test_a_row_without_its_weights_shows_what_was_published(shelf: Shelf, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"key": "base", "label": "base", "checkpoint": "base"},
        {"key": "lora", "label": "lora", "weights": str(shelf.folder / "lora")},
        {"key": "network", "label": "network", "weights": str(shelf.folder / "network")},
        {"key": "pipeline", "label": "pipeline", "weights": str(shelf.folder / "pipeline")},
        {"key": "theirs", "label": "theirs", "weights": str(shelf.folder / "not-there")},
    ]
    published = {"theirs": {"FID": {"value": 12.5, "source": "their paper"}}}
    fid = {**COLUMN, "key": "FID", "evaluator": "fid", "metric": "fid", "higher_is_better": False}
    table = {"title": "t", "source": "s", "rows": rows, "columns": [fid], "published": published}
    spec = read_table("toy", table)
    request = Request(
        table=spec,
        profile=load_profile(str(shelf.profile)),
        rows=spec.rows,
        columns=spec.columns,
        limit=6,
    )
    store = Store(tmp_path / "store")
    graph = build_graph(request, store)
    outcome = run_graph(graph.graph, graph.targets, store, jobs=1)
    assert outcome.exit_code == 0
    data = table_data(request, graph, store, outcome)
    states = {cell.row: cell.state for cell in data.cells}
    assert states.pop("theirs") == "n/a"
    assert set(states.values()) == {"measured"}
    values = {c.row: c.estimate.value for c in data.cells if c.estimate is not None}
    assert values["network"] == values["pipeline"]
    assert len({values[key] for key in ("base", "lora", "network")}) == 3
    text = make_report(data, graph.targets).render("md")
    assert "| theirs | not run | 12.5" in text
    assert "not run: theirs/FID: there is no folder" in text


def test_a_lora_is_hashed_whatever_its_file_is_called(shelf: Shelf, tmp_path: Path) -> None:
    (file,) = (shelf.folder / "lora").glob("*.safetensors")
    copy = shutil.copyfile(file, tmp_path / "tiny-v1.5.safetensors")
    alone = content_hash(tmp_path)
    (tmp_path / "info.json").write_text("{}")
    before = content_hash(tmp_path)
    assert alone != before
    data = bytearray(copy.read_bytes())
    data[-1] ^= 0x80
    copy.write_bytes(data)
    assert find_lora(tmp_path) == copy
    assert content_hash(tmp_path) != before


def test_stages_start_from_each_other_and_the_manifest_says_from_what(
    shelf: Shelf, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    lora = f"training.methods.{WHOLE}.train={{mode: lora, lora_rank: 2, lora_alpha: 2}}"
    source = shelf.source(store, lora, "training.common.lr=5e-2")
    row = RowSpec(key="both", label="both", method=STAGED)
    key = add_training(source, row, 0)
    first = source.graph[key].upstream["start"]
    assert run_graph(source.graph, [key], store, jobs=1).exit_code == 0
    start = export_folder(store.get(first))
    note = store.get(key).manifest["notes"]["start"]
    assert note["content_sha256"] == content_hash(start) and note["location"] == first
    run, before = (json.loads((store.get(k).path / "run.json").read_text()) for k in (key, first))
    assert run["identity"]["reference"] == "adapter_copy"
    assert before["identity"]["policy_sha256"] != run["identity"]["policy_sha256"]
    metrics = (store.get(key).path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(metrics[0])["loss"] == pytest.approx(math.log(2), rel=1e-6)

    # another method goes on from the stored result, named by its artifact
    more = RowSpec(key="more", label="more", method="ddspo", start=key)
    after = shelf.source(
        store,
        "training.common={mode: lora, lora_rank: 2, lora_alpha: 2, steps: 2,"
        " batch: 2, micro_batch: 2, lr: 1e-3}",
    )
    last = add_training(after, more, 0)
    assert after.graph[last].upstream["start"] == key
    assert run_graph(after.graph, [last], store, jobs=1).exit_code == 0
    assert store.get(last).manifest["notes"]["start"]["location"] == key
