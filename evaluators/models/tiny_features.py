"""The tiny world's feature network: one pass gives FID's features and IS's class logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from bench.tiny.assets import path_of, weights_sha256
from evaluators.models.images import prediction, read_batches


class TinyFeatures(Backend):
    """64 features and 25 class logits of the largest thing (`bench.tiny.networks.FeatureNet`)."""

    name: ClassVar[str] = "tiny-features"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "real-weights"

    def identity(self) -> dict[str, Any]:
        """Return name, version and the hash of the weights."""
        return {**super().identity(), "weights": weights_sha256("tiny-features")}

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield arrays `features` (64,) and `logits` (25,) of each image; queries are ignored."""
        import torch

        from bench.tiny.networks import FeatureNet, load_network, to_unit

        net = load_network(FeatureNet(), path_of("tiny-features"))
        for records, pictures in read_batches(images, batch_size, one_size=self.name):
            with torch.no_grad():
                features, logits, _ = net(to_unit(np.stack(pictures)))
            for row, record in enumerate(records):
                yield prediction(
                    record,
                    {
                        "features": features[row].numpy().astype(np.float32),
                        "logits": logits[row].numpy().astype(np.float32),
                    },
                )
