"""The kind `curated`: a finished curation run as a pair set.

The winner is the real image's latent, the loser its degraded copy's, both encoded with the VAE of
the checkpoint that is trained; there is no degraded prompt. The manifest's `config.circular` names
the back-ends that selected the data, so that a report can mark metrics of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.api.errors import BenchError, UsageError, did_you_mean
from bench.data.augmentation import ONCE, SIDES, Draws, visit_tensors
from bench.data.curation.engine import KIND as CURATION_KIND
from bench.data.curation.engine import read_pixels
from bench.data.curation.run import Plan
from bench.data.curation.selection import PAIRS_FILE
from bench.data.curation.settings import load_settings
from bench.data.images import encode_moments, encode_pixels
from bench.data.kinds import read_settings
from bench.data.spec import KIND
from bench.generation.checkpoint import CheckpointRef
from bench.store import Artifact, Store, Work, read_jsonl

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from bench.backbones.base import Backbone

VERSION = 1
WINNERS = ("as-is", "round-trip")
_ENCODE_PIXELS = 8 * 512 * 512


@dataclass(frozen=True, kw_only=True)
class CuratedSettings:
    """Which run, and how its images become latents.

    Attributes:
        run: id of a finished run's selection, `curation/...`; or
        preset: settings of a run (see `bench.data.curation.settings`), made where it is missing,
        changes: with these values by dotted key.
        winner: `"as-is"`, or `"round-trip"`: the real image passes the VAE once before it is
            encoded, as every copy has. A control for what training learns of the VAE alone.
        posterior: see `bench.data.images.POSTERIORS`. The published trainers draw a sample.
        flip: mirror half of the images, the real one and its copy independently, as they do.
        augmentation: when both are drawn; see `bench.data.augmentation`. They do so at every visit.
        seed: of both, where they are drawn once; otherwise it is the training's.
    """

    run: str | None = None
    preset: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    winner: str = "as-is"
    posterior: str = "mean"
    flip: bool = False
    augmentation: str = ONCE
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.run is None) == (self.preset is None):
            raise UsageError(
                "a curated set needs either `run` (the id that `bench curate` printed) or "
                "`preset` (paper, tiny, or a YAML file)."
            )
        if self.winner not in WINNERS:
            raise UsageError(f"unknown winner {self.winner!r}.{did_you_mean(self.winner, WINNERS)}")
        _ = self.draws  # its values are checked there

    @property
    def draws(self) -> Draws:
        """What is drawn of the images, and when."""
        return Draws(posterior=self.posterior, flip=self.flip, augmentation=self.augmentation)

    def encoding(self) -> dict[str, Any]:
        """Return how images are encoded; nothing where they are taken as they are."""
        drawn = self.posterior != "mean" or self.flip
        changed = {"posterior": self.posterior, "flip": self.flip, "seed": self.seed}
        return {**changed, **self.draws.entry()} if drawn else {}


def identity(
    store: Store, checkpoint: CheckpointRef, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the identity of the pair set; see `bench.data.kinds.PairKind`."""
    found = read_settings(CuratedSettings, settings, "curated")
    return {
        "version": VERSION,
        "kind": "curated",
        "checkpoint": checkpoint.identity(store),
        "selection": found.run or _plan(store, found).ids()["selection"],
        "winner": found.winner,
        **found.encoding(),
    }


