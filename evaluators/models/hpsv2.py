"""HPS v2.0 and v2.1 through open_clip, from the authors' checkpoints.

Score: 100 x cosine, in float32 (upstream: half precision under autocast). Source:
tgxs002/HPSv2@866735e: hpsv2/src/open_clip/transform.py for the pixels, hpsv2/evaluation.py for the
score. Two things are explicit here that upstream leaves open:

- the version, 2.0 or 2.1: upstream's default differs between its functions;
- antialiasing of the bicubic resize of a float tensor: torchvision's default was off before 0.17
  and is on since, which moves scores. `hpsv2-v2.1` resizes as today's torchvision does,
  `hpsv2-v2.1-2023` as that of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from evaluators.models import hub
from evaluators.models.hub import digest
from evaluators.models.images import prediction, read_batches
from evaluators.models.open_clip_text import (
    Tokenise,
    byte_pair_counts,
    byte_pair_tokenizer,
    named_config,
    new_network,
)
from evaluators.models.reward_weights import fill, read_tensors

REPOSITORY = "xswu/HPSv2"
ARCHITECTURE = "ViT-H-14"
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def network_input(picture: np.ndarray, size: int, *, antialias: bool) -> Any:
    """Return (3, size, size) float32: longest side to `size`, padded with black, normalised.

    A picture whose longest side is `size` already is padded too; upstream leaves it as it is, and
    fails on it unless it is square.

    Args:
        picture: (H, W, 3) uint8.
        size: of the network.
        antialias: of the resize.
    """
    import torch
    from torch.nn import functional

    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div(255.0)
    height, width = pixels.shape[1:]
    scale = size / max(height, width)
    if scale != 1.0:
        wanted = [round(height * scale), round(width * scale)]
        pixels = functional.interpolate(
            pixels[None], size=wanted, mode="bicubic", align_corners=False, antialias=antialias
        )[0]
    down, across = size - pixels.shape[1], size - pixels.shape[2]
    pixels = functional.pad(
        pixels, [across // 2, across - across // 2, down // 2, down - down // 2]
    )
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


class HPSv2Scorer(Backend):
    """See the module's docstring.

    Attributes:
        hps_version: `"v2.0"`, `"v2.1"` or `"tiny"`; stands in every record and metric name.
        file: the checkpoint in the repository.
        antialias: of the resize.
    """

    version: ClassVar[int] = 1
    verified: ClassVar[str] = "random-weights"
    hub_models: ClassVar[tuple[str, ...]] = (REPOSITORY,)
    hps_version: ClassVar[str]
    file: ClassVar[str]
    antialias: ClassVar[bool] = True

    def checkpoint(self) -> Path:
        """Return the checkpoint's file (PrerequisiteError where it is not on this machine)."""
        return hub.snapshot(REPOSITORY, needs=((self.file,),)) / self.file

    def config(self) -> Mapping[str, Any]:
        """Return open_clip's configuration of the network."""
        return named_config(ARCHITECTURE)

    def tokenizer(self) -> Tokenise:
        """Return what makes token ids of texts."""
        return byte_pair_tokenizer(self.config()["text_cfg"]["context_length"])

    def token_counts(self, texts: Sequence[str]) -> tuple[int, list[int]]:
        """Return how many tokens are read of a text, and how many each has."""
        return int(self.config()["text_cfg"]["context_length"]), byte_pair_counts(texts)

    def identity(self) -> dict[str, Any]:
        """Return name, both versions, the resize and a hash of the weights.

        Raises:
            PrerequisiteError: the checkpoint is not on this machine.
        """
        return {
            **super().identity(),
            "hps_version": self.hps_version,
            "antialias": self.antialias,
            "weights": digest(self.checkpoint()),
        }

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"score"`, one value per text of the image's prompt, and `"hps_version"`.

        Raises:
            PrerequisiteError: open_clip or the checkpoint is not on this machine.
            CorruptArtifactError: the weights do not fill the network.
        """
        import torch

        file, device = self.checkpoint(), hub.pick_device(self.device)
        config = self.config()
        size = int(config["vision_cfg"]["image_size"])
        model = fill(
            new_network(config), read_tensors(file, under="state_dict"), file, device=device
        )
        tokenise = self.tokenizer()
        asked = {prompt_id for prompt_id, texts in queries.items() if texts}
        texts = sorted({text for prompt_id in asked for text in queries[prompt_id]})
        index = {text: row for row, text in enumerate(texts)}
        with torch.no_grad():
            table = [
                model.encode_text(tokenise(texts[i : i + batch_size]).to(device), normalize=True)
                for i in range(0, len(texts), batch_size)
            ]
            known = torch.cat(table) if table else None
            for records, pictures in read_batches(images, batch_size, asked):
                pixels = torch.stack(
                    [network_input(p, size, antialias=self.antialias) for p in pictures]
                )
                seen = model.encode_image(pixels.to(device), normalize=True)
                assert known is not None
                for row, record in enumerate(records):
                    wanted = [index[text] for text in queries[record.prompt_id]]
                    yield prediction(
                        record,
                        score=(100.0 * (known[wanted] @ seen[row])).tolist(),
                        hps_version=self.hps_version,
                    )


class HPSv20(HPSv2Scorer):
    """HPS v2.0."""

    name: ClassVar[str] = "hpsv2-v2.0"
    hps_version: ClassVar[str] = "v2.0"
    file: ClassVar[str] = "HPS_v2_compressed.pt"


class HPSv21(HPSv2Scorer):
    """HPS v2.1."""

    name: ClassVar[str] = "hpsv2-v2.1"
    hps_version: ClassVar[str] = "v2.1"
    file: ClassVar[str] = "HPS_v2.1_compressed.pt"


class HPSv20Of2023(HPSv20):
    """HPS v2.0, resized without antialiasing."""

    name: ClassVar[str] = "hpsv2-v2.0-2023"
    antialias: ClassVar[bool] = False


class HPSv21Of2023(HPSv21):
    """HPS v2.1, resized without antialiasing."""

    name: ClassVar[str] = "hpsv2-v2.1-2023"
    antialias: ClassVar[bool] = False
