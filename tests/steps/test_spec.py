import math
from pathlib import Path

import pytest
import yaml

from bench.api.errors import PrerequisiteError, UsageError
from bench.config import expand, load_yaml, override
from bench.config.files import parse_yaml
from bench.spec.protocol import SuiteSpec, load_suite
from bench.spec.table import load_table, read_table, table_names

BASE = {"key": "base", "label": "base", "checkpoint": "base"}
MINIMAL = {
    "title": "t",
    "source": "s",
    "rows": [BASE],
    "columns": [
        {
            "key": "GE",
            "label": "g",
            "evaluator": "geneval",
            "metric": "overall",
            "higher_is_better": True,
            "decimals": 2,
        }
    ],
}


def test_the_published_gains_follow_from_the_published_values() -> None:
    """The paper states gains 34.2 % (GE) and 17.5 % (CB) larger than D-DPO's."""
    published = load_table("1a").published

    def gain(column: str) -> float:
        base, dpo, ddspo = (published[r][column].value for r in ("base", "diffusion-dpo", "ddspo"))
        return (ddspo - base) / (dpo - base)

    assert gain("GE") == pytest.approx(1.342, abs=5e-4)
    assert gain("CB") == pytest.approx(1.1745, abs=5e-4)


def test_the_base_compbench_value_is_the_mean_its_footnote_says() -> None:
    table = load_table("1a")
    six = (0.3765, 0.3576, 0.4156, 0.1246, 0.3079, 0.3080)
    assert round(math.fsum(six) / 6, 4) == table.published["base"]["CB"].value
    assert table.published["base"]["CB"].quoted
    assert ".3765" in table.footnotes[str(table.published["base"]["CB"].footnote)]


def test_every_published_value_names_its_source() -> None:
    for name in table_names():
        for cells in load_table(name).published.values():
            assert all(value.source for value in cells.values())


