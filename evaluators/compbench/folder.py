"""T2I-CompBench's official folder layout: image sets written to it and read from it.

    ROOT/color/samples/a green bench and a blue bowl_000000.png
    ROOT/spatial/samples/...

One folder a category, ten images a prompt, one running number in the order of the prompt file. The
official code reads the prompt back from the file name, as the text before the first "_": so a
prompt must hold neither "_" nor "/", and the name must fit into 255 bytes. The final "." of a
prompt stays. Source: Karine-Huang/T2I-CompBench@1b70949, GORS_finetune/inference_eval.py and the
readers of each evaluation. Results in the official files: `results`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.api import (
    ImageSet,
    IncompleteError,
    Prompt,
    PromptSuite,
    ProtocolError,
    UsageError,
)
from bench.api.folder import image_set
from bench.read.folders import listed
from bench.read.names import LONGEST_FILE
from bench.read.text import shown
from evaluators.compbench.prompts import MORE_CATEGORIES
from evaluators.compbench.rules import CATEGORIES
from evaluators.whole_folder import appearing, copy_as_png

SAMPLES = "samples"
ALL_CATEGORIES = (*CATEGORIES, *MORE_CATEGORIES)

_NAME = re.compile(r"([^_]+)_(\d+)\.png")
_SHOWN = 5
_MOST_LACKING, _FEW = 100, 100


def file_name(text: str, number: int) -> str:
    """Return an image's name, from which the official code reads the prompt back.

    Raises:
        UsageError: the prompt cannot be read back, or the name is too long.
    """
    name = f"{text}_{number:06d}.png"
    strange = sorted({character for character in text if character in "_/\0\n"})
    if strange or not text:
        raise UsageError(
            f"prompt {text!r} holds {', '.join(map(repr, strange)) or 'nothing'}: T2I-CompBench "
            'reads prompts back from file names, as the text before the first "_". Score it from '
            "the image set instead, or reword it."
        )
    if len(name.encode()) > LONGEST_FILE:
        raise UsageError(
            f"prompt {text[:40]!r}... makes a file name of {len(name.encode())} bytes, more than "
            f"{LONGEST_FILE}; score it from the image set instead, or shorten it."
        )
    return name


def category_of(prompt: Prompt) -> str:
    """Return the prompt's category, its folder."""
    return str(prompt.meta.get("category", prompt.tag))


def numbered(suite: PromptSuite, images_per_prompt: int) -> Iterator[tuple[Prompt, int, int]]:
    """Yield prompt, ordinal and the running number inside the category, in suite order."""
    following: dict[str, int] = {}
    for prompt in suite:
        category = category_of(prompt)
        for ordinal in prompt.ordinals(images_per_prompt):
            number = following.get(category, 0)
            yield prompt, ordinal, number
            following[category] = number + 1


def export_layout(images: ImageSet, root: Path) -> Path:
    """Write a complete image set as T2I-CompBench's folders and return `root`.

    PNG files are copied as they are, others decoded and stored as PNG. The layout appears under
    `root` when it is whole.

    Raises:
        IncompleteError: images are missing, naming them.
        UsageError: a prompt cannot be a file name.
        StoreError: `root` exists already, or cannot be written.
    """
    images.require_complete()
    sources = {(r.prompt_id, r.ordinal): images.root / r.path for r in images.records}
    names = {
        (prompt.id, ordinal): Path(category_of(prompt), SAMPLES, file_name(prompt.text, number))
        for prompt, ordinal, number in numbered(images.suite, images.images_per_prompt)
    }
    with appearing(root) as partial:
        for key, name in names.items():
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_as_png(sources[key], target)
    return root


