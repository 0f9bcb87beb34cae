"""A transformers causal language model on this machine, answering many questions at once.

Every token is drawn by a number that is a function of (the prompt's seed, the token's place), so
a reply does not depend on the batch it was made in beyond float rounding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
)

from bench.api.errors import CorruptArtifactError, PrerequisiteError, UsageError
from bench.backbones.base import resolve_dtype
from bench.data.perturbation.options import ModelOptions
from bench.generation.checkpoint import pick_device
from bench.generation.weights import content_hash
from bench.read.shards import require_own_files
from bench.store import Store

CONFIG = "config.json"


def model_folder(options: ModelOptions) -> Path:
    """Return the folder of the model, in the Hugging Face cache for a hub id. No network.

    Raises:
        PrerequisiteError: it is not on this machine.
    """
    folder = Path(options.model).expanduser()
    if (folder / CONFIG).is_file():
        return folder
    from huggingface_hub import try_to_load_from_cache

    at = f" --revision {options.revision}" if options.revision else ""
    fix = f"python -m bench assets fetch {options.model}{at}  (with the network on)"
    if options.model.count("/") != 1 or options.model.startswith((".", "/", "~")):
        raise PrerequisiteError(
            f"{options.model} holds no {CONFIG}",
            fix="name the folder of a transformers model, or a hub id owner/name",
        )
    found = try_to_load_from_cache(options.model, CONFIG, revision=options.revision)
    if not isinstance(found, str):
        raise PrerequisiteError(f"{options.model} is not in the Hugging Face cache", fix=fix)
    return Path(found).parent


def model_sha256(options: ModelOptions, store: Store | None = None) -> str:
    """Return the sha256 over the files the model is loaded from.

    Raises:
        PrerequisiteError: it is not on this machine, or loaded from elsewhere.
    """
    folder = model_folder(options)
    require_own_files(folder)
    return content_hash(folder, store)


class LocalChat:
    """A model that is loaded once and asked in batches.

    Args:
        options: which model.
        device: see `bench.generation.checkpoint.pick_device`.

    Raises:
        PrerequisiteError: the model is not on this machine.
        CorruptArtifactError: its weights do not fill it.
        UsageError: it has no chat template.
    """

    def __init__(self, options: ModelOptions, device: str | None = None) -> None:
        folder = model_folder(options)
        self._options = options
        self._device = pick_device(device)
        self._tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, padding_side="left"
        )
        if not self._tokenizer.chat_template:
            raise UsageError(
                f"{options.model} has no chat template: it is no model that answers questions. "
                "Name an instruction-tuned one, e.g. meta-llama/Meta-Llama-3-8B-Instruct."
            )
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        try:
            model, info = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=resolve_dtype(options.dtype),
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        except (OSError, ValueError) as error:
            raise PrerequisiteError(
                f"{options.model} has no usable weights ({str(error).splitlines()[0]})",
                fix=f"python -m bench assets fetch {options.model}",
            ) from error
        lacking = [*info["missing_keys"], *(str(key) for key in info["mismatched_keys"])]
        if lacking:
            raise CorruptArtifactError(
                f"{folder}: {len(lacking)} weights are missing or of another shape, e.g. "
                f"{lacking[0]}. Remove the folder and fetch the model again."
            )
        self._model: Any = model.to(self._device).eval().requires_grad_(False)

    def answer(self, questions: Sequence[str], seeds: Sequence[int]) -> list[str]:
        """Return a reply to each question.

        Raises:
            UsageError: a question and its reply are longer than the model can read.
        """
        size = self._options.batch
        return [
            reply
            for start in range(0, len(questions), size)
            for reply in self._batch(questions[start : start + size], seeds[start : start + size])
        ]

    @torch.no_grad()
    def _batch(self, questions: Sequence[str], seeds: Sequence[int]) -> list[str]:
        texts = [
            self._tokenizer.apply_chat_template(
                [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
            )
            for question in questions
        ]
        # the chat template has put the special tokens in
        inputs = self._tokenizer(
            texts, return_tensors="pt", padding=True, add_special_tokens=False
        ).to(self._device)
        length = inputs["input_ids"].shape[1]
        most = getattr(self._model.config, "max_position_embeddings", None)
        if most is not None and length + self._options.max_new_tokens > most:
            raise UsageError(
                f"{self._options.model} reads {most} tokens; the longest question has {length} and "
                f"the reply may have {self._options.max_new_tokens}. Leave out the longest prompts "
                "or lower max_new_tokens."
            )
        own = self._model.generation_config
        output = self._model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            # greedy over what the processor leaves, which is the drawn token alone
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=self._options.max_new_tokens,
                eos_token_id=own.eos_token_id or self._tokenizer.eos_token_id,
                bos_token_id=own.bos_token_id,
                pad_token_id=self._tokenizer.pad_token_id,
            ),
            logits_processor=LogitsProcessorList(
                [
                    DrawnToken(
                        seeds, length, temperature=self._options.temperature,
                        top_p=self._options.top_p,
                    )
                ]
            ),
        )  # fmt: skip
        replies: list[str] = self._tokenizer.batch_decode(
            output[:, length:], skip_special_tokens=True
        )
        return replies


class DrawnToken(LogitsProcessor):  # type: ignore[misc]
    """Leaves one token per row: the one drawn by that row's own number at this place.

    Args:
        seeds: one per row.
        start: length of the question, in tokens.
        temperature: see `ModelOptions`.
        top_p: see `ModelOptions`.
    """

    def __init__(
        self, seeds: Sequence[int], start: int, *, temperature: float, top_p: float
    ) -> None:
        self._seeds = seeds
        self._start = start
        self._temperature = temperature
        self._top_p = top_p

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return (B, vocabulary) scores, -inf but for the drawn token of each row."""
        place = input_ids.shape[1] - self._start
        if self._temperature == 0:
            token = scores.argmax(dim=1, keepdim=True)
        else:
            numbers = [uniform(seed, place) for seed in self._seeds]
            token = draw(scores / self._temperature, numbers, self._top_p)
        return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)


def uniform(seed: int, place: int) -> float:
    """Return a number uniform in [0, 1), a function of the arguments alone."""
    digest = hashlib.sha256(json.dumps([seed, place]).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) * 2.0**-53


def draw(scores: Tensor, numbers: Sequence[float], top_p: float = 1.0) -> Tensor:
    """Return (B, 1) tokens drawn from softmax(scores) cut to its likeliest `top_p`.

    Args:
        scores: (B, vocabulary) logits.
        numbers: B numbers in [0, 1).
        top_p: the likeliest tokens are kept until they have this probability together.
    """
    chances, order = scores.double().softmax(dim=1).sort(dim=1, descending=True, stable=True)
    upto = chances.cumsum(dim=1)
    kept = upto - chances < top_p  # the likeliest always
    upto = torch.where(kept, upto, upto.new_tensor(0.0)).cummax(dim=1).values
    wanted = scores.new_tensor(numbers, dtype=torch.float64).unsqueeze(1) * upto[:, -1:]
    place = torch.searchsorted(upto, wanted, right=True)
    return order.gather(1, place.clamp_(max=scores.shape[1] - 1))
