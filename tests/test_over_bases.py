"""Tests for benchmarks/over_bases.py: the interval of a difference over bases."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import ttest_1samp

FILE = Path(__file__).parents[1] / "benchmarks" / "over_bases.py"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("over_bases", FILE)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_interval_is_that_of_a_t_test_over_bases(module: ModuleType) -> None:
    values = [0.07, 0.11, 0.02, 0.09]
    found = module.over_bases(values, [0.02] * 4)
    low, high = ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((low, high), rel=1e-9)
    assert found["value"] == pytest.approx(0.0725) and found["bases"] == 4


def test_what_each_base_s_own_error_explains_is_not_between_bases(module: ModuleType) -> None:
    assert module.over_bases([0.05, 0.06, 0.055], [0.02] * 3)["between"] == 0.0
    random = np.random.default_rng(3)
    found = [
        module.over_bases(list(0.1 + random.normal(0, 0.05, 40)), [0.03] * 40)["between"]
        for _ in range(50)
    ]
    assert np.mean(found) == pytest.approx((0.05**2 - 0.03**2) ** 0.5, abs=0.004)
