"""Files that another library opens are looked at first: each kind of rubbish, each reader."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.api.errors import BenchError
from bench.cli import main
from bench.data.curation.saliency.u2net import load_network
from bench.read.weights import load_tensors, load_torch, load_torchscript, onnx_session
from evaluators.models.blip_weights import load_original
from evaluators.models.inception_weights import read_state
from evaluators.models.reward_weights import read_tensors
from tests.read.bring import pictures, within

RUBBISH = {
    "empty": (b"", "empty"),
    "zeros": (b"\0" * 4096, "zeros"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "a pointer of git LFS"),
    "page": (b"<!DOCTYPE html><html>404</html>", "a web page"),
    "noise": (b"\xfe\xdc\xba\x98" * 99, "of another kind"),
    "parquet": (b"PAR1" + b"x" * 99, "a Parquet file"),
}
READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "safetensors": (".safetensors", load_tensors),
    "torch": (".pth", load_torch),
    "torchscript": (".pt", load_torchscript),
    "onnx": (".onnx", lambda path: onnx_session(path, "a test")),
    "u2net": (".pth", lambda path: load_network(path, small=True)),
    "inception": (".pth", read_state),
    "inception of torchscript": (".pt", read_state),
    "reward": (".pt", read_tensors),
    "blip": (".pth", lambda path: load_original(path, device="cpu")),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", RUBBISH)
def test_what_holds_no_weights_says_what_it_is(kind: str, reader: str, tmp_path: Path) -> None:
    ending, read = READERS[reader]
    data, told = RUBBISH[kind]
    file = tmp_path / f"weights{ending}"
    file.write_bytes(data)
    with pytest.raises(BenchError) as error, within(20):
        read(file)
    assert told in str(error.value) and file.name in str(error.value)


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_not_waited_for(reader: str, tmp_path: Path) -> None:
    ending, read = READERS[reader]
    file = tmp_path / f"weights{ending}"
    os.mkfifo(file)
    with pytest.raises(BenchError, match="no ordinary file"), within(20):
        read(file)


@pytest.mark.parametrize(
    ("reader", "data"),
    [("torch", b"PK\3\4" + b"x" * 99), ("onnx", b"\x08\x07" + b"\xff" * 99)],
)
def test_a_damaged_file_of_the_right_kind_is_an_error(
    reader: str, data: bytes, tmp_path: Path
) -> None:
    ending, read = READERS[reader]
    file = tmp_path / f"weights{ending}"
    file.write_bytes(data)
    with pytest.raises((BenchError, RuntimeError)):
        read(file)


@pytest.mark.parametrize("old", [False, True])
def test_both_kinds_of_pytorch_s_files_are_read(old: bool, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(2)}, file, _use_new_zipfile_serialization=not old)
    assert torch.equal(load_torch(file)["a"], torch.ones(2))


@pytest.mark.parametrize("ending", [".pth", ".onnx"])
def test_rubbish_in_place_of_saliency_weights_ends_the_command_in_words(
    ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pictures(tmp_path / "photos", 2)
    for number in range(2):
        (folder / f"0000{number}.txt").write_text("a red circle")
    weights = tmp_path / f"u2net{ending}"
    weights.write_bytes(RUBBISH["page"][0])
    name = "u2net" if ending == ".pth" else "u2net-onnx"
    words = ["--images", str(folder), "--store", str(tmp_path / "store"), "--device", "cpu"]
    settings: dict[str, object] = {
        "saliency.name": name,
        "saliency.options.weights": str(weights),
        "size": 32,
    }
    if ending == ".onnx":
        settings["saliency.options.sha256"] = "null"
    settings |= {"colour.rule": "none", "source.min_side": 1}
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    assert main(["curate", *words, *sets]) in (1, 2)
    told = capsys.readouterr().err
    assert "a web page" in told and "Traceback" not in told
