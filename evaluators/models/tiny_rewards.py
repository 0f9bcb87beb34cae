"""The tiny world's own scorers, loaded by the same paths as the published ones.

They play the roles of HPS v2 and of PickScore and learnt nothing from either; their cards say what
they were trained on and how far the two agree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.read.text import read_text
from bench.tiny.assets import path_of, weights_sha256
from evaluators.models.aesthetic import AestheticScorer
from evaluators.models.hpsv2 import HPSv2Scorer
from evaluators.models.open_clip_text import Tokenise
from evaluators.models.pickscore import PickScorer
from evaluators.models.text_lengths import counts

_PREFIXES = {"Realistic photo ": "a clean picture of ", "CG Render ": "a noisy picture of "}
_HEADS = ("a picture of ",)


class TinyHPSv2(HPSv2Scorer):
    """100 x cosine under `tiny-hpsv2`, a CLIP in open_clip's format."""

    name: ClassVar[str] = "tiny-hpsv2"
    verified: ClassVar[str] = "real-weights"
    hub_models: ClassVar[tuple[str, ...]] = ()
    hps_version: ClassVar[str] = "tiny"
    file: ClassVar[str] = "open_clip_model.safetensors"

    def checkpoint(self) -> Path:
        """Return the file of the shipped weights."""
        return path_of(self.name) / self.file

    def config(self) -> Mapping[str, Any]:
        """Return open_clip's configuration of the network."""
        data = json.loads(read_text(path_of(self.name) / "open_clip_config.json"))
        config: dict[str, Any] = data["model_cfg"]
        return config

    def tokenizer(self) -> Tokenise:
        """Return the world's tokenizer."""
        from transformers import CLIPTokenizer

        tokenizer = CLIPTokenizer.from_pretrained(path_of(self.name), local_files_only=True)
        context = int(self.config()["text_cfg"]["context_length"])

        def tokenise(texts: Sequence[str]) -> Any:
            return tokenizer(
                list(texts),
                padding="max_length",
                truncation=True,
                max_length=context,
                return_tensors="pt",
            ).input_ids

        return tokenise

    def token_counts(self, texts: Sequence[str]) -> tuple[int, list[int]]:
        """Return how many tokens are read of a text, and how many each has."""
        longest = int(self.config()["text_cfg"]["context_length"])
        return longest, counts(path_of(self.name), texts)

    def identity(self) -> dict[str, Any]:
        """Return name, versions, the resize and the hash of the weights."""
        return {
            "backend": self.name,
            "version": self.version,
            "hps_version": self.hps_version,
            "antialias": self.antialias,
            "weights": weights_sha256(self.name),
        }


class TinyPickScore(PickScorer):
    """exp(logit_scale) x cosine under `tiny-pickscore`, a CLIPModel of transformers."""

    name: ClassVar[str] = "tiny-pickscore"
    verified: ClassVar[str] = "real-weights"
    hub_models: ClassVar[tuple[str, ...]] = ()

    def folders(self) -> tuple[Path, Path]:
        """Return the folder of the shipped weights, twice."""
        folder = path_of("tiny-pickscore")
        return folder, folder

    def identity(self) -> dict[str, Any]:
        """Return name, version and the hash of the weights."""
        return {
            "backend": self.name,
            "version": self.version,
            "weights": weights_sha256("tiny-pickscore"),
        }


class TinyRealism(TinyPickScore):
    """The same, where the world's words for quality stand for the two prefixes of realism."""

    name: ClassVar[str] = "tiny-realism"

    def said(self, text: str) -> str:
        """Return "Realistic photo X" as "a clean picture of X", "CG Render X" as a noisy one."""
        for prefix, head in _PREFIXES.items():
            if text.startswith(prefix):
                rest = text.removeprefix(prefix)
                for known in _HEADS:
                    rest = rest.removeprefix(known)
                return head + rest
        return text


class TinyAesthetic(AestheticScorer):
    """The rating of `tiny-aesthetic`, a head on tiny-clip's image embedding."""

    name: ClassVar[str] = "tiny-aesthetic"
    verified: ClassVar[str] = "real-weights"
    hub_models: ClassVar[tuple[str, ...]] = ()

    def clip_folder(self) -> Path:
        """Return the folder of tiny-clip."""
        return path_of("tiny-clip")

    def head_file(self) -> Path:
        """Return the file of the shipped head."""
        return path_of(self.name) / "aesthetic-model.safetensors"

    def identity(self) -> dict[str, Any]:
        """Return name, version and the hashes of both weights."""
        return {
            "backend": self.name,
            "version": self.version,
            "weights": weights_sha256("tiny-clip"),
            "head": weights_sha256(self.name),
        }
