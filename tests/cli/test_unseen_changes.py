"""What would change a number without a word has another id, or is refused: by the command line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from accelerate.state import GradientState
from safetensors.torch import load_file, save_file

from bench.cli import main
from bench.store import file_hash
from bench.tiny.assets import path_of
from tests.cli.test_bad_input import on, shelf, train, write_pairs

__all__ = ["shelf"]

PLAN = ["plan", "--table", "1a", "--rows", "base", "--cols", "GE", "--limit", "6", "--json"]


def planned(tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Return the ids of what a run would make."""
    assert main([*PLAN, "--store", str(tmp_path / "store"), *words]) == 0
    return [step["id"] for step in json.loads(capsys.readouterr().out)["steps"]]


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what is said of a run that cannot be made."""
    assert main(["run", *PLAN[1:-1], "--store", str(tmp_path / "store"), *words]) in (2, 3)
    assert not list((tmp_path / "store").glob("images/*"))
    return " ".join(capsys.readouterr().err.split())


def write_adapter(folder: Path, alpha: float) -> None:
    """Write a LoRA of tiny-sd's first attention in peft's format."""
    folder.mkdir(exist_ok=True)
    (file,) = (path_of("tiny-sd") / "unet").glob("*.safetensors")
    weights = load_file(file)
    name = next(key for key in weights if key.endswith("to_q.weight"))
    width, inputs = weights[name].shape
    module = f"base_model.model.{name.removesuffix('.weight')}"
    halves = {
        f"{module}.lora_A.weight": torch.ones(2, inputs),
        f"{module}.lora_B.weight": torch.ones(width, 2),
    }
    save_file(halves, folder / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "r": 2, "lora_alpha": alpha}
    (folder / "adapter_config.json").write_text(json.dumps(told))


def test_the_alpha_beside_a_lora_that_is_named_by_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for alpha in (2, 2, 16):
        write_adapter(tmp_path / "lora", alpha)
        row = f"mine={tmp_path / 'lora' / 'adapter_model.safetensors'}"
        found.append(planned(tmp_path, capsys, "--row", row))
    assert found[0] == found[1] and not {*found[1]} & {*found[2][3:]}
    assert len({*found[1]} & {*found[2]}) == 3  # the base's images, predictions, scores


@pytest.mark.parametrize(
    ("file", "key", "value", "said"),
    [
        ("text_encoder/adapter_config.json", "base_model_name_or_path", "x", "from elsewhere"),
        ("tokenizer/tokenizer_config.json", "vocab", "x", "as vocab"),
    ],
)
def test_a_pipeline_of_which_a_part_lies_elsewhere(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    key: str,
    value: str,
    said: str,
) -> None:
    copy = Path(shutil.copytree(path_of("tiny-sd"), tmp_path / "copy"))
    path = copy / file
    told = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**told, key: value}))
    words = ["--set", "checkpoint.kind=path", "--set", f"checkpoint.location={copy}"]
    assert said in refused(tmp_path, capsys, *words)


def test_accelerates_variables_of_other_programs_change_no_training(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = write_pairs(tmp_path / "pairs", ["a red circle", "a blue circle"])
    found = []
    for steps in ("", "8"):
        store = tmp_path / f"store{steps}"
        if steps:
            monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", steps)
            monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
            GradientState()._set_sync_gradients(False)  # a loop of the caller's that was stopped
        assert train(shelf, store, *on(pairs), "--set", "training.common.steps=2") == 0
        found.append([file_hash(f) for f in sorted(store.glob("train/*/exports/*/*.safetensors"))])
    assert found[0] == found[1] and found[0]
    assert os.environ["ACCELERATE_DYNAMO_BACKEND"] == "EAGER"
