"""Texts that can be read in two ways, and files that are no texts, by the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_doors import Said, generate, prompts_of, said

__all__ = ["said"]  # a fixture


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("prompt\na red circle\n", "its first line is a heading"),
        ("id,prompt\n1,a red circle\n", "its first line is a heading"),
        ("Prompt\tSeed\na red circle\t1\n", "its first line is a heading"),
        ('["a red circle", "a blue square"]', "it is a JSON text"),
        ('[\n "a red circle",\n "a blue square"\n]\n', "it is a JSON text"),
        ("0001\ta red circle\n0002\ta blue square\n", "each line has tabs"),
        ("1. a red circle\n2. a blue square\n", "its lines are numbered"),
        ("(7) a red circle\n\n(8) a blue square\n", "its lines are numbered"),
        ("- a red circle\n- a blue square\n", "each line begins with a dash"),
        ("• a red circle\n• a blue square\n", "each line begins with a dash"),
        ('"a red circle",\n"a blue square",\n', "each line stands between quotation marks"),
        ("“a red circle”\n“a blue square”\n", "each line stands between quotation marks"),
        ("a red circle\n\ufeffa blue square\n", "line 2 begins with the byte order mark"),
        ("a red circle\nnan\n", "1 prompts are 'nan', as programs write"),
        ("\u200b\n\u200b \n", "holds no prompt"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", "a pointer of git LFS"),
        ("<!DOCTYPE html>\n<html><body>404</body></html>\n", "a web page"),
        ("{\\rtf1\\ansi a red circle\\par}", "a document in rich text"),
        ("PK\x03\x04abcabc", "a zip archive, or a document of an office program"),
        ("PAR1abc", "a Parquet file"),
    ],
)
def test_prompts_that_can_be_read_in_two_ways_are_refused(
    text: str, hint: str, tmp_path: Path, said: Said
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text(text, encoding="utf-8")
    assert generate(tmp_path, file) == 2
    told = said()
    assert hint in told and str(file) in told


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("p.yaml", "- a red circle\n", "prompts are not read from .yaml files"),
        ("p.md", "a red circle\n", "prompts are not read from .md files"),
        ("p.csv", "prompt,Prompt\na,b\n", "names the column 'prompt' and 'Prompt' twice"),
        ("p.csv", "Prompt,n\na,1\n", "the column 'Prompt' is spelt 'prompt' here"),
        ("p.jsonl", '{"Caption": "a"}\n', "the column 'Caption' is spelt 'caption' here"),
        ("p.csv", "prompt\nNone\n", "1 prompts are 'None'"),
        ("p.tsv", 'id\tprompt\n1\t"a ""red"" circle"\n', 'line 2: the cell \'"a ""red"" circle"\''),
    ],
)
def test_tables_of_prompts_that_can_be_read_in_two_ways_are_refused(
    name: str, text: str, hint: str, tmp_path: Path, said: Said
) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    assert generate(tmp_path, file) == 2
    assert hint in said()


def test_what_stands_in_a_prompt_stays_and_what_is_not_read_is_said(
    tmp_path: Path, said: Said
) -> None:
    texts = [
        "text, logo, watermark",  # a column's name, and no heading
        '"Open" on a sign',
        "3. a red circle",
        "- a blue square",
        "[a red circle]",
        "a\ttab",
    ]
    file = tmp_path / "p.txt"
    file.write_text("\n".join(texts), encoding="utf-8")
    assert generate(tmp_path, file) == 0, said()
    assert prompts_of(tmp_path / "store") == texts
    table = tmp_path / "p.csv"
    table.write_text("prompt,negative_prompt,seed\na red circle,ugly,7\n")
    said()
    assert generate(tmp_path, table, "-q") == 0
    told = said()
    assert told.count("prompt is read; not read: negative_prompt, seed") == 1


def test_equal_prompts_are_said_once(tmp_path: Path, said: Said) -> None:
    file = tmp_path / "p.txt"
    file.write_text("a red circle\na red circle \n")
    assert generate(tmp_path, file) == 0
    assert said().count("1 of 2 prompts are equal") == 1


@pytest.mark.parametrize("limit", ["0", "-3"])
def test_no_prompts_are_no_limit(limit: str, tmp_path: Path, said: Said) -> None:
    file = tmp_path / "p.txt"
    file.write_text("a red circle\na blue square\n")
    assert generate(tmp_path, file, f"--limit={limit}") == 2
    assert f"--limit {limit}; expected at least 1 prompt" in said()
