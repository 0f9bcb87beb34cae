"""A judge that asks a vision-language model, through transformers' image-text-to-text classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api.errors import CorruptArtifactError, PrerequisiteError, UsageError
from bench.data.curation.judge import PhotoJudge
from bench.generation.weights import content_hash
from bench.read.shards import require_own_files

QUESTION = (
    "Is this picture a drawing, a painting, a rendering or in the style of anime, and not a "
    "photograph? Answer with one word: yes or no."
)
"""Our wording; RealAlign asked Qwen3-VL-8B the same of artwork and anime and kept the noes."""

DTYPES = ("auto", "float32", "float16", "bfloat16")


class VisionLanguageJudge(PhotoJudge):
    """Greedy answers of a model of any class that transformers knows for images and text.

    Args:
        model: hub id `owner/name` in the cache, or a folder.
        revision: of the hub repository.
        question: what is asked; `yes` must mean artwork.
        max_new_tokens: of an answer.
        dtype: `"auto"` is the checkpoint's own.

    Raises:
        UsageError: the dtype is unknown.
        PrerequisiteError: the model is not on this machine, or loaded from elsewhere.
    """

    name: ClassVar[str] = "vlm"
    version: ClassVar[int] = 1

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        question: str = QUESTION,
        max_new_tokens: int = 8,
        dtype: str = "auto",
    ) -> None:
        if dtype not in DTYPES:
            raise UsageError(f"judge dtype {dtype!r}; expected one of {', '.join(DTYPES)}.")
        self.folder = _folder(model, revision)
        require_own_files(self.folder)
        self.question = question
        self.max_new_tokens = max_new_tokens
        self.dtype = dtype
        self._loaded: tuple[Any, Any] | None = None

    def identity(self) -> dict[str, Any]:
        """Return name, version, question and the hash of the model's files."""
        return {
            **super().identity(),
            "question": self.question,
            "max_new_tokens": self.max_new_tokens,
            "dtype": self.dtype,
            "weights": content_hash(self.folder),
        }

    def replies(self, images: Sequence[np.ndarray]) -> list[str]:
        """Return the model's reply for each (H, W, 3) uint8 image, one at a time.

        Raises:
            CorruptArtifactError: the weights do not fill the network.
        """
        import torch
        from PIL import Image

        processor, network = self._load()
        found = []
        for image in images:
            content = [
                {"type": "image", "image": Image.fromarray(image)},
                {"type": "text", "text": self.question},
            ]
            inputs = processor.apply_chat_template(
                [{"role": "user", "content": content}],
                tokenize=True,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
            ).to(network.device, dtype=network.dtype)
            with torch.no_grad():
                tokens = network.generate(
                    **inputs, max_new_tokens=self.max_new_tokens, do_sample=False
                )
            answer = tokens[:, inputs["input_ids"].shape[1] :]
            found.append(processor.batch_decode(answer, skip_special_tokens=True)[0].strip())
        return found

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForImageTextToText, AutoProcessor

            processor = AutoProcessor.from_pretrained(self.folder, local_files_only=True)
            network, info = AutoModelForImageTextToText.from_pretrained(
                self.folder,
                dtype=self.dtype,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
            lacking = [*info["missing_keys"], *(str(key) for key in info["mismatched_keys"])]
            if lacking:
                raise CorruptArtifactError(
                    f"{self.folder}: {len(lacking)} weights of {type(network).__name__} are "
                    f"missing or of another shape, e.g. {lacking[0]}. Fetch the model again."
                )
            self._loaded = processor, network.to(self.device or "cpu").eval()
        return self._loaded


def _folder(model: str, revision: str | None) -> Path:
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model, "config.json", revision=revision)
    except HFValidationError as error:
        raise UsageError(f"{model!r} is neither a folder nor a hub id owner/name.") from error
    if not isinstance(found, str):
        at = f" --revision {revision}" if revision else ""
        raise PrerequisiteError(
            f"the judge's model {model} is not in the Hugging Face cache",
            fix=f"hf download {model}{at}  (with the network on); or --set judge.name=null",
        )
    return Path(found).parent
