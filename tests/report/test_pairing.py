"""Which cells are paired: equal training seeds, and images of equal noise or none at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.api.errors import ProtocolError
from bench.report.model import CellData, TableData
from bench.report.pairing import matched
from bench.report.statistics import compute
from tests.report.tables import ROWS, mean_cell, set_cell, table


def cell(row: str, training_seed: int | None, noise_seed: int) -> CellData:
    return replace(mean_cell(row, training_seed, 0.1), noise_seed=noise_seed)


def seeds(
    ours: list[CellData], theirs: list[CellData], *, other_noise: bool = False
) -> list[tuple[tuple[int | None, int | None], tuple[int | None, int | None]]]:
    pairs = matched(ours, theirs, other_noise=other_noise)
    return [((a.training_seed, a.noise_seed), (b.training_seed, b.noise_seed)) for a, b in pairs]


def test_with_one_noise_every_seed_meets_the_same_base() -> None:
    trained, base = [cell("dpo", s, 0) for s in range(3)], [cell("base", None, 0)]
    assert seeds(trained, base) == [((s, 0), (None, 0)) for s in range(3)]
    assert seeds(base, trained) == [((None, 0), (s, 0)) for s in range(3)]


def test_with_noise_per_seed_each_meets_the_base_of_its_noise() -> None:
    trained = [cell("dpo", s, 5 + s) for s in range(3)]
    base = [cell("base", None, 7 - s) for s in range(3)]
    assert seeds(trained, base) == [((s, 5 + s), (None, 5 + s)) for s in range(3)]
    others = [cell("ddspo", s, 5 + s) for s in range(3)]
    assert seeds(trained, others) == [((s, 5 + s), (s, 5 + s)) for s in range(3)]


def test_unpaired_noise_is_refused_on_either_side() -> None:
    trained, base = [cell("dpo", s, s) for s in range(2)], [cell("base", None, 0)]
    with pytest.raises(ProtocolError, match=r"dpo \(training seed 1, noise 1\) has no partner"):
        matched(trained, base)
    with pytest.raises(ProtocolError, match=r"base \(noise 2\) has no partner of equal noise"):
        matched(trained, [cell("base", None, n) for n in range(3)])
    with pytest.raises(ProtocolError, match="equal noise"):
        matched([cell("dpo", 0, 0)], [cell("ddspo", 0, 1)])
    with pytest.raises(ProtocolError, match="unlike training seeds"):
        matched([cell("dpo", 0, 0)], [cell("ddspo", 1, 0)])


def per_seed(base_noises: tuple[int, ...] = (0, 1, 2)) -> TableData:
    cells = []
    for noise in base_noises:
        level = 0.2 * noise  # what noise does to all rows alike cancels
        cells.append(replace(mean_cell("base", None, level), noise_seed=noise))
        cells.append(replace(set_cell("base", None, 10.0 + level), noise_seed=noise))
    for seed in range(3):
        cells.append(replace(mean_cell("dpo", seed, 0.05 + 0.2 * seed), noise_seed=seed))
        cells.append(replace(set_cell("dpo", seed, 9.0 + 0.2 * seed), noise_seed=seed))
    return table(rows=ROWS[:2], claims=(), cells=tuple(cells))


def test_differences_are_between_images_of_equal_noise() -> None:
    found = compute(per_seed())
    assert found.value("base", "GE").by_seed.keys() == {"noise 0", "noise 1", "noise 2"}
    difference = found.difference("dpo", "GE").estimate
    assert difference is not None and difference.value == pytest.approx(0.05, abs=0.02)
    assert difference.stderr is not None and difference.stderr < 0.01
    assert difference.n_seeds == 3
    sets = found.difference("dpo", "FID").estimate
    assert sets is not None and sets.value == pytest.approx(-1.0)
    # of a row without training three noises are more images, not three trainings
    base = found.value("base", "GE").estimate
    assert (
        base is not None
        and base.n_seeds == 1
        and base.value == pytest.approx(sum(found.value("base", "GE").by_seed.values()) / 3)
    )
    set_value = found.value("base", "FID").estimate
    assert set_value is not None and set_value.value == pytest.approx(10.2)
    assert set_value.low is not None


def test_a_table_whose_noise_cannot_be_paired_is_refused() -> None:
    with pytest.raises(ProtocolError, match="equal noise"):
        compute(per_seed(base_noises=(0, 1)))


def test_a_row_that_says_its_noise_is_another_is_compared_prompt_by_prompt() -> None:
    again = {**ROWS[0], "key": "again", "sampling_seed": 1}
    cells = [cell("base", None, 0), cell("again", None, 1)]
    columns = table().columns[:1]
    data = table(rows=(ROWS[0], again), columns=columns, claims=(), cells=tuple(cells))
    found = compute(data).difference("again", "GE").estimate
    assert found is not None and found.n_prompts == 12
    undeclared = replace(data, rows=(ROWS[0], {**again, "sampling_seed": None}))
    with pytest.raises(ProtocolError, match="equal noise"):
        compute(undeclared)
