"""What a reader would not see in the numbers is said beside them, and kept with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.backbones.lora_files import lora_facts
from bench.cli import main
from bench.read.weights import metadata_of, with_metadata
from bench.store import Store
from bench.tiny.assets import path_of
from tests.cli.test_doors import Said, generate, said, score
from tests.read.bring import picture, pictures

__all__ = ["said"]  # a fixture

LONG = "a red circle beside a blue square above a green triangle below a white ring " * 2
CUT = "1 of 2 prompts are longer than the 24 tokens that the text encoder reads"


def lora(file: Path, *, up: float = 1.0, down: float = 1.0, alpha: float = 2.0) -> Path:
    """A LoRA of two of tiny-sd's modules; the second one's B is always 0, as -0 and 0."""
    (weights,) = (path_of("tiny-sd") / "unet").glob("*.safetensors")
    found = load_file(weights)
    names = [key for key in found if key.endswith("to_q.weight")][:2]
    tensors = {}
    for name, factor in zip(names, (up, -0.0), strict=True):
        width, inputs = found[name].shape
        module = f"unet.{name.removesuffix('.weight')}"
        tensors[f"{module}.lora_A.weight"] = torch.full((2, inputs), down)
        tensors[f"{module}.lora_B.weight"] = torch.full((width, 2), factor)
        tensors[f"{module}.alpha"] = torch.tensor(alpha)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    return file


def prompts(tmp_path: Path, *texts: str) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("".join(f"{text}\n" for text in texts))
    return file


@pytest.mark.parametrize(
    ("numbers", "nothing"),
    [({}, False), ({"up": 0.0}, True), ({"down": 0.0}, True), ({"alpha": 0.0}, True)],
)
def test_a_lora_changes_nothing_where_each_layer_has_a_zero(
    numbers: dict[str, float], nothing: bool, tmp_path: Path
) -> None:
    assert lora_facts(lora(tmp_path / "mine.safetensors", **numbers)).changes_nothing() == nothing


def test_a_lora_that_changes_nothing_is_said_and_stands_below_a_table(
    tmp_path: Path, said: Said
) -> None:
    file = lora(tmp_path / "mine.safetensors", up=0.0)
    told = "mine.safetensors is a LoRA that changes nothing"
    asked = prompts(tmp_path, "a red circle")
    for _ in range(2):  # the second time from the store
        assert generate(tmp_path, asked, "--checkpoint", str(file), "-q") == 0
        assert said().count(told) == 1
    other = lora(tmp_path / "other.safetensors")
    store = ["--store", str(tmp_path / "store"), "--jobs", "1", "--device", "cpu"]
    rows = ["--rows", "mine,other", "--row", f"mine={file}", "--row", f"other={other}"]
    small = ["--cols", "GE", "--limit", "1", "--set", "generation.steps=1"]
    assert main(["run", "--table", "1a", *rows, *small, *store]) == 0
    assert told in (all_of_it := said()) and "other.safetensors is" not in all_of_it
    report = (tmp_path / "store" / "tables" / "1a" / "table.md").read_text()
    assert f"- mine: {told}" in report and "- other: other.safetensors is" not in report


def test_prompts_that_are_cut_are_counted(tmp_path: Path, said: Said) -> None:
    asked = prompts(tmp_path, "a red circle", LONG)
    assert generate(tmp_path, asked, "--images-per-prompt", "1", "-q") == 0
    assert said().count(CUT) == 1
    (images,) = Store(tmp_path / "store").artifacts("images")
    for evaluator in ("pickscore", "hpsv2"):
        ask = ["--evaluator", evaluator, "--images", images.id]
        for _ in range(2):
            assert score(tmp_path / "store", *ask) == 0
            told = said()
            assert CUT in told
            cut = f"remark: tiny-{evaluator}: 1 of 2 texts are longer than the 24 tokens"
            assert cut in told, (evaluator, told)
    assert (
        score(tmp_path / "store", "--evaluator", "pickscore", "--images", images.id, "--json") == 0
    )
    assert f'"{images.id}"' in (told := said()) and '"remarks"' in told


def test_pictures_of_the_reference_itself_are_counted(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    photos, mixed, fresh = (tmp_path / name for name in ("photos", "mixed", "fresh"))
    pictures(photos, 6)
    for folder, shared in ((mixed, 2), (fresh, 0)):
        folder.mkdir()
        for number in range(6):
            source = number if number < shared else 100 + number
            picture(source).save(folder / f"{number}.png", compress_level=1)  # other bytes
    for name, words in (("kept", ["--keep-features"]), ("bare", [])):
        build = ["--images", str(photos), "--protocol", "tiny-features", *words]
        assert main(["assets", "build", "--fid-reference", name, *build]) == 0
    said()

    def remark(folder: Path, reference: str) -> str:
        ask = ["--evaluator", "fid", "--images", str(folder), "--reference", reference]
        assert score(tmp_path / "store", *ask) == 0
        return said()

    for reference in ("kept", "bare"):
        told = remark(photos, reference)
        assert "remark: fid-statistics: all of the 6 pictures that are measured are" in told
        assert "remark" not in remark(fresh, reference)
    assert "fid-statistics: 2 of the 6 pictures that are measured are pictures" in remark(
        mixed, "kept"
    )
    (mixed / "0.png").write_bytes((photos / "00000.png").read_bytes())
    assert "fid-statistics: 1 of the 6 pictures that are measured are pictures" in remark(
        mixed, "bare"
    )


def test_one_more_text_in_a_header_leaves_the_tensors_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    save_file({"x": torch.arange(3.0)}, file, metadata={"told": "first"})
    file.write_bytes(with_metadata(file.read_bytes(), "more", json.dumps(["a", "é"])))
    assert torch.equal(load_file(file)["x"], torch.arange(3.0))
    assert metadata_of(file) == {"told": "first", "more": json.dumps(["a", "é"])}
