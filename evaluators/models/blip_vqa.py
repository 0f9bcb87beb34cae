"""BLIP's answer to "CHUNK?" as T2I-CompBench reads it: the share of "yes" between "yes" and "no".

Picture squashed to 480 x 480, question with [ENC] in first place, one step of the decoder from
[DEC], which attends to the words of the question alone. Source: Karine-Huang/T2I-CompBench@1b70949:
BLIPvqa_eval/models/blip_vqa.py (`forward`, `vqa_prob`), data/__init__.py, models/blip.py. The
original computes in float32, and so do we.

A picture is looked at once for all its questions; upstream looks anew for each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api.errors import PrerequisiteError, ProtocolError
from bench.api.evaluator import Backend, Record
from bench.api.files import file_hash
from bench.api.generation import ImageSet
from bench.assets.places import cache_root
from evaluators.models import hub
from evaluators.models.images import prediction, read_batches
from evaluators.models.text_lengths import counts_of

IMAGE_SIZE = 480
LONGEST_QUESTION = 35
"""Tokens, [ENC] and [SEP] included."""
DEC, ENC = 30522, 30523
"""Tokens BLIP adds behind the 30522 of bert-base-uncased."""
YES, NO = 2748, 2053
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

WEIGHTS_VARIABLE = "BENCH_BLIP_VQA_WEIGHTS"
WEIGHTS_FILE = "model_base_vqa_capfilt_large.pth"
WEIGHTS_ENTRY = "blip-vqa-original"
"""In the registry of weights."""
TOKENIZER = "google-bert/bert-base-uncased"
_TOKENIZER_FILES: tuple[hub.Alternatives, ...] = (("vocab.txt", "tokenizer.json"),)


class BlipVqa(Backend):
    """BLIP-VQA (ViT-B/16, CapFilt-L) with the original weights."""

    name: ClassVar[str] = "blip-vqa"
    version: ClassVar[int] = 1
    batches_of: ClassVar[str] = "asked"
    verified: ClassVar[str] = "random-weights"
    hub_models: ClassVar[tuple[str, ...]] = (TOKENIZER,)
    other_weights: ClassVar[tuple[str, ...]] = (WEIGHTS_ENTRY,)

    def identity(self) -> dict[str, Any]:
        """Return name, version, a hash of the weights and one of the tokenizer.

        Raises:
            PrerequisiteError: either is not on this machine.
        """
        return {
            **super().identity(),
            "weights": file_hash(weights_path()),
            "tokenizer": hub.content_hash(hub.snapshot(TOKENIZER, needs=_TOKENIZER_FILES)),
            "image_size": IMAGE_SIZE,
        }

    def network(self, device: str) -> Any:
        """Return the network, in float32 on `device`, and make sure its weights fill it.

        Raises:
            PrerequisiteError: the weights are not on this machine.
            CorruptArtifactError: they are not those of a BLIP-VQA.
        """
        from evaluators.models.blip_weights import load_original

        return load_original(weights_path(), device=device)

    def tokenizer_folder(self) -> Path:
        """Return the folder of the word pieces (PrerequisiteError where it is not there)."""
        return hub.snapshot(TOKENIZER, needs=_TOKENIZER_FILES)

    def token_counts(self, texts: Sequence[str]) -> tuple[int, list[int]]:
        """Return how many tokens are read of a question, and how many each has."""
        return LONGEST_QUESTION, counts_of(load_tokenizer(self.tokenizer_folder()), texts)

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"yes"`: one probability per question of the image's prompt, in query order.

        Raises:
            PrerequisiteError: weights or tokenizer are not on this machine.
            CorruptArtifactError: the weights do not fill the network.
            ProtocolError: the tokenizer is not bert-base-uncased's.
        """
        device = hub.pick_device(self.device)
        reader = Questioner(self.network(device), load_tokenizer(self.tokenizer_folder()))
        asked = {prompt_id for prompt_id, questions in queries.items() if questions}
        for records, pictures in read_batches(images, batch_size, asked):
            seen = reader.look(pictures)
            rows = [i for i, r in enumerate(records) for _ in queries[r.prompt_id]]
            texts = [text for r in records for text in queries[r.prompt_id]]
            answers = reader.ask(seen, rows, texts, batch_size=batch_size)
            position = 0
            for record in records:
                count = len(queries[record.prompt_id])
                yield prediction(record, yes=answers[position : position + count])
                position += count


