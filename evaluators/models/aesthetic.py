"""LAION's aesthetic predictor: OpenAI's CLIP ViT-L/14 and an affine head. No prompt is asked.

The image embedding (projected, 768 wide, L2-normalised) goes into the head. Source:
christophschuhmann/improved-aesthetic-predictor@6934dd8: simple_inference.py. The head is
`sac+logos+ava1-l14-linearMSE.pth`, which the hub has as trl-lib/ddpo-aesthetic-predictor; LAION's
first predictor (`sa_0_4_vit_l_14_linear`) is another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api.errors import ProtocolError
from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from evaluators.models import hub
from evaluators.models.affine_head import affine_head
from evaluators.models.hub import digest
from evaluators.models.images import prediction, read_batches
from evaluators.models.reward_weights import fill, read_tensors

CLIP = "openai/clip-vit-large-patch14"
HEAD = "trl-lib/ddpo-aesthetic-predictor"
HEAD_FILE = "aesthetic-model.pth"
ACTIVATION = "quick_gelu"
"""OpenAI's weights were trained with it; with GELU the same weights give other scores."""


class AestheticScorer(Backend):
    """The predictor in float32; scores lie about 1 to 10."""

    name: ClassVar[str] = "aesthetic"
    version: ClassVar[int] = 1
    batches_of: ClassVar[str] = "images"
    verified: ClassVar[str] = "random-weights"
    hub_models: ClassVar[tuple[str, ...]] = (CLIP, HEAD)

    def clip_folder(self) -> Path:
        """Return the folder of the CLIP (PrerequisiteError where it is not on this machine)."""
        return hub.snapshot(CLIP, needs=(*hub.NETWORK, *hub.IMAGE_PROCESSOR))

    def head_file(self) -> Path:
        """Return the file of the head (PrerequisiteError where it is not on this machine)."""
        return hub.snapshot(HEAD, needs=((HEAD_FILE,),)) / HEAD_FILE

    def identity(self) -> dict[str, Any]:
        """Return name, version, and hashes of CLIP and head.

        Raises:
            PrerequisiteError: one is not on this machine.
        """
        folder = self.clip_folder()
        return {
            **super().identity(),
            "models": {CLIP: folder.name},
            "weights": hub.content_hash(folder),
            "head": digest(self.head_file()),
        }

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"score"`: a list of one value, whatever was asked.

        Raises:
            PrerequisiteError: CLIP or head are not on this machine.
            CorruptArtifactError: their weights do not fill the networks.
            ProtocolError: the CLIP's configuration names another activation than QuickGELU.
        """
        import torch
        from PIL import Image
        from transformers import CLIPImageProcessorPil, CLIPModel

        folder, device = self.clip_folder(), hub.pick_device(self.device)
        model = hub.load_network(CLIPModel, folder, device=device)
        activation = model.config.vision_config.hidden_act
        if activation != ACTIVATION:
            raise ProtocolError(
                f"{folder}: the CLIP computes with {activation!r}; OpenAI's weights need "
                f"{ACTIVATION!r}. Fetch {CLIP} again: its config.json was changed."
            )
        file = self.head_file()
        head = affine_head(model.config.projection_dim)
        head = fill(head, read_tensors(file), file, device=device)
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        for records, pictures in read_batches(images, batch_size):
            pixels = processor(
                [Image.fromarray(p) for p in pictures], return_tensors="pt"
            ).pixel_values
            with torch.no_grad():
                seen = model.get_image_features(pixel_values=pixels.to(device)).pooler_output
                scores = head(torch.nn.functional.normalize(seen, dim=-1)).squeeze(-1).tolist()
            for record, score in zip(records, scores, strict=True):
                yield prediction(record, score=[score])
