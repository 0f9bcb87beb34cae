"""Which noise a cell's images are sampled from: its noise seed, beside its training seed.

`shared`: every training seed and the base sample from one noise, the profile's `sampling_seed`.
`per-seed`: training seed s samples from noise `sampling_seed` + s, and rows without training are
sampled at each of these noises, so that every trained image has a partner of equal noise. With
new noise a training seed says something of other noise too; the price is the base, sampled once a
seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.api.errors import UsageError

if TYPE_CHECKING:
    from bench.spec.profile import Profile
    from bench.spec.table import RowSpec

SHARED, PER_SEED = "shared", "per-seed"
NOISES = (SHARED, PER_SEED)
_APART = 1_000
"""Between the noises of rows that have a sampling seed of their own, with noise per seed."""


def cell_seeds(
    row: RowSpec, profile: Profile, seeds: Sequence[int]
) -> list[tuple[int | None, int]]:
    """Return the (training seed, noise seed) of a row's cells of one column.

    Args:
        row: trained, or not: then its training seed is None and there is a cell for each noise.
        profile: says how noise goes with training seeds.
        seeds: training seeds of the table.

    Raises:
        UsageError: a training seed is too large for noise of its own.
    """
    own = row.sampling_seed
    if profile.noise == SHARED:
        noise = profile.sampling_seed if own is None else own
        return [(s, noise) for s in seeds] if row.trained else [(None, noise)]
    if max(seeds) >= _APART:
        raise UsageError(
            f"training seed {max(seeds)} with noise: {PER_SEED}; expected seeds below {_APART}, "
            "beyond which the noises of other rows begin."
        )
    # a sampling seed of its own stands for noise that no other row has
    offset = profile.sampling_seed + (0 if own is None else own * _APART)
    return [(s if row.trained else None, offset + s) for s in seeds]
