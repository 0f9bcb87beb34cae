"""Bad input by the command line: it ends in an error that names file, row and cure, untrained."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from bench.cli import main
from bench.generation.checkpoint import CheckpointRef, load_pipeline_backbone
from bench.generation.parts import native_side
from bench.generation.weights import content_hash
from bench.spec.profile import load_profile
from bench.store import Store
from tests.steps.test_others_weights import write_lora
from tests.steps.toys import save_checkpoint, write_profile
from tests.training.nets import tiny_backbone


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile of toy width, `micro.yaml`, and its checkpoint."""
    folder = tmp_path_factory.mktemp("shelf")
    write_profile(folder, save_checkpoint(folder / "checkpoint"))
    return folder


def write_pairs(folder: Path, captions: list[str], missing: str | None = None) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["caption", "winner", "loser"])
        for number, caption in enumerate(captions):
            names = [f"{number}-{side}.png" for side in ("good", "bad")]
            rows.writerow([caption, *names])
            for name in names:
                if name != missing:
                    Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(folder / name)
    return folder


def train(shelf: Path, store: Path, *words: str) -> int:
    profile = ["--profile", str(shelf / "micro.yaml"), "--store", str(store)]
    return main(["train", "diffusion-dpo", *profile, "--jobs", "1", *words])


def on(folder: Path, **more: str) -> list[str]:
    """The options that train on a folder of pairs."""
    data = {"kind": "labelled", "path": str(folder), "resolution": 8, **more}
    return ["--data", "mine", "--set", f"data.mine={json.dumps(data)}"]


