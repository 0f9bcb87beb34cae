import math
from dataclasses import replace
from statistics import stdev

import pytest

from bench.api.errors import BenchError, ProtocolError
from bench.report.model import TableData
from bench.report.reach import reach_of
from bench.report.statistics import Statistics, compute
from bench.report.stored import make_report
from bench.stats import clustered_stderr
from bench.stats.student import half_width_factor
from tests.report.tables import PROTOCOL, ROWS, mean_cell, row, set_cell, table


def test_one_seed_says_nothing_of_training_again() -> None:
    data = table(seeds=[0])
    found = compute(data).value("dpo", "GE").estimate
    scored = data.of("dpo", "GE")[0].estimate
    assert found is not None and scored is not None and found.value == scored.value
    assert found.n_seeds == 1 and found.parts.seeds is None and found.low is not None
    assert "these checkpoints alone" in make_report(data, []).render("md")


def test_several_seeds_have_one_error_term_of_both_parts() -> None:
    data = table()
    cells = data.of("ddspo", "GE")
    found = compute(data).value("ddspo", "GE")
    values = [c.estimate.value for c in cells if c.estimate]
    mean = math.fsum(values) / 3
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / 2 / 3)
    first = cells[0].values
    averaged = [math.fsum(c.values[i].value for c in cells) / 3 for i in range(len(first))]
    prompts = clustered_stderr(averaged, [v.prompt_id for v in first], [v.tag for v in first])
    estimate = found.estimate
    assert estimate is not None and estimate.value == pytest.approx(mean)
    assert estimate.parts.seeds is not None and estimate.parts.prompts is not None
    assert estimate.parts.seeds.high == pytest.approx(mean + half_width_factor(0.95, 2) * spread)
    assert prompts is not None and estimate.parts.prompts.variance == pytest.approx(prompts**2)
    assert estimate.stderr == pytest.approx(math.hypot(spread, prompts))
    assert found.by_seed == {str(s): v for s, v in enumerate(values)}


def test_differences_are_paired_image_by_image() -> None:
    """The prompts' own spread cancels, so the paired interval is far narrower than either row's."""
    statistics = compute(table())
    difference = statistics.difference("ddspo", "GE").estimate
    alone = statistics.value("ddspo", "GE").estimate
    assert difference is not None and alone is not None
    assert difference.value == pytest.approx(0.101, abs=0.02)
    assert difference.stderr is not None and alone.stderr is not None
    assert difference.stderr < 0.3 * alone.stderr


def test_differences_of_set_metrics_are_paired_block_by_block() -> None:
    same = [set_cell(key, seed, 10.0) for key, seed in (("base", None), ("dpo", 0), ("ddspo", 0))]
    means = [mean_cell(key, seed, 0.0) for key, seed in (("base", None), ("dpo", 0), ("ddspo", 0))]
    statistics = compute(table(seeds=[0], cells=(*same, *means)))
    difference = statistics.difference("dpo", "FID").estimate
    assert difference is not None and difference.value == 0.0
    assert difference.stderr is None  # every block agrees: no spread is no certainty
    value = statistics.value("dpo", "FID").estimate
    assert value is not None and value.low is not None and value.low < 10.0


@pytest.mark.parametrize("column", ["GE", "FID"])
def test_three_equal_seeds_have_an_interval_of_some_width(column: str) -> None:
    """Seeds that agree say nothing of other prompts."""
    one = {c.row: c for c in table().cells if c.column == column and c.training_seed in (None, 1)}
    cells = [one["base"], *(replace(one["dpo"], training_seed=seed) for seed in range(3))]
    columns = tuple(c for c in table().columns if c["key"] == column)
    data = table(rows=ROWS[:2], columns=columns, claims=(), cells=tuple(cells))
    statistics = compute(data)
    for found in (statistics.value("dpo", column), statistics.difference("dpo", column)):
        assert found.estimate is not None and found.estimate.n_seeds == 3
        assert found.estimate.low is not None and found.estimate.high is not None
        assert found.estimate.high - found.estimate.low > 0.01
    # where each seed draws everything anew, equal seeds leave nothing to make an interval of
    runs = replace(data, columns=tuple({**c, "units": "seeds"} for c in columns))
    alone = compute(runs).value("dpo", column).estimate
    assert alone is not None and alone.low is None
    assert "(no interval)" in make_report(runs, []).render("md")


def test_where_each_seed_draws_everything_the_interval_is_over_seeds() -> None:
    columns = tuple({**c, "units": "seeds"} for c in table().columns[1:])
    data = table(columns=columns, claims=table().claims[2:])
    found = compute(data)
    value = found.value("ddspo", "FID").estimate
    values = list(found.value("ddspo", "FID").by_seed.values())
    assert value is not None and value.df == 2.0 and value.high is not None
    mean, half = sum(values) / 3, half_width_factor(0.95, 2) * stdev(values) / math.sqrt(3)
    assert (value.low, value.high) == pytest.approx((mean - half, mean + half))
    assert found.verdicts[0].n_seeds == 3 and found.verdicts[0].word == "supported"


def test_what_a_column_could_have_seen_stands_under_the_table() -> None:
    data = table()
    statistics = compute(data)
    found = {r.column: r for r in reach_of(data, statistics)}
    effects = [statistics.difference(row, "GE").estimate for row in ("dpo", "ddspo")]
    sizes = [e.detectable() for e in effects if e is not None]
    assert [found["GE"].least, found["GE"].most] == [min(sizes), max(sizes)]  # type: ignore[type-var]
    text = make_report(data, []).render("md")
    assert f"GE ≥ {found['GE'].least:.4f} to {found['GE'].most:.4f}" in text
    few = make_report(table(seeds=(0,)), []).render("terminal")
    assert "Could have seen" in few and "with 1 training seed" in few


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
    assert (failed.state, failed.reason, failed.estimate) == ("failed", "no luck", None)
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


def test_an_untrained_row_has_no_part_of_seeds() -> None:
    data = table()
    again = row("again", label="base, other seed", checkpoint="base", method=None, control=True)
    cells = (*data.cells, mean_cell("again", None, 0.001), set_cell("again", None, 10.1))
    statistics = compute(replace(data, rows=(*data.rows, again), cells=cells))
    assert statistics.baseline == "base"
    for found in (statistics.value("again", "GE"), statistics.difference("again", "GE")):
        assert found.estimate is not None and found.estimate.parts.seeds is None
    difference = statistics.difference("again", "GE").estimate
    assert difference is not None and difference.value == pytest.approx(0.0, abs=0.02)
