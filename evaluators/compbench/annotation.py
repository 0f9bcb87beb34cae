"""T2I-CompBench's prompts in a folder of others: what is asked about each must be known.

Official prompts have it in the harness, by their place in the official list. Others are parsed by
spaCy where it is installed, once: the result is kept in $BENCH_CACHE/annotations by the prompts'
hash, so another version of spaCy changes no score of prompts that were scored before.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import CorruptArtifactError, PrerequisiteError, UsageError
from bench.assets.places import cache_root
from bench.read.folders import listed
from bench.read.json_text import read_json
from bench.read.text import MissingFileError, shown
from bench.store import DISK
from bench.suites import entry_of, is_here, load_suite
from evaluators.compbench.folder import SAMPLES, import_layout
from evaluators.compbench.noun_phrases import MODEL, annotate, parse

if TYPE_CHECKING:
    from bench.api.generation import ImageSet
    from bench.api.prompts import Prompt, PromptSuite

LOG = logging.getLogger(__name__)

SUITE = "t2i-compbench-plus"
"""Has the prompts of `t2i-compbench`, too."""
MODEL_VARIABLE = "BENCH_SPACY_MODEL"
"""An installed spaCy model's name or its folder; default: the one of `noun_phrases`."""
NEEDED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("color", "shape", "texture"), ("phrases",)),
    **dict.fromkeys(("spatial", "3d_spatial"), ("objects",)),
    "numeracy": ("counts",),
    "complex": ("phrases", "objects", "complex_kind"),
}
_SHOWN = 3


def read_official(root: Path, *, suite: PromptSuite | None = None) -> ImageSet:
    """Read T2I-CompBench's folders; a category of official prompts must be there whole.

    Raises:
        UsageError, ProtocolError, IncompleteError: as `folder.import_layout`.
    """
    if suite is None:
        there = _named_prompts(root)
        if there & {_key(p) for p in _official()}:
            categories = {category for category, _ in there}
            theirs = tuple(p for p in _official() if _category(p) in categories)
            suite = replace(_suite(), prompts=theirs)  # numbers are places in the official list
            told = f"of {SUITE}, categories {', '.join(sorted(categories))}"
            LOG.info("%s: file names are prompts %s: all of those are expected", shown(root), told)
    return import_layout(root, suite=suite)


def _named_prompts(root: Path) -> set[tuple[str, str]]:
    """Return category and text of the prompts that file names begin with."""
    folders = [root, *listed(root, expected="one that holds a folder a category").folders]
    return {
        (folder.resolve().name if folder == root else folder.name, path.name.partition("_")[0])
        for folder in folders
        if (folder / SAMPLES).is_dir()
        for path in listed(folder / SAMPLES).files
    }


def annotated(images: ImageSet) -> ImageSet:
    """Return the image set with what its prompts lack of phrases, objects and kinds.

    Raises:
        PrerequisiteError: they are not the official prompts, or these are not here, and spaCy is
            not installed.
        UsageError: spaCy finds no noun, or numbers are needed, which it is not asked for.
    """
    lacking = [p for p in images.suite if _lacks(p)]
    if not lacking:
        return images
    official = {(_category(p), p.text): p.meta for p in _official()}
    found = {
        p.id: official[_category(p), p.text] for p in lacking if (_category(p), p.text) in official
    }
    others = [p for p in lacking if p.id not in found]
    if others:
        found |= _parsed(others)
    prompts = tuple(
        replace(p, meta={**found.get(p.id, {}), **p.meta}) if p.id in found else p
        for p in images.suite
    )
    suite = replace(images.suite, prompts=prompts)
    listing = json.dumps([suite.sha256, [[r.key, r.sha256] for r in images.records]])
    return replace(images, suite=suite, identity=hashlib.sha256(listing.encode()).hexdigest())


def _category(prompt: Prompt) -> str:
    return str(prompt.meta.get("category", prompt.tag))


def _key(prompt: Prompt) -> tuple[str, str]:
    return _category(prompt), prompt.text


def _lacks(prompt: Prompt) -> bool:
    return any(key not in prompt.meta for key in NEEDED.get(_category(prompt), ()))


def _suite() -> PromptSuite:
    return load_suite(SUITE)


def _official() -> Sequence[Prompt]:
    """Return the official prompts, none where their files are not here."""
    return _suite().prompts if is_here(entry_of(SUITE)) else ()


def _parsed(prompts: Sequence[Prompt]) -> dict[str, dict[str, Any]]:
    """Return, by prompt id, what spaCy made of the prompts now or the first time."""
    rows = [_key(p) for p in prompts]
    digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]
    path = cache_root() / "annotations" / f"compbench-{digest}.json"
    try:
        found = read_json(path)
        kept = found["prompts"]
        if found["model"] != os.environ.get(MODEL_VARIABLE, MODEL):
            LOG.warning("%s is of the model %s: parsed anew", path, found["model"])
            kept = _parse_and_keep(prompts, path)
    except MissingFileError:
        kept = _parse_and_keep(prompts, path)
    except (UsageError, KeyError, TypeError) as error:
        raise CorruptArtifactError(f"{path} holds no annotations: {error}; remove it") from error
    return {p.id: kept[place] for place, p in enumerate(prompts)}


def _parse_and_keep(prompts: Sequence[Prompt], path: Path) -> list[dict[str, Any]]:
    model = os.environ.get(MODEL_VARIABLE, MODEL)
    some = ", ".join(repr(p.text) for p in prompts[:_SHOWN])
    try:
        parsed = parse([p.text for p in prompts], model=model)
    except PrerequisiteError as error:
        raise PrerequisiteError(
            f"{len(prompts)} prompts have no noun phrases in their meta (e.g. {some}), they are "
            "not T2I-CompBench's, as far as those are here, and spaCy is not installed with "
            f"{model}",
            fix=f"for the official prompts: python -m bench assets fetch {SUITE}; for others: "
            f"{error.fix} in {MODEL_VARIABLE}, or write {', '.join(sorted(_keys(prompts)))} into "
            "the meta of manifest.jsonl",
        ) from None
    found = []
    for prompt, one in zip(prompts, parsed, strict=True):
        try:
            row = annotate(_category(prompt), one)
        except ValueError as error:
            raise UsageError(
                f"prompt {prompt.id} {prompt.text!r}: {error}; write "
                f"{', '.join(NEEDED[_category(prompt)])} into its meta in manifest.jsonl"
            ) from None
        if _category(prompt) == "complex":
            row["complex_kind"] = "spatialaction"  # as upstream of prompts on neither list
        found.append(row)
    text = json.dumps({"model": model, "prompts": found}, indent=1)
    DISK.makedirs(path.parent)
    DISK.write_atomically(path, f"{text}\n".encode())
    LOG.warning("spaCy (%s) parsed %d prompts; kept in %s", model, len(prompts), path)
    return found


def _keys(prompts: Sequence[Prompt]) -> set[str]:
    return {key for p in prompts for key in NEEDED[_category(p)]}
