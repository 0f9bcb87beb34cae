import math
from dataclasses import replace

import pytest

from bench.api.errors import BenchError, ProtocolError
from bench.report.model import TableData
from bench.report.statistics import Statistics, compute
from bench.stats import clustered_mean
from bench.stats.student import half_width_factor
from tests.report.tables import PROTOCOL, mean_cell, row, set_cell, table


def test_one_seed_is_shown_with_the_interval_it_was_scored_with() -> None:
    data = table(seeds=[0])
    found = compute(data).value("dpo", "GE")
    assert found.given == data.of("dpo", "GE")[0].estimate
    assert found.seeds is not None and found.seeds.low is None


def test_several_seeds_have_two_kinds_of_interval() -> None:
    data = table()
    found = compute(data).value("ddspo", "GE")
    values = [c.estimate.value for c in data.of("ddspo", "GE") if c.estimate]
    mean = math.fsum(values) / 3
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / 2 / 3)
    assert found.given is not None and found.seeds is not None
    assert found.given.value == pytest.approx(mean)
    assert found.seeds.value == pytest.approx(mean)
    assert found.seeds.high == pytest.approx(mean + half_width_factor(0.95, 2) * spread)
    cells = data.of("ddspo", "GE")
    averaged = [
        math.fsum(c.values[i].value for c in cells) / 3 for i in range(len(cells[0].values))
    ]
    first = cells[0].values
    alone = clustered_mean(averaged, [v.prompt_id for v in first], [v.tag for v in first])
    assert found.given.low == pytest.approx(alone.low)
    assert found.given.stderr != pytest.approx(found.seeds.stderr)


def test_differences_are_paired_image_by_image() -> None:
    """The prompts' own spread cancels, so the paired interval is far narrower than either row's."""
    statistics = compute(table())
    difference = statistics.difference("ddspo", "GE").given
    alone = statistics.value("ddspo", "GE").given
    assert difference is not None and alone is not None
    assert difference.value == pytest.approx(0.101, abs=0.02)
    assert difference.stderr is not None and alone.stderr is not None
    assert difference.stderr < 0.3 * alone.stderr


def test_differences_of_set_metrics_are_paired_block_by_block() -> None:
    same = [set_cell(key, seed, 10.0) for key, seed in (("base", None), ("dpo", 0), ("ddspo", 0))]
    means = [mean_cell(key, seed, 0.0) for key, seed in (("base", None), ("dpo", 0), ("ddspo", 0))]
    statistics = compute(table(seeds=[0], cells=(*same, *means)))
    difference = statistics.difference("dpo", "FID").given
    assert difference is not None
    assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)
    value = statistics.value("dpo", "FID").given
    assert value is not None and value.low is not None and value.low < 10.0


def test_verdicts_need_three_seeds() -> None:
    assert {v.word for v in compute(table(seeds=[0, 1])).verdicts} == {"inconclusive"}
    words = [v.word for v in compute(table()).verdicts]
    assert words == ["supported", "supported", "supported"]


def test_a_wrong_claim_is_contradicted_in_the_direction_of_its_column() -> None:
    verdicts = compute(table(gain={"ddspo": 0.0})).verdicts
    assert [v.word for v in verdicts] == ["contradicted", "supported", "contradicted"]


def test_a_failed_seed_fails_the_cell_and_is_never_zero() -> None:
    data = table()
    cells = [
        replace(c, state="failed", reason="no luck", estimate=None, values=())
        if (c.row, c.column, c.training_seed) == ("dpo", "GE", 1)
        else c
        for c in data.cells
    ]
    statistics = compute(replace(data, cells=tuple(cells)))
    failed = statistics.value("dpo", "GE")
    assert (failed.state, failed.reason, failed.given) == ("failed", "no luck", None)
    assert statistics.difference("dpo", "GE").state == "failed"
    assert statistics.value("dpo", "FID").state == "measured"
    assert statistics.verdicts[1].word == "inconclusive"
    assert "dpo has no GE" in statistics.verdicts[1].reason


def _with(data: TableData, index: int, **protocol: object) -> TableData:
    cells = list(data.cells)
    cells[index] = replace(cells[index], protocol={**cells[index].protocol, **protocol})
    return replace(data, cells=tuple(cells))


@pytest.mark.parametrize(
    "change",
    [
        {"images_per_prompt": 4},
        {"generation": {**PROTOCOL["generation"], "steps": 50}},
        {"suite": {**PROTOCOL["suite"], "sha256": "cd" * 32}},
        {"backends": {"detector": {"backend": "toy", "version": 2}}},
    ],
)
def test_unlike_protocols_are_refused_in_one_column(change: dict[str, object]) -> None:
    data = table()
    with pytest.raises(ProtocolError, match=f"column GE: .*{next(iter(change))}"):
        compute(_with(data, 2, **change))


def test_a_rendered_row_stands_beside_sampled_ones() -> None:
    data = _with(table(), 0, generation=None)
    assert compute(data).value("base", "GE").state == "measured"


def test_set_metrics_over_unlike_numbers_of_images_are_refused() -> None:
    data = table()
    cells = list(data.cells)
    estimate = cells[1].estimate
    assert estimate is not None
    cells[1] = replace(cells[1], estimate=replace(estimate, n=12))
    with pytest.raises(ProtocolError, match="depends on the number of images"):
        compute(replace(data, cells=tuple(cells)))


def test_a_metric_that_is_not_the_mean_of_its_records_is_refused() -> None:
    data = table()
    cells = list(data.cells)
    first = cells[0]
    changed = (replace(first.values[0], value=0.99), *first.values[1:])
    cells[0] = replace(first, values=changed)
    with pytest.raises(BenchError, match="one of them was changed"):
        compute(replace(data, cells=tuple(cells)))


def test_nan_is_refused() -> None:
    data = table()
    cells = list(data.cells)
    estimate = cells[1].estimate
    assert estimate is not None
    cells[1] = replace(cells[1], estimate=replace(estimate, value=math.nan))
    with pytest.raises(BenchError, match="no number"):
        compute(replace(data, cells=tuple(cells)))


def test_statistics_survive_json() -> None:
    statistics = compute(table())
    assert Statistics.from_json(statistics.to_json()).to_json() == statistics.to_json()


def test_an_untrained_row_has_no_interval_over_seeds() -> None:
    data = table()
    again = row("again", label="base, other seed", checkpoint="base", method=None, control=True)
    cells = (*data.cells, mean_cell("again", None, 0.001), set_cell("again", None, 10.1))
    statistics = compute(replace(data, rows=(*data.rows, again), cells=cells))
    assert statistics.baseline == "base"
    assert statistics.value("again", "GE").seeds is None
    difference = statistics.difference("again", "GE")
    assert difference.seeds is None
    assert difference.given is not None and difference.given.value == pytest.approx(0.0, abs=0.02)
