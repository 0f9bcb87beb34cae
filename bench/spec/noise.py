"""Which noise a cell's images are sampled from: its noise seed, beside its training seed.

`shared`: every training seed and the base sample from one noise, the profile's `sampling_seed`.
`per-seed`: training seed s samples from noise `sampling_seed` + s, and rows without training are
sampled at each of these noises, so that every trained image has a partner of equal noise. With
new noise a training seed says something of other noise too; the price is the base, sampled once a
seed.
"""

from __future__ import annotations

SHARED, PER_SEED = "shared", "per-seed"
NOISES = (SHARED, PER_SEED)
