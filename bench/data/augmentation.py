"""When an image's flip and its sample of the VAE's posterior are drawn: once, or at every visit.

The published trainers decode, flip and encode an image each time they come to it. Here latents are
encoded before training. Drawn once, an image has one flip and one sample for good. Drawn at every
visit, the set holds what they are drawn from, the posterior's mean and standard deviation of the
image and of its mirror image, and the source draws anew each time, by (seed, stream, optimiser
step, sample):

    winner, loser                     (N, C, h, w) the mean, scaled
    winner.std, ...                   its standard deviation, scaled; none where the mean is taken
    winner.flipped, winner.flipped.std, ...   of the mirror image; none where nothing is flipped
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api.errors import unknown
from bench.data.images import POSTERIORS, encode_moments, encode_pixels

if TYPE_CHECKING:
    from torch import Tensor

    from bench.backbones.base import Backbone
    from bench.training.source import Visits

ONCE, PER_VISIT = AUGMENTATIONS = ("once", "per-visit")
SIDES = ("winner", "loser")
STD, FLIPPED = ".std", ".flipped"

Pixels = Callable[[np.ndarray], np.ndarray]
"""(B, H, W, 3) uint8 -> the same."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What is drawn of a set's images, and when.

    Attributes:
        posterior: one of `bench.data.images.POSTERIORS`.
        flip: whether half of the images are mirrored.
        augmentation: one of `AUGMENTATIONS`.

    Raises:
        UsageError: a value is unknown.
    """

    posterior: str
    flip: bool = False
    augmentation: str = ONCE

    def __post_init__(self) -> None:
        if self.posterior not in POSTERIORS:
            raise unknown("posterior", self.posterior, POSTERIORS)
        if self.augmentation not in AUGMENTATIONS:
            raise unknown("augmentation", self.augmentation, AUGMENTATIONS)

    @property
    def per_visit(self) -> bool:
        """Whether things are drawn at every visit."""
        return self.augmentation == PER_VISIT

    @property
    def latents_per_image(self) -> int:
        """Tensors of a latent's size that a set holds for an image."""
        if not self.per_visit:
            return 1
        return (2 if self.posterior == "sample" else 1) * (2 if self.flip else 1)

    def entry(self) -> dict[str, str]:
        """Return what enters identities and reports: nothing where things are drawn once."""
        return {"augmentation": self.augmentation} if self.per_visit else {}

    def words(self) -> str:
        """Return it in words; nothing where images are taken as they are."""
        things = [*(["flips"] if self.flip else [])]
        things += ["VAE samples"] if self.posterior == "sample" else []
        when = "at every visit" if self.per_visit else "once an image"
        return f"{' and '.join(things)} drawn {when}" if things else ""


def side_latents(
    backbone: Backbone,
    images: Sequence[np.ndarray],
    draws: Draws,
    *,
    side: int,
    start: int,
    seed: int,
    batch: int,
    through: Pixels | None = None,
) -> dict[str, Tensor]:
    """Return what a set holds of images of one side: latents, or what they are drawn from.

    Args:
        backbone: whose VAE encodes.
        images: N of (H, W, 3) uint8, not flipped.
        draws: what is drawn of them, and when.
        side: its place in `SIDES`.
        start: row of the first.
        seed: of what is drawn once.
        batch: images at once.
        through: done with images, mirrored or not, before they are encoded.

    Raises:
        UsageError: a sample is asked of an autoencoder that has no posterior.
    """
    import torch

    from bench.training.randomness import coin

    def seen(some: Sequence[np.ndarray]) -> np.ndarray:
        pixels = np.stack(some)
        return pixels if through is None else through(pixels)

    name, parts = SIDES[side], range(0, len(images), batch)
    if not draws.per_visit:
        rows = range(start, start + len(images))
        if draws.flip:
            coins = [coin(seed, f"flip-{name}", row) for row in rows]
            images = [i[:, ::-1] if c else i for i, c in zip(images, coins, strict=True)]
        latents = [
            encode_pixels(
                backbone,
                seen(images[first : first + batch]),
                posterior=draws.posterior,
                keys=[2 * row + side for row in rows[first : first + batch]],
                seed=seed,
            ).cpu()
            for first in parts
        ]
        return {name: torch.cat(latents)}
    made: dict[str, Tensor] = {}
    for mirrored in (False, True) if draws.flip else (False,):
        found = [
            encode_moments(
                backbone,
                seen([i[:, ::-1] if mirrored else i for i in images[first : first + batch]]),
                posterior=draws.posterior,
            )
            for first in parts
        ]
        key = f"{name}{FLIPPED if mirrored else ''}"
        made[key] = torch.cat([mean.cpu() for mean, _ in found])
        stds = [std.cpu() for _, std in found if std is not None]
        if stds:
            made[f"{key}{STD}"] = torch.cat(stds)
    return made


def draw(
    latents: Mapping[str, np.ndarray],
    side: str,
    rows: np.ndarray,
    visits: Visits,
    *,
    stream: str = "",
) -> Tensor:
    """Return (B, C, h, w) float32 latents of a side, drawn for B visits.

    Args:
        latents: the tensors of a set, as above.
        side: one of `SIDES`.
        rows: B rows of the set.
        visits: B visits.
        stream: prefix of the random streams: another one for other images of the same visits.
    """
    import torch

    from bench.training.randomness import CounterStream

    seed, step, samples = visits.seed, visits.step, visits.samples
    mirrored = np.zeros(len(rows), dtype=bool)
    if f"{side}{FLIPPED}" in latents:
        coins = CounterStream(seed, f"{stream}flip-{side}", step).uniform(samples)
        mirrored = coins.numpy() < 0.5

    def read(suffix: str) -> Tensor:
        found = latents[f"{side}{suffix}"][rows]
        if mirrored.any():
            found[mirrored] = latents[f"{side}{FLIPPED}{suffix}"][rows[mirrored]]
        # into torch's own memory, whose alignment is always the same (see PairsOnDisk)
        return torch.from_numpy(found).float().clone()

    drawn = read("")
    if f"{side}{STD}" in latents:
        noise = CounterStream(seed, f"{stream}posterior-{side}", step)
        drawn = drawn + read(STD) * noise.normal(samples, drawn.shape[1:])
    return drawn


def fault(latents: Iterable[str]) -> str:
    """Return what is wrong with the names of a set's tensors, or nothing."""
    names = set(latents)
    ends = [{n.removeprefix(side) for n in names if n.split(".")[0] == side} for side in SIDES]
    known = ({""}, {"", STD}, {"", FLIPPED}, {"", STD, FLIPPED, FLIPPED + STD})
    if sum(map(len, ends)) == len(names) and ends[0] in known and ends[1] in (set(), ends[0]):
        return ""
    return (
        f"it holds {', '.join(sorted(names))}; expected winner, with .std, .flipped and "
        ".flipped.std where it is drawn at every visit, and loser with the same or not at all"
    )


def augmented(latents: Mapping[str, Any]) -> bool:
    """Whether a set's tensors are to be drawn from at every visit."""
    return any(STD in name or FLIPPED in name for name in latents)
