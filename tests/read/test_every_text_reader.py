"""Each case of a text that people bring, tried on every reader of texts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.api.errors import BenchError
from tests.read.bring import within
from tests.read.text_readers import READERS, TextReader, prepare

TEXTS = ("a red circle", "a café’s blue square 日本")

# what is done to the bytes of a file that would be read; all texts must come out the same
READ: dict[str, Callable[[str], bytes]] = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with its mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "UTF-16, little end first": lambda text: b"\xff\xfe" + text.encode("utf-16-le"),
    "UTF-16, big end first": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-32": lambda text: b"\xff\xfe\0\0" + text.encode("utf-32-le"),
    "line ends of Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "no line end at the end": lambda text: text.rstrip("\n").encode(),
    "blank lines at the end": lambda text: text.encode() + b"\n\n",
}

# signs at which Python's splitlines breaks, inside a text
INSIDE = {
    "U+2028": "\u2028", "U+2029": "\u2029", "U+0085": "\x85", "a form feed": "\x0c",
    "a vertical tab": "\x0b", "a file separator": "\x1c", "U+00A0": "\xa0", "an emoji": "🎨",
    "a zero-width joiner": "\u200d", "an accent of its own": "e\u0301",
}  # fmt: skip

# what must be refused, and what the message must name beside the file
REFUSED: dict[str, tuple[Callable[[str], bytes], str]] = {
    "Latin-1": (lambda text: text.encode("latin-1", "replace"), "is no UTF-8"),
    "Windows-1252": (lambda text: text.encode("cp1252", "replace"), "is no UTF-8"),
    "UTF-16 without its mark": (lambda text: text.encode("utf-16-le"), ""),
    "cut inside a character": (lambda text: text.encode() + b"\xe2\x80", "is no UTF-8"),
    "a NUL": (lambda text: text.encode() + b"\0", "NUL"),
    "zeros": (lambda _: b"\0" * 64, "NUL"),
    "a PNG file": (lambda _: b"\x89PNG\r\n\x1a\n" + b"\0" * 32, "is no UTF-8"),
    "nothing": (lambda _: b"", ""),
}


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> TextReader:
    prepare(tmp_path)
    found: TextReader = READERS[request.param]
    return found


def of(*forms: str) -> pytest.MarkDecorator:
    """Try the readers of these forms alone."""
    names = [name for name, one in READERS.items() if one.form in forms]
    return pytest.mark.parametrize("reader", names, indirect=True)


def written(root: Path, reader: TextReader, data: bytes) -> Path:
    file = root / reader.file
    file.write_bytes(data)
    return file


def one(reader: TextReader) -> bool:
    """Whether the file holds one text alone."""
    return reader.form == "one" or reader.file.startswith("folders/")


@pytest.mark.parametrize("case", READ)
def test_it_is_read(case: str, reader: TextReader, tmp_path: Path) -> None:
    texts = TEXTS[1:] if one(reader) else TEXTS
    written(tmp_path, reader, READ[case](reader.render(texts)))
    assert reader.read(tmp_path) == list(texts)


@pytest.mark.parametrize("case", INSIDE)
def test_a_sign_inside_a_text_does_not_end_it(
    case: str, reader: TextReader, tmp_path: Path
) -> None:
    sign = INSIDE[case]
    texts = [f"a red{sign}circle", *([] if one(reader) else ["a blue square"])]
    written(tmp_path, reader, reader.render(texts).encode())
    found = reader.read(tmp_path)
    # curation joins words by single spaces, whatever stood between them
    same = [" ".join(text.split()) for text in texts]
    assert found in (texts, same)


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_by_name(case: str, reader: TextReader, tmp_path: Path) -> None:
    change, hint = REFUSED[case]
    file = written(tmp_path, reader, change(reader.render(TEXTS[::-1])))
    with pytest.raises(BenchError) as caught:
        reader.read(tmp_path)
    told = str(caught.value)
    assert file.name in told or "no caption" in told
    assert hint in told


def fifo(file: Path) -> None:
    os.mkfifo(file)


@pytest.mark.parametrize(
    "make",
    [fifo, Path.mkdir, lambda file: file.symlink_to("nowhere"), lambda file: file.symlink_to(file)],
    ids=["a pipe", "a folder", "a link to nowhere", "a link to itself"],
)
def test_what_is_no_file_is_refused_at_once(
    make: Callable[[Path], None], reader: TextReader, tmp_path: Path
) -> None:
    make(tmp_path / reader.file)
    with within(20), pytest.raises(BenchError):
        reader.read(tmp_path)


JSON = {
    "a key given twice": ('{"prompt": "a", "prompt": "b"}', "twice"),
    "half of a character": ('{"prompt": "a \\ud83d b"}', "half of a character"),
    "NaN": ('{"prompt": "a", "meta": {"x": NaN}}', "NaN"),
    "an infinity": ('{"prompt": "a", "meta": {"x": Infinity}}', "Infinity"),
    "a number of 5000 digits": ('{"prompt": "a", "ordinal": ' + "9" * 5000 + "}", "digits"),
    "brackets without end": ("[" * 100_000, ""),
    "a comma too many": ('{"prompt": "a",}', "JSON"),
    "a single quote": ("{'prompt': 'a'}", "JSON"),
    "no object": ("3", ""),
    "null for a text": ('{"prompt": null, "tag": null}', ""),
    "a list for a text": ('{"prompt": ["a"], "tag": "x"}', ""),
}


@of("json")
@pytest.mark.parametrize("case", JSON)
def test_json_that_cannot_be_meant(case: str, reader: TextReader, tmp_path: Path) -> None:
    text, hint = JSON[case]
    file = written(tmp_path, reader, text.encode())
    with pytest.raises(BenchError) as caught:
        reader.read(tmp_path)
    told = str(caught.value)
    assert hint in told
    assert file.name in told or "caption" in told


CSV = {
    "a cell too many": ("\n{first},x,y,z,w\n", "cells"),
    "a quotation mark that nobody closes": ('\n"{first},x\n', "quotation mark"),
    "a cell of megabytes": ('\n"' + "x" * 200_000 + '",y\n', "quotation mark"),
    "a heading alone": ("\n", ""),
}


@of("csv")
@pytest.mark.parametrize("case", CSV)
def test_tables_that_cannot_be_meant(case: str, reader: TextReader, tmp_path: Path) -> None:
    heading = reader.render(TEXTS).split("\n")[0]
    text, hint = CSV[case]
    written(tmp_path, reader, (heading + text.format(first="a")).encode())
    try:
        found = reader.read(tmp_path)
    except BenchError as error:
        assert hint in str(error)
    else:
        assert not found  # a heading alone names nothing


@of("csv")
@pytest.mark.parametrize("separator", [";", "\t"])
def test_another_separator_is_told(separator: str, reader: TextReader, tmp_path: Path) -> None:
    written(tmp_path, reader, reader.render(TEXTS).replace(",", separator).encode())
    with pytest.raises(BenchError, match="separated by"):
        reader.read(tmp_path)


@of("csv", "tsv")
def test_a_column_named_twice(reader: TextReader, tmp_path: Path) -> None:
    between = "\t" if reader.form == "tsv" else ","
    lines = reader.render(TEXTS).rstrip("\n").split("\n")
    last = lines[0].split(between)[-1]
    text = "\n".join([lines[0] + between + last, *(line + between + "x" for line in lines[1:])])
    written(tmp_path, reader, text.encode())
    with pytest.raises(BenchError, match="twice"):
        reader.read(tmp_path)


YAML = {
    "half of a character": 'a: "x \\ud83d y"\n',
    "a circle": "a: &a [*a]\n",
    "a million laughs": "".join(
        f"k{n}: &k{n} [{', '.join([f'*k{n - 1}' if n else 'lol'] * 12)}]\n" for n in range(12)
    ),
    "nested without end": "a: " + "[" * 20_000,
    "lists in lists without end": "- " * 100_000,
    "a tag": "a: !!python/object/apply:os.system ['true']\n",
    "a key given twice": "a: 1\na: 2\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "a tab": "a:\n\tb: 1\n",
    "a bell": "a: \x07\n",
}


@of("yaml")
@pytest.mark.parametrize("case", YAML)
def test_hostile_yaml(case: str, reader: TextReader, tmp_path: Path) -> None:
    file = written(tmp_path, reader, YAML[case].encode())
    with within(20), pytest.raises(BenchError, match=file.name):
        reader.read(tmp_path)
