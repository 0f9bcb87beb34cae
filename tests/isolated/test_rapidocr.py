"""OneIG's text dimension by RapidOCR: what a record is, and real readings where it is here.

python -m bench assets build --env rapidocr      (for the slow test)
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.api.errors import PrerequisiteError
from bench.api.registry import BACKENDS
from evaluators.isolated.environments import environment
from evaluators.isolated.process import WorkerError
from evaluators.isolated.reading import FILES, RapidOCRReader
from evaluators.oneig.rules import compare_text
from evaluators.workers.serve import load_module

ROOT = Path(__file__).parents[2]
SIGNS = load_module(ROOT / "benchmarks" / "rendered_signs.py", "rendered_signs")


def test_lines_become_one_text_that_the_rules_compare() -> None:
    value = {"lines": ["Grand", "OPENING 24"], "confidences": [0.99, 1]}
    record, arrays = RapidOCRReader().answer(value, {})
    assert record == {"text": "Grand\nOPENING 24", "confidences": [0.99, 1.0]} and not arrays
    compared = compare_text("Grand OPENING 24", record["text"])
    assert (compared.edits, compared.matched, compared.wanted) == (0, 3, 3)
    nothing, _ = RapidOCRReader().answer({"lines": [], "confidences": []}, {})
    assert nothing["text"] == "" and compare_text("Grand", "").edits == 5


@pytest.mark.parametrize(
    "value", [None, "Grand", {"lines": "Grand"}, {"lines": [1], "confidences": [1.0]},
              {"lines": ["a"], "confidences": []}],
)  # fmt: skip
def test_another_worker_s_answer_is_refused(value: object) -> None:
    with pytest.raises(WorkerError, match="worker file"):
        RapidOCRReader().answer(value, {})


def test_without_its_environment_the_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("BENCH_ENV_RAPIDOCR", raising=False)
    backend = BACKENDS.load("oneig-text-rapidocr")()
    with pytest.raises(PrerequisiteError, match="assets build --env rapidocr"):
        backend.identity()
    home = environment("rapidocr").home
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").write_text("")
    with pytest.raises(PrerequisiteError, match="models of rapidocr"):
        RapidOCRReader().weights()


def test_signs_are_drawn_alike_each_time() -> None:
    first, again = (list(SIGNS.signs(None, each=1)) for _ in range(2))
    assert [sign.kind for sign in first] == list(SIGNS.KINDS)
    for one, other in zip(first, again, strict=True):
        assert one.lines == other.lines and one.picture.size == (512, 512)
        assert one.picture.tobytes() == other.picture.tobytes()
        assert len(one.picture.getcolors(512 * 512)) > 1


def test_figures_are_those_counted_by_hand() -> None:
    blank = SIGNS.Image.new("RGB", (8, 8))
    drawn = [
        SIGNS.Sign(kind="plain", lines=lines, picture=blank) for lines in (("ab", "cd"), ("ef",))
    ]
    found = SIGNS.figures(drawn, ["ab\ncd", "eg"])
    assert found["exact"] == 0.5 and found["words"] == pytest.approx(2 / 3)
    assert found["character errors"] == pytest.approx(1 / 7)
    assert found["oneig text"] == pytest.approx(1 - 0.5 * 0.5 * (1 / 3) / 100)


@pytest.mark.slow
def test_real_signs_are_read_and_a_wrong_word_is_seen() -> None:
    try:
        identity = RapidOCRReader().identity()
    except PrerequisiteError as error:
        pytest.skip(str(error))
    assert identity["weights"] == {key: sha256 for key, (_, sha256) in FILES.items()}
    assert identity["packages"]["rapidocr"] == "3.10.0" and "variant" in identity
    plain, turned, *_, blurred = SIGNS.signs(None, each=2)
    readings = SIGNS.read([plain, turned, blurred])
    found = SIGNS.figures([plain, turned], readings[:2])
    assert found["exact"] == found["words"] == found["oneig text"] == 1.0
    # a reader that knows the prompt, or a metric that cannot fail, would pass these two
    assert SIGNS.figures([plain], [readings[1]])["words"] < 1.0
    assert compare_text(blurred.text, readings[2]).edits > 0
