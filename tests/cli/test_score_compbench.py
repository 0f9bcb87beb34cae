"""T2I-CompBench's folders and prompts of others, by the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.api.errors import IncompleteError, PrerequisiteError, UsageError
from bench.api.prompts import Prompt, PromptSuite
from bench.cli import main
from bench.harness.folders import read_folder
from evaluators.compbench import annotation
from evaluators.compbench.folder import file_name

OFFICIAL = PromptSuite(
    name="t2i-compbench-plus",
    version="1b70949",
    prompts=tuple(
        Prompt(
            id=f"{category}-{n:03d}",
            text=text,
            tag=category,
            meta={"category": category, "phrases": [text]},
        )
        for category, n, text in (
            ("color", 0, "a red circle"),
            ("color", 1, "a blue cross"),
            ("shape", 0, "a square"),
        )
    ),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(annotation.MODEL_VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "spacy", None)  # importing it fails
    return tmp_path / "cache"


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official prompts are on this machine: three of them."""
    monkeypatch.setattr(annotation, "_suite", lambda: OFFICIAL)
    monkeypatch.setattr(annotation, "_official", lambda: OFFICIAL.prompts)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((32, 32, 3), len(path.name), dtype=np.uint8)).save(path)


def folder(root: Path, texts: list[str], category: str = "color") -> Path:
    for number, text in enumerate(texts):
        picture(root / category / "samples" / file_name(text, number))
    return root


def manifest(root: Path, texts: list[str], category: str = "color") -> Path:
    lines = []
    for number, text in enumerate(texts):
        picture(root / f"{number}.png")
        lines.append(json.dumps({"file": f"{number}.png", "prompt": text, "tag": category}))
    (root / "manifest.jsonl").write_text("\n".join(lines))
    return root


def phrases(images: Any) -> list[Any]:
    return [p.meta.get("phrases") for p in images.suite]


def test_official_prompts_need_no_suite_and_a_category_must_be_whole(
    official: None, tmp_path: Path
) -> None:
    root = folder(tmp_path / "whole", ["a red circle", "a blue cross"])
    images = read_folder(root, evaluator="t2i-compbench")
    assert phrases(images) == [["a red circle"], ["a blue cross"]]
    assert [p.id for p in images.suite] == ["color-000", "color-001"]
    hole = folder(tmp_path / "hole", ["a red circle"])
    with pytest.raises(IncompleteError, match="lacks 1 of 2 images"):
        read_folder(hole, evaluator="t2i-compbench")


def test_a_manifest_s_official_prompts_are_found_by_their_text(
    official: None, tmp_path: Path
) -> None:
    images = read_folder(manifest(tmp_path / "m", ["a blue cross"]), evaluator="t2i-compbench-plus")
    assert phrases(images) == [["a blue cross"]]
    assert images.identity != read_folder(tmp_path / "m", evaluator="pickscore").identity


def test_what_is_not_known_is_said_with_all_that_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "own", ["a red circle"])
    store = tmp_path / "store"
    words = ["score", "--evaluator", "t2i-compbench", "--images", str(root), "--store", str(store)]
    assert main(words) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "1 prompts have no noun phrases in their meta (e.g. 'a red circle')" in said
    assert "python -m bench assets fetch t2i-compbench-plus" in said
    assert "pip install spacy" in said and "BENCH_SPACY_MODEL" in said
    assert "write phrases into the meta" in said
    assert not list(store.glob("images/*"))


def spacy(*, chunks: bool = True) -> SimpleNamespace:
    """A tagger for which every last word is a noun, and every text one chunk."""

    def tag(text: str) -> Any:
        words = text.split()
        tokens = [SimpleNamespace(text=w, pos_="NOUN" if w == words[-1] else "ADJ") for w in words]

        class Document(list[Any]):
            noun_chunks = [SimpleNamespace(text=text)] if chunks else []

        return Document(tokens)

    return SimpleNamespace(load=lambda model: tag)


def test_prompts_of_ones_own_are_parsed_once_and_pinned(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = manifest(tmp_path / "m", ["a shiny red circle", "a dull cross"])
    monkeypatch.setitem(sys.modules, "spacy", spacy())
    first = read_folder(root, evaluator="t2i-compbench")
    assert phrases(first) == [["a shiny red circle"], ["a dull cross"]]
    (kept,) = (cache / "annotations").iterdir()
    assert json.loads(kept.read_text())["model"] == "en_core_web_sm"
    # another version finds other phrases: what was kept stands
    monkeypatch.setitem(sys.modules, "spacy", spacy(chunks=False))
    assert read_folder(root, evaluator="t2i-compbench").identity == first.identity
    other = manifest(tmp_path / "n", ["a dull cross"])
    assert phrases(read_folder(other, evaluator="t2i-compbench")) == [[]]


def test_a_number_or_noun_that_cannot_be_found_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spacy", spacy())
    root = manifest(tmp_path / "m", ["two circles"], "numeracy")
    with pytest.raises(UsageError, match=r"'two circles'.*write counts into its meta"):
        read_folder(root, evaluator="t2i-compbench-plus")


def test_other_evaluators_ask_nothing_of_it(tmp_path: Path) -> None:
    images = read_folder(manifest(tmp_path / "m", ["a red circle"]), evaluator="pickscore")
    assert phrases(images) == [None]
    with pytest.raises(PrerequisiteError):
        read_folder(tmp_path / "m", evaluator="t2i-compbench")
