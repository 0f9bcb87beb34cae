"""CLIP image features for CLIP-FID, with clean-fid's resize."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.api.evaluator import Record
from bench.api.generation import ImageSet
from evaluators.models import hub
from evaluators.models.clip_weights import PublishedClip, ShippedClip
from evaluators.models.images import prediction, read_batches

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's own, of channels from 0 to 1."""


class ClipImageFeatures(PublishedClip):
    """Projected image features of CLIP ViT-B/32, not normalised.

    The shorter side goes to 224 pixels by PIL's bicubic filter, and the middle square is kept, in
    8 bits, as clean-fid's image processor does.
    Source: GaParmar/clean-fid@e88c4d6:cleanfid/clip_features.py.
    """

    name: ClassVar[str] = "clip-features"
    version: ClassVar[int] = 1
    batches_of: ClassVar[str] = "images"

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield array `features` (d,) of each image; queries are ignored.

        Raises:
            PrerequisiteError: the checkpoint is not on this machine.
            CorruptArtifactError: its weights do not fill the network.
            ProtocolError: its configuration names another activation than QuickGELU.
        """
        import torch

        device = hub.pick_device(self.device)
        model = self.network(self.folder(), device)
        side = int(model.config.vision_config.image_size)
        for records, pictures in read_batches(images, batch_size):
            pixels = torch.from_numpy(np.stack([clip_input(p, side) for p in pictures]))
            with torch.inference_mode():
                seen = model.get_image_features(pixel_values=pixels.to(device)).pooler_output
            for record, features in zip(records, seen.cpu().numpy(), strict=True):
                found = {"features": features.astype(np.float32)}
                yield prediction(record, found)


class TinyClipFeatures(ShippedClip, ClipImageFeatures):
    """The same of the tiny world's own CLIP."""

    name: ClassVar[str] = "tiny-clip-features"


def clip_input(picture: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return (3, side, side) of a picture (H, W, 3), scaled for CLIP."""
    image = Image.fromarray(picture)
    shorter = min(image.size)
    wide, tall = (int(side * length / shorter) for length in image.size)
    image = image.resize((wide, tall), Image.Resampling.BICUBIC)
    left, top = round((wide - side) / 2), round((tall - side) / 2)
    square = image.crop((left, top, left + side, top + side))
    unit = np.asarray(square, dtype=np.float32) / np.float32(255)
    mean, deviation = (np.asarray(three, dtype=np.float32) for three in (MEAN, DEVIATION))
    return np.ascontiguousarray(np.moveaxis((unit - mean) / deviation, 2, 0))
