"""Every reader of texts, each with a file of its own form that holds two captions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.api.errors import BenchError
from bench.config.files import load_yaml
from bench.data.curation.captions import find_candidates, read_uids
from bench.data.labels import read_comparisons, wanted_uids
from bench.generation.folder import read_manifest
from bench.suites.files import captions
from evaluators.geneval.folder import import_layout
from evaluators.models.judge_settings import read_judges
from tests.read.bring import pictures

Render = Callable[[Sequence[str]], str]


@dataclass(frozen=True, kw_only=True)
class TextReader:
    """A reader.

    Attributes:
        file: the text's name in the folder.
        render: writes texts in the file's form.
        read: returns the texts it found in the folder; raises, or tells why in `faults`.
        form: `"lines"`, `"one"` text, `"json"`, `"csv"` or `"yaml"`.
    """

    file: str
    render: Render
    read: Callable[[Path], list[str]]
    form: str


def _objects(**more: str) -> Render:
    """Lines of JSON, an object each; `{n}` in a value is the object's number."""

    def render(texts: Sequence[str]) -> str:
        rows = [
            {"prompt": text, **{k: v.format(n=n) for k, v in more.items()}}
            for n, text in enumerate(texts)
        ]
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    return render


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _csv(heading: str, row: str) -> Render:
    def render(texts: Sequence[str]) -> str:
        return heading + "\n" + "".join(row.format(n=n, t=t) + "\n" for n, t in enumerate(texts))

    return render


def _prompts(name: str) -> Callable[[Path], list[str]]:
    return lambda root: [prompt.text for prompt in captions(file=str(root / name))]


def _manifest(root: Path) -> list[str]:
    return [prompt.text for prompt in read_manifest(root).suite]


class DroppedError(BenchError):
    """Curation goes on without an image, and says why."""


def _curation(root: Path) -> list[str]:
    found = find_candidates(root)
    faults = [str(c.fault) for c in found if c.fault and not c.fault.startswith("no caption: cap")]
    if faults:
        raise DroppedError("; ".join(faults))
    good = [c.caption for c in found if not c.fault]
    if not good:
        raise DroppedError("no caption of any image")
    return good


def _pairs(name: str) -> Callable[[Path], list[str]]:
    return lambda root: [row.caption for row in read_comparisons([root / name])[0]]


def _geneval(root: Path) -> list[str]:
    return [prompt.text for prompt in import_layout(root / "folders").suite]


READERS: dict[str, TextReader] = {
    "prompts.txt": TextReader(
        file="prompts.txt", render="\n".join, read=_prompts("prompts.txt"), form="lines"
    ),
    "prompts.jsonl": TextReader(
        file="prompts.jsonl", render=_objects(), read=_prompts("prompts.jsonl"), form="json"
    ),
    "prompts.json": TextReader(
        file="prompts.json",
        render=lambda texts: json.dumps(list(texts), ensure_ascii=False),
        read=_prompts("prompts.json"),
        form="json",
    ),
    "prompts.csv": TextReader(
        file="prompts.csv",
        render=_csv("id,prompt", "{n},{t}"),
        read=_prompts("prompts.csv"),
        form="csv",
    ),
    "prompts.tsv": TextReader(
        file="prompts.tsv",
        render=_csv("id\tprompt", "{n}\t{t}"),
        read=_prompts("prompts.tsv"),
        form="tsv",
    ),
    "manifest.jsonl": TextReader(
        file="manifest.jsonl", render=_objects(file="0000{n}.png"), read=_manifest, form="json"
    ),
    "captions.jsonl": TextReader(
        file="captions.jsonl", render=_objects(file="0000{n}.png"), read=_curation, form="json"
    ),
    "captions.csv": TextReader(
        file="captions.csv",
        render=_csv("file,caption", "0000{n}.png,{t}"),
        read=_curation,
        form="csv",
    ),
    "a text beside an image": TextReader(
        file="00000.txt",
        render=lambda texts: texts[0],
        read=lambda root: _curation(root)[:1],
        form="one",
    ),
    "pairs.jsonl": TextReader(
        file="pairs.jsonl",
        render=_objects(winner="0000{n}.png", loser="1000{n}.png"),
        read=_pairs("pairs.jsonl"),
        form="json",
    ),
    "pairs.csv": TextReader(
        file="pairs.csv",
        render=_csv("caption,winner,loser", "{t},0000{n}.png,1000{n}.png"),
        read=_pairs("pairs.csv"),
        form="csv",
    ),
    "uids of pairs": TextReader(
        file="uids.csv",
        render=_csv("n,uid", "{n},{t}"),
        read=lambda root: wanted_uids(root / "uids.csv"),
        form="csv",
    ),
    "uids of curation": TextReader(
        file="uids.csv",
        render=_csv("n,uid", "{n},{t}"),
        read=lambda root: read_uids(str(root / "uids.csv")),
        form="csv",
    ),
    "metadata.jsonl of GenEval": TextReader(
        file="folders/00000/metadata.jsonl",
        render=lambda texts: json.dumps({"tag": "x", "prompt": texts[0]}, ensure_ascii=False),
        read=_geneval,
        form="json",
    ),
    "a profile": TextReader(
        file="profile.yaml",
        render=lambda texts: "".join(f"t{n}: {_quoted(t)}\n" for n, t in enumerate(texts)),
        read=lambda root: list(load_yaml(root / "profile.yaml").values()),
        form="yaml",
    ),
    "judges": TextReader(
        file="judges.yaml",
        render=lambda texts: (
            "judges:\n"
            + "".join(
                f"- {{name: {_quoted(t)}, kind: transformers, model: m{n}}}\n"
                for n, t in enumerate(texts)
            )
        ),
        read=lambda root: [judge.name for judge in read_judges(root / "judges.yaml")],
        form="yaml",
    ),
}


def prepare(root: Path) -> None:
    """Put the pictures into a folder that the texts speak of."""
    pictures(root, 2)
    pictures(root / "folders" / "00000" / "samples", 1)
    for file in ("00001.txt", "folders/00000/samples/00000.txt"):
        (root / file).write_text("another")