def chosen_by(store: Store, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the back-ends that chose the data; those of a run that is not there are unknown."""
    found = read_settings(CuratedSettings, settings, "curated")
    if found.run is None:
        return (load_settings(str(found.preset), found.changes).scores.backend,)
    try:
        return tuple(circular(store.get(found.run)))
    except BenchError:
        return ()


def draws(settings: Mapping[str, Any]) -> Draws:
    """Return what is drawn of the images, and when; see `bench.data.kinds.PairKind`."""
    return read_settings(CuratedSettings, settings, "curated").draws


def build(
    store: Store,
    checkpoint: CheckpointRef,
    settings: Mapping[str, Any],
    *,
    name: str | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Artifact:
    """Return the pair set, made; see `bench.data.kinds.PairKind`.

    A run named by `preset` is made first where it is missing.
    """
    from bench.data.stored import StoredRow, write_set
    from bench.generation.checkpoint import device_name, load_pipeline_backbone, pick_device
    from bench.training.randomness import coin

    found = read_settings(CuratedSettings, settings, "curated")
    device = pick_device(device)
    selection = _selection(store, found, batch_size, device)
    pairs = read_jsonl(selection.file(PAIRS_FILE))
    if not pairs:
        raise UsageError(f"{selection.id} selected no pair; see its dropped.jsonl for the reasons.")
    rows = [
        StoredRow(
            id=f"{number:06d}",
            prompt=pair["caption"],
            notes={key: pair[key] for key in ("uid", "score_real", "score_negative", "gap")},
        )
        for number, pair in enumerate(pairs)
    ]

    def make(work: Work) -> None:
        backbone = load_pipeline_backbone(checkpoint, store, device=device)

        def side(
            name: str, number: int, start: int, end: int, round_trip: bool
        ) -> dict[str, Tensor]:
            images = [_pixels(store, pair[name]) for pair in pairs[start:end]]
            stored = SIDES[number]
            if found.draws.per_visit:

                def moments(pixels: np.ndarray) -> tuple[Tensor, Tensor | None]:
                    seen = round_tripped(backbone, pixels) if round_trip else pixels
                    return encode_moments(backbone, seen, posterior=found.posterior)

                size = batch_size or _batch_of(images[0])
                return visit_tensors(stored, images, moments, flip=found.flip, batch=size)
            if found.flip:
                stream = ("flip-winner", "flip-loser")[number]
                coins = [coin(found.seed, stream, row) for row in range(start, end)]
                images = [i[:, ::-1] if c else i for i, c in zip(images, coins, strict=True)]
            latents = encoded(
                backbone,
                images,
                batch_size=batch_size,
                round_trip=round_trip,
                posterior=found.posterior,
                keys=[2 * row + number for row in range(start, end)],
                seed=found.seed,
            )
            return {stored: latents}

        def latents(start: int, end: int) -> dict[str, Tensor]:
            return {
                **side("real", 0, start, end, found.winner == "round-trip"),
                **side("negative", 1, start, end, False),
            }

        gaps = [float(pair["gap"]) for pair in pairs]
        facts = {
            "kind": "curated",
            "score_gap_mean": sum(gaps) / len(gaps),
            "circular": circular(selection),
            **found.encoding(),
        }
        write_set(work, backbone, rows, latents, facts, progress=progress)

    return store.build(
        KIND,
        name or f"{checkpoint.label}.{selection.name}",
        identity(store, checkpoint, settings),
        make,
        upstream={"selection": selection.id},
        config={
            "winner": found.winner,
            "circular": circular(selection),
            **found.encoding(),
        },
        device=device_name(device),
        exclude=("parts/*",),
    )


def circular(artifact: Artifact) -> list[str]:
    """Return the back-ends that selected the data of a selection or of a pair set.

    A metric that one of them measures is circular for whatever was trained on the data.
    """
    return list((artifact.manifest.get("config") or {}).get("circular") or [])


def encoded(
    backbone: Backbone,
    images: Sequence[np.ndarray],
    *,
    batch_size: int | None = None,
    round_trip: bool = False,
    posterior: str = "mean",
    keys: Sequence[int] = (),
    seed: int = 0,
) -> Tensor:
    """Return scaled latents (N, C, h, w) of (H, W, 3) uint8 images.

    Args:
        backbone: whose VAE encodes.
        images: N of them, of one size.
        batch_size: images at once; by default decided by their size.
        round_trip: decode once (to 8 bits, as a stored copy is) and encode again.
        posterior, keys, seed: see `bench.data.images.encode_pixels`; keys are needed for samples.

    Raises:
        UsageError: a sample is asked of an autoencoder that has no posterior.
    """
    import numpy as np
    import torch

    size = batch_size or _batch_of(images[0])
    parts = []
    for start in range(0, len(images), size):
        pixels = np.stack(images[start : start + size])
        some = keys[start : start + size]
        if round_trip:
            pixels = round_tripped(backbone, pixels)
        latents = encode_pixels(backbone, pixels, posterior=posterior, keys=some, seed=seed)
        parts.append(latents.cpu())
    return torch.cat(parts)


def round_tripped(backbone: Backbone, pixels: np.ndarray) -> np.ndarray:
    """Return (B, H, W, 3) uint8 pixels that have passed the VAE once, by the posterior's mean."""
    from bench.generation.sample import to_uint8

    mean, _ = encode_moments(backbone, pixels, posterior="mean")
    seen: np.ndarray = to_uint8(backbone.decode(mean))
    return seen


def _batch_of(image: np.ndarray) -> int:
    """Return how many images of this size are encoded at once."""
    return max(1, min(64, _ENCODE_PIXELS // int(image.shape[0]) ** 2))


def _plan(store: Store, settings: CuratedSettings) -> Plan:
    return Plan(store, load_settings(str(settings.preset), settings.changes))


def _selection(
    store: Store, settings: CuratedSettings, batch_size: int | None, device: str
) -> Artifact:
    if settings.run is None:
        return _plan(store, settings).run(device=device, batch_size=batch_size).selection
    selection = store.get(settings.run)
    if selection.kind != CURATION_KIND or PAIRS_FILE not in selection.files:
        raise UsageError(
            f"{settings.run} is no selection of a curation run; name the last artifact that "
            "`bench curate` printed."
        )
    return selection


def _pixels(store: Store, path: str) -> np.ndarray:
    """Return the verified pixels of `<artifact id>/<file>`."""
    kind, folder, name = path.split("/", 2)
    pixels: np.ndarray = read_pixels(store.get(f"{kind}/{folder}"), name)
    return pixels


__all__ = ["CuratedSettings", "build", "circular", "encoded", "identity"]
