"""Images of a folder, whoever made them: which reader, which checks, and into the store."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.errors import ProtocolError

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

    Raises:
        UsageError: no such folder, or the evaluator has no official layout.
        PrerequisiteError: what is asked about the prompts is not known here.
        IncompleteError, ProtocolError: as the reader.
    """
    from bench.api.registry import EVALUATORS

    whose = EVALUATORS.load(evaluator)()
    return whose.complete_prompts(_read(root, whose, layout, suite))


def _read(root: Path, whose: Evaluator, layout: str | None, suite: PromptSuite | None) -> ImageSet:
    from bench.generation.folder import MANIFEST_FILE, read_manifest

    if layout is None and is_stored(root):
        return _stored(root, suite)
    if layout is None:
        layout = "manifest" if (root / MANIFEST_FILE).is_file() else "official"
    if layout == "manifest":
        return read_manifest(root, suite=suite)
    named = whose.official_suite()
    if suite is None and named is not None and root.is_dir():
        from bench.suites import load_suite

        suite = load_suite(named)
    return whose.read_folder(root, suite=suite)


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
        found = check_pictures(images, size=size, any_size=folder.any_size)
    except ProtocolError as error:
        if own is None:
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
    return import_images(store, images)
