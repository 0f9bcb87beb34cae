"""What `plan` says a set takes on disk, against what one takes."""

from pathlib import Path

import pytest

from bench.data import spec
from bench.harness.requests import request_for
from bench.spec.profile import Speed
from bench.steps.cells import build_graph
from bench.steps.data import PairStep, set_bytes
from bench.steps.step import Runtime
from bench.store import Store

PAPER = Speed(latent_numbers=16_384, text_numbers=59_136)


def pair_step(tmp_path: Path, *overrides: str) -> PairStep:
    request = request_for(
        "1a", "tiny", store=tmp_path, rows=("ddspo",), columns=("GE",), overrides=overrides
    )
    steps = build_graph(request, Store(tmp_path)).graph
    (found,) = (step for step in steps if isinstance(step, PairStep))
    return found


def test_a_tiny_set_takes_what_is_said(tmp_path: Path) -> None:
    fewer = ("pairs.suite.options.count=12", "pairs.generation.steps=1")
    step = pair_step(tmp_path, *fewer)
    made = step.make(Store(tmp_path), Runtime(device="cpu"))
    taken = sum(entry["size"] for entry in made.manifest["files"].values())
    assert made.read_json("report.json")["pairs"] >= 10
    assert taken / 1.5 < step.bytes < taken * 1.5


@pytest.mark.parametrize(
    ("settings", "times", "kilobytes"),
    [
        # latents of 2 x 16,384 numbers, two texts of 77 x 768, in float16: measured 302 kB
        ({"generation": {"dtype": "float16"}, "perturbation": "rand-removal"}, 1, 302.8),
        ({"generation": {"dtype": "float16"}, "perturbation": "x", "losers": False}, 1, 270.0),
        # labelled pictures, in float32 and without degraded prompts; drawn at every visit
        ({"hub": "some/set"}, 4, 2 * 4 * 65.536 + 236.544 + 0.7),
        ({"path": "x.csv", "unpaired": True}, 1, 65.536 + 236.544 + 0.7),
    ],
)
def test_a_pair_of_sd14_takes_what_its_tensors_take(
    settings: dict[str, object], times: int, kilobytes: float
) -> None:
    latents, texts, rows = set_bytes(settings, 1_000, PAPER, times)
    assert (latents + texts + rows) / 1e6 == pytest.approx(kilobytes, rel=0.01)


def test_many_texts_are_named_and_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = pair_step(tmp_path)
    assert "embeddings" not in few.label
    named = pair_step(tmp_path, "pairs.texts=stored", "speed.text_numbers=60000000")
    assert "246 GB of it embeddings of texts" in named.label
    assert named.bytes > 245e9
    monkeypatch.setattr(spec, "STORED_BYTES", 10_000_000)  # 512 pairs have 12.6 MB
    light = pair_step(tmp_path)
    assert "embeddings of texts made when read (0.0 GB, not stored)" in light.label
    assert few.bytes - light.bytes == 512 * 2 * 3072 * 4
    assert few.id == named.id == light.id
