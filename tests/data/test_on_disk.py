"""Stored sets that lack something, or are broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.api.errors import BenchError, CorruptArtifactError, UsageError
from bench.api.method import Batch
from bench.data.on_disk import PairsOnDisk
from bench.data.stored import StoredRow, _checked
from bench.store import Artifact, Store, write_jsonl, write_safetensors
from bench.store.work import Work
from bench.training.checks import require_fit
from methods.diffusion_dpo import DiffusionDPO
from tests.training.nets import LATENT, TEXT_WIDTH, TOKENS, tiny_backbone, tiny_pairs
from tests.training.runs import run

CPU = torch.device("cpu")
ROWS = 4


def put(store: Store, name: str = "set", **changes: Any) -> Artifact:
    """A set of four rows; `changes` replace a file's content."""
    normal = np.random.default_rng(0).standard_normal
    latents = {side: normal((ROWS, *LATENT), np.float32) for side in ("winner", "loser")}
    rows = [{"id": f"{n:06d}", "prompt": f"text {n}", "degraded": f"bad {n}"} for n in range(ROWS)]
    texts = [f"{kind} {n}" for n in range(ROWS) for kind in ("text", "bad")]
    content: dict[str, Any] = {
        "latents": latents,
        "rows": rows,
        "texts": texts,
        "conditions": {"encoder_hidden_states": normal((2 * ROWS, TOKENS, TEXT_WIDTH), np.float32)},
        **changes,
    }

    def make(work: Work) -> None:
        write_safetensors(work, "latents.safetensors", content["latents"])
        write_safetensors(work, "texts.safetensors", content["conditions"])
        write_jsonl(work, "pairs.jsonl", content["rows"])
        write_jsonl(work, "texts.jsonl", ({"text": text} for text in content["texts"]))
        work.write_json("report.json", {})

    return store.build("pairs", name, {"name": name}, make)


def test_a_whole_set_and_its_rows(store: Store) -> None:
    source = PairsOnDisk(put(store))
    batch = source.batch([2, 0], CPU)
    assert batch.loser is not None and batch.degraded is not None and batch.label is None
    assert source.rows[2] == StoredRow(id="000002", prompt="text 2", degraded="bad 2")
    assert StoredRow.from_json(source.rows[2].to_json()) == source.rows[2]
    assert json.loads(json.dumps(source.rows[2].to_json())) == source.rows[2].to_json()


def broken(store: Store, **changes: Any) -> str:
    with pytest.raises(CorruptArtifactError) as caught:
        PairsOnDisk(put(store, **changes))
    said = str(caught.value)
    assert str(store.root) in said and "to mend it: remove the folder" in said
    return said


def test_each_fault_names_file_and_row(store: Store) -> None:
    normal = np.random.default_rng(0).standard_normal
    good = {side: normal((ROWS, *LATENT), np.float32) for side in ("winner", "loser")}
    bad = {side: array.copy() for side, array in good.items()}
    bad["loser"][2, 0, 0, 0] = np.nan
    said = broken(store, name="nan", latents=bad)
    assert "latents.safetensors, row 2 (000002: 'text 2'): the loser latents are not finite" in said
    said = broken(store, name="shape", latents={**good, "loser": good["loser"][:, :2]})
    assert "loser has shape (4, 2, 4, 4), winner (4, 4, 4, 4)" in said
    assert "winner has shape (3, 4, 4, 4)" in broken(
        store, name="short", latents={"winner": good["winner"][:3]}
    )
    assert "winner has shape (4, 64)" in broken(
        store, name="flat", latents={"winner": good["winner"].reshape(4, -1)}
    )
    assert "there is no tensor 'winner'" in broken(
        store, name="none", latents={"loser": good["loser"]}
    )
    rows = [{"id": f"{n}", "prompt": f"text {n}", "label": 1} for n in range(ROWS)]
    texts = [f"text {n}" for n in range(ROWS)]
    conditions = {"x": normal((ROWS, 2), np.float32)}
    plain = {"rows": rows, "texts": texts, "conditions": conditions, "latents": good}
    assert PairsOnDisk(put(store, "labels", **plain)).labels is not None
    said = broken(store, name="label", **{**plain, "rows": [*rows[:3], {**rows[3], "label": 0}]})
    assert "pairs.jsonl, row 3 (3: 'text 3'): has the label 0" in said
    said = broken(store, name="text", **{**plain, "texts": ["text 0", "text 1", "other", "text 3"]})
    assert "texts.jsonl, row 2" in said and "lacks its text 'text 2'" in said
    said = broken(
        store, name="some", **{**plain, "rows": [*rows[:3], {**rows[3], "degraded": "x"}]}
    )
    assert "row 0" in said and "no degraded prompt, and others have" in said
    said = broken(store, name="conditions", **{**plain, "conditions": {"x": np.zeros((3, 2))}})
    assert "texts.safetensors: x has 3 rows instead of 4" in said


def test_nothing_that_is_not_finite_is_written() -> None:
    rows = [StoredRow(id="a", prompt="p"), StoredRow(id="b", prompt="q", notes={"winner": "9.png"})]
    latents = torch.zeros(2, 1, 2, 2)
    latents[1, 0, 0, 0] = float("inf")
    with pytest.raises(BenchError, match=r"winner latents of row b \(9\.png\) are NaN or infinite"):
        _checked({"winner": latents}, rows)


def test_pairs_of_another_checkpoint_are_refused_before_training(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path / "backbone")
    pairs = tiny_pairs()
    require_fit(pairs.batch([0], CPU), backbone)
    states = pairs.condition["encoder_hidden_states"]

    def refused(**changes: Any) -> str:
        batch = Batch(**{**vars(pairs.batch([0, 1], CPU)), **changes})
        with pytest.raises(UsageError) as caught:
            require_fit(batch, backbone)
        return str(caught.value)

    said = refused(loser=torch.zeros(2, 16, 4, 4))
    assert "loser latents have shape (16, 4, 4)" in said and "expected (4, h, w)" in said
    assert "holds pooled and no encoder_hidden_states" in refused(condition={"pooled": states[:2]})
    wide = {"encoder_hidden_states": torch.zeros(2, TOKENS, 99)}
    assert "of the degraded has shape (8, 99) each; expected (8, 16)" in refused(degraded=wide)
    narrow = tiny_pairs()
    object.__setattr__(narrow, "condition", {"encoder_hidden_states": states[:, :, :8]})
    with pytest.raises(UsageError, match="make them with this one"):
        run(backbone, tmp_path / "run", DiffusionDPO(), pairs=narrow, steps=1)
