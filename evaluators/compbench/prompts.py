"""T2I-CompBench's official prompt files, read from a folder the user has.

The files are examples/dataset/*_val.txt of Karine-Huang/T2I-CompBench@1b70949 (MIT), 300 prompts
each. Most have CRLF line ends and most lack the last one; the final "." is part of a prompt.
color_val.txt was edited on 2025-09-03 (commit 3310c2f), hence the pins.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.api import PrerequisiteError, Prompt, PromptSuite, ProtocolError, UsageError
from bench.api.files import file_hash
from bench.read.text import read_bytes, read_text
from evaluators.compbench.noun_phrases import frozen
from evaluators.compbench.rules import CATEGORIES, complex_key, complex_kind

REPOSITORY = "https://github.com/Karine-Huang/T2I-CompBench"
SHA256: dict[str, str] = {
    "color_val.txt": "1634259756dbc77d13093d907d414480080ec9790a8c97ad09efaea7b2534f2d",
    "shape_val.txt": "37e1a276906c7ea9516cbd7ac8501be896006c0c17ca7344f260562834455bae",
    "texture_val.txt": "fbb5363515b4a28009e360afaaaf389d2dd2289e50dbb0c6ef4ea0c7fe4f3d4f",
    "spatial_val.txt": "8707a1d7e42ce3002d95363cf55f74bd043c843ae27108f5125aaaa7840ca988",
    "3d_spatial_val.txt": "c9953597315f36a5fcb41291bb19bdc6ab5f64a0fa760d691b4854a73f5d1fe9",
    "numeracy_val.txt": "dad8df141604b70ba7554bec724e3db0a80023680769b5c514854ea2d2527bbe",
    "non_spatial_val.txt": "04c56cc9ac441dc9ea6c5157652058bd1635b5308526dd31bb29a1caab9a758d",
    "complex_val.txt": "1b808018b8d9916db3d47d5aa2ef18377a3549a56901a474156f799824cdf3b4",
    "complex_val_spatial.txt": "6c7ac0ab75c7c9080cfc7b421fb059b9b0febb98471707aeedf58771088abc02",
    "complex_val_action.txt": "d49ee4c7f99e3f3379fb8704a54ff5288b83bb412971edf616a4721c2473308e",
    "complex_val_spatialaction.txt": (
        "e02ddc7fed812e6577e7386ec2137ce0a994a5ce19771661f68df7ac349a6ca9"
    ),
}
"""sha256 of the official files at the pinned commit."""

MORE_CATEGORIES = ("3d_spatial", "numeracy")
"""What T2I-CompBench++ adds to the six categories."""
_ANNOTATION_KEYS = ("phrases", "objects", "relation", "clip_text", "counts")


def split_prompts(text: str) -> list[str]:
    """Return the prompts of a file's text: one a line, any line end, the last may lack it.

    A tab ends a prompt, as upstream (GORS_finetune/inference_eval.py).
    """
    return [line.split("\t")[0] for line in text.splitlines()]


def read_file(folder: Path, name: str, *, pinned: bool = True) -> list[str]:
    """Return the prompts of one official file.

    Args:
        folder: where the file is.
        name: a key of `SHA256`.
        pinned: refuse any other content than the pinned commit's.

    Raises:
        PrerequisiteError: the file is not there.
        ProtocolError: it has another sha256.
    """
    try:
        data = read_bytes(folder / name)
    except (FileNotFoundError, NotADirectoryError):
        raise PrerequisiteError(
            f"T2I-CompBench's {name} is not in {folder}",
            fix=f"git clone {REPOSITORY} and name its examples/dataset folder",
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if pinned and found != SHA256[name]:
        raise ProtocolError(
            f"{folder / name} has sha256 {found[:12]}, the pinned file {SHA256[name][:12]}: scores "
            "on other prompts are not comparable. Take the file of commit 1b70949, with its "
            "CRLF line ends as they are."
        )
    return split_prompts(data.decode("utf-8"))


def read_annotations(path: Path) -> dict[str, dict[str, Any]]:
    """Return the annotations of prompts by their text, from a JSON object.

    Each value holds any of `phrases` (list of noun phrases), `objects` (two class names or
    nulls), `relation`, `clip_text` and `counts`. They come from a parser (upstream spaCy 3.5.3
    with en_core_web_sm 3.5.0) whose version changes them, so they are data, not code. The shipped
    ones are `noun_phrases.frozen`.

    Raises:
        PrerequisiteError: the file is not there.
        UsageError: the file holds something else, naming the prompt.
    """
    try:
        data = json.loads(read_text(path))
    except FileNotFoundError:
        raise PrerequisiteError(
            f"{path} is not there: the noun phrases and objects of the prompts",
            fix="tag the prompts with spaCy 3.5.3 and en_core_web_sm 3.5.0, and write that file",
        ) from None
    except json.JSONDecodeError as error:
        raise UsageError(f"{path} is no JSON: {error}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path} holds a {type(data).__name__}, expected an object by prompt")
    for text, entry in data.items():
        strange = sorted(set(entry) - set(_ANNOTATION_KEYS)) if isinstance(entry, dict) else entry
        if strange or not isinstance(entry, dict):
            raise UsageError(
                f"{path}: annotation of {text!r} has {strange!r}, expected an object with any of "
                f"{', '.join(_ANNOTATION_KEYS)}"
            )
    return data


def read_official(
    folder: Path | str,
    *,
    annotations: Mapping[str, Mapping[str, Any]] | Path | str | None = None,
    pinned: bool = True,
    extended: bool = False,
) -> PromptSuite:
    """Return the suite of the six categories, 1800 prompts, ids like `color-000`.

    Args:
        folder: upstream's examples/dataset.
        annotations: by prompt text, what `read_annotations` returns, or the path it reads; merged
            into each meta. By default those that come with the harness, for every file that is
            the pinned one. Without any, of the six categories only non_spatial can be scored.
        pinned: as in `read_file`.
        extended: the 2400 prompts of T2I-CompBench++, with "3d_spatial" and "numeracy".

    Raises:
        PrerequisiteError, ProtocolError: as `read_file`.
        UsageError: as `read_annotations`.
    """
    folder = Path(folder).expanduser()
    if isinstance(annotations, Path | str):
        annotations = read_annotations(Path(annotations).expanduser())
    spatial, action = (
        frozenset(complex_key(text) for text in read_file(folder, name, pinned=pinned))
        for name in ("complex_val_spatial.txt", "complex_val_action.txt")
    )
    prompts = []
    for category in (*CATEGORIES, *(MORE_CATEGORIES if extended else ())):
        name = f"{category}_val.txt"
        own = frozen() if annotations is None and (pinned or _is_pinned(folder / name)) else {}
        for index, text in enumerate(read_file(folder, name, pinned=pinned)):
            key = f"{category}-{index:03d}"
            meta: dict[str, Any] = {"category": category}
            if category == "complex":
                meta["complex_kind"] = complex_kind(text, spatial, action)
            meta |= {**own.get(key, {}), **(annotations or {}).get(text, {})}
            prompts.append(Prompt(id=key, text=text, tag=category, meta=meta))
    return PromptSuite(
        name="t2i-compbench-plus" if extended else "t2i-compbench",
        version="1b70949" if pinned else "unpinned",
        prompts=tuple(prompts),
        licence="MIT",
    )


def _is_pinned(path: Path) -> bool:
    return path.is_file() and file_hash(path) == SHA256[path.name]
