"""GenEval's official folder layout: image sets written to it and read from it.

    ROOT/00000/metadata.jsonl        one JSON object: tag, include, perhaps exclude, prompt
    ROOT/00000/samples/00000.png     one file per image
    ROOT/00000/grid.png              optional

The official reader takes any all-digit folder (its README shows four digits, its generator
writes five) in the order the file system lists them; here folders are sorted by number.
Source: djghosh13/geneval@af4902f, generation/diffusers_generate.py, evaluation/evaluate_images.py.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bench.api import (
    ImageSet,
    IncompleteError,
    Prompt,
    PromptSuite,
    ProtocolError,
    UsageError,
)
from bench.api.errors import did_you_mean
from bench.api.folder import image_set
from bench.read.folders import listed
from bench.read.json_text import parse_json
from bench.read.pictures import read_picture
from bench.read.text import MissingFileError, read_text, shown
from evaluators.geneval.prompts import suite_from_metadata
from evaluators.whole_folder import appearing, copy_as_png

LOG = logging.getLogger(__name__)

_SHOWN = 5
_TIMES = "times"
_KEYS = ("tag", "include", "exclude", "prompt", _TIMES)
_SAMPLE = re.compile(r"(\d+)\.png")


def metadata_of(prompt: Prompt) -> dict[str, Any]:
    """Return the prompt's line of the metadata file, keys in the official order.

    A prompt that is asked more often than others says so under `times`, which the official reader
    passes over.
    """
    clauses = {k: prompt.meta[k] for k in ("include", "exclude") if k in prompt.meta}
    found = {"tag": prompt.tag, **clauses, "prompt": prompt.text}
    return found if prompt.times == 1 else {**found, _TIMES: prompt.times}


def folder_names(suite: PromptSuite) -> dict[str, str]:
    """Return the folder of each prompt id: the id where all are numbers, else its place."""
    ids = [prompt.id for prompt in suite]
    if all(re.fullmatch(r"[0-9]{1,5}", i) for i in ids) and len({int(i) for i in ids}) == len(ids):
        return {i: f"{int(i):05d}" for i in ids}
    return {i: f"{place:05d}" for place, i in enumerate(ids)}


def export_layout(images: ImageSet, root: Path, *, grid: bool = False) -> Path:
    """Write a complete image set as GenEval's folder layout and return `root`.

    PNG files are copied as they are; other formats are decoded and stored as PNG, the only format
    the official reader takes. The layout appears under `root` when it is whole.

    Raises:
        IncompleteError: images are missing, naming them.
        StoreError: `root` exists already, or cannot be written.
    """
    images.require_complete()
    with appearing(root) as partial:
        _fill(partial, images, grid=grid)
    return root


def _fill(target: Path, images: ImageSet, *, grid: bool) -> None:
    folders = folder_names(images.suite)
    sources: dict[str, list[Path]] = {prompt.id: [] for prompt in images.suite}
    for record in sorted(images.records, key=lambda r: r.ordinal):
        sources[record.prompt_id].append(images.root / record.path)
    for prompt in images.suite:
        folder = target / folders[prompt.id]
        (folder / "samples").mkdir(parents=True)
        (folder / "metadata.jsonl").write_text(json.dumps(metadata_of(prompt)), encoding="utf-8")
        for ordinal, source in enumerate(sources[prompt.id]):
            copy_as_png(source, folder / "samples" / f"{ordinal:05d}.png")
        if grid:
            _write_grid(sources[prompt.id], folder / "grid.png")


def _write_grid(sources: Sequence[Path], target: Path) -> None:
    """Write the images side by side in one row."""
    from PIL import Image

    tiles = [read_picture(source).image for source in sources]
    sheet = Image.new("RGB", (sum(t.width for t in tiles), max(t.height for t in tiles)))
    left = 0
    for tile in tiles:
        sheet.paste(tile, (left, 0))
        left += tile.width
    sheet.save(target, format="PNG")


def import_layout(
    root: Path, *, suite: PromptSuite | None = None, images_per_prompt: int | None = None
) -> ImageSet:
    """Read images laid out as GenEval's, whoever made them.

    Args:
        root: the folder that holds 00000, 00001, ... (four or five digits).
        suite: the prompts that must be there; by default those of the metadata files.
        images_per_prompt: by default the number of the best-filled folder.

    Returns:
        A complete image set without generation settings.

    Raises:
        UsageError: no such folder, or two folders of one number.
        ProtocolError: a folder's metadata is not that of the suite's prompt.
        IncompleteError: images are missing, naming them.
    """
    return _import(root, _numbered_folders(root), suite, images_per_prompt)


def _import(
    root: Path,
    folders: Mapping[int, Path],
    suite: PromptSuite | None,
    images_per_prompt: int | None = None,
) -> ImageSet:
    metadata = {number: _read_metadata(folder) for number, folder in folders.items()}
    if suite is None:
        suite = _suite_of(root, metadata)
    places = {pid: int(name) for pid, name in folder_names(suite).items()}
    samples: dict[str, dict[int, Path]] = {}
    for prompt in suite:
        number = places[prompt.id]
        if number in folders:
            _require_same(folders[number], metadata[number], prompt)
        samples[prompt.id] = _samples(folders[number]) if number in folders else {}
    largest = {prompt_id: len(found) - 1 for prompt_id, found in samples.items()}
    wanted = images_per_prompt or suite.images_per_prompt(largest)
    missing = [
        f"{places[p.id]:05d}/samples/{k:05d}.png"
        for p, k in suite.images(max(wanted, 1))
        if k not in samples[p.id]
    ]
    if missing:
        some = ", ".join(missing[:_SHOWN]) + (" ..." if len(missing) > _SHOWN else "")
        raise IncompleteError(
            f"{root} lacks {len(missing)} of {suite.count(max(wanted, 1))} images: {some}. "
            "Each prompt needs the same number of images (`times` of its metadata.jsonl as many), "
            "named by number from 00000.png."
        )
    files: dict[tuple[str, int], tuple[str, str | None]] = {
        (prompt.id, k): (samples[prompt.id][k].relative_to(root).as_posix(), None)
        for prompt, k in suite.images(wanted)
    }
    return image_set(root, suite, files)


def read_official(root: Path, *, suite: PromptSuite | None = None) -> ImageSet:
    """Read GenEval's folders; what its reader would pass over in silence is refused.

    Raises:
        UsageError, IncompleteError: as `import_layout`.
        ProtocolError: as there; or a file in `samples` that is named otherwise, two files of one
            number, or a numbered folder of no prompt.
    """
    numbered = _numbered_folders(root)
    folders = numbered.values()
    if suite is None:
        _say_absent(root, list(numbered))
    else:
        known = {int(name) for name in folder_names(suite).values()}
        beyond = [folder.name for folder in folders if int(folder.name) not in known]
        if beyond:
            raise ProtocolError(
                f"{root} holds {len(folders)} folders, suite {suite.name} has {len(suite)} "
                f"prompts: {', '.join(beyond[:_SHOWN])} is of none of them"
            )
    for folder in folders:
        _say_beside(folder)
        _check_samples(folder / "samples")
    return _import(root, numbered, suite)


def _say_beside(folder: Path) -> None:
    """Log what lies in a prompt's folder and is not the layout's."""
    listing = listed(folder)
    known = ("metadata.jsonl", "samples", "grid.png")
    listing.say(path for path in (*listing.files, *listing.folders) if path.name in known)


def _check_samples(folder: Path) -> None:
    found: dict[int, Path] = {}
    listing = listed(folder) if folder.is_dir() else None
    for path in () if listing is None else listing.files:
        match = _SAMPLE.fullmatch(path.name)
        if match is None:
            raise ProtocolError(
                f"{path}: expected samples named by number, 00000.png, 00001.png, ...: GenEval "
                "reads PNG files only. Rename it, or move it away."
            )
        if int(match[1]) in found:
            raise ProtocolError(f"{path} and {found[int(match[1])].name} are the same sample")
        found[int(match[1])] = path
    if listing is not None:
        listing.say(found.values())


def _say_absent(root: Path, numbers: Sequence[int]) -> None:
    """Log which numbers are missing between the folders: part of a benchmark is another one."""
    present = set(numbers)
    last, lacking = max(present), max(present) + 1 - len(present)
    if lacking:
        absent = islice((n for n in range(last + 1) if n not in present), _SHOWN)
        LOG.warning(
            "%s: %d of the folders 00000 to %05d are absent (%s%s): the score is over the other "
            "%d; name the prompts with --suite where all are meant",
            *(shown(root), lacking, last, ", ".join(f"{n:05d}" for n in absent)),
            *(", ..." if lacking > _SHOWN else "", len(present)),
        )


def _numbered_folders(root: Path) -> dict[int, Path]:
    listing = listed(root, expected="one holding 00000, 00001, ...")
    folders: dict[int, Path] = {}
    for folder in listing.folders:
        if not re.fullmatch(r"[0-9]{1,9}", folder.name):
            continue
        number = int(folder.name)
        if number in folders:
            raise UsageError(f"{root} holds {folders[number].name} and {folder.name}; keep one")
        folders[number] = folder
    if not folders:
        listing.say(())
        raise UsageError(f"{shown(root)} holds no numbered folder; expected 00000, 00001, ...")
    listing.say(folders.values())
    return dict(sorted(folders.items()))


def _read_metadata(folder: Path) -> dict[str, Any]:
    path = folder / "metadata.jsonl"
    try:
        data = parse_json(read_text(path), shown(path))
    except MissingFileError:
        raise IncompleteError(f"{shown(path)} is missing: the folder's prompt is unknown") from None
    if not isinstance(data, dict):
        raise UsageError(f"{shown(path)} holds no single JSON object")
    absent = sorted(key for key in ("tag", "prompt") if not isinstance(data.get(key), str))
    if absent:
        raise UsageError(f"{shown(path)} lacks {', '.join(absent)}, or they are no text")
    for key in data:
        if key not in _KEYS:
            raise UsageError(f"{shown(path)}: unknown key {key!r}.{did_you_mean(key, _KEYS)}")
    times = data.get(_TIMES, 1)
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise UsageError(f"{shown(path)}: {_TIMES} is {times!r}; expected a whole number from 1")
    return dict(data)


def _suite_of(root: Path, metadata: Mapping[int, dict[str, Any]]) -> PromptSuite:
    whole = suite_from_metadata(metadata.values(), name=f"geneval:{root.name}", version="imported")
    prompts = tuple(
        Prompt(
            id=f"{number:05d}",
            text=p.text,
            tag=p.tag,
            meta=p.meta,
            times=metadata[number].get(_TIMES, 1),
        )
        for number, p in zip(metadata, whole, strict=True)
    )
    return PromptSuite(name=whole.name, version=whole.version, prompts=prompts)


def _require_same(folder: Path, found: Mapping[str, Any], prompt: Prompt) -> None:
    expected = metadata_of(prompt)
    if _TIMES not in found:  # written by another tool: the suite says how often
        expected.pop(_TIMES, None)
    if json.loads(json.dumps(expected)) != dict(found):
        raise ProtocolError(
            f"{folder}/metadata.jsonl is of {found.get('prompt')!r} ({found.get('tag')}), the "
            f"suite's prompt {prompt.id} is {prompt.text!r} ({prompt.tag}) or has other clauses"
        )


def _samples(folder: Path) -> dict[int, Path]:
    if not (folder / "samples").is_dir():
        return {}
    named = [(p, _SAMPLE.fullmatch(p.name)) for p in listed(folder / "samples").files]
    return {int(match[1]): path for path, match in named if match}
