"""U²-Net with its published weights; and what is shared by every form of that network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from bench.api.errors import CorruptArtifactError, PrerequisiteError, UsageError
from bench.data.curation.saliency import SaliencyModel
from bench.read.weights import load_tensors, load_torch
from bench.store import file_hash

SIDE = 320
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def weights_file(weights: str, fix: str) -> Path:
    """Return the file of weights (PrerequisiteError with `fix` where there is none)."""
    path = Path(weights).expanduser()
    if not path.is_file():
        raise PrerequisiteError(f"there are no saliency weights at {path}", fix=fix)
    return path


def network_input(image: np.ndarray) -> np.ndarray:
    """Return (3, 320, 320) float32: squashed to the square, ImageNet's mean and deviation."""
    small = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = np.asarray(small, dtype=np.float32) / np.float32(255.0)
    normal = (pixels - np.asarray(MEAN, np.float32)) / np.asarray(STD, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1))


def soft_mask(probability: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the soft mask (height, width) uint8 of a probability map.

    Stretched to its own minimum and maximum, cut (not rounded) to 8 bits, then resized by PIL, in
    this order, as the released code does. A map that is the same everywhere gives black.
    """
    low, high = float(probability.min()), float(probability.max())
    if not high > low:
        return np.zeros((height, width), dtype=np.uint8)
    stretched = (probability.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    small = Image.fromarray((stretched * 255).astype(np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


class U2NetSaliency(SaliencyModel):
    """The first of the network's seven outputs, which fuses the six side outputs.

    The released code calls that output `d1` (xuebinqin/U-2-Net@ac7e1c8:u2net_test.py,
    Cwyxx/RealAlign@158ce28:data_curation/construct_pairs/saliency.py).

    Args:
        weights: `u2net.pth` or `u2netp.pth` (`small`).
        small: the narrow network.

    Raises:
        PrerequisiteError: the file is not there.
    """

    name: ClassVar[str] = "u2net"
    version: ClassVar[int] = 1

    def __init__(self, weights: str, small: bool = False) -> None:
        self.path = weights_file(
            weights,
            "get u2net.pth as https://github.com/xuebinqin/U-2-Net says, and name it: "
            "--set saliency.options.weights=PATH",
        )
        self.small = small
        self._network: Any = None

    def identity(self) -> dict[str, Any]:
        """Return name, version, width and the hash of the weights."""
        return {**super().identity(), "small": self.small, "weights": file_hash(self.path)}

    def maps(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return a soft map (H, W) uint8 for each (H, W, 3) uint8 image.

        Raises:
            CorruptArtifactError: the weights do not fill the network.
        """
        import torch

        device = self.device or "cpu"
        if self._network is None:
            self._network = load_network(self.path, small=self.small).to(device)
        inputs = torch.from_numpy(np.stack([network_input(image) for image in images]))
        with torch.no_grad():
            fused = self._network(inputs.to(device))[0][:, 0].float().cpu().numpy()
        return [
            soft_mask(probability, *image.shape[:2])
            for probability, image in zip(fused, images, strict=True)
        ]


def load_network(path: Path, *, small: bool) -> Any:
    """Return the network with the weights of a file, in evaluation mode.

    Raises:
        CorruptArtifactError: the file is no state dict, or does not fill the network exactly.
        UsageError: the file is of an unknown kind.
    """
    from bench.data.curation.saliency.u2net_network import FULL, SMALL, U2Net

    network = U2Net(SMALL if small else FULL)
    readers = {".safetensors": load_tensors, ".pth": load_torch, ".pt": load_torch}
    if path.suffix not in readers:
        raise UsageError(f"{path}: expected .pth, .pt or .safetensors (ONNX: u2net-onnx).")
    try:
        network.load_state_dict(readers[path.suffix](path), strict=True)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise CorruptArtifactError(
            f"{path} does not fill {'the small' if small else 'the full'} U²-Net: "
            f"{' '.join(line.strip() for line in reason[:2])[:300]}. Fetch the file again; for "
            "u2netp.pth set saliency.options.small to true."
        ) from error
    return network.eval().requires_grad_(False)
