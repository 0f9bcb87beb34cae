"""Tables of labelled images, LoRA files, votes and rows that say more, or less, than is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.api.errors import UsageError
from bench.api.generation import GenerationSpec
from bench.api.prompts import Prompt, PromptSuite
from bench.backbones import sd3
from bench.cli import main
from bench.data.labels import checked_rows, read_comparisons
from bench.data.readers import ImageReader
from bench.generation.checkpoint import CheckpointRef
from bench.generation.remarks import image_remarks
from bench.store import Store
from evaluators.isolated.reasoning import LLM2CLIPScorer
from evaluators.isolated.rewards import HPSv21Package
from tests.cli.test_doors import Said, generate, said, score
from tests.cli.test_doors_marks import study
from tests.cli.test_doors_remarks import lora, prompts
from tests.read.bring import pictures
from tests.tiny_flow_families import write_sd3
from tests.training.nets import tiny_tokenizer

__all__ = ["said"]  # a fixture

A, B = "00000.png,00001.png", "00002.png,00003.png"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"caption,winner,loser,score\nx,{A},1\n", "columns that are not read: score"),
        (f"caption,jpg_0,jpg_1,label_0,label\nx,{A},1,0\n", "columns that are not read: label"),
        ("caption,image,rank\nx,00000.png,1\nx,00001.png,2\n", "no column says who won"),
        ("caption,image,label\nx,00000.png,1\ny,00001.png,1\n", "all 2 images are desirable"),
        ("caption,image,label\nx,00000.png,1\nx,00000.png,-1\n", "1 of 2 rows say the contrary"),
        (f"caption,winner,loser\nx,{A}\nx,00004.png,00001.png\n", "pictures under other names"),
        (f"caption,winner,loser\nx,{A}\nx,00001.png,00004.png\n", "contrary of one with these"),
        (f"caption,winner,loser,user_id\nx,{A},1\ny,{B},2\n", ""),
    ],
)
def test_what_is_not_read_of_a_table_is_said(
    text: str, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures(tmp_path, 4)
    (tmp_path / "00004.png").write_bytes((tmp_path / "00000.png").read_bytes())
    (tmp_path / "pairs.csv").write_text(text)
    rows, _ = read_comparisons([tmp_path / "pairs.csv"])
    checked_rows(rows, ImageReader())
    assert told in caplog.text and bool(caplog.text) == bool(told)


def test_rows_of_several_splits_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path, 4)
    file = tmp_path / "pairs.csv"
    file.write_text(f"caption,winner,loser,split\nx,{A},train\ny,{B},test\n")
    with pytest.raises(UsageError, match="its column split says test and train"):
        read_comparisons([file])


def test_rows_of_one_uid_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pictures(tmp_path, 4)
    file = tmp_path / "pairs.csv"
    file.write_text(f"uid,caption,winner,loser\n1,x,{A}\n1,y,{B}\n")
    assert len(read_comparisons([file], uids=["1"])[0]) == 1
    assert "1 of 2 rows have the uid of an earlier one, and are left out" in caplog.text


def altered(file: Path, change: Any, metadata: dict[str, str] | None = None) -> Path:
    save_file({k: v.contiguous() for k, v in change(load_file(file)).items()}, file, metadata)
    return file


def test_what_a_lora_says_of_its_base_is_said(tmp_path: Path, said: Said) -> None:
    asked = prompts(tmp_path, "a red circle")
    header = {"ss_sd_model_name": "v1-5.safetensors", "modelspec.prediction_type": "v"}
    file = altered(lora(tmp_path / "kohya.safetensors"), dict, header)
    assert generate(tmp_path, asked, "--checkpoint", str(file)) == 0
    told = said()
    assert "says that it was made from v1-5.safetensors; it goes onto the profile's base" in told
    assert "it was trained to predict v; on a base that predicts something else" in told


def test_a_lora_of_which_a_part_is_lost_or_rounded(tmp_path: Path, said: Said) -> None:
    asked = prompts(tmp_path, "a red circle")

    def less(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {k: v for k, v in found.items() if k != min(n for n in found if "alpha" in n)}

    def whole(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {k: v.to(torch.int8) if "lora_" in k else v for k, v in found.items()}

    file = altered(lora(tmp_path / "less.safetensors"), less)
    assert generate(tmp_path, asked, "--checkpoint", str(file), "-q") == 0
    assert "1 of 2 layers have no alpha" in said()
    file = altered(lora(tmp_path / "int8.safetensors"), whole)
    assert generate(tmp_path, asked, "--checkpoint", str(file)) == 2
    assert "holds whole numbers without their scale" in said()


def test_votes_with_words_of_somebody_s_own(tmp_path: Path, said: Said) -> None:
    about = study(tmp_path, said, 8)
    file = tmp_path / "votes.json"

    def count(votes: list[dict[str, Any]]) -> tuple[int, str]:
        file.write_text(json.dumps({**about, "voter": "Anna", "votes": votes}))
        said()
        return score(tmp_path / "store", "--evaluator", "human", "--votes", str(file)), said()

    left = [{"item": n + 1, "choice": "left"} for n in range(8)]
    code, told = count(left)
    assert code == 0 and "all 8 votes of 'Anna' are 'left'; they count" in told
    code, told = count([{**left[0], "skip": True}])
    assert code == 2 and "says skip, which a form does not write" in told


def test_rows_whose_pictures_are_all_equal_say_so(tmp_path: Path, said: Said) -> None:
    first, other = lora(tmp_path / "a.safetensors"), tmp_path / "b.safetensors"
    other.write_bytes(first.read_bytes())
    third = lora(tmp_path / "c.safetensors", up=3.0)
    rows = [f"--row={file.stem}={file}" for file in (first, other, third)]
    small = ["--cols", "GE", "--limit", "1", "--set", "generation.steps=1"]
    store = ["--store", str(tmp_path / "store"), "--jobs", "1", "--device", "cpu"]
    assert main(["run", "--table", "1a", "--rows", "a,b,c", *rows, *small, *store]) == 0
    report = (tmp_path / "store" / "tables" / "1a" / "table.md").read_text()
    assert "- b: all 36 pictures are those of the row a: one checkpoint under two names?" in report
    assert "- c: all" not in report and "- a: all" not in report


def test_prompts_that_clip_cuts_and_t5_reads_are_counted(tmp_path: Path) -> None:
    (tmp_path / "sd3").mkdir()
    write_sd3(tmp_path / "sd3", 0)
    backbone = sd3.load_backbone(tmp_path / "sd3")
    limit = backbone.shorter_counts(["a"])[0]
    texts = ["red", "red " * (limit + 2), "red " * (backbone.t5_tokens + 2)]
    suite = PromptSuite(
        name="s",
        version="1",
        prompts=tuple(Prompt(id=f"p{n}", text=t) for n, t in enumerate(texts)),
    )
    spec = GenerationSpec(steps=1, cfg_scale=1.0, height=8, width=8)
    ref = CheckpointRef(kind="path", location=str(tmp_path / "sd3"))
    told = image_remarks(backbone, ref, suite, spec, Store(tmp_path / "store"))
    assert len(told) == 2 and "1 of 3 prompts" in told[0] and "p2" in told[0]
    assert f"1 of 3 prompts are longer than the {limit} tokens that CLIP's text" in told[1]
    assert "p1" in told[1] and "p2" not in told[1]


def test_back_ends_of_other_environments_count_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, counts = HPSv21Package().token_counts(["a red circle", "red " * 100])
    assert limit == 77 and counts == [5, 102]
    tiny_tokenizer(tmp_path).save_pretrained(tmp_path)
    monkeypatch.setattr(LLM2CLIPScorer, "weights", lambda self: {"llm": tmp_path})
    limit, (short, long) = LLM2CLIPScorer().token_counts(["red", "red " * 600])
    assert limit == 512 and short < limit < long
