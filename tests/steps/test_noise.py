"""Training seed and noise seed of a table's cells, and what is sampled at which noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.api.errors import UsageError
from bench.spec.request import make_request
from bench.steps.cells import TableGraph, build_graph
from bench.store import Store

Seeds = list[tuple[int | None, int | None]]


def graph(profile: Path, **options: Any) -> TableGraph:
    request = make_request("1a", str(profile), columns=["GE"], **options)
    return build_graph(request, Store(profile.parent / "store"))


def seeds(found: TableGraph, row: str) -> Seeds:
    return [(c.training_seed, c.noise_seed) for c in found.cells if c.row == row]


def test_one_noise_for_all_unless_asked(pure_profile: Path) -> None:
    found = graph(pure_profile, controls=True, seeds=(0, 1, 2))
    assert seeds(found, "base") == [(None, 0)] and seeds(found, "ceiling") == [(None, 0)]
    assert seeds(found, "ddspo") == [(0, 0), (1, 0), (2, 0)]
    assert seeds(found, "base-again") == [(None, 9001)]
    moved = graph(pure_profile, seeds=(0, 1), overrides=["sampling_seed=7"])
    assert seeds(moved, "base") == [(None, 7)] and seeds(moved, "ddspo") == [(0, 7), (1, 7)]


def test_with_noise_per_seed_the_base_is_sampled_at_each(pure_profile: Path) -> None:
    noise = ["noise=per-seed", "sampling_seed=4"]
    found = graph(pure_profile, controls=True, seeds=(0, 2), overrides=noise)
    assert seeds(found, "ddspo") == [(0, 4), (2, 6)]
    assert seeds(found, "base") == [(None, 4), (None, 6)]
    assert seeds(found, "ceiling") == [(None, 4)]  # it says that one noise is enough
    used = {n for c in found.cells if c.row != "base-again" for n in [c.noise_seed]}
    assert not used & {n for _, n in seeds(found, "base-again")}
    for cell in found.cells:
        if cell.step is None:
            continue  # the profile has no settings for the controls that must improve
        scores = found.graph[str(cell.step)]
        images = found.graph[scores.upstream["images"]]
        assert images.identity["seed"] == cell.noise_seed
        for node in (scores, images):
            assert node.noise_seed == cell.noise_seed
            assert getattr(node, "training_seed", None) == cell.training_seed
        assert cell.protocol["noise"] == "per-seed"


def test_noise_per_seed_trains_nothing_anew(pure_profile: Path) -> None:
    shared = graph(pure_profile, seeds=(0, 1))
    own = graph(pure_profile, seeds=(0, 1), overrides=["noise=per-seed"])
    kinds = [{n.id for n in g.graph if n.kind in ("pairs", "train")} for g in (shared, own)]
    assert kinds[0] == kinds[1]
    of_first = [{c.step for c in g.cells if c.noise_seed == 0} for g in (shared, own)]
    assert of_first[1] <= of_first[0]  # the first seed's images are those of shared noise


def test_wrong_noise_is_refused(pure_profile: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown noise 'per_seed'.*per-seed"):
        graph(pure_profile, overrides=["noise=per_seed"])
    with pytest.raises(UsageError, match="below 1000"):
        graph(pure_profile, seeds=(0, 1000), overrides=["noise=per-seed"])


def test_a_row_may_take_fewer_seeds(pure_profile: Path) -> None:
    """Those that controls need, where claims have more: the first of those asked for."""
    some = {"controls": True, "seeds": (1, 2, 4, 5), "overrides": ["noise=per-seed"]}
    found = graph(pure_profile, **some)
    assert seeds(found, "ddspo") == [(s, s) for s in (1, 2, 4, 5)]
    assert seeds(found, "ddspo-shuffled") == [(s, s) for s in (1, 2, 4)]
    assert [noise for _, noise in seeds(found, "base")] == [1, 2, 4, 5]
    assert len(seeds(found, "base-again")) == 3
    for wrong in ("0", "true", "1.5", "many"):
        file = pure_profile.parent / "mine.yaml"
        file.write_text(TABLE % wrong)
        with pytest.raises(UsageError, match=r"mine.yaml:4: .*seeds is .*a (whole )?number"):
            make_request(str(file), str(pure_profile))


TABLE = """\
title: t
source: s
rows:
  - {key: base, label: base, checkpoint: base, seeds: %s}
columns:
  - {key: GE, label: g, evaluator: geneval, metric: overall, higher_is_better: true, decimals: 2}
"""
