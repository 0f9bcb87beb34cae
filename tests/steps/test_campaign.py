"""No corruption of anything that is stored passes without a word (docs/reliability.md).

The seed is the time unless BENCH_CAMPAIGN_SEED is set; it and every corruption are printed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.steps.campaign import Campaign, begin, summary, trials

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def survives(campaign: Campaign, folder: Path, count: int) -> None:
    seed = int(os.environ.get("BENCH_CAMPAIGN_SEED", time.time()))
    outcomes = list(trials(campaign, folder, seed, count))
    print(summary(outcomes))
    bad = [str(outcome) for outcome in outcomes if outcome.word not in ("mended", "noticed")]
    assert not bad, f"seed {seed}:\n" + "\n".join(bad)


def test_ten_corruptions(tmp_path: Path) -> None:
    survives(begin(tmp_path, ("pairs", "train")), tmp_path, 10)


@pytest.mark.slow
def test_a_hundred_corruptions(tmp_path: Path) -> None:
    survives(begin(tmp_path), tmp_path, 100)
