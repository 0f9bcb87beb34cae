"""The speed benchmark compares equals: both sides have the same weights, pictures and numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The scripts, which import one another by their file names."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import evaluator_speed
    import speed_case
    import speed_clip
    import speed_networks

    files = (evaluator_speed, speed_case, speed_clip, speed_networks)
    return {module.__name__: module for module in files}


def small(name: str) -> dict[str, Any]:
    from evaluators.models.open_clip_text import named_config

    known = named_config(name)
    return {
        **known,
        "embed_dim": 24,
        "vision_cfg": {**known["vision_cfg"], "layers": 1, "width": 64, "patch_size": 56,
                       "head_width": 32},
        "text_cfg": {**known["text_cfg"], "layers": 2, "width": 32, "heads": 2},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["ViT-B-32-quickgelu", "ViT-H-14"])
def test_transformers_gets_the_weights_of_open_clip(
    name: str, modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    from transformers import CLIPTokenizer

    networks, config = modules["speed_networks"], small(name)
    network = networks.open_clip_network(config)
    model = networks.as_transformers(network, config)
    pixels = torch.randn(2, 3, 224, 224)
    seen = model.get_image_features(pixels).pooler_output
    assert torch.allclose(seen, network.encode_image(pixels), atol=1e-5)
    import open_clip

    texts = ["a photo of a red cat", "2 Ölmühlen, under&beside!", "long " * 90]
    tokenizer = CLIPTokenizer.from_pretrained(networks.write_clip_files(tmp_path))
    tokens = tokenizer(
        texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    )
    theirs = open_clip.get_tokenizer("ViT-L-14")(texts)
    kept = tokens.attention_mask.bool()
    assert torch.equal(tokens.input_ids[kept], theirs[kept])
    said = model.get_text_features(**tokens).pooler_output
    assert torch.allclose(said, network.encode_text(theirs), atol=1e-5)


def test_a_difference_is_found_and_rates_are_of_all_runs(modules: dict[str, ModuleType]) -> None:
    speed, Sides = modules["evaluator_speed"], modules["speed_case"].Sides  # noqa: N806
    calls: list[tuple[str, int]] = []

    def side(name: str, last: float) -> Any:
        def score(n: int) -> list[float]:
            calls.append((name, n))
            sum(i * i for i in range(20_000))
            return [2.0, last][:n]

        return score

    sides = Sides(ours=side("ours", -4.0), published=side("published", -3.9))
    found = speed.compared(sides, 2, 3)
    assert calls == [("published", 1), ("ours", 1), *[("published", 2), ("ours", 2)] * 3]
    assert found["difference"] == pytest.approx(0.1 / 3.9)
    assert all(len(found[name]) == 3 and min(found[name]) > 0 for name in ("ours", "published"))
    unlike = Sides(ours=side("ours", 1.0), published=side("published", 2.0), alike=False)
    assert speed.compared(unlike, 2, 1)["difference"] is None
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        speed.compared(Sides(ours=lambda n: [1.0], published=lambda n: [1.0] * n), 2, 1)


def test_pictures_and_prompts_are_cut_together(
    modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    images = modules["speed_networks"].pictures(tmp_path, 5, per_prompt=2, pixels=16)
    assert [len(images.suite.prompts), len(images.records)] == [3, 5]
    some = modules["speed_case"].first(images, 3)
    assert [record.key for record in some.records] == ["0/0", "0/1", "1/0"]
    assert [prompt.id for prompt in some.suite] == ["0", "1"]
    assert [p.size for p in modules["speed_case"].opened(some)] == [(16, 16)] * 3


@pytest.mark.slow
def test_the_program_names_an_unknown_case_and_measures_a_known_one() -> None:
    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(FOLDER / "evaluator_speed.py"), *argv]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    wrong = run("--only", "pickscor")
    assert wrong.returncode and "pickscore" in wrong.stderr
    done = run("--only", "fid-clean", "--images", "2", "--repeats", "1", "--batch", "2")
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("| fid-clean"))
    assert float(row.split("|")[-2]) < 1e-5
