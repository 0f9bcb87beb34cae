"""Depth maps as T2I-CompBench++ reads them: DPT-Hybrid (MiDaS), 8 bits, larger is nearer.

Picture squashed to 480 x 480, map stretched to 0..1 per image, brought back to the picture's size,
stored in 8 bits, read again at the detector's size. Source: Karine-Huang/T2I-CompBench@1b70949:
UniDet_eval/3D_spatial_eval.py `main`, experts/model_bank_3d.py, experts/obj_detection/
generate_dataset_3d.py. The original computes in half precision; here it is float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from evaluators.compbench.rules import detector_size
from evaluators.models import hub
from evaluators.models.images import prediction, read_batches

REPOSITORY = "Intel/dpt-hybrid-midas"
SIZE = 480


class DptDepth(Backend):
    """DPT-Hybrid's maps, the published weights as the hub has them."""

    name: ClassVar[str] = "dpt-depth"
    version: ClassVar[int] = 1
    batches_of: ClassVar[str] = "images"
    verified: ClassVar[str] = "random-weights"
    hub_models: ClassVar[tuple[str, ...]] = (REPOSITORY,)

    size: ClassVar[int] = SIZE
    """Pixels of a side the network sees."""

    def identity(self) -> dict[str, Any]:
        """Return name, version, the model's commit and a hash over its files.

        Raises:
            PrerequisiteError: the model is not in the cache.
        """
        folder = hub.snapshot(REPOSITORY)
        return {
            **super().identity(),
            "models": {REPOSITORY: folder.name},
            "weights": hub.content_hash(folder),
            "size": self.size,
        }

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield each picture's size, and `"depth"`: (H, W) uint8 at the size the detector sees.

        Queries are ignored. All pictures of a set must have one shape, or their maps cannot be
        stored together.

        Raises:
            PrerequisiteError: the model is not in the cache.
            CorruptArtifactError: its weights do not fill the network.
        """
        import torch
        from transformers import DPTForDepthEstimation

        device = hub.pick_device(self.device)
        network = hub.load_network(DPTForDepthEstimation, hub.snapshot(REPOSITORY), device=device)
        for records, pictures in read_batches(images, batch_size):
            pixels = torch.stack([prepare(picture, self.size) for picture in pictures])
            with torch.no_grad():
                maps = network(pixel_values=pixels.to(device)).predicted_depth.float().cpu()
            for record, picture, found in zip(records, pictures, maps, strict=True):
                height, width = picture.shape[:2]
                yield prediction(
                    record, {"depth": eight_bits(found, width, height)}, width=width, height=height
                )


def prepare(picture: np.ndarray, size: int = SIZE) -> Any:
    """Return (3, size, size) float32 in -1..1 of a (H, W, 3) uint8 RGB picture (bilinear)."""
    import torch
    from PIL import Image

    image = Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1.0


def eight_bits(found: Any, width: int, height: int) -> np.ndarray:
    """Return a network's map (h, w) as uint8 at the size the detector sees a picture.

    A map without relief is black; upstream divides by zero.
    """
    import torch
    from PIL import Image

    low, high = found.min(), found.max()
    unit = (found - low) / (high - low) if high > low else torch.zeros_like(found)
    full = torch.nn.functional.interpolate(
        unit[None, None], size=(height, width), mode="bilinear", align_corners=True
    )[0, 0]
    image = Image.fromarray((255 * full).numpy()).convert("L")
    return np.array(image.resize(detector_size(width, height), Image.Resampling.BILINEAR))
