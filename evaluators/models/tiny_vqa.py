"""The tiny world's question answering: "a red circle?" to a probability of yes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from bench.tiny.assets import path_of, weights_sha256
from evaluators.models.images import prediction, read_batches


class TinyVQA(Backend):
    """Soft answers of a trained network (`bench.tiny.networks.PhraseNet`).

    Pictures are looked at once; the phrases of a prompt are then asked of the same places.
    """

    name: ClassVar[str] = "tiny-vqa"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "real-weights"

    def identity(self) -> dict[str, Any]:
        """Return name, version and the hash of the weights."""
        return {**super().identity(), "weights": weights_sha256("tiny-vqa")}

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"yes"`: one probability per phrase of the image's prompt, in query order."""
        import torch

        from bench.tiny.networks import PhraseNet, WordList, load_network, to_unit

        words = WordList()
        net = load_network(PhraseNet(len(words.ids)), path_of("tiny-vqa"))
        assert isinstance(net, PhraseNet)
        asked = {prompt_id for prompt_id, phrases in queries.items() if phrases}
        for records, pictures in read_batches(images, batch_size, asked, one_size=self.name):
            rows = [i for i, r in enumerate(records) for _ in queries[r.prompt_id]]
            phrases = [phrase for r in records for phrase in queries[r.prompt_id]]
            with torch.no_grad():
                places = net.look(to_unit(np.stack(pictures)))[rows]
                answers = net.ask(places, words.encode(phrases)).sigmoid().tolist()
            position = 0
            for record in records:
                count = len(queries[record.prompt_id])
                yield prediction(record, yes=answers[position : position + count])
                position += count
