"""Planned claims at three guidance scales: what holds where, and what of it guidance gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.report.model import TableData
from bench.report.scales import ScaledClaim, guidance_share, holds, scale_qualifier
from bench.report.statistics import compute
from bench.report.stored import make_report, read_report, write_report
from bench.stats import CrossedEstimate, Verdict
from tests.report.tables import PROTOCOL, mean_cell, row, table
from tests.stats.test_claims import effect

SCALES = {"base": 3.0, "ddspo": 2.5}
"""Best scales; the synthetic protocol samples at 2."""


def verdict(word: Any = "supported", value: float = 4.0) -> Verdict:
    return Verdict(
        word=word, effect=effect(value), p=0.001, p_holm=0.001, alpha=0.05, detectable=3.0,
        family="planned", reason="because",
    )  # fmt: skip


def scaled(
    at_base: float | None, at_own: float | None, guidance: float | None = None
) -> ScaledClaim:
    found = [None if v is None else effect(v) for v in (at_base, at_own, guidance)]
    return ScaledClaim(
        claim=0, scale=1.5, base_scale=3.0, own=(2.5, 3.0), at_base=found[0], at_own=found[1],
        guidance=found[2],
    )  # fmt: skip


def words(*effects: float | None, word: str = "supported") -> str:
    return scale_qualifier(verdict(word), scaled(*effects), higher_is_better=True)


def test_the_words_of_each_case() -> None:
    assert words(4.0, 4.0, 0.0) == "at all three scales"
    assert words(0.1, 0.4, 3.6) == "at scale 1.5, where guidance gives 90 % of it"
    assert words(0.1, -0.4, 4.4) == "at scale 1.5, where guidance gives all of it"
    assert words(4.0, 0.4, 3.6) == "at scales 1.5 and 3, where guidance gives 90 % of it"
    assert words(0.1, 4.0, 0.0) == (
        "at scale 1.5 and with each row at its own best scale, not at 3"
    )
    assert words(None, 4.0) == "at scale 1.5; the other scales were not measured"
    # an effect the other way round holds as little as none
    assert words(-9.0, -9.0, 13.0) == "at scale 1.5, where guidance gives all of it"


@pytest.mark.parametrize("word", ["inconclusive", "contradicted", "withheld"])
def test_only_what_is_supported_is_qualified(word: str) -> None:
    assert words(4.0, 4.0, 0.0, word=word) == ""


def test_what_holds() -> None:
    assert holds(effect(2.2), higher_is_better=True)  # one test at .05, not corrected
    assert not holds(effect(2.2, n_seeds=2), higher_is_better=True)
    assert not holds(effect(2.0), higher_is_better=True)
    assert holds(effect(-2.2), higher_is_better=False)
    assert not holds(effect(-2.2), higher_is_better=True)
    assert not holds(CrossedEstimate(value=1.0, n_seeds=3), higher_is_better=True)


def test_what_guidance_gives_in_words() -> None:
    given = [guidance_share(verdict(value=4.0), scaled(0, 0, g)) for g in (-1.0, 1.0, 2.98, 5.0)]
    assert given == ["none", "25 %", "74 %", "all"]
    assert guidance_share(verdict(), scaled(0, 0, None)) == "an unknown part"


def guided(gains: Mapping[str, float], seeds: int = 3) -> TableData:
    """DDSPO and the base at 2, 2.5 and 3; `gains` are the shifts of GE by row and scale."""
    data = table(seeds=tuple(range(seeds)), gain={"ddspo": gains["ddspo"]})
    rows, cells = list(data.rows), list(data.cells)
    for of, scale in (("base", 3.0), ("ddspo", 3.0), ("ddspo", 2.5)):
        key = f"{of}@{scale:g}"
        trained = [None] if of == "base" else list(range(seeds))
        cells += [
            mean_cell(key, seed, gains[key] + 0.001 * (seed or 0), protocol=PROTOCOL)
            for seed in trained
        ]
        made_by = {"checkpoint": "base", "method": None} if of == "base" else {"method": of}
        here = {"sampling": {"cfg_scale": scale}, "scale_of": of, "columns": ["GE"]}
        rows.append(row(key, **made_by, **here))
    planned = {"better": "ddspo", "worse": "base", "column": "GE", "circular": False}
    claims = ({**planned, "planned": True}, *data.claims[2:])
    return replace(data, rows=tuple(rows), cells=tuple(cells), claims=claims, scales=SCALES)


FREE = {"ddspo": 0.1, "base@3": 0.1, "ddspo@3": 0.09, "ddspo@2.5": 0.1}
"""What the method gains at scale 2 the base gains by scale 3, and the method no more."""
NEW = {"ddspo": 0.1, "base@3": 0.05, "ddspo@3": 0.2, "ddspo@2.5": 0.2}


def test_a_gain_that_guidance_gives_for_free_is_called_that() -> None:
    data = guided(FREE)
    found = compute(data)
    (at,) = found.scaled
    assert (at.scale, at.base_scale, at.own) == (2.0, 3.0, (2.5, 3.0))
    assert found.verdicts[0].word == "supported" and at.guidance is not None
    assert at.at_own is not None and found.verdicts[0].effect is not None
    # what is lost on the way to own best scales, image by image
    lost = found.verdicts[0].effect.value - at.at_own.value
    assert at.guidance.value == pytest.approx(lost) and at.guidance.stderr is not None
    assert at.guidance.n_seeds == 3
    for form in ("md", "terminal", "html"):
        flat = " ".join(make_report(data, []).render(form).split())
        assert "at scale 2, where guidance gives" in flat
        assert "Planned claims at three guidance scales" in flat


def test_a_gain_that_is_there_at_all_scales_needs_no_further_word() -> None:
    text = make_report(guided(NEW), []).render("md")
    assert "**supported** at all three scales" in text and "where guidance gives" not in text


def test_rows_at_other_scales_are_shown_with_their_claims_alone() -> None:
    data = guided(FREE)
    report = make_report(data, [])
    assert {s.row for s in report.statistics.values} == {"base", "dpo", "ddspo"}
    assert "base@3" not in report.render("csv") and "base@3" not in report.render("tex")
    measured = report.render("md").split("## Measured")[1].split("## Protocol")[0]
    assert "@" not in measured


def test_what_was_not_measured_is_not_called_supported_everywhere() -> None:
    data = guided(NEW)
    lost = tuple(c for c in data.cells if c.row != "ddspo@3")
    found = make_report(replace(data, cells=lost), [])
    assert found.statistics.scaled[0].at_base is None
    assert "at scale 2; the other scales were not measured" in found.render("md")


def test_stored_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    report = make_report(guided(FREE), ["a"])
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report
