"""The kinds of pair sets, by name: what a profile's `data: {NAME: {kind: KIND, ...}}` can ask for.

A kind is a module with two functions (see `PairKind`). It is imported when it is used, so that
this table costs nothing to read. Every kind writes the same artifact, of kind `"pairs"`, which
`bench.data.on_disk.PairsOnDisk` reads.

Settings are plain data as they stand in a file. One key is made by the caller: `suite`, where a
kind takes prompts, holds `bench.generation.image_set.suite_json` of them, because which suites
there are is known to the tables and not to the data.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar, Unpack, cast

from bench.api.errors import UsageError, unknown
from bench.config import construct

if TYPE_CHECKING:
    from bench.data.augmentation import Draws
    from bench.generation.checkpoint import CheckpointRef
    from bench.store import Artifact, Store

T = TypeVar("T")

KINDS: dict[str, str] = {
    "generated": "bench.data.generated",
    "labelled": "bench.data.labelled",
    "tiny-picks": "bench.data.picks",
    "rendered": "bench.data.rendered",
    "curated": "bench.data.curated",
}
"""Kind -> the module that makes it."""

DEFAULT = "generated"
_ENCODING = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a kind found that reads the images of a set and encodes them.

    Attributes:
        identity: of the set.
        pairs: how many it has.
        images: that are encoded.
        side: pixels of each.
        native: of the images that the checkpoint's network was made for.
    """

    identity: Mapping[str, Any]
    pairs: int
    images: int
    side: int
    native: int

    @property
    def evaluations(self) -> float:
        """In evaluations of the network for one image of its own size, what encoding takes.

        Measured with the shipped autoencoder on one core: from 32 to 512 pixels an image took
        between .3 and .8 of what this says for its area.
        """
        return self.images * _ENCODING * (self.side / self.native) ** 2


class How(TypedDict, total=False):
    """How a set is made; but for its parts and its name, nothing of the artifact depends on it.

    Attributes:
        name: of the artifact; None lets the kind name it.
        shards, shard: of a kind that is made in parts, how many there are, and which is made.
        batch_size: images at once.
        device: see `bench.generation.checkpoint.pick_device`.
        progress: called with (pairs done, pairs in all).
    """

    name: str | None
    shards: int
    shard: int | None
    batch_size: int | None
    device: str | None
    progress: Callable[[int, int], None] | None


class PairKind(Protocol):
    """A module that makes one kind of pair set."""

    def identity(
        self, store: Store, checkpoint: CheckpointRef, settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what enters the artifact's hash; imports no torch.

        Raises:
            UsageError: a setting is unknown, missing or out of range.
            PrerequisiteError: the checkpoint or the data are not on this machine.
        """

    def build(
        self,
        store: Store,
        checkpoint: CheckpointRef,
        settings: Mapping[str, Any],
        **how: Unpack[How],
    ) -> Artifact:
        """Return the artifact, making what is missing of it.

        A kind that reads tables of images has also `reading`, which returns a `Reading`; one that
        encodes images `draws(settings)`, see `image_draws`; one whose data
        a back-end chose has `chosen_by(store, settings)`, their names.

        Args:
            store: where it goes.
            checkpoint: the base model: encodes texts and images, or samples them.
            settings: of the kind.
            how: see `How`.

        Raises:
            UsageError, PrerequisiteError: as `identity`; rows of the data that cannot be used.
            StoreError: the disk fails.
        """


def kind_module(kind: str) -> PairKind:
    """Return the module of a kind.

    Raises:
        UsageError: there is no such kind.
    """
    if kind not in KINDS:
        raise unknown("kind of pair set", kind, KINDS)
    try:
        return cast("PairKind", importlib.import_module(KINDS[kind]))
    except ModuleNotFoundError as error:
        if error.name != KINDS[kind]:
            raise
        raise UsageError(f"this version has no pair sets of the kind {kind!r}.") from error


def read_images(
    kind: PairKind, store: Store, checkpoint: CheckpointRef, settings: Mapping[str, Any]
) -> Reading | None:
    """Return what a kind finds that reads tables of images, None for the others.

    Raises:
        UsageError, PrerequisiteError: as `PairKind.identity`.
    """
    function = getattr(kind, "reading", None)
    return None if function is None else cast("Reading", function(store, checkpoint, settings))


def image_draws(kind: str, settings: Mapping[str, Any]) -> Draws | None:
    """Return what a kind draws of its images and when; None where it encodes none.

    Raises:
        UsageError: the kind or a setting is unknown.
    """
    function = getattr(kind_module(kind), "draws", None)
    return None if function is None else cast("Draws", function(settings))


def read_settings(cls: type[T], settings: Mapping[str, Any], kind: str) -> T:
    """Return `cls(**settings)` for a kind's dataclass of settings.

    Raises:
        UsageError: a key is unknown (the nearest is named), a required one is missing, or the
            class refuses a value.
    """
    return construct(cls, settings, f"pair set of kind {kind!r}")
