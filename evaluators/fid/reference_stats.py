"""Stored statistics of a reference set: mean and covariance of its features, and of what they are.

One safetensors file: `mean` (d,) and `covariance` (d, d) in float64, and, where it was built with
them, `features` (n, d) in float32, which KID, precision and recall need. Its metadata says how
many images, which back-end (with the hash of its weights) and which protocol; statistics of unlike
protocols are never compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Predictions
from bench.api.errors import CorruptArtifactError, ProtocolError
from bench.read.weights import load_arrays
from evaluators.fid.features import FEATURES
from evaluators.fid.frechet import GaussianSums
from evaluators.fid.protocols import PROTOCOLS

FORMAT = 1
_KEY = "reference"


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceStatistics:
    """A reference set.

    Attributes:
        name: what it is asked for by.
        images: how many it has.
        images_sha256: over names and contents of its files.
        backend: identity of the back-end that made its features.
        mean: shape (d,).
        covariance: shape (d, d), over n - 1.
        features: shape (n, d), or None.
    """

    name: str
    images: int
    images_sha256: str
    backend: Mapping[str, Any]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    features: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls,
        features: Iterable[NDArray[np.float32]],
        *,
        name: str,
        images_sha256: str,
        backend: Mapping[str, Any],
        keep: bool = False,
    ) -> ReferenceStatistics:
        """Stream features (d,) of one image each into statistics, in float64.

        Raises:
            ValueError: fewer than two images, or a feature that is NaN or infinite.
        """
        sums: GaussianSums | None = None
        kept: list[NDArray[np.float32]] = []
        batch: list[NDArray[np.float32]] = []
        for row in features:
            if sums is None:
                sums = GaussianSums.empty(row.size)
            batch.append(row)
            if keep:
                kept.append(row)
            if len(batch) == 256:
                sums.add(np.stack(batch))
                batch = []
        if sums is None:
            raise ValueError("a reference needs two images or more, got none")
        if batch:
            sums.add(np.stack(batch))
        return cls(
            name=name,
            images=sums.count,
            images_sha256=images_sha256,
            backend=dict(backend),
            mean=sums.mean,
            covariance=sums.covariance(),
            features=np.stack(kept).astype(np.float32) if keep else None,
        )

    def about(self) -> dict[str, Any]:
        """Return what it is, JSON-able, without the arrays."""
        return {
            "format": FORMAT,
            "name": self.name,
            "images": self.images,
            "images_sha256": self.images_sha256,
            "backend": dict(self.backend),
        }

    def to_bytes(self) -> bytes:
        """Return the file; equal statistics give equal bytes."""
        from safetensors.numpy import save

        arrays: dict[str, Any] = {"mean": self.mean, "covariance": self.covariance}
        if self.features is not None:
            arrays["features"] = self.features
        ordered = {key: np.ascontiguousarray(arrays[key]) for key in sorted(arrays)}
        return bytes(save(ordered, {_KEY: json.dumps(self.about(), sort_keys=True)}))

    def predictions(self) -> Predictions:
        """Return what evaluators take as the reference of the role that made it."""
        count = 1 if self.features is None else self.images
        arrays: dict[str, Any] = {"mean": self.mean, "covariance": self.covariance}
        if self.features is not None:
            arrays["features"] = self.features
        records = [{"prompt_id": f"{self.name}-{i:06d}", "ordinal": 0} for i in range(count)]
        return Predictions(records=records, arrays=arrays)

    def require_backend(self, measured: Mapping[str, Any]) -> None:
        """Make sure that it was made as the measured features are.

        Raises:
            ProtocolError: another back-end, version, weights or protocol; each is named.
        """
        ours, theirs = _flat(measured), _flat(self.backend)
        differing = [
            f"{key}: {theirs.get(key)} in the reference, {ours.get(key)} measured"
            for key in sorted(ours.keys() | theirs.keys())
            if ours.get(key) != theirs.get(key)
        ]
        if differing:
            raise ProtocolError(
                f"the reference {self.name!r} was made under another protocol: "
                + "; ".join(differing)
                + ". Build a reference with the protocol that is measured."
            )

    def require_counts(self, measured: int | None) -> None:
        """Make sure that both sets have as many images as the reference's protocol says.

        Args:
            measured: images measured; None where part of them is measured on purpose.

        Raises:
            ProtocolError: a number is another.
        """
        protocol = PROTOCOLS.get(str(self.backend.get("protocol", {}).get("name")))
        if protocol is not None:
            protocol.require_counts(measured=measured, reference=self.images)


def read_reference(path: Path) -> ReferenceStatistics:
    """Read a file of `to_bytes`.

    Raises:
        CorruptArtifactError: it is no such file, is damaged, or is of another format.
    """
    from safetensors import SafetensorError

    try:
        arrays, metadata = load_arrays(path)
        about = json.loads(metadata[_KEY])
        if about.pop("format") != FORMAT:
            raise ValueError("it is of another format of this project's")
        found = ReferenceStatistics(**about, **arrays)
        width = found.mean.size
        shapes = {"covariance": (width, width)}
        if found.features is not None:
            shapes["features"] = (found.images, width)
        wrong = [name for name, shape in shapes.items() if arrays[name].shape != shape]
        if found.mean.ndim != 1 or wrong:
            raise ValueError(f"shapes do not fit: {[(k, a.shape) for k, a in arrays.items()]}")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CorruptArtifactError(
            f"{path} holds no reference statistics: {error}\n"
            "  to mend it: build it anew with bench assets build --fid-reference"
        ) from error
    return found


def role_of(backend: Mapping[str, Any]) -> str:
    """Return the role whose features a back-end's identity stands for."""
    return "clip-features" if "clip" in str(backend["backend"]) else FEATURES


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value, sort_keys=True)
    return found
