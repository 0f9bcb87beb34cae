"""OneIG's measure of reasoning, in the environment its models' own code needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from evaluators.isolated.backend import IsolatedBackend
from evaluators.isolated.numbers import numbers
from evaluators.models import hub
from evaluators.models.text_lengths import counts_of
from evaluators.workers.llm2clip.worker import HEAD, LONGEST, TAIL


class LLM2CLIPScorer(IsolatedBackend):
    """Cosines of images and the answers they should show; see `evaluators/workers/llm2clip`.

    The models' Python files are run, in the worker's environment alone; their hash is part of
    the identity.
    """

    name: ClassVar[str] = "llm2clip"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "rules"
    hub_models: ClassVar[tuple[str, ...]] = (
        "microsoft/LLM2CLIP-Openai-L-14-336",
        "microsoft/LLM2CLIP-Llama-3-8B-Instruct-CC-Finetuned",
        "openai/clip-vit-large-patch14-336",
    )
    environment_name: ClassVar[str] = "llm2clip"

    def weights(self) -> Mapping[str, Path]:
        """Return the three folders (PrerequisiteError where one is not in the cache)."""
        model, llm, processor = self.hub_models
        return {
            "model": hub.snapshot(model, needs=(("config.json",),)),
            "llm": hub.snapshot(llm, needs=(("config.json",), *hub.TOKENIZER)),
            "processor": hub.snapshot(processor, needs=hub.IMAGE_PROCESSOR),
        }

    def options(self) -> dict[str, Any]:
        """Return the precision of the official script."""
        return {"dtype": "bfloat16"}

    def token_counts(self, texts: Sequence[str]) -> tuple[int, list[int]]:
        """Return how many tokens of a text are read with what stands around it, and how many each
        has.

        Raises:
            PrerequisiteError: the language model's tokenizer is not in the cache.
        """
        from transformers import PreTrainedTokenizerFast

        file = self.weights()["llm"] / "tokenizer.json"
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file))
        return LONGEST, counts_of(tokenizer, [HEAD + text.rstrip() + TAIL for text in texts])

    def answer(
        self, value: Any, asked: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
        """Return `"cosine"`, one for each text."""
        return {"cosine": numbers(value, len(asked["texts"]), of=self.name)}, {}
