"""Texts whose lines other programs wrote, and words that are no prompt: by the command line."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from bench.api.errors import UsageError
from bench.data.labels import read_comparisons
from bench.read.markup import say_alike, say_markup
from bench.suites.files import captions
from bench.suites.lines import refuse_two_readings
from tests.cli.test_doors import Said, curated, generate, said, score
from tests.read.bring import pictures

__all__ = ["said"]  # a fixture


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a cat\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Seed: 1\n", "programs note"),
        ('prompts = [\n    "a cat",\n    "a dog",\n]\n', "a list of a program's source"),
        ("prompt: a cat\nprompt: a dog\n", "the same word and a colon"),
        ('caption="a cat"\n', "the same word and a colon"),
        ("- a cat\n* a dog\n", "a dash or a bullet"),
        ("[x] a cat\n[ ] a dog\n", "a dash or a bullet"),
        ("My prompts:\n- a cat\n- a dog\n", "a dash or a bullet"),
        ("My prompts\n1. a cat\n2. a dog\n", "its lines are numbered"),
        ("a) a cat\nb) a dog\n", "its lines are numbered"),
        ("I. a cat\nII. a dog\n", "its lines are numbered"),
        ("{'prompt': 'a cat'}\n{'prompt': 'a dog'}\n", "quotation marks or brackets"),
        ("('a cat', 1)\n('a dog', 2)\n", "quotation marks or brackets"),
        ("1\n00:00:01,000 --> 00:00:02,000\na cat\n", "the times of subtitles"),
        ("2024-01-01 12:00:00 a cat\n2024-01-01 12:00:01 a dog\n", "a date or a time"),
        ("a/1.png a cat\na/2.png a dog\n", "the name of a picture"),
        ("a cat; blurry\na dog; ugly\n", "as cells of a table have"),
        ("a cat\n---\na dog\n", "lines of signs alone"),
        ("a cat\n<<<<<<< HEAD\na dog\n=======\na cow\n>>>>>>> x\n", "marks of changes"),
        ("1\n2\n3\n", "its lines are numbers alone"),
        ("a cat\nN/A\n", "'N/A', as programs write"),
        ("a cat\n#REF!\n", "'#REF!', as programs write"),
        ("a cat\n-\n", "lines of signs alone"),
        ("0001,a red circle\n0002,a blue square\n", "its lines are numbered"),
        ("17: a red circle\n4: a blue square\n", "its lines are numbered"),
        ("Prompt 1: a red circle\nPrompt 2: a blue square\n", "its lines are numbered"),
        ("1 - a red circle\n3 - a blue square\n", "its lines are numbered"),
        ("0001.png|a red circle\n0002.png|a blue square\n", "each line has tabs, or bars"),
        ("['a red circle']\n['a blue square']\n", "quotation marks or brackets"),
    ],
)
def test_lines_that_are_no_prompts_are_refused(
    text: str, hint: str, tmp_path: Path, said: Said
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text(text)
    assert generate(tmp_path, file) == 2
    assert hint in said()


@pytest.mark.parametrize(
    "text",
    [
        "a sign: HELLO\na label: WORLD\n",
        "A cat\nI see a dog\n",
        "photo of a cat\n",
        "a list [of things]\n(maybe) a dog\n",
        "a cat; a dog\na cow\n",
        "10:15 on a clock\nfive to twelve\n",
        "a file named a.png on a screen\nanother\n",
        "\U0001f3a8\n日本\n",
        "half-life 2 cover\nno. 5 perfume\n",
    ],
)
def test_prompts_that_only_look_so_stay_prompts(text: str) -> None:
    refuse_two_readings(text.splitlines(), "file")


def test_groups_and_texts_alike_are_said(tmp_path: Path, said: Said) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text('a cat\non a mat\n\nA  cat.\n"a dog"\n')
    assert generate(tmp_path, file, "--images-per-prompt", "1", "-q") == 0
    told = said()
    assert "blank lines part it into 2 groups of 2 to 2 lines; each line is a prompt" in told
    assert "1 of 4 prompts differ from an earlier one in case, blanks or the last sign" in told
    assert "1 of 4 prompts hold quotation marks around the whole" in told


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a <|endoftext|> cat", "tokens of text encoders"),
        ("a photo of <cat-toy>", "names of trained embeddings"),
        ("embedding:easynegative, a cat", "names of trained embeddings"),
        ("a photo of a {}", "places that were not filled"),
        ("a {colour} cat", "places that were not filled"),
        ("a $colour cat", "places that were not filled"),
        ("a %s cat", "places that were not filled"),
        ("a ((red)) cat", "weights by brackets"),
        ("a cat AND a dog", "several prompts in one"),
        ("a cat::2", "several prompts in one"),
        ("a **red** cat", "marks of Markdown"),
        ("a%20cat", "escapes of addresses"),
        ("a_red_cat", "underscores in place of blanks"),
        ("a caf\u00c3\u00a9 sign", "letters that were decoded wrongly"),
        ("a caf\ufffd sign", "letters that were decoded wrongly"),
        ("a \x1b[31mred cat", "characters that nobody sees"),
        ("a re\u00add cat", "characters that nobody sees"),
        ("a cat...", "an end as of a text that was cut"),
        ("50 %discount, a $5 note, snake_case, SALT AND PEPPER, S\u00c3O, wait... what?", ""),
        ("an emoji \U0001f468\u200d\U0001f469\u200d\U0001f467, line\x0bfeed\x85", ""),
    ],
)
def test_each_further_kind_of_mark(text: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        say_markup([text, "a plain cat"], "file")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == bool(kind), told
    assert not kind or f"1 of 2 prompts hold {kind}" in told[0]


def test_what_is_said_of_prompts_is_said_of_every_text(tmp_path: Path, said: Said) -> None:
    odd = "a caf\u00c3\u00a9 {}"
    folder = pictures(tmp_path / "mine", 2)
    texts = [odd, "a plain cat", "A plain cat"]
    lines = [json.dumps({"file": f"0000{n}.png", "prompt": t}) for n, t in enumerate(texts[:2])]
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    assert score(tmp_path / "s", "--evaluator", "pickscore", "--images", str(folder), "-q") == 0
    told = said()
    for kind in ("letters that were decoded wrongly", "places that were not filled"):
        assert f"1 of 2 prompts hold {kind}" in told
    photos = pictures(tmp_path / "photos", 2)
    for number in range(2):
        (photos / f"0000{number}.txt").write_text(texts[number], encoding="utf-8")
    curated(tmp_path, photos, "-q")
    assert "1 of 2 prompts hold letters that were decoded wrongly" in said()
    file = tmp_path / "one.txt"
    file.write_text("a cat\n")
    for value, code in ((odd, 0), ("none", 2), ("nan", 2)):
        words = ("--images-per-prompt", "1", "--set", f"generation.negative_prompt='{value}'")
        assert generate(tmp_path, file, *words) == code
        told = said()
        assert ("the negative prompt: 1 of 1 prompts hold letters" in told) == (code == 0)
        assert ("write '' where none is meant" in told) == (code == 2)


def test_prompts_of_a_manifest_that_are_alike_are_said(caplog: pytest.LogCaptureFixture) -> None:
    say_alike(["a cat", "a cat", "a dog", "A CAT ", "a cat."], "manifest")
    assert "2 of 5 prompts differ from an earlier one" in caplog.text


def test_placeholders_of_any_case_are_no_captions(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", 3)
    rows = ["00000.png,N/A", "00001.png,NONE", "00002.png,#VALUE!"]
    (folder / "captions.csv").write_text("\n".join(["file,caption", *rows]))
    assert all("stands for an empty cell" in why for why in curated(tmp_path, folder).values())
    table = tmp_path / "photos" / "pairs.csv"
    table.write_text("caption,winner,loser\nn/a,00000.png,00001.png\n")
    with pytest.raises(UsageError, match="as programs write a cell that was empty"):
        read_comparisons([table])


def test_tables_that_were_joined_are_seen(tmp_path: Path, said: Said) -> None:
    file = tmp_path / "p.csv"
    for again, hint in (("prompt", "the heading once more"), ("\ufeffprompt", "byte order mark")):
        file.write_text(f"prompt\na cat\n{again}\na dog\n", encoding="utf-8")
        assert generate(tmp_path, file) == 2
        assert hint in said()
    folder = pictures(tmp_path / "photos", 2)
    rows = "file,caption\n00000.png,a\nfile,caption\n00001.png,b\n"
    (folder / "captions.csv").write_text(rows)
    found = curated(tmp_path, folder)
    assert "it is the heading once more" in found["captions.csv, line 3"]
    assert (found["00000"], found["00001"]) == ("a", "b")


def test_what_jsonl_holds_is_taken_as_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('"1"\n"2"\n"- a cat"\n"- a dog"\n')
    assert [prompt.text for prompt in captions(file=str(file))] == ["1", "2", "- a cat", "- a dog"]