def import_layout(
    root: Path, *, suite: PromptSuite | None = None, images_per_prompt: int | None = None
) -> ImageSet:
    """Read images laid out as T2I-CompBench's, whoever made them.

    Args:
        root: holds a folder for each category, or is that of one category (holds `samples`).
        suite: the prompts that must be there; where `root` is of one category, those of that
            category. By default the prompts are those of the file names, without annotations:
            enough for "non_spatial" alone.
        images_per_prompt: by default what divides the images among the suite's prompts, or what
            the best-filled prompt has.

    Returns:
        A complete image set without generation settings.

    Raises:
        UsageError: no such folder, no category in it, or a category that the suite lacks.
        ProtocolError: a file that is no image of the layout, a number that occurs twice, or a
            prompt that is not the suite's at that place.
        IncompleteError: images are missing, naming them.
    """
    found = {category: _samples(folder) for category, folder in _folders(root, suite).items()}
    if suite is None:
        suite = _suite_of(root, found)
    else:
        if (root / SAMPLES).is_dir():
            kept = tuple(p for p in suite if category_of(p) in found)
            suite = replace(suite, prompts=kept)
        strange = sorted(set(found) - {category_of(p) for p in suite})
        if strange:
            raise UsageError(f"{root} holds {strange[0]!r}, of which the suite has no prompt")
    total = sum(len(entries) for entries in found.values())
    if not total:
        raise IncompleteError(f"{shown(root)} holds no image; expected some in {SAMPLES}")
    each = images_per_prompt or _images_per_prompt(suite, found)
    if suite.count(each) > _MOST_LACKING * max(total, _FEW):
        largest = max(max(entries, default=0) for entries in found.values())
        raise IncompleteError(
            f"{shown(root)} holds {total} images; the number {largest} among them would need "
            f"{suite.count(each):,}. Is it the number of an image?"
        )
    files: dict[tuple[str, int], tuple[str, str | None]] = {}
    missing = []
    for prompt, ordinal, number in numbered(suite, each):
        entry = found.get(category_of(prompt), {}).get(number)
        if entry is None:
            missing.append(f"{category_of(prompt)}/{number:06d}")
            continue
        text, path = entry
        if text != prompt.text:
            raise ProtocolError(
                f"{path} is of the prompt {text!r}; number {number} of {category_of(prompt)} is "
                f"{prompt.id}, {prompt.text!r}, at {each} images a prompt"
            )
        files[prompt.id, ordinal] = (path.relative_to(root).as_posix(), None)
    if missing:
        some = ", ".join(missing[:_SHOWN]) + (" ..." if len(missing) > _SHOWN else "")
        raise IncompleteError(
            f"{root} lacks {len(missing)} of {suite.count(each)} images (category/number): "
            f"{some}. Every prompt needs {each}; the official code would score them shifted."
        )
    if total > len(files):
        raise ProtocolError(
            f"{root} holds {total} images, {total - len(files)} more than {len(suite)} prompts "
            f"with {each} each; remove those that are of no prompt"
        )
    return image_set(root, suite, files)


Samples = dict[int, tuple[str, Path]]
"""The prompt's text and the file, by running number."""


def _folders(root: Path, suite: PromptSuite | None) -> dict[str, Path]:
    listing = listed(root, expected="one that holds a folder a category")
    if (root / SAMPLES).is_dir():
        if root.name in ALL_CATEGORIES:
            return {root.name: root}
        tags = {category_of(prompt) for prompt in suite} if suite is not None else set()
        if len(tags) == 1:
            return {tags.pop(): root}
        raise UsageError(
            f"{root} holds {SAMPLES}, and its name does not say of which category they are; rename "
            f"it to one of {', '.join(ALL_CATEGORIES)}"
        )
    known = {*ALL_CATEGORIES, *(category_of(prompt) for prompt in suite or ())}
    folders = {name: root / name for name in sorted(known) if (root / name / SAMPLES).is_dir()}
    listing.say(folders.values())
    if not folders:
        raise UsageError(
            f"{shown(root)} holds neither {SAMPLES} nor a folder with it, such as color/{SAMPLES}"
        )
    return folders


def _samples(folder: Path) -> Samples:
    found: Samples = {}
    listing = listed(folder / SAMPLES)
    listing.say(listing.files)
    for path in listing.files:
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise ProtocolError(
                f"{path} is no image of the layout; expected <prompt>_<number>.png, the prompt "
                'without "_", as PNG: another format has other pixels'
            )
        number = int(match[2])
        if number in found:
            raise ProtocolError(f"{path} and {found[number][1].name} have one number; keep one")
        found[number] = (match[1], path)
    return found


def _images_per_prompt(suite: PromptSuite, found: dict[str, Samples]) -> int:
    """Return how many images each prompt must have had, judged by the largest number there is."""
    sizes = []
    for category, samples in found.items():
        asked = sum(prompt.times for prompt in suite if category_of(prompt) == category)
        sizes.append(-(-(max(samples, default=0) + 1) // max(asked, 1)))
    return max(sizes, default=1)


def _suite_of(root: Path, found: dict[str, Samples]) -> PromptSuite:
    prompts = []
    for category, samples in found.items():
        texts = dict.fromkeys(text for _, (text, _) in sorted(samples.items()))
        prompts += [
            Prompt(id=f"{category}-{n:03d}", text=text, tag=category, meta={"category": category})
            for n, text in enumerate(texts)
        ]
    return PromptSuite(
        name=f"t2i-compbench:{root.name}", version="imported", prompts=tuple(prompts)
    )
