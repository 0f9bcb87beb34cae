"""OneIG's style encoders: CSD (OpenAI ViT-L/14 and a style projection) and OneIG-StyleEncoder.

Cosines to the three reference embeddings of a style, which the official repository holds. The
style encoder and its references are bfloat16 upstream; here all is computed in float32.
Source: OneIG-Bench/OneIG-Benchmark@41b4983: scripts/utils/inference.py, CSD_config.py beside it,
scripts/style/; learn2phoenix/CSD@3a9df32 (MIT), whose README warns that published weights differ.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api.errors import ProtocolError, UsageError, did_you_mean
from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from evaluators.models import hub
from evaluators.models.hub import digest
from evaluators.models.images import prediction, read_batches
from evaluators.models.local_folder import file_in, named_folder
from evaluators.models.reward_weights import fill, read_tensors

STYLE_ENCODER = "xingpng/OneIG-StyleEncoder"
VARIABLE = "ONEIG_HOME"
CHECKPOINT = "scripts/style/models/checkpoint.pth"
REFERENCES = {"csd": "scripts/style/CSD_embed.pt", "se": "scripts/style/SE_embed.pt"}
REFERENCES_SHA256 = {
    "csd": "cab217036607911e4273003cda5c8dfb69528e4a0421ec6006af8ddc6525e56e",
    "se": "c53719b72b40ea997547fad1a001150350337bf69039965c6ff731ff2a17dd83",
}

_CLONE = "git clone https://github.com/OneIG-Bench/OneIG-Benchmark"
_DOWNLOAD = f"put CSD's checkpoint at {CHECKPOINT} of the checkout, as its README says"
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def csd_network(
    *, width: int = 1024, layers: int = 24, heads: int = 16, output: int = 768, size: int = 224
) -> Any:
    """Return an unfilled CSD: ViT with patches of 14 and QuickGELU, two projections.

    Its forward maps (N, 3, size, size) to unit style vectors (N, output).

    Raises:
        PrerequisiteError: open_clip is not installed.
    """
    import torch
    from torch import nn

    from evaluators.models.open_clip_text import require_open_clip

    require_open_clip()
    from open_clip.transformer import QuickGELU, VisionTransformer

    class CSD(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = VisionTransformer(
                image_size=size,
                patch_size=14,
                width=width,
                layers=layers,
                heads=heads,
                mlp_ratio=4.0,
                output_dim=output,
                act_layer=QuickGELU,
            )
            self.backbone.proj = None
            self.last_layer_style = nn.Parameter(torch.zeros(width, output))
            self.last_layer_content = nn.Parameter(torch.zeros(width, output))

        def forward(self, pixels: Any) -> Any:
            return nn.functional.normalize(self.backbone(pixels) @ self.last_layer_style, dim=1)

    return CSD()


def csd_input(picture: np.ndarray, size: int = 224) -> np.ndarray:
    """Return float32 (3, size, size) of a picture (H, W, 3) uint8.

    Bicubic to `size` on the shorter side, then its centre, as torchvision's Resize, CenterCrop
    and ToTensor do with PIL pictures.
    """
    from PIL import Image

    image = Image.fromarray(picture)
    short, long = sorted(image.size)
    other = int(size * long / short)
    new = (size, other) if image.width <= image.height else (other, size)
    image = image.resize(new, Image.Resampling.BICUBIC)
    left, top = (round((side - size) / 2.0) for side in image.size)
    image = image.crop((left, top, left + size, top + size))
    pixels = np.asarray(image, dtype=np.float32) / 255.0
    mean, std = (np.array(values, dtype=np.float32) for values in (_MEAN, _STD))
    scaled: np.ndarray = (pixels - mean) / std
    return scaled.transpose(2, 0, 1)


class OneIGStyle(Backend):
    """Cosines of both encoders to the references of the style that is asked."""

    name: ClassVar[str] = "oneig-csd-se"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "random-weights"
    hub_models: ClassVar[tuple[str, ...]] = (STYLE_ENCODER,)
    references_sha256: ClassVar[Mapping[str, str]] = REFERENCES_SHA256

    def network(self) -> Any:
        """Return the unfilled CSD."""
        return csd_network()

    def _home(self) -> Path:
        return named_folder(VARIABLE, what="OneIG-Benchmark's checkout", fix=_CLONE)

    def identity(self) -> dict[str, Any]:
        """Return name, version, and hashes of both encoders and of the references.

        Raises:
            PrerequisiteError: one is not on this machine.
        """
        folder, home = hub.snapshot(STYLE_ENCODER), self._home()
        return {
            **super().identity(),
            "models": {STYLE_ENCODER: folder.name},
            "weights": hub.content_hash(folder),
            "csd": digest(file_in(home, CHECKPOINT, fix=_DOWNLOAD)),
            "references": dict(self.references_sha256),
        }

    def _references(self) -> dict[str, dict[str, Any]]:
        """Return embeddings (3, d) by encoder and style."""
        found = {}
        for encoder, name in REFERENCES.items():
            path = file_in(self._home(), name, fix=_CLONE)
            if digest(path) != self.references_sha256[encoder]:
                raise ProtocolError(
                    f"{path} has sha256 {digest(path)[:12]}, the references of commit 41b4983 "
                    f"{self.references_sha256[encoder][:12]}: scores to others do not compare"
                )
            found[encoder] = {k: v.float() for k, v in read_tensors(path).items()}
        return found

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"cosines"`: by encoder, one to each reference of the style that is asked.

        Raises:
            PrerequisiteError: an encoder or the references are not on this machine.
            CorruptArtifactError: weights do not fill an encoder.
            ProtocolError: the references are not the published ones.
            UsageError: a style has no reference.
        """
        import torch
        from PIL import Image
        from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

        asked = {prompt_id for prompt_id, styles in queries.items() if styles}
        if not asked:
            return
        references = self._references()
        for style in sorted({style for prompt_id in asked for style in queries[prompt_id]}):
            if style not in references["csd"]:
                hint = did_you_mean(style, references["csd"])
                raise UsageError(f"no reference of the style {style!r}.{hint}")
        device = hub.pick_device(self.device)
        path = file_in(self._home(), CHECKPOINT, fix=_DOWNLOAD)
        with torch.serialization.safe_globals([argparse.Namespace]):
            tensors = read_tensors(path, under="model_state_dict")
        csd = fill(self.network(), tensors, path, device=device)
        size = csd.backbone.image_size[0]
        folder = hub.snapshot(STYLE_ENCODER)
        encoder = hub.load_network(CLIPVisionModelWithProjection, folder, device=device)
        side = encoder.config.image_size
        processor = CLIPImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        )
        for records, pictures in read_batches(images, batch_size, asked):
            inputs = torch.from_numpy(np.stack([csd_input(p, size) for p in pictures]))
            pixels = processor([Image.fromarray(p) for p in pictures], return_tensors="pt")
            with torch.no_grad():
                embeds = encoder(pixel_values=pixels.pixel_values.to(device)).image_embeds
                seen = {
                    "csd": csd(inputs.to(device)).cpu(),
                    "se": torch.nn.functional.normalize(embeds, dim=-1).cpu(),
                }
            for row, record in enumerate(records):
                (style,) = queries[record.prompt_id]
                cosines = {k: (references[k][style] @ v[row]).tolist() for k, v in seen.items()}
                yield prediction(record, cosines=cosines)