def test_table_1a_claims_and_controls() -> None:
    table = load_table("1a")
    claims = {(c.better, c.worse, c.column) for c in table.claims}
    assert ("ddspo", "diffusion-dpo", "GE") in claims
    assert ("diffusion-dpo", "base", "CB") in claims
    assert ("ddspo", "diffusion-dpo", "FID") in claims
    shows = {row.key: (row.control, *row.columns) for row in table.rows if row.control}
    both = ("GE", "CB")
    assert shows == {
        "ceiling": ("ceiling",),
        "ceiling-vae": ("ceiling",),
        "sft-truth": ("improves", *both),
        "sft-truth-small": ("improves", *both),
        "guidance-probe": ("probe",),
        "base-again": ("null", *both),
        "sft": ("probe",),
        "ddspo-identity": ("null", *both),
        "diffusion-dpo-shuffled": ("null", *both),
        "ddspo-exchanged": ("null", *both),
        "ddspo-shuffled": ("probe",),
    }
    assert {"authors", "official"} == set(table.protocols)
    assert table.protocols["official"]["GE"].generation.cfg_scale == 9.0
    assert table.protocols["authors"]["FID"].generation.file_format == "jpeg75"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rowz": []}, "unknown key 'rowz'"),
        ({"rows": []}, "no row"),
        (
            {"rows": [{"key": "a", "label": "a"}]},
            "exactly one of checkpoint, method",
        ),
        ({"rows": [{"key": "a", "label": "a", "chekpoint": "base"}]}, "'checkpoint'"),
        ({"rows": [{"key": "a", "label": "a", "render": "exakt"}]}, "'exact'"),
        ({"rows": MINIMAL["rows"] * 2}, "two rows are named 'base'"),
        ({"rows": [{"key": "a", "label": "a", "weights": "o/n", "start": "b"}]}, "no method to"),
        ({"rows": [{"key": "a", "label": "a", "checkpoint": "base", "data": "d"}]}, "no method to"),
        ({"rows": [{**BASE, "sampling": {"cfg": 1}}]}, "'sampling.cfg'.*'cfg_scale'"),
        ({"rows": [{**BASE, "sampling": {"cfg_scale": 1.0}}]}, "needs a note"),
        ({"claims": [{"better": "base", "worse": "bsae", "column": "GE"}]}, "'base'"),
        ({"published": {"base": {"GF": {"value": 1, "source": "s"}}}}, "'GE'"),
        ({"published": {"base": {"GE": {"value": 1}}}}, "lacks source"),
        ({"columns": [{"key": "GE"}]}, "lacks label, evaluator"),
        ({"protocols": {"a": {"GE": {"suite": {"function": "m:f"}}}}}, "generation lacks steps"),
    ],
)
def test_a_wrong_table_is_refused_naming_the_key(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_table("t", {**MINIMAL, **change})


def test_unknown_table_row_and_column_name_the_nearest() -> None:
    with pytest.raises(UsageError, match="'1a'"):
        load_table("1A")
    with pytest.raises(UsageError, match="'ddspo'"):
        load_table("1a").row("ddpso")
    with pytest.raises(UsageError, match="'FID'"):
        load_table("1a").column("FIT")


def test_yaml_reads_exponents_as_numbers_and_refuses_a_repeated_key(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("lr: 1e-5\nname: e5\np: no\nok: true\nbase: &b {a: 1}\nmore: {<<: *b, c: 2}\n")
    assert load_yaml(file) == {
        "lr": 1e-5,
        "name": "e5",
        "p": "no",
        "ok": True,
        "base": {"a": 1},
        "more": {"a": 1, "c": 2},
    }
    file.write_text("lr: 1\nlr: 2\n")
    with pytest.raises(UsageError, match="'lr' occurs twice"):
        load_yaml(file)
    file.write_text("- 1\n")
    with pytest.raises(UsageError, match="expected a mapping"):
        load_yaml(file)
    with pytest.raises(UsageError, match="cannot read"):
        load_yaml(tmp_path / "absent.yaml")


def test_yaml_reads_numbers_as_its_version_1_2_does() -> None:
    same = {"0": 0, "-3": -3, "+7": 7, "0x1F": 31, "0o17": 15, ".5": 0.5, "1.": 1.0, "1e5": 1e5}
    same |= {"1.5e3": 1500.0, "-2E-3": -2e-3, ".inf": float("inf"), "0.10": 0.1}
    for text, value in same.items():
        assert (parse_yaml(text), type(parse_yaml(text))) == (value, type(value))
    for text in ("v1", "1_a", "1.2.3", "1:99", "'010'", "a: '1:30'", "yes"):
        assert not isinstance(parse_yaml(text), int | float)
    for text in ("010", "-07", "00", "08", "1_000", "1_0.5", "1.0_0", "0b1", "1:30", "-1:30.5"):
        for nested in (text, f"a: {text}", f"[{text}]", f"{{{text} : 1}}"):
            with pytest.raises(yaml.YAMLError, match=r"write .*, or '.*' in quotes"):
                parse_yaml(nested)


def test_override_sets_nested_values() -> None:
    data: dict[str, object] = {"a": {"b": 1}, "c": 3}
    override(data, "a.b=2e-6")
    override(data, "a.d.e=[x, y]")
    assert data == {"a": {"b": 2e-6, "d": {"e": ["x", "y"]}}, "c": 3}
    for wrong in ("a.b", "=1", "c.d=1", "a..b=1", "a.b=[1"):
        with pytest.raises(UsageError):
            override(data, wrong)


def test_places_named_by_a_variable_are_prerequisites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_PROMPTS", raising=False)
    with pytest.raises(PrerequisiteError, match="SOME_PROMPTS"):
        expand({"file": "${SOME_PROMPTS}/x"}, "suite")
    monkeypatch.setenv("SOME_PROMPTS", "/data")
    assert expand({"file": "${SOME_PROMPTS}/x"}, "suite") == {"file": "/data/x"}


def test_captions_come_from_a_file_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "captions.txt"
    file.write_text("a cat\n\n  a dog \na bird\n")
    spec = SuiteSpec(
        function="bench.suites.files:captions", options={"file": str(file), "count": 2}
    )
    assert [p.text for p in load_suite(spec, None)] == ["a cat", "a dog"]
    with pytest.raises(PrerequisiteError, match="3 captions, 4 are needed"):
        load_suite(SuiteSpec(function=spec.function, options={"file": str(file), "count": 4}), None)
    with pytest.raises(UsageError, match="unexpected keyword argument 'fiel'"):
        load_suite(SuiteSpec(function=spec.function, options={"fiel": "x"}), None)
