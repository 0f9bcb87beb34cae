"""What a checkpoint's own files name: shards of an index, a model's other file, an adapter's base.

The libraries open what is named there whatever it is called, and wherever it lies: hidden files,
pickles, folders of others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench.errors import PrerequisiteError
from bench.read.text import read_bytes, shown

SAFETENSORS = ".safetensors"
INDEX_OF_SHARDS = f"{SAFETENSORS}.index.json"
CONFIG = "config.json"
OTHER_WEIGHTS = "transformers_weights"
"""Key of a model's configuration by which transformers takes another file than its own."""
ADAPTER = "adapter_config.json"
TOKENIZER = "tokenizer_config.json"
VOCABULARY = ("vocab", "merges", "entity_vocab")
"""Settings of a tokenizer that transformers opens as a file where they are texts; none is written
by `save_pretrained`."""


def named_weights(path: Path) -> Iterator[Path]:
    """Yield the files that a file of a checkpoint names as weights, there or not.

    Args:
        path: an index of shards or a model's configuration; other files name nothing, nor do
            indexes of variants (`model.fp16.safetensors.index.json`), which nobody asks for.

    Raises:
        PrerequisiteError: a file so named is not safetensors, or lies outside the folder.
    """
    if path.name == CONFIG:
        for name in _names(path, OTHER_WEIGHTS):
            yield from _of_configuration(path, name)
    elif path.name.endswith(INDEX_OF_SHARDS) and "." not in path.name[: -len(INDEX_OF_SHARDS)]:
        yield from _shards(path)


def require_own(path: Path) -> None:
    """Refuse a file of a network or a tokenizer that leads the libraries elsewhere.

    transformers loads a folder with an adapter from the base that the adapter's configuration
    names, wherever that lies, or puts an adapter of any format on top of it.

    Raises:
        PrerequisiteError: it is an adapter's configuration, or a tokenizer's that names files.
    """
    if path.name == ADAPTER:
        raise PrerequisiteError(
            f"{shown(path)} makes the libraries load this network from elsewhere, or put an "
            "adapter on it, which no hash would show",
            fix="merge the adapter into the network and save that (merge_and_unload), or move the "
            f"adapter's files away, {path.name} first",
        )
    for key in VOCABULARY if path.name == TOKENIZER else ():
        for name in _names(path, key):
            raise PrerequisiteError(
                f"{shown(path)} names {name!r} as {key}, a file that would be opened wherever it "
                "lies",
                fix=f"put the tokenizer's own files beside {path.name}, and take {key} out of it",
            )


def require_own_files(folder: Path) -> None:
    """Refuse a folder of a network or a tokenizer of which a file leads elsewhere.

    Raises:
        PrerequisiteError: as `require_own`.
    """
    for path in sorted(folder.glob("*.json")):
        require_own(path)


def _of_configuration(path: Path, name: str) -> Iterator[Path]:
    if name.endswith(INDEX_OF_SHARDS):
        index = _beside(path, name)
        yield index
        yield from _shards(index)
    else:
        yield _safetensors(path, name)


def _shards(index: Path) -> Iterator[Path]:
    for name in _names(index, "weight_map"):
        yield _safetensors(index, name)


def _names(path: Path, key: str) -> list[str]:
    """Return the names under a key, each once; none where the file cannot be read as JSON."""
    found: object = None
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        found = json.loads(read_bytes(path))[key]
    values = found.values() if isinstance(found, dict) else [found]
    return sorted({value for value in values if isinstance(value, str)})


def _safetensors(path: Path, name: str) -> Path:
    if not name.endswith(SAFETENSORS):
        raise PrerequisiteError(
            f"{shown(path)} names {name!r} as weights, which is no {SAFETENSORS} file: other "
            "formats may hold code and are not opened",
            fix=f"save the weights as safetensors, and name those in {path.name}",
        )
    return _beside(path, name)


def _beside(path: Path, name: str) -> Path:
    # which folder `..` leads to depends on links, and on who opens it
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise PrerequisiteError(
            f"{shown(path)} names {name!r} as weights, which lies outside its folder",
            fix=f"put the file beside {path.name}, and name it there",
        )
    return path.parent / name
