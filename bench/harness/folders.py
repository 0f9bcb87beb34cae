"""Images of a folder, whoever made them: which reader, which checks, and into the store."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.errors import ProtocolError, UsageError
from bench.read.folders import few
from bench.read.text import shown

if TYPE_CHECKING:
    from bench.api.evaluator import Evaluator
    from bench.api.generation import ImageSet
    from bench.api.prompts import PromptSuite
    from bench.spec.profile import Profile
    from bench.store import Artifact, Store

LOG = logging.getLogger(__name__)

LAYOUTS = ("official", "manifest")
_ARTIFACT = re.compile(r"images/[\w.+=-]+-[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Images of a folder, and what is known of them.

    Attributes:
        path: the folder.
        layout: one of `LAYOUTS`; None is whichever is there.
        layout_of: the evaluator whose official layout is meant; None is the one that measures.
        suite: name of the prompts that must be there, all of them.
        size: (width, height) that each picture must have; None is the profile's.
        any_size: pictures may be of any size.
    """

    path: Path
    layout: str | None = None
    layout_of: str | None = None
    suite: str | None = None
    size: tuple[int, int] | None = None
    any_size: bool = False


def is_artifact(text: str) -> bool:
    """Whether a text names an image set of the store: `images/NAME-HASH`."""
    return _ARTIFACT.fullmatch(text) is not None


def no_images(path: Path) -> str:
    """Return in words that a path is neither a folder nor an artifact's name."""
    if path.exists():
        return (
            f"{shown(path)} is a file; expected a folder of pictures (unpack an archive first), or "
            "an artifact images/NAME-HASH."
        )
    return f"{shown(path)}: no folder of that name, and no artifact images/NAME-HASH."


def read_folder(
    root: Path, *, evaluator: str, layout: str | None = None, suite: PromptSuite | None = None
) -> ImageSet:
    """Return the image set of a folder.

    Args:
        root: the folder.
        evaluator: whose official layout is meant.
        layout: one of `LAYOUTS`; None takes an image set of a store as it is, then the manifest
            where there is one.
        suite: the prompts that must be there.

    What was inferred is said: the layout, the prompts, the number of images of each.

    Raises:
        UsageError: no such folder, the evaluator has no official layout, or the folder can be
            read in two ways.
        PrerequisiteError: what is asked about the prompts is not known here.
        IncompleteError, ProtocolError: as the reader.
    """
    from bench.api.registry import EVALUATORS

    whose = EVALUATORS.load(evaluator)()
    images, how = _read(root, whose, layout, suite)
    found = whose.complete_prompts(images)
    each = found.images_per_prompt
    what = "prompts" if any(prompt.text for prompt in found.suite) else "pictures without prompts"
    told = f"{len(found.suite)} {what} ({found.suite.name}), {each} image{'s' * (each > 1)} each"
    LOG.info("%s: read as %s: %s", shown(root), how, told)
    return found


def _read(
    root: Path, whose: Evaluator, layout: str | None, suite: PromptSuite | None
) -> tuple[ImageSet, str]:
    """Return the image set, and in words as what it was read."""
    from bench.generation.folder import MANIFEST_FILE, read_manifest, unnamed

    if layout is None and is_stored(root):
        return _stored(root, suite), "an image set of a store"
    if layout is None and os.path.lexists(root / MANIFEST_FILE):
        images = read_manifest(root, suite=suite)
        _refuse_two_readings(root, unnamed(images), len(images.records))
        return images, MANIFEST_FILE
    if layout == "manifest":
        images = read_manifest(root, suite=suite)
        left = [path.relative_to(root).as_posix() for path in unnamed(images)]
        if left:
            told = f"{len(left)} pictures that {MANIFEST_FILE} does not name"
            LOG.warning("%s: not counted: %s (%s)", shown(root), told, few(left))
        return images, MANIFEST_FILE
    named = whose.official_suite()
    if suite is None and named is not None and root.is_dir():
        from bench.suites import load_suite

        suite = load_suite(named)
        LOG.info("%s: no --suite is named; %s is meant", shown(root), named)
    return whose.read_folder(root, suite=suite), f"{whose.spec.name}'s folder"


def _refuse_two_readings(root: Path, left: Sequence[Path], count: int) -> None:
    """Refuse a folder with a manifest and pictures beyond it (UsageError)."""
    if left:
        names = few([path.relative_to(root).as_posix() for path in left])
        raise UsageError(
            f"{shown(root)} holds a manifest.jsonl of {count} images and {len(left)} pictures that "
            f"it does not name ({names}): which are meant? Choose --layout manifest (those that it "
            "names) or --layout official (the folder without it), or move the others away."
        )


def is_stored(root: Path) -> bool:
    """Whether a folder is an image set of a store, this one's or another's."""
    from bench.generation.image_set import SETTINGS_FILE, SUITE_FILE
    from bench.store import MANIFEST

    return all((root / name).is_file() for name in (MANIFEST, SUITE_FILE, SETTINGS_FILE))


def _stored(root: Path, suite: PromptSuite | None) -> ImageSet:
    from bench.generation.image_set import open_image_set
    from bench.store import Artifact

    images = open_image_set(Artifact(root.resolve()))
    if suite is not None and suite.sha256 != images.suite.sha256:
        raise ProtocolError(
            f"{root} holds images of {images.suite.name}, sha256 {images.suite.sha256[:12]}; "
            f"expected {suite.name}, sha256 {suite.sha256[:12]}. Leave out --suite, or name theirs."
        )
    return images


def take_folder(store: Store, folder: Folder, profile: Profile, evaluator: str) -> Artifact:
    """Check the pictures, all of them before anything is written, and copy them into the store.

    Where the profile says how the evaluator's images are made, theirs is the size expected.

    Raises:
        UsageError, IncompleteError, PrerequisiteError: as `read_folder`.
        ProtocolError: a picture is broken, or of another size or mode.
        StoreError: the disk fails.
    """
    from bench.api.registry import EVALUATORS
    from bench.suites import load_suite

    images = read_folder(
        folder.path,
        evaluator=folder.layout_of or evaluator,
        layout=folder.layout,
        suite=None if folder.suite is None else load_suite(folder.suite),
    )
    size = folder.size
    from bench.generation.pictures import check_pictures
    from bench.steps.imported import import_images

    own = profile.protocols.get(profile.protocol, {}).get(evaluator)
    if size is None and own is not None:
        size = (own.generation.width, own.generation.height)
    try:
        found = check_pictures(
            images,
            size=size,
            any_size=folder.any_size,
            upright=not EVALUATORS.load(evaluator)().as_stored(),
        )
    except ProtocolError as error:
        if own is None or folder.size is not None:
            raise
        raise ProtocolError(
            f"{error}\n  profile {profile.name} measures {evaluator} on {size[0]} x {size[1]} "  # type: ignore[index]
            "pixels; is another --profile meant?"
        ) from error
    if found.lossy:
        LOG.warning(
            "%d of %d images are stored with loss (%s): not the pixels that were sampled",
            found.lossy,
            len(images.records),
            ", ".join(f"{n} {name}" for name, n in found.formats.items()),
        )
    return import_images(store, images, changed=found.changed, turned=found.turned)
