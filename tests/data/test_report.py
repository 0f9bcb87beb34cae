"""The report of a pair set, each figure against a second way to it."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from bench.api import Prompt, PromptSuite
from bench.backbones.base import Backbone
from bench.data.on_disk import PairsOnDisk
from bench.data.report import (
    content_words,
    meaning_kept,
    over_length_share,
    pair_report,
    score_gap,
    spread,
)
from bench.data.spec import PairSpec, plan_pairs
from bench.store import Artifact
from bench.training.randomness import CounterStream, Sample
from tests.data.conftest import PAIRS

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "degraded", "kept"),
    [
        ("a picture of a red circle at night", "red circle night", True),
        ("a picture of a red circle at night", "picture of a circle at night", False),
        ("a red circle and a blue square", "red circle blue square", True),
        ("a red circle and a blue square", "red circle a square", False),
        ("a circle left of a square", "circle left square", True),
        ("a circle left of a square", "circle of a square", False),
        ("three blue squares", "blue squares", False),
        ('a sign reading "hx"', 'sign reading "hx"', True),
    ],
)
def test_when_the_meaning_is_kept(text: str, degraded: str, kept: bool) -> None:
    assert meaning_kept(Prompt(id="x", text=text, meta={"meaning": {}}), degraded) is kept


def test_outside_the_tiny_world_a_picture_means_something() -> None:
    prompt = Prompt(id="x", text="a picture of the sea")
    assert not meaning_kept(prompt, "of the sea")
    assert meaning_kept(prompt, "picture sea")
    assert content_words('The "Old" sea, and (a) ship.', frozenset({"the", "and", "a"})) == [
        "old",
        "sea",
        "ship",
    ]


def test_the_report_of_a_set(pairs: Artifact, suite: PromptSuite, spec: PairSpec) -> None:
    report = PairsOnDisk(pairs).report
    plan = plan_pairs(suite, spec)
    assert report["pairs"] == PAIRS
    assert report["prompts_left_out"] == 0
    assert report["distinct_texts"] == len(plan.texts)
    shares = [1 - len(r.degraded.split()) / len(r.prompt.split()) for r in plan.rows]
    assert report["removed_share_mean"] == pytest.approx(np.mean(shares))
    assert report["over_length_share"] == 0.0
    same = [meaning_kept(p, r.degraded) for p, r in zip(plan.prompts, plan.rows, strict=True)]
    assert report["meaning_unchanged_share"] == pytest.approx(np.mean(same))


def test_the_score_gap_is_the_networks(
    pairs: Artifact, suite: PromptSuite, spec: PairSpec, backbone: Backbone
) -> None:
    """One pair at a time, one forward per prompt, against the batched figures."""
    report = PairsOnDisk(pairs).report["score_gap"]
    batch = PairsOnDisk(pairs).batch(range(PAIRS), CPU)
    assert batch.degraded is not None
    samples = [Sample(i, 0) for i in range(PAIRS)]
    for number in (0, 6, 9):
        noise = CounterStream(0, "pair-report-noise", number).normal(samples, (4, 8, 8))
        share = CounterStream(0, "pair-report-t", number).uniform(samples)
        t = ((number + share) / 10 * 1000).long()
        assert int(t.min()) >= 100 * number
        assert int(t.max()) < 100 * (number + 1)
        gaps = []
        for i in range(PAIRS):
            rows = slice(i, i + 1)
            x_t = backbone.add_noise(batch.loser[rows], noise[rows], t[rows])
            under = [
                backbone.denoiser(
                    x_t, t[rows], encoder_hidden_states=c["encoder_hidden_states"][rows]
                )
                for c in (batch.condition, batch.degraded)
            ]
            gaps.append(float((under[0].sample - under[1].sample).square().mean()))
        assert report["bins"]["mean"][number] == pytest.approx(np.mean(gaps), rel=1e-4)
        stderr = np.std(gaps, ddof=1) / np.sqrt(PAIRS)
        assert report["bins"]["stderr"][number] == pytest.approx(stderr, rel=1e-3)
    assert report["mean"] == pytest.approx(np.mean(report["bins"]["mean"]))
    assert report["pairs"] == PAIRS
    assert min(report["bins"]["mean"]) > 0


def test_equal_prompts_have_no_gap(
    pairs: Artifact, suite: PromptSuite, spec: PairSpec, backbone: Backbone
) -> None:
    from dataclasses import replace

    plan = plan_pairs(suite, spec)
    same = replace(plan, rows=tuple(replace(r, degraded=r.prompt) for r in plan.rows))
    source = PairsOnDisk(pairs)
    gap = score_gap(
        same, backbone, source._latents["loser"], lambda texts: _encode(backbone, texts)
    )
    assert gap["mean"] < 1e-10


def _encode(backbone: Backbone, texts: Any) -> dict[str, torch.Tensor]:
    return backbone.encode_prompts(list(texts))


def test_prompts_the_encoder_cuts_are_counted(backbone: Backbone) -> None:
    long = " ".join(["red"] * 23)
    fits = " ".join(["red"] * 22)  # with the two marks 24, all the encoder reads
    assert over_length_share(backbone, [long, fits, "red", long]) == 0.5

    class NoTokenizer:
        pass

    assert over_length_share(NoTokenizer(), ["x"]) is None  # type: ignore[arg-type]


def test_the_spread_is_numpys() -> None:
    values = np.random.default_rng(0).normal(3, 2, (600, 2, 3)).astype(np.float16)
    assert spread(values) == pytest.approx(float(values.astype(np.float64).std()), rel=1e-9)


def test_latents_of_another_scale_are_remarked_on(
    suite: PromptSuite, spec: PairSpec, backbone: Backbone, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_pairs(PromptSuite(name="s", version="1", prompts=suite.prompts[:2]), spec)
    noise = np.random.default_rng(0).normal(size=(2, 4, 8, 8)).astype(np.float32)

    def report(scale: float) -> dict[str, Any]:
        return pair_report(
            plan,
            backbone,
            winner=noise * scale,
            loser=noise,
            conditions=lambda texts: _encode(backbone, texts),
        )

    with caplog.at_level(logging.WARNING):
        assert report(1.0)["latent_std_expected"] is True
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert report(0.18215)["latent_std_expected"] is False
    assert "applied exactly once" in caplog.text