def refused(store: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What was said, and that nothing was trained."""
    assert not list(store.glob("train/*/manifest.json")) and not list(store.glob("train/*.lock"))
    return " ".join(capsys.readouterr().err.split())


def test_a_missing_image(shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = write_pairs(tmp_path / "pairs", ["a red circle", "a blue circle"], "1-bad.png")
    assert train(shelf, tmp_path / "store", *on(pairs)) != 0
    said = refused(tmp_path / "store", capsys)
    assert f"{pairs / 'pairs.csv'}, row 2: image {pairs / '1-bad.png'}: the file is missing" in said
    assert "Fetch it again, or take the row out" in said


def test_a_caption_over_the_token_limit(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_pairs(tmp_path / "pairs", ["a red circle", "a red circle and two blue square"])
    assert train(shelf, tmp_path / "store", *on(pairs)) != 0
    said = refused(tmp_path / "store", capsys)
    assert f"{pairs / 'pairs.csv'}, row 2: the caption has 9 tokens ('a red circle and" in said
    assert "Shorten them to 8 tokens" in said and "long_captions: cut" in said
    assert train(shelf, tmp_path / "store", *on(pairs, long_captions="cut")) == 0
    assert train(shelf, tmp_path / "store", *on(pairs, long_captions="cute")) == 2
    assert "'cut'" in capsys.readouterr().err


def test_latents_that_are_not_finite(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    write_profile(tmp_path, save_checkpoint(broken))
    file = broken / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["encoder.conv_in.bias"][0] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})
    pairs = write_pairs(tmp_path / "pairs", ["a red circle", "a blue circle"])
    assert train(tmp_path, tmp_path / "store", *on(pairs)) != 0
    said = refused(tmp_path / "store", capsys)
    assert "winner latents of row" in said and "are NaN or infinite" in said


@pytest.mark.slow
def test_stored_latents_that_were_changed_are_made_anew(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NaN, or another shape: what `PairsOnDisk` says of such a set, nobody gets to see."""
    pairs = write_pairs(tmp_path / "pairs", ["a red circle", "a blue circle"])
    store = tmp_path / "store"
    assert train(shelf, store, *on(pairs), "--set", "training.common.steps=1") == 0
    (artifact,) = Store(store).artifacts("pairs")
    file = artifact.path / "latents.safetensors"
    whole = load_file(file)
    for bad in (torch.full_like(whole["loser"], float("nan")), whole["loser"][:, :2].contiguous()):
        save_file({**whole, "loser": bad}, file)
        capsys.readouterr()
        assert train(shelf, store, *on(pairs), "--set", f"training.common.lr={bad.numel()}e-6") == 0
        said = " ".join(capsys.readouterr().err.split())
        assert f"{artifact.path} is corrupt: latents.safetensors" in said
        assert "removed and made anew" in said
        assert torch.equal(load_file(file)["loser"], whole["loser"])


def test_an_unknown_backbone(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "flux"
    other.mkdir()
    (other / "model_index.json").write_text('{"_class_name": "StableDifusionPipeline"}')
    base = f"checkpoint={{kind: path, location: {other}}}"
    assert train(shelf, tmp_path / "store", "--set", base) != 0
    said = refused(tmp_path / "store", capsys)
    assert f"{other} holds a StableDifusionPipeline; expected one of" in said
    assert "StableDiffusionPipeline (sd)" in said


def test_a_lora_of_another_rank(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ref = CheckpointRef(kind="path", location=str(shelf / "checkpoint"))
    backbone = load_pipeline_backbone(ref, Store(tmp_path / "store"), device="cpu")
    write_lora(backbone, tmp_path / "lora", rank=2)
    mode = "training.common={mode: lora, steps: 1, batch: 2, lr: 1e-3, lora_rank: 4, lora_alpha: 4}"
    words = ["--start-from", str(tmp_path / "lora"), "--set", mode]
    assert train(shelf, tmp_path / "store", *words) == 2
    said = refused(tmp_path / "store", capsys)
    file = tmp_path / "lora" / "pytorch_lora_weights.safetensors"
    assert f"{file} is a LoRA of rank 2 and alpha 2" in said
    assert "lora_rank: 4" in said and "set both to the LoRA's" in said


def test_a_row_of_weights_is_compared_with_the_base_before_anything_runs(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = CheckpointRef(kind="path", location=str(shelf / "checkpoint"))
    write_lora(
        load_pipeline_backbone(base, Store(tmp_path), device="cpu"), tmp_path / "fits", rank=2
    )
    write_lora(tiny_backbone(tmp_path, block_out_channels=(16, 32)), tmp_path / "wide", rank=2)
    profile = ["--profile", str(shelf / "micro.yaml"), "--store", str(tmp_path / "store")]
    asked = ["plan", "--table", "1a", "--rows", "base", "--cols", "GE", "--json", *profile]

    file = next((tmp_path / "fits").glob("*.safetensors"))
    assert main([*asked, "--row", f"Their LoRA={file}"]) == 0
    assert any("lora" in s["id"] for s in json.loads(capsys.readouterr().out)["steps"])
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / file.name).write_bytes(file.read_bytes())
    assert content_hash(file) == content_hash(alone)  # as a folder that holds no other
    wrong = next((tmp_path / "wide").glob("*.safetensors"))
    assert main([*asked, "--row", f"Their LoRA={wrong}"]) == 2
    said = refused(tmp_path / "store", capsys)
    assert f"{wrong} was made for another network" in said or "another network than" in said
    assert main([*asked, "--row", f"Their LoRA={tmp_path / 'absent.safetensors'}"]) == 0
    assert "not run: there is no folder" in capsys.readouterr().out


def test_a_quotation_mark_that_nobody_closes(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_pairs(tmp_path / "pairs", ["a red circle", "a blue circle"])
    rows = (
        (pairs / "pairs.csv").read_text().replace("a red circle", '"a red circle' + "x" * 200_000)
    )
    (pairs / "pairs.csv").write_text(rows)
    assert train(shelf, tmp_path / "store", *on(pairs)) == 2
    said = refused(tmp_path / "store", capsys)
    assert f"{pairs / 'pairs.csv'}: the row that begins on line 2" in said
    assert "is a quotation mark not closed?" in said


@pytest.mark.parametrize("side", [8, 32])
def test_a_dry_run_says_what_labelled_pairs_will_cost(
    side: int, shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many, of which size, and that a larger size takes longer; nothing is made."""
    pairs = write_pairs(tmp_path / "pairs", ["a red circle", "a blue circle", "a red square"])
    data = on(pairs, resolution=side)  # type: ignore[arg-type]
    assert train(shelf, tmp_path / "store", *data, "--dry-run") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"3 pairs, 6 images of {side} pixels to encode, about" in said
    assert train(shelf, tmp_path / "store", *data, "--dry-run", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["trainings"]
    evaluation = load_profile(str(shelf / "micro.yaml")).speed.image_step_seconds
    area = (side / native_side(shelf / "checkpoint")) ** 2
    assert 3600 * found["data_hours"] == pytest.approx(5 + 6 * 0.5 * area * evaluation)
    assert found["pairs"] == 3 and not list(tmp_path.glob("store/pairs/*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("generate --jobs 0", "--jobs 0; expected at least 1"),
        ("generate --jobs -1", "--jobs -1; expected at least 1"),
        ("generate --seed -1", "--seed -1; expected a number from 0"),
        ("plan --table 1a --jobs 0", "--jobs 0; expected at least 1"),
        ("plan --table 1a --set sampling_seed=-1", "sampling_seed is -1; expected a number from 0"),
        ("curate --batch-size 0", "--batch-size: '0'; expected a whole number from 1"),
        ("score --evaluator human --forms 0", "--forms: '0'; expected a whole number from 1"),
        ("score --evaluator human --limit two", "--limit: 'two'; expected a whole number from 1"),
    ],
)
def test_no_number_of_things_is_below_one(
    words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words.split(), "--store", str(tmp_path / "store")]) == 2
    assert said in capsys.readouterr().err
    assert not [*(tmp_path / "store").rglob("manifest.json")]  # nothing was made
