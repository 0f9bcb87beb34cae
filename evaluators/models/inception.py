"""FID's own Inception-v3 as back-ends, one for each protocol: features and class scores.

Pool features come with every format of the weights; class scores only where the file has the
classifier. Where FID and inception score read pictures through unlike resizes, as in the
published protocols, these are two passes over the same decoded pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bench.api.errors import PrerequisiteError
from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from bench.read.pictures import picture_format
from evaluators.fid import protocols
from evaluators.models import inception_weights as weights
from evaluators.models.hub import pick_device
from evaluators.models.images import prediction, read_batches
from evaluators.models.inception_input import network_input, prepare


class InceptionFeatures(Backend):
    """Features (2048,) and, with a classifier, logits (1008,) under `protocol`.

    Attributes:
        protocol: preparation and resize of the pictures, and the files it takes.
        photographs: whether the pictures are a reference set, whose files may be of any format.
    """

    version: ClassVar[int] = 1
    batches_of: ClassVar[str] = "images"
    verified: ClassVar[str] = "real-weights"
    # the network that is on the package index has no classifier
    verified_for: ClassVar[Mapping[str, str]] = {"inception-score": "random-weights"}
    other_weights: ClassVar[tuple[str, ...]] = ("fid-inception",)
    protocol: ClassVar[protocols.FidProtocol]
    photographs: bool = False

    def identity(self) -> dict[str, Any]:
        """Return name, version, hash of the weights, and the protocol.

        Raises:
            PrerequisiteError: the weights are not on this machine.
            CorruptArtifactError: they cannot be read.
        """
        return {
            **super().identity(),
            "weights": weights.weights_sha256(weights.weights_path()),
            "protocol": self.protocol.identity(),
        }

    def unfit_for(self, evaluator: str) -> str:
        """Return why there is no inception score where the weights have no classifier."""
        if evaluator != "inception-score":
            return ""
        try:
            scores = weights.has_classifier(weights.weights_path())
        except PrerequisiteError:
            return ""  # the identity says so
        if scores:
            return ""
        return (
            "the weights of FID's Inception-v3 on this machine have no classifier, and without "
            f"class scores there is no inception score; get them with {weights.WITH_SCORES}"
        )

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `features` and, with a classifier, `logits` of each image; queries are ignored.

        Raises:
            ProtocolError: a file is of another format than the protocol's.
            PrerequisiteError: the weights are not on this machine.
        """
        import torch

        if self.protocol.formats and not self.photographs:
            self.protocol.require_files({r.path: _format(images, r.path) for r in images.records})
        device = pick_device(self.device)
        network = weights.load(weights.weights_path()).to(device)
        rule, other = self.protocol.resize, self.protocol.logits_resize

        def seen(pictures: Sequence[np.ndarray], how: str) -> tuple[np.ndarray, np.ndarray | None]:
            inputs = torch.from_numpy(np.stack([network_input(p, how) for p in pictures]))
            with torch.inference_mode():
                features, logits = network(inputs.to(device))
            return features.cpu().numpy(), None if logits is None else logits.cpu().numpy()

        for records, raw in read_batches(images, batch_size):
            pictures = [prepare(picture, self.protocol.preparation) for picture in raw]
            features, logits = seen(pictures, rule)
            if logits is not None and other != rule:
                logits = seen(pictures, other)[1]
            for row, record in enumerate(records):
                arrays = {"features": features[row]}
                if logits is not None:
                    arrays["logits"] = logits[row]
                yield prediction(record, arrays)


def _format(images: ImageSet, path: str) -> str:
    return picture_format(images.root / path)


class Bksdm30K(InceptionFeatures):
    """BK-SDM's protocol, of which DDSPO quotes its base row."""

    name: ClassVar[str] = "fid-bksdm-30k"
    protocol = protocols.BKSDM_30K


class Ddspo30K(InceptionFeatures):
    """DDSPO's: BK-SDM's on images that were stored as JPEG."""

    name: ClassVar[str] = "fid-ddspo-30k"
    protocol = protocols.DDSPO_30K


class Gigagan30K(InceptionFeatures):
    """GigaGAN's protocol."""

    name: ClassVar[str] = "fid-gigagan-30k"
    protocol = protocols.GIGAGAN_30K


class CleanFid(InceptionFeatures):
    """Any images, clean-fid's resize."""

    name: ClassVar[str] = "fid-clean"
    protocol = protocols.CUSTOM_CLEAN


class PytorchFid(InceptionFeatures):
    """Any images, pytorch-fid's resize."""

    name: ClassVar[str] = "fid-pytorch-fid"
    protocol = protocols.CUSTOM_PYTORCH


class TensorflowFid(InceptionFeatures):
    """Any images, TensorFlow 1's resize (torch-fidelity, the original FID)."""

    name: ClassVar[str] = "fid-tensorflow"
    protocol = protocols.CUSTOM_TENSORFLOW
