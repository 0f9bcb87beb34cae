"""What a table claims and tells: one line for "the best", planned claims first, facts."""

from pathlib import Path
from typing import Any

import pytest

import bench
from bench.api.errors import UsageError
from bench.cli import main
from bench.spec.table import TableSpec, load_table, read_table, table_names
from tests.steps.test_spec import MINIMAL

ROWS = [{"key": k, "label": k, "method": k} for k in ("a", "b", "c")]
PUBLISHED = {k: {"GE": {"value": n, "source": "s"}} for n, k in enumerate("cab")}
A_BEST = {"best": "b", "columns": ["GE"]}
RATIO = {"of": "a", "to": "b", "base": "c", "column": "GE", "published": 1.5}


def read(**parts: Any) -> TableSpec:
    return read_table("t", {**MINIMAL, "rows": ROWS, "published": PUBLISHED, **parts})


def pairs(table: TableSpec) -> list[tuple[str, str]]:
    return [(c.better, c.worse) for c in table.claims]


def test_the_best_is_better_than_each_other_published_row() -> None:
    table = read(claims=[A_BEST])
    assert pairs(table) == [("b", "c"), ("b", "a")]
    assert all(claim.best and claim.column == "GE" for claim in table.claims)
    named = read(claims=[{**A_BEST, "among": ["a"], "planned": True}])
    assert pairs(named) == [("b", "a")] and named.claims[0].planned


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"claims": [{"better": "a", "worse": "d", "column": "GE"}]}, r"claim 1: unknown row"),
        ({"claims": [{"better": "a", "worse": "b", "column": "GF"}]}, r"claim 1: .*'GE'"),
        ({"claims": [{"better": "a", "worse": "a", "column": "GE"}]}, "cannot beat itself"),
        ({"claims": [{"best": "d", "columns": ["GE"]}]}, "unknown row"),
        ({"claims": [{"best": "a", "columns": ["GF"]}]}, "unknown column"),
        ({"claims": [{"best": "a", "columns": "GE"}]}, "expected a list"),
        ({"claims": [{"best": "a", "columns": ["GE"], "amogn": []}]}, "'amogn'.*'among'"),
        ({"claims": [A_BEST], "published": {}}, "no other row has a published value"),
        (
            {"claims": [A_BEST, {"better": "b", "worse": "a", "column": "GE"}]},
            "claim 2: b > a on GE is claimed twice",
        ),
        (
            {"claims": [A_BEST, {"better": "c", "worse": "a", "column": "GE", "planned": True}]},
            "claim 2: it is planned and stands after claim 1",
        ),
        ({"claims": [{**A_BEST, "planned": "yes"}]}, "planned is 'yes' .*expected true or false"),
        ({"claims": [{**A_BEST, "planed": True}]}, "'planed'.*'planned'"),
        ({"facts": [{"says": "x"}]}, "fact 1 lacks source"),
        ({"facts": [{"says": " ", "source": "s"}]}, "fact 1: a fact needs says"),
        ({"facts": [{"says": "x", "source": "s", "sauce": 1}]}, "'sauce'"),
        ({"facts": [{"says": "x", "source": "s", "ratio": {**RATIO, "to": "d"}}]}, "unknown row"),
        ({"facts": [{"says": "x", "source": "s", "ratio": {**RATIO, "to": "a"}}]}, "three unlike"),
        ({"facts": [{"says": "x", "source": "s", "ratio": {"of": "a"}}]}, "ratio lacks to, base"),
    ],
)
def test_a_wrong_statement_is_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(**parts)


def test_the_command_line_names_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(bench.__file__).parent / "tables" / "3b.yaml").read_text()
    wrong = "{better: not-paired, worse: rand-positve, column: GE}"
    text = text.replace("{better: not-paired, worse: rand-positive, column: GE}", wrong)
    (tmp_path / "3b.yaml").write_text(text)
    file = str(tmp_path / "3b.yaml")
    line = next(n for n, found in enumerate(text.splitlines(), start=1) if wrong in found)
    for arguments in (["show", "table", file], ["plan", "--table", file]):
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert f"3b.yaml:{line}: " in said and "'rand-positive'" in said


def test_table_1a_plans_three_claims_and_tells_what_the_text_says() -> None:
    table = load_table("1a")
    assert [c.pair for c in table.claims if c.planned] == [
        ("diffusion-dpo", "base", "GE"),
        ("ddspo", "base", "GE"),
        ("ddspo", "diffusion-dpo", "GE"),
    ]
    found = {c.pair for c in table.claims}
    assert {("ddspo", "base", "CB"), ("base", "diffusion-dpo", "FID")} <= found
    assert ("base", "ddspo", "FID") in found
    told = " ".join(fact.says for fact in table.facts)
    assert all(number in told for number in ("34.2 %", "17.5 %", "15.05", "20.31"))


def test_published_ratios_follow_from_the_published_values() -> None:
    ratios = [(load_table(n), f.ratio) for n in table_names() for f in load_table(n).facts]
    checked = 0
    for table, ratio in ratios:
        if ratio is None:
            continue
        of, to, base = (
            table.published[row][ratio.column].value for row in (ratio.of, ratio.to, ratio.base)
        )
        assert (of - base) / (to - base) == pytest.approx(ratio.published, abs=5.1e-4)
        checked += 1
    assert checked == 2


def test_the_statements_of_the_other_tables() -> None:
    three = {c.pair for c in load_table("3a").claims}
    for row, columns in (("rand-removal", ("GE", "CB")), ("aesthetics", ("HPSv2", "Pick"))):
        others = {"base", "rand-removal", "text-alignment", "aesthetics"} - {row}
        assert {(row, other, column) for other in others for column in columns} <= three
    two = load_table("2b")
    assert {("ddspo", "base", "HPSv2"), ("ddspo", "base", "Pick")} <= {c.pair for c in two.claims}
    assert "contradicts itself" in two.footnotes[str(two.published["ddspo"]["Pick"].footnote)]
    assert two.row("ddspo-aq").data == "aesthetics" and two.row("ddspo-aq").control
    assert ("not-paired", "rand-positive", "GE") in {c.pair for c in load_table("3b").claims}
