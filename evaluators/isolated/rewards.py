"""Scorers of images for a prompt, each in the environment its authors' code needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api.prompts import Prompt
from evaluators.isolated.backend import IsolatedBackend
from evaluators.isolated.numbers import numbers
from evaluators.isolated.process import WorkerError
from evaluators.models import hub
from evaluators.models.hpsv2 import ARCHITECTURE
from evaluators.models.open_clip_text import byte_pair_counts, named_config
from evaluators.rewards.unifiedreward_rules import QUESTION

Answer = tuple[dict[str, Any], Mapping[str, np.ndarray]]


class HPSv2Package(IsolatedBackend):
    """HPS v2 by the authors' `hpsv2` package; see `evaluators/workers/hpsv2_package`.

    Its resize is what the torchvision of its environment does by default: antialiased since 0.17.
    """

    version: ClassVar[int] = 1
    verified: ClassVar[str] = "random-weights"
    hub_models: ClassVar[tuple[str, ...]] = ("xswu/HPSv2",)
    environment_name: ClassVar[str] = "hpsv2-package"
    hps_version: ClassVar[str]
    file: ClassVar[str]

    def weights(self) -> Mapping[str, Path]:
        """Return the checkpoint (PrerequisiteError where it is not in the cache)."""
        folder = hub.snapshot(self.hub_models[0], needs=((self.file,),))
        return {"checkpoint": folder / self.file}

    def options(self) -> dict[str, Any]:
        """Return the network's name, and a file with its configuration where it is another."""
        return {"model": "ViT-H-14", "config": None}

    def token_counts(self, texts: Sequence[str]) -> tuple[int, list[int]]:
        """Return how many tokens its tokenizer, open_clip's, keeps of a text, and how many each
        has.
        """
        length = int(named_config(ARCHITECTURE)["text_cfg"]["context_length"])
        return length, byte_pair_counts(texts)

    def identity(self) -> dict[str, Any]:
        """Return the identity with the version of the score (errors as `IsolatedBackend`)."""
        return {**super().identity(), "hps_version": self.hps_version}

    def answer(self, value: Any, asked: Mapping[str, Any]) -> Answer:
        """Return `"score"`, 100 x cosine by text, and `"hps_version"`."""
        scores = numbers(value, len(asked["texts"]), of=self.name)
        return {"score": scores, "hps_version": self.hps_version}, {}


class HPSv20Package(HPSv2Package):
    """HPS v2.0 by the package."""

    name: ClassVar[str] = "hpsv2-package-v2.0"
    hps_version: ClassVar[str] = "v2.0"
    file: ClassVar[str] = "HPS_v2_compressed.pt"


class HPSv21Package(HPSv2Package):
    """HPS v2.1 by the package."""

    name: ClassVar[str] = "hpsv2-package-v2.1"
    hps_version: ClassVar[str] = "v2.1"
    file: ClassVar[str] = "HPS_v2.1_compressed.pt"


class HPSv3Package(IsolatedBackend):
    """HPS v3 by the authors' `hpsv3` package; see `evaluators/workers/hpsv3`."""

    name: ClassVar[str] = "hpsv3-package"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "random-weights"
    hub_models: ClassVar[tuple[str, ...]] = ("MizzenAI/HPSv3", "Qwen/Qwen2-VL-7B-Instruct")
    environment_name: ClassVar[str] = "hpsv3"

    def weights(self) -> Mapping[str, Path]:
        """Return the checkpoint, and the base's tokenizer and image settings (not its weights).

        Raises:
            PrerequisiteError: one of the two is not in the cache.
        """
        checkpoint, base = self.hub_models
        folder = hub.snapshot(base, needs=(*hub.NETWORK, *hub.TOKENIZER, *hub.IMAGE_PROCESSOR))
        settings = {f"base/{file.name}": file for file in sorted(folder.glob("*.json"))}
        name = "HPSv3.safetensors"
        return {"checkpoint": hub.snapshot(checkpoint, needs=((name,),)) / name, **settings}

    def options(self) -> dict[str, Any]:
        """Return that the package's own configuration is meant."""
        return {"config": None}

    def answer(self, value: Any, asked: Mapping[str, Any]) -> Answer:
        """Return `"score"`, the predicted mean, and `"uncertainty"` on the package's own scale."""
        mean, uncertainty = numbers(value, 2, of=self.name)
        return {"score": [mean], "uncertainty": uncertainty}, {}


class DeQAScorer(IsolatedBackend):
    """DeQA-Score by its checkpoint's own code; see `evaluators/workers/deqa`.

    That code is run, in the worker's environment alone: it belongs to the pinned revision, and
    its hash to the identity.
    """

    name: ClassVar[str] = "deqa-mix3"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "rules"
    hub_models: ClassVar[tuple[str, ...]] = ("zhiyuanyou/DeQA-Score-Mix3",)
    environment_name: ClassVar[str] = "deqa"
    revision: ClassVar[str] = "f37ba4273ad8d7548e21ac2fa58353c517e4df49"

    def weights(self) -> Mapping[str, Path]:
        """Return the checkpoint's folder (PrerequisiteError where it is not in the cache)."""
        needs = (("config.json",),)
        return {"model": hub.snapshot(self.hub_models[0], revision=self.revision, needs=needs)}

    def options(self) -> dict[str, Any]:
        """Return the precision RealAlign's evaluation used."""
        return {"dtype": "float16"}

    def asks(self, prompt: Prompt, texts: Sequence[str]) -> Mapping[str, Any]:
        """Return nothing: it judges the image alone."""
        return {}

    def answer(self, value: Any, asked: Mapping[str, Any]) -> Answer:
        """Return `"score"`, the quality."""
        return {"score": numbers([value], 1, of=self.name)}, {}


class UnifiedRewardJudge(IsolatedBackend):
    """UnifiedReward's pointwise answers; see `evaluators/workers/unifiedreward`."""

    name: ClassVar[str] = "unifiedreward-qwen-7b"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "random-weights"
    hub_models: ClassVar[tuple[str, ...]] = ("CodeGoat24/UnifiedReward-qwen-7b",)
    environment_name: ClassVar[str] = "unifiedreward"

    def weights(self) -> Mapping[str, Path]:
        """Return the model's folder (PrerequisiteError where it is not in the cache)."""
        needs = (*hub.NETWORK, *hub.TOKENIZER, *hub.IMAGE_PROCESSOR)
        return {"model": hub.snapshot(self.hub_models[0], needs=needs)}

    def options(self) -> dict[str, Any]:
        """Return precision, length and question of RealAlign's evaluation."""
        return {"dtype": "float16", "max_new_tokens": 512, "prompt": QUESTION}

    def answer(self, value: Any, asked: Mapping[str, Any]) -> Answer:
        """Return `"answer"`, the model's text; the score in it is read by the rules."""
        if not isinstance(value, str):
            raise WorkerError(f"the worker of {self.name} answered {value!r}, expected a text")
        return {"answer": value}, {}
