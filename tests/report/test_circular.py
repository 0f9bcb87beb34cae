"""A metric that selected the data, or was the reward, is marked wherever it is reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.report.cell import cell_card
from bench.report.circular import KEY, Selections, circular_cells, marked_claims
from bench.report.model import TableData
from bench.report.stored import make_report, write_report
from bench.spec.table import RowSpec, load_table
from bench.steps.backends import backend_identity
from bench.steps.selectors import circular_names, rewards_of
from bench.store import Store
from tests.report.tables import table


def chained(store: Store) -> str:
    """Pairs that tiny-clip selected -> training -> one that went on from it -> images -> scores."""

    def add(kind: str, upstream: dict[str, str], **config: object) -> str:
        identity = {"kind": kind, "upstream": upstream, **config}
        made = store.build(
            kind, "x", identity, lambda w: w.write_json("x", 1), upstream=upstream, config=config
        )
        return made.id

    pairs = add("pairs", {}, circular=["tiny-clip"])
    other = add("pairs", {}, winner="as-is")
    first = add("train", {"pairs": pairs})
    second = add("train", {"pairs": other, "start": first})
    images = add("images", {"checkpoint": second})
    return add(
        "scores", {"images": images, "predictions/clip": add("predictions", {"images": images})}
    )


def marked(words: tuple[str, ...] = ("tiny-clip",)) -> TableData:
    data = table()
    cells = [
        replace(c, provenance={**c.provenance, KEY: list(words)})
        if (c.row, c.column) == ("ddspo", "GE")
        else c
        for c in data.cells
    ]
    return marked_claims(replace(data, cells=tuple(cells)))


def test_selection_is_found_behind_every_training_a_model_came_from(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = chained(store)
    assert Selections(store=store).behind(key) == ("tiny-clip",)
    assert Selections(store=store).behind("pairs/x-0123456789ab") == ()


def test_the_same_weights_under_another_name_are_the_same_scorer() -> None:
    """tiny-realism is tiny-pickscore with other prompts; the clip of another role is not it."""
    realism = {"realism": backend_identity("tiny-realism"), "texture": {"backend": "laplacian"}}
    assert circular_names(["tiny-pickscore"], realism) == ["tiny-pickscore"]
    assert circular_names(["tiny-clip"], realism) == []
    assert circular_names(["pickscore"], {"pickscore": {"backend": "pickscore"}}) == ["pickscore"]
    assert circular_names(["pickscore"], {"hpsv2": {"backend": "hpsv2-v2.1"}}) == []


def test_a_reward_is_passed_on_to_rows_that_start_from_the_row() -> None:
    rows = {row.key: row for row in load_table("realalign-sd35m-parti").rows}
    assert rewards_of(rows["flowgrpo-public"], rows) == ("pickscore",)
    assert rewards_of(rows["flowgrpo-realalign"], rows) == ("pickscore",)
    assert rewards_of(rows["realalign"], rows) == ()
    loop = {k: RowSpec(key=k, label=k, method="sft", start=o) for k, o in (("a", "b"), ("b", "a"))}
    assert rewards_of(loop["a"], loop) == ()


def test_claims_on_circular_cells_are_circular() -> None:
    data = marked()
    assert [c[KEY] for c in data.claims] == [True, False, False]
    assert circular_cells(data.cells) == {("ddspo", "GE"): ["tiny-clip"]}
    assert marked_claims(table()).claims == table().claims


@pytest.mark.parametrize("form", ["md", "terminal"])
def test_every_form_of_the_report_marks_cell_and_claim(form: str) -> None:
    text = make_report(marked(), []).render(form)
    flat = " ".join(text.split())
    assert "ddspo better than dpo on GE (circular)" in flat
    assert "circular: ddspo/GE: tiny-clip selected the training data or was the reward" in flat
    assert flat.count("(circular)") >= 2
    assert "circular" not in make_report(table(), []).render(form)


def test_latex_marks_the_number() -> None:
    tex = make_report(marked(), []).render("tex")
    (line,) = [line for line in tex.splitlines() if "ddspo" in line and "&" in line]
    assert line.split("&")[1].count("$^{c}$") == 1 and line.count("$^{c}$") == 1
    assert "% c: circular" in tex
    assert "{c}" not in make_report(table(), []).render("tex")


def test_a_cell_s_card_says_it(tmp_path: Path) -> None:
    write_report(make_report(marked(), []), tmp_path)
    card = cell_card("1a/ddspo/GE", tmp_path / "store", tmp_path)
    assert card["circular"] == "tiny-clip selected the training data or was the reward"
    assert "circular" not in cell_card("1a/dpo/GE", tmp_path / "store", tmp_path)
