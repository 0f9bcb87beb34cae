"""Whole runs at toy width: real pipelines, the tiny scorer, odd input, resume, pair sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.api.errors import BenchError, PrerequisiteError, UsageError
from bench.cli import main
from bench.data import curated
from bench.data.curation import negatives
from bench.data.curation.engine import kept, read_pixels, records
from bench.data.curation.paint import Painter, pasted_back
from bench.data.curation.run import Plan
from bench.data.curation.selection import DROPPED_FILE, PAIRS_FILE
from bench.data.curation.settings import NegativeSettings, load_settings
from bench.data.curation.table import cost_table, markdown, report
from bench.generation.checkpoint import CheckpointRef
from bench.store import Store, read_jsonl
from tests.curation.conftest import picture, settings


def test_a_run_ends_in_pairs_and_says_what_was_dropped(
    photos: Path, inpainter: Path, tmp_path: Path
) -> None:
    picture(9).convert("L").save(photos / "grey.png")
    picture(8).convert("CMYK").save(photos / "ink.jpg")
    Image.new("RGB", (1, 1)).save(photos / "dot.png")
    picture(6).save(photos / "film.gif", save_all=True, append_images=[picture(5)])
    Image.new("RGB", (40, 40), (9, 90, 200)).save(photos / "flat.png")
    (photos / "torn.png").write_bytes((photos / "0000.png").read_bytes()[:100])
    picture(7).save(photos / "silent.png")
    with (photos / "captions.jsonl").open("a") as file:
        odd = ("grey.png", "ink.jpg", "dot.png", "film.gif", "flat.png", "torn.png", "0003.png")
        for name in odd:
            file.write(json.dumps({"file_name": name, "caption": "a red square number 1"}) + "\n")
    store = Store(tmp_path / "store")
    plan = Plan(store, settings(photos, inpainter))
    assert plan.found() is None
    done = plan.run(device="cpu", batch_size=3)
    pairs = read_jsonl(done.selection.file(PAIRS_FILE))
    scores = [pair["score_real"] for pair in pairs]
    assert len(pairs) == 4 and scores == sorted(scores, reverse=True)
    dropped = {row["uid"]: row for row in read_jsonl(done.selection.file(DROPPED_FILE))}
    kinds = {uid: row["reason"].partition(":")[0] for uid, row in dropped.items()}
    assert kinds.items() >= {
        ("dot", "too small"),
        ("torn", "broken"),
        ("silent", "no caption"),
        ("film", "animated"),
        ("0003#12", "duplicate"),
        ("flat", "nothing salient"),
    }
    assert sum(kind == "not among the best 4" for kind in kinds.values()) == 4
    assert len(dropped) + len(pairs) == len(records(done.steps["source"]))
    table = cost_table(done.steps)
    assert [row["step"] for row in table][-2:] == ["selection", "total"]
    assert all(row["kept"] + row["dropped"] == row["entered"] for row in table)
    data = report(done.steps)
    assert {row["uid"] for row in data["odd"]} == {"grey", "ink"}
    assert data["circular"] == ["tiny-clip"]
    assert "too small: 1" in markdown(data)
    again = Plan(store, settings(photos, inpainter)).found()
    assert again is not None and again.selection.id == done.selection.id


@pytest.mark.slow  # the engine's own test of it is quick
def test_an_interrupted_run_equals_a_whole_one(
    photos: Path, inpainter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(photos, inpainter)
    whole = Plan(Store(tmp_path / "whole"), chosen).run(device="cpu", batch_size=4)
    written = 0
    write = negatives.write_image

    def stop_at_third(*arguments: Any) -> str:
        nonlocal written
        written += 1
        if written == 3:
            raise KeyboardInterrupt
        return write(*arguments)

    store = Store(tmp_path / "broken")
    with monkeypatch.context() as patch:
        patch.setattr(negatives, "write_image", stop_at_third)
        with pytest.raises(KeyboardInterrupt):
            Plan(store, chosen).run(device="cpu", batch_size=4)
    resumed = Plan(store, chosen).run(device="cpu", batch_size=4)
    for name, artifact in whole.steps.items():
        assert resumed.steps[name].content_sha256 == artifact.content_sha256, name


def test_what_can_change_the_pairs_changes_the_ids(
    photos: Path, inpainter: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    base = Plan(store, settings(photos, inpainter)).ids()

    def changed(**changes: Any) -> set[str]:
        ids = Plan(store, settings(photos, inpainter, **changes)).ids()
        return {name for name in ids if ids[name] != base[name]}

    assert changed(top_k=3) == {"selection"}
    assert changed(colour={"rule": "above-mean"}) == set(base) - {"source"}
    painted = {"checkpoint": str(inpainter), "steps": 2, "cfg_scale": 2.0}
    assert changed(negatives={**painted, "seed": 1}) == {"negatives", "scores", "selection"}
    assert changed(saliency={"options": {"times_mean": 2.0}}) == {
        *("saliency", "negatives", "scores", "selection")
    }
    moved = tmp_path / "elsewhere"
    photos.rename(moved)
    assert Plan(store, settings(moved, inpainter)).ids() == base
    picture(99).save(moved / "0002.png")
    assert set(base) == {
        name
        for name, key in Plan(store, settings(moved, inpainter)).ids().items()
        if key != base[name]
    }


def test_negatives_depend_on_uid_and_seed_alone(inpainter: Path) -> None:
    images = [np.asarray(picture(k).resize((32, 32))) for k in range(3)]
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 200
    given = NegativeSettings(checkpoint=str(inpainter), steps=2, cfg_scale=2.0)
    painter = Painter(given, size=32, device="cpu")
    uids, captions = ["a", "b", "c"], ["a red square"] * 3
    together = painter.paint(uids, captions, images, [mask] * 3)
    alone = painter.paint(["b"], captions[:1], images[1:2], [mask])
    assert np.abs(together[1].astype(int) - alone[0].astype(int)).max() <= 1
    other = painter.paint(["z"], captions[:1], images[1:2], [mask])
    assert (other != alone).any()
    pasted = pasted_back(images[1], alone[0], mask)
    assert np.array_equal(pasted[:8], images[1][:8])
    assert np.array_equal(pasted[8:24, 8:24], alone[0][8:24, 8:24])


@pytest.mark.parametrize("kind", ["whole", "text", "inpaint"])
def test_the_other_degradations(kind: str, inpainter: Path, toy_checkpoint: Path) -> None:
    images = [np.asarray(picture(0).resize((32, 32)))]
    given = NegativeSettings(
        kind=kind, checkpoint=str(toy_checkpoint), steps=2, cfg_scale=1.0, strength=0.8
    )
    made = Painter(given, size=32, device="cpu").paint(
        ["a"], ["a red square"], images, [np.full((32, 32), 255, np.uint8)]
    )
    assert made.shape == (1, 32, 32, 3)
    if kind == "text":
        with pytest.raises(UsageError, match="StableDiffusionInpaintPipeline"):
            Painter(NegativeSettings(kind="text", checkpoint=str(inpainter)), size=32, device="cpu")


def test_given_negatives_and_a_list_of_uids(photos: Path, inpainter: Path, tmp_path: Path) -> None:
    (photos / "copies").mkdir()
    lines = ["uid,prompt,file,negative"]
    for number in range(3):
        picture(number + 50).save(photos / "copies" / f"{number}.png")
        lines.append(f"{number:04d},a red square,{number:04d}.png,copies/{number}.png")
    (photos / "pairs.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "uids.csv").write_text("uid\n0002\n0000\n9999\n")
    source = {"folder": str(photos), "captions": "pairs.csv", "uids": str(tmp_path / "uids.csv")}
    chosen = settings(photos, inpainter, source=source, negatives={"kind": "given"}, top_k=None)
    done = Plan(Store(tmp_path / "store"), chosen).run(device="cpu")
    assert "saliency" not in done.steps
    assert [row["uid"] for row in kept(done.steps["negatives"])] == ["0002", "0000"]
    made = read_pixels(done.steps["negatives"], kept(done.steps["negatives"])[0]["negative"])
    assert made.shape == (32, 32, 3)
    reasons = {row["uid"]: row["reason"] for row in records(done.steps["source"])}
    assert reasons["9999"] == "not in the source: the list of uids names it"


def test_a_finished_run_becomes_a_pair_set(
    photos: Path, inpainter: Path, toy_checkpoint: Path, tmp_path: Path
) -> None:
    import torch

    from bench.data.on_disk import PairsOnDisk
    from bench.generation.checkpoint import load_pipeline_backbone

    store = Store(tmp_path / "store")
    done = Plan(store, settings(photos, inpainter)).run(device="cpu")
    base = CheckpointRef.parse(str(toy_checkpoint))
    pairs = curated.build(store, base, {"run": done.selection.id}, device="cpu")
    rows = read_jsonl(done.selection.file(PAIRS_FILE))
    data = PairsOnDisk(pairs)
    batch = data.batch([0, 3], torch.device("cpu"))
    backbone = load_pipeline_backbone(base, store, device="cpu")
    kind, folder, name = rows[3]["real"].split("/", 2)
    pixels = read_pixels(store.get(f"{kind}/{folder}"), name)
    expected = backbone.encode_images(
        torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255.0
    )
    assert torch.allclose(batch.winner[1:], expected, atol=1e-5)
    assert batch.loser is not None and batch.loser.shape == batch.winner.shape
    assert not torch.equal(batch.loser, batch.winner)
    assert curated.circular(pairs) == ["tiny-clip"] == data.report["circular"]
    control = curated.build(
        store, base, {"run": done.selection.id, "winner": "round-trip"}, device="cpu"
    )
    assert control.id != pairs.id and control.content_sha256 != pairs.content_sha256
    drawn = {"run": done.selection.id, "posterior": "sample", "flip": True, "seed": 4}
    _as_trainers_do(store, base, drawn, pixels, data)
    for wrong in ({}, {"run": "x", "preset": "tiny"}, {"run": "x", "winner": "raw"}, {"rum": "x"}):
        with pytest.raises(UsageError):
            curated.identity(store, base, wrong)
    with pytest.raises(UsageError, match="no selection"):
        curated.build(store, base, {"run": done.steps["colour"].id}, device="cpu")


def _as_trainers_do(
    store: Store, base: CheckpointRef, wanted: dict[str, Any], third: np.ndarray, plain: Any
) -> None:
    """Samples of the posterior, and both sides flipped by coins of their own."""
    import torch

    from bench.data.images import encode_moments, encode_pixels
    from bench.data.on_disk import PairsOnDisk
    from bench.generation.checkpoint import load_pipeline_backbone
    from bench.training.randomness import CounterStream, Sample, coin
    from bench.training.source import Visits, read_visits

    made = curated.build(store, base, wanted, device="cpu", batch_size=3)
    again = curated.build(store, base, {**wanted, "seed": 5}, device="cpu")
    assert len({made.id, again.id}) == 2 and made.content_sha256 != again.content_sha256
    assert made.manifest["config"]["flip"] is True
    backbone = load_pipeline_backbone(base, store, device="cpu")
    found = PairsOnDisk(made).batch([3], torch.device("cpu"))
    flipped = third[:, ::-1] if coin(4, "flip-winner", 3) else third
    expected = encode_pixels(backbone, np.stack([flipped]), posterior="sample", keys=[6], seed=4)
    assert torch.allclose(found.winner, expected, atol=1e-5)
    mean = plain.batch([3], torch.device("cpu")).winner
    assert not torch.allclose(found.winner, mean, atol=1e-3)
    visited = curated.build(store, base, {**wanted, "augmentation": "per-visit"}, device="cpu")
    assert visited.id != made.id and visited.manifest["config"]["augmentation"] == "per-visit"
    at = Visits(seed=0, step=0, samples=[Sample(3, 0)])
    seen = read_visits(PairsOnDisk(visited), at, torch.device("cpu")).winner
    mirrored = bool(CounterStream(0, "flip-winner", 0).uniform(at.samples) < 0.5)
    third = third[:, ::-1] if mirrored else third
    mean_std = encode_moments(backbone, np.stack([third]), posterior="sample")
    noise = CounterStream(0, "posterior-winner", 0).normal(at.samples, mean.shape[1:])
    assert mean_std[1] is not None
    assert torch.allclose(seen, mean_std[0] + mean_std[1] * noise, atol=1e-5)
    # what was not asked for enters no identity: sets of before keep theirs
    plainly = curated.identity(store, base, {"run": wanted["run"], "seed": 9})
    assert plainly == curated.identity(store, base, {"run": wanted["run"]})
    assert not {"posterior", "flip", "seed"} & plainly.keys()
    with pytest.raises(UsageError, match="'sample'"):
        curated.identity(store, base, {**wanted, "posterior": "sampled"})


def test_the_command_line(
    photos: Path, inpainter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        *("curate", "--images", str(photos), "--store", str(tmp_path / "store"), "--name", "mine"),
        *("--set", f"negatives.checkpoint={inpainter}", "--set", "negatives.steps=2"),
        *("--set", "scores.min_gap=null", "--set", "top_k=2", "--set", "colour.rule=none"),
    ]
    assert main([*command, "--dry-run"]) == 0
    assert "missing" in capsys.readouterr().out
    assert main([*command, "--sheet", str(tmp_path / "sheet.png")]) == 0
    out, error = capsys.readouterr()
    assert "selection" in out and "negatives: 6 of 6 images" in error
    assert "circular: metrics of tiny-clip, which selected these pairs" in out
    assert (tmp_path / "store/tables/curation-mine/report.md").is_file()
    assert Image.open(tmp_path / "sheet.png").width > 300
    assert main([*command, "--json"]) == 0
    out, error = capsys.readouterr()
    assert json.loads(out)["pairs"] == 2 and "nothing to do" in error
    assert main([*command, "--set", "scores.min_gap=1000"]) == 1
    assert "no pair is left" in capsys.readouterr().err
    assert main(["curate", "--set", "saliency.nam=u2net"]) == 2
    assert "'name'" in capsys.readouterr().err
    assert main(["curate", "--set", "scores.min_gap=low"]) == 2
    assert main(["curate", "--set", "scores.backend=pikscore"]) == 2


def test_the_profiles_and_what_they_lack(tmp_path: Path) -> None:
    tiny = load_settings("tiny", {"source.limit": 3})
    assert Plan(Store(tmp_path), tiny).ids().keys() >= {"source", "saliency", "selection"}
    with pytest.raises(PrerequisiteError, match="hf download MizzenAI/HPDv3"):
        Plan(Store(tmp_path), load_settings("paper", {"source.folder": "hub:MizzenAI/HPDv3"}))
    with pytest.raises(UsageError, match="tiny"):
        load_settings("tinny")
    with pytest.raises(BenchError, match="paste_back"):
        NegativeSettings(kind="text", checkpoint="x", paste_back=True)
