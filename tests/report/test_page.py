from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.report.forest import Axis, forest_plot
from bench.report.latex import escaped, render_latex
from bench.report.page import inline, render_page
from bench.report.sealed import PAGE_FILE, open_table
from bench.report.stored import Report, make_report, pictures_of, read_report, write_report
from tests.report.tables import ROWS, table

EVIL = '<script>alert("x")</script> & "quoted" `code`'
VOID = {"meta", "img", "br"}


class _Elements(HTMLParser):
    """All elements in order, and whether each was closed where it had to be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def report() -> Report:
    return make_report(table(), ["scores/a"])


def test_the_page_is_well_formed_and_shows_every_number_of_the_markdown(report: Report) -> None:
    page = report.render("html")
    elements = _Elements(page)
    assert len(elements.named("figure")) == 2  # a plot for each column
    assert len(elements.named("details")) == 3  # parts of intervals, protocol, provenance
    for number in re.findall(r"[-+]?\d+\.\d{2,4}", report.render("md")):
        assert number in page


def test_the_page_needs_nothing_from_outside(report: Report) -> None:
    page = render_page(report.data, report.statistics, {"a picture": b"\x89PNG"})
    elements = _Elements(page)
    assert elements.named("script") == [] and elements.named("link") == []
    assert [str(i["src"])[:22] for i in elements.named("img")] == ["data:image/png;base64,"]
    assert "@import" not in page and "url(" not in page


def test_texts_are_escaped_everywhere(report: Report) -> None:
    rows = tuple({**r, "label": EVIL, "note": EVIL} for r in report.data.rows)
    data = replace(report.data, title=EVIL, source=EVIL, rows=rows)
    page = render_page(data, report.statistics, {EVIL: b"\x89PNG"})
    assert "<script" not in page
    assert _Elements(page).named("script") == []
    assert "&lt;script&gt;" in page


def test_marks_become_elements_after_escaping() -> None:
    assert inline("**<b>** and `a<b`") == "<strong>&lt;b&gt;</strong> and <code>a&lt;b</code>"


def test_each_verdict_has_a_card_and_its_colour(report: Report) -> None:
    elements = _Elements(report.render("html"))
    words = [v.word for v in report.statistics.verdicts]
    cards = [i["class"] for i in elements.named("li") if "class" in i]
    assert cards == words
    assert [c["class"] for c in elements.named("td") if c.get("class")] == [
        f"verdict {word}" for word in words
    ]


def test_a_plot_has_a_point_for_each_measured_row_in_its_place(report: Report) -> None:
    column = report.data.columns[0]
    plot = forest_plot(report.data, report.statistics, column)
    centres = [float(x) for x in re.findall(r'<circle cx="([-\d.]+)"', plot)]
    found = [s.estimate for s in report.statistics.values if s.column == "GE"]
    values = [estimate.value for estimate in found if estimate is not None]
    assert len(centres) == len(values) == 3
    order = sorted(range(3), key=lambda i: values[i])
    assert order == sorted(range(3), key=lambda i: centres[i])
    assert plot.count('class="whole"') == plot.count('class="given"') == 3


def test_a_ceiling_beyond_the_others_is_written_at_the_edge(report: Report) -> None:
    top = {**ROWS[0], "key": "ceiling", "checkpoint": None, "render": "exact", "control": True}
    high = next(c for c in report.data.cells if (c.row, c.column) == ("base", "GE"))
    assert high.estimate is not None
    cell = replace(
        high,
        row="ceiling",
        estimate=replace(high.estimate, value=9.5, low=9.0, high=9.9),
        values=(),
    )
    data = replace(report.data, rows=(*report.data.rows, top), cells=(*report.data.cells, cell))
    base = report.statistics.value("base", "GE")
    assert base.estimate is not None
    beyond = replace(base.estimate, value=9.5, low=9.0, high=9.9)
    summary = replace(base, row="ceiling", estimate=beyond)
    statistics = replace(report.statistics, values=(*report.statistics.values, summary))
    plot = forest_plot(data, statistics, data.columns[0])
    assert plot.count("<circle") == 3 and "9.5000 →" in plot


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.38, 0.49), (-3.2, 17.0), (2e-5, 9e-5)])
def test_ticks_are_round_few_and_within(low: float, high: float) -> None:
    axis = Axis(low=low, high=high)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert axis.x(low) < axis.x(high)


def test_the_page_is_written_and_made_again_with_the_pictures_beside_it(
    report: Report, tmp_path: Path
) -> None:
    write_report(report, tmp_path / "a", pictures={"samples.png": b"\x89PNG picture"})
    page = (tmp_path / "a" / PAGE_FILE).read_text()
    assert "data:image/png;base64," in page and "the same noise" in page
    found = open_table(tmp_path / "a")
    write_report(read_report(found), tmp_path / "a", pictures=pictures_of(found))
    assert (tmp_path / "a" / PAGE_FILE).read_text() == page


def test_latex_has_a_line_a_row_and_nothing_unescaped(report: Report) -> None:
    rows = tuple({**r, "label": r"50% \& a_b {x} #1 $y ^~ c⁻"} for r in report.data.rows)
    text = render_latex(replace(report.data, rows=rows), report.statistics)
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 1 + len(rows)
    assert all(len(re.findall(r"(?<!\\)&", line)) == 2 for line in lines)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert re.search(r"(?<!\\)[%#]", body) is None
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")


def test_latex_numbers_are_the_tables(report: Report) -> None:
    text = report.render("tex")
    found = report.statistics.value("ddspo", "GE").estimate
    assert found is not None and found.low is not None and found.high is not None
    half = (found.high - found.low) / 2
    assert f"${found.value:.4f}{{\\scriptstyle\\,\\pm {half:.4f}}}$" in text
    assert escaped("a_b") == r"a\_b"
