"""The kind `curated`: a finished curation run as a pair set.

The winner is the real image's latent, the loser its degraded copy's, both encoded with the VAE of
the checkpoint that is trained; there is no degraded prompt. The manifest's `config.circular` names
the back-ends that selected the data, so that a report can mark metrics of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from bench.api.errors import BenchError, UsageError, did_you_mean
from bench.data.augmentation import ONCE, Draws, side_latents
from bench.data.curation.engine import KIND as CURATION_KIND
from bench.data.curation.engine import read_pixels
from bench.data.curation.run import Plan
from bench.data.curation.selection import PAIRS_FILE
from bench.data.curation.settings import load_settings
from bench.data.images import encode_moments
from bench.data.kinds import How, read_settings
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
    **how: Unpack[How],
) -> Artifact:
    """Return the pair set, made; see `bench.data.kinds.PairKind`.

    A run named by `preset` is made first where it is missing.
    """
    from bench.data.stored import StoredRow, write_set
    from bench.generation.checkpoint import device_name, load_pipeline_backbone, pick_device

    found = read_settings(CuratedSettings, settings, "curated")
    device = pick_device(how.get("device"))
    selection = _selection(store, found, how.get("batch_size"), device)
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

        def side(number: int, name: str, start: int, end: int) -> dict[str, Tensor]:
            images = [_pixels(store, pair[name]) for pair in pairs[start:end]]
            again = name == "real" and found.winner == "round-trip"
            return side_latents(
                backbone,
                images,
                found.draws,
                side=number,
                start=start,
                seed=found.seed,
                batch=how.get("batch_size") or _batch_of(images[0]),
                through=partial(round_tripped, backbone) if again else None,
            )

        def latents(start: int, end: int) -> dict[str, Tensor]:
            return side(0, "real", start, end) | side(1, "negative", start, end)

        gaps = [float(pair["gap"]) for pair in pairs]
        facts = {
            "kind": "curated",
            "score_gap_mean": sum(gaps) / len(gaps),
            "circular": circular(selection),
            **found.encoding(),
        }
        write_set(work, backbone, rows, latents, facts, progress=how.get("progress"))

    return store.build(
        KIND,
        how.get("name") or f"{checkpoint.label}.{selection.name}",
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


__all__ = ["CuratedSettings", "build", "circular", "identity"]
