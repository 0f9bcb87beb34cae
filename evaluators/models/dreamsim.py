"""DreamSim's ensemble, OneIG's measure of diversity: DINO, CLIP and OpenCLIP ViT-B/16 with LoRA.

The files are those the published package leaves in its cache folder. Distances are a rule's matter
(`evaluators.oneig.rules.distances`): each picture is embedded once, not once for each pair.
Source: ssundaram21/dreamsim@db4d16c (MIT), release v0.2.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api.errors import CorruptArtifactError, PrerequisiteError
from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from bench.read.text import read_text
from evaluators.models import hub
from evaluators.models.hub import digest
from evaluators.models.images import prediction, read_batches
from evaluators.models.local_folder import file_in, named_folder
from evaluators.models.reward_weights import fill, read_tensors

VARIABLE = "DREAMSIM_HOME"
FILES = {
    "dino": "checkpoints/dino_vitbase16_pretrain.pth",
    "clip": "clip_vitb16_pretrain.pth.tar",
    "open_clip": "open_clip_vitb16_pretrain.pth.tar",
}
ADAPTER = "ensemble_lora"
SIZE = 224
_ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_FIX = "call dreamsim(pretrained=True, cache_dir=FOLDER) of the package dreamsim once"
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_OPENAI = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
NORMALISATION = {"dino": _IMAGENET, "clip": _OPENAI, "open_clip": _OPENAI}


class DreamSim(Backend):
    """The ensemble's embedding (768 + 512 + 512) of each picture, in float32."""

    name: ClassVar[str] = "dreamsim"
    version: ClassVar[int] = 1
    batches_of: ClassVar[str] = "images"
    verified: ClassVar[str] = "random-weights"
    shape: ClassVar[Mapping[str, int]] = {}
    """Sizes of the towers that differ from ViT-B/16's; see `dreamsim_network.Tower`."""

    def files(self) -> dict[str, Path]:
        """Return the weights' files (PrerequisiteError where one is not on this machine)."""
        home = named_folder(VARIABLE, what="DreamSim's weights", fix=_FIX)
        found = {kind: file_in(home, name, fix=_FIX) for kind, name in FILES.items()}
        found["config"] = file_in(home, f"{ADAPTER}/adapter_config.json", fix=_FIX)
        for name in _ADAPTER_FILES:
            if (home / ADAPTER / name).is_file():
                return {**found, "adapter": home / ADAPTER / name}
        raise PrerequisiteError(f"{home / ADAPTER} has no {' or '.join(_ADAPTER_FILES)}", fix=_FIX)

    def identity(self) -> dict[str, Any]:
        """Return name, version and hashes of the files.

        Raises:
            PrerequisiteError: one is not on this machine.
        """
        weights = {kind: digest(path) for kind, path in self.files().items()}
        return {**super().identity(), "weights": weights}

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield array `embedding` of each image; queries are ignored.

        Raises:
            PrerequisiteError: weights are not on this machine.
            CorruptArtifactError: they do not fill the networks.
        """
        import torch

        device = hub.pick_device(self.device)
        towers = self.towers(device)
        size = int(self.shape.get("size", SIZE))
        for records, pictures in read_batches(images, batch_size):
            pixels = np.stack([squashed(picture, size) for picture in pictures])
            parts = []
            for kind, tower in towers.items():
                mean, std = (
                    np.array(values, dtype=np.float32)[:, None, None]
                    for values in NORMALISATION[kind]
                )
                scaled = torch.from_numpy((pixels - mean) / std).to(device)
                with torch.no_grad():
                    parts.append(tower(scaled).cpu().numpy())
            rows = np.concatenate(parts, axis=1)
            for record, row in zip(records, rows, strict=True):
                yield prediction(record, {"embedding": row.astype(np.float32)})

    def towers(self, device: str) -> dict[str, Any]:
        """Return the filled towers in the order of their embeddings."""
        from evaluators.models.dreamsim_network import Tower, merge_adapter

        files = self.files()
        towers = {}
        for kind in FILES:
            tensors = read_tensors(files[kind], under=None if kind == "dino" else "state_dict")
            towers[kind] = fill(Tower(kind, **self.shape), tensors, files[kind], device="cpu")
        try:
            config = json.loads(read_text(files["config"]))
            scale = float(config["lora_alpha"]) / float(config["r"])
        except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise CorruptArtifactError(
                f"{files['config']} states no rank and alpha of LoRA ({error!r}). Fetch it again."
            ) from None
        adapter = read_tensors(files["adapter"])
        merge_adapter(list(towers.values()), adapter, scale=scale, source=files["adapter"])
        return {kind: tower.to(device) for kind, tower in towers.items()}


def squashed(picture: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Return float32 (3, size, size) in 0..1: bicubic to a square, whatever the sides."""
    from PIL import Image

    image = Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC)
    return (np.asarray(image, dtype=np.float32) / np.float32(255.0)).transpose(2, 0, 1)
