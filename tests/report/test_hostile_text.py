"""Text of users in reports: no formula for a spreadsheet, no HTML in markdown or on the page."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from bench.report.comma import FORMULA
from bench.report.stored import make_report
from tests.report.tables import table

HTML = "<script>alert(1)</script>"


@pytest.mark.parametrize("sign", FORMULA)
def test_a_reason_that_looks_like_a_formula_is_text_for_a_spreadsheet(sign: str) -> None:
    data = table()
    cells = tuple(
        replace(cell, state="failed", reason=f"{sign}cmd()", estimate=None, values=())
        if cell.row == "dpo"
        else cell
        for cell in data.cells
    )
    text = make_report(replace(data, cells=cells), ()).render("csv")
    lines = list(csv.DictReader(io.StringIO(text)))
    reasons = {line["reason"] for line in lines if line["row"] == "dpo"}
    assert reasons == {f"'{sign}cmd()".replace("\r", " ")}


def test_numbers_stay_numbers() -> None:
    lines = list(csv.DictReader(io.StringIO(make_report(table(), ()).render("csv"))))
    differences = [line["difference_low"] for line in lines if line["difference_low"]]
    assert differences and all(float(text) is not None for text in differences)
    assert not any(value.startswith("'") for line in lines for value in line.values())


def test_html_of_users_is_escaped_in_markdown_and_on_the_page() -> None:
    data = table()
    rows = tuple({**row, "label": HTML, "note": HTML} for row in data.rows)
    report = make_report(replace(data, rows=rows), ())
    assert "<script" not in report.render("md") and "&lt;script" in report.render("md")
    assert "<script>alert" not in report.render("html")


def test_our_own_labels_are_untouched() -> None:
    data = table()
    rows = tuple({**row, "label": "+ DDSPO"} for row in data.rows)
    assert "| + DDSPO |" in make_report(replace(data, rows=rows), ()).render("md")