class BlipVqaHub(BlipVqa):
    """The same over the hub's conversion of the weights, which is not the original.

    Its position table was resized from 480 to 384 pixels when it was converted, and is resized
    back here: how far that moves a score is not known.
    """

    name: ClassVar[str] = "blip-vqa-hf"
    REPOSITORY: ClassVar[str] = "Salesforce/blip-vqa-capfilt-large"
    hub_models: ClassVar[tuple[str, ...]] = (REPOSITORY,)
    other_weights: ClassVar[tuple[str, ...]] = ()
    variant: ClassVar[str] = (
        f"blip-vqa-hf, not the original weights: {REPOSITORY} was converted at 384 pixels; "
        "compare only with numbers of blip-vqa-hf"
    )

    def identity(self) -> dict[str, Any]:
        """Return name, version, the model's commit and a hash over its files.

        Raises:
            PrerequisiteError: the model is not in the cache.
        """
        folder = self.tokenizer_folder()
        return {
            "backend": self.name,
            "version": self.version,
            "variant": self.variant,
            "models": {self.REPOSITORY: folder.name},
            "weights": hub.content_hash(folder),
            "image_size": IMAGE_SIZE,
        }

    def network(self, device: str) -> Any:
        """Return the network, its normalisation's epsilon set back to the original's."""
        from transformers import BlipForQuestionAnswering

        from evaluators.models.blip_weights import set_vision_epsilon

        network = hub.load_network(BlipForQuestionAnswering, self.tokenizer_folder(), device=device)
        return set_vision_epsilon(network)

    def tokenizer_folder(self) -> Path:
        """Return the folder of the repository (PrerequisiteError where it is not there)."""
        return hub.snapshot(self.REPOSITORY, needs=(*hub.NETWORK, *_TOKENIZER_FILES))


def weights_path() -> Path:
    """Return the file of the original weights, `$BENCH_BLIP_VQA_WEIGHTS` or the fetched one.

    Raises:
        PrerequisiteError: it is not there.
    """
    given = os.environ.get(WEIGHTS_VARIABLE)
    path = Path(given).expanduser() if given else cache_root() / "weights" / WEIGHTS_FILE
    if not path.is_file():
        raise PrerequisiteError(
            f"BLIP-VQA's original weights are not at {path}",
            fix=f"python -m bench assets fetch {WEIGHTS_ENTRY}, or set {WEIGHTS_VARIABLE} to the "
            f"file {WEIGHTS_FILE}",
        )
    return path


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of bert-base-uncased (ProtocolError for one of other numbers)."""
    from transformers import BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
    found = tuple(tokenizer.convert_tokens_to_ids(["yes", "no"]))
    if found != (YES, NO):
        raise ProtocolError(
            f'{folder} has "yes" and "no" as tokens {found}; BLIP-VQA was trained with those of '
            f"bert-base-uncased, {(YES, NO)}"
        )
    return tokenizer


def prepare(picture: np.ndarray, size: int = IMAGE_SIZE) -> Any:
    """Return (3, size, size) float32 of a (H, W, 3) uint8 RGB picture.

    Squashed whatever its shape, with Pillow's bicubic; normalised as CLIP.
    """
    import torch
    from PIL import Image

    image = Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255.0
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std


class Questioner:
    """A BlipForQuestionAnswering asked through its parts."""

    def __init__(self, network: Any, tokenizer: Any) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._device = next(network.parameters()).device

    def look(self, pictures: Sequence[np.ndarray], *, size: int = IMAGE_SIZE) -> Any:
        """Return (B, places, width): what the vision model makes of the pictures."""
        import torch

        pixels = torch.stack([prepare(picture, size) for picture in pictures]).to(self._device)
        own_size = self._network.config.vision_config.image_size
        with torch.no_grad():
            return self._network.vision_model(
                pixel_values=pixels, interpolate_pos_encoding=own_size != size
            ).last_hidden_state

    def ask(
        self, seen: Any, rows: Sequence[int], questions: Sequence[str], *, batch_size: int = 64
    ) -> list[float]:
        """Return P("yes") / (P("yes") + P("no")) of each question.

        Questions of one length make a batch, so that nothing is padded: the original masks what
        pads the others, and transformers 5 forgets that mask in the cross-attention.

        Args:
            seen: what `look` returned.
            rows: which of the pictures each question is about.
            questions: cleaned, ending in "?".
            batch_size: questions at once.
        """
        import torch

        tokens = self._tokenizer(
            list(questions), truncation=True, max_length=LONGEST_QUESTION
        ).input_ids
        of_length: dict[int, list[int]] = {}
        for index, ids in enumerate(tokens):
            of_length.setdefault(len(ids), []).append(index)
        answers = [0.0] * len(tokens)
        for places in of_length.values():
            for start in range(0, len(places), batch_size):
                part = places[start : start + batch_size]
                ids = torch.tensor([[ENC, *tokens[i][1:]] for i in part], device=self._device)
                found = self.answer(seen[[rows[i] for i in part]], ids)
                for index, answer in zip(part, found, strict=True):
                    answers[index] = answer
        return answers

    def answer(self, seen: Any, tokens: Any) -> list[float]:
        """Return the answers to tokens (Q, L), none padded, over `seen` (Q, places, width)."""
        import torch

        with torch.no_grad():
            states = self._network.text_encoder(
                input_ids=tokens, encoder_hidden_states=seen
            ).last_hidden_state
            logits = self._network.text_decoder(
                input_ids=torch.full((len(tokens), 1), DEC, device=seen.device),
                encoder_hidden_states=states,
            ).logits[:, 0, :]
            both = logits[:, [YES, NO]].double().softmax(dim=1)
        return [float(p) for p in both[:, 0].float().cpu()]
