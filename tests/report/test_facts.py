"""Published statements that no cell carries, and the ratios measured beside them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import main
from bench.generation.checkpoint import CheckpointRef
from bench.report.stored import make_report, read_report, write_report
from bench.report.trained_on import KEY
from bench.steps.data import PairStep
from tests.report.tables import mean_cell, table

RATIO = {"of": "ddspo", "to": "dpo", "base": "base", "column": "GE", "published": 1.342}
FACTS = (
    {"says": "The gain is 34.2 % larger.", "source": "Paper, text", "ratio": RATIO},
    {"says": "FID 15.05 of another model.", "source": "Paper, text"},
)


def test_a_ratio_of_gains_is_measured_beside_the_published_one() -> None:
    data = table(facts=FACTS, gain={"dpo": 0.3, "ddspo": 0.45})
    report = make_report(data, ())
    found, words = report.statistics.ratios
    assert words is None and found is not None and found.value is not None
    ge = {r: report.statistics.difference(r, "GE").estimate for r in ("dpo", "ddspo")}
    assert ge["dpo"] is not None and ge["ddspo"] is not None
    assert found.value == pytest.approx(ge["ddspo"].value / ge["dpo"].value)
    assert found.low is not None and found.high is not None and found.low < found.value < found.high
    for form in ("md", "html", "terminal"):
        text = " ".join(report.render(form).split())
        assert "34.2 %" in text and f"{found.value:.3f}" in text and "15.05" in text
    assert "1.342" in report.render("md")


def test_a_gain_within_noise_has_no_ratio() -> None:
    cells = [
        mean_cell(row, seed, shift)
        for row, shifts in (("base", (0.0,)), ("dpo", (0.1, -0.1, 0.01)), ("ddspo", (0.2,) * 3))
        for seed, shift in enumerate(shifts)
        for seed in ((None,) if row == "base" else (seed,))
    ]
    data = table(facts=FACTS, cells=tuple(cells))
    found = make_report(data, ()).statistics.ratios[0]
    assert found is not None and found.value is None
    assert found.reason == "ratio undefined: dpo's gain is within noise"
    assert found.reason in make_report(data, ()).render("md")


def test_a_ratio_needs_three_training_seeds() -> None:
    found = make_report(table(seeds=(0, 1), facts=FACTS), ()).statistics.ratios[0]
    assert found is not None and "2 paired training seeds" in found.reason


def test_facts_are_stored_and_a_table_without_them_still_reads(tmp_path: Path) -> None:
    told = make_report(table(facts=FACTS), ("a",))
    write_report(told, tmp_path / "told")
    assert read_report(tmp_path / "told").render("json") == told.render("json")
    changed = replace(told.data, facts=FACTS[1:])
    assert make_report(changed, ()).inputs_sha256 != told.inputs_sha256

    write_report(make_report(table(), ("a",)), tmp_path / "plain")
    stored = json.loads((tmp_path / "plain" / "table.json").read_text())
    assert "facts" not in stored and "ratios" not in stored["statistics"]
    again = read_report(tmp_path / "plain")
    assert again.data.facts == () and "Published statements" not in again.render("md")


@pytest.mark.parametrize("form", ["md", "terminal", "json", "csv", "tex", "html"])
def test_the_committed_table_renders(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It was stored before tables had facts."""
    assert main(["report", "--table", "1a", "--from", "results/table-1a", "--format", form]) == 0
    assert capsys.readouterr().out


def _described(name: str, kind: str, settings: dict[str, object]) -> str:
    step = PairStep(
        name=name,
        identity={},
        data_kind=kind,
        settings=settings,
        checkpoint=CheckpointRef(kind="shipped", location="tiny-sd"),
        pairs=None,
    )
    return step.described


def test_notes_say_what_rows_were_trained_on() -> None:
    settings = {"min_words": 2, "perturbation": "rand-removal"}
    pairs = _described("paper.pairs", "generated", settings)
    assert pairs == "paper.pairs (generated), prompts of 2 words or more, rand-removal"
    photos = {"run": "x", "posterior": "sample", "flip": True, "augmentation": "per-visit"}
    photos_said = _described("paper.photos", "curated", photos)
    assert photos_said == "paper.photos (curated), flips and VAE samples drawn at every visit"
    cells = [
        replace(cell, provenance={**cell.provenance, KEY: [pairs]}) if cell.row != "base" else cell
        for cell in table().cells
    ]
    assert f"dpo, ddspo: trained on {pairs}" in make_report(table(cells=tuple(cells)), ()).render(
        "md"
    )
