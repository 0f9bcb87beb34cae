"""A judge that is a vision-language model on this machine, through transformers' own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.api.errors import CorruptArtifactError
from bench.read.pictures import read_picture
from evaluators.models.hub import content_hash, pick_device, snapshot
from evaluators.models.judge_settings import JudgeMember


class TransformersJudge:
    """Greedy replies of any model that transformers knows for images and text.

    Args:
        member: of kind `"transformers"`; its model is a folder, or a hub id in the cache.
        device: None picks a GPU where there is one.

    Raises:
        PrerequisiteError: the model is not on this machine.
    """

    def __init__(self, member: JudgeMember, *, device: str | None = None) -> None:
        self.member = member
        self.device = device
        folder = Path(member.model).expanduser()
        if not folder.is_dir():
            folder = snapshot(member.model, revision=member.revision, needs=(("config.json",),))
        self.folder = folder
        self._loaded: tuple[Any, Any] | None = None

    def identity(self) -> dict[str, Any]:
        """Return what can change a reply: settings, and the content of the model's files."""
        kept = {k: v for k, v in self.member.identity().items() if k not in ("model", "revision")}
        return {**kept, "weights": content_hash(self.folder)}

    def ask(self, question: str, first: Path, second: Path) -> str:
        """Return the reply to a question on two images.

        Raises:
            CorruptArtifactError: the weights do not fill the network.
        """
        import torch

        processor, network = self._load()
        content: list[dict[str, Any]] = []
        for path in (first, second):
            content.append({"type": "image", "image": read_picture(path).image})
        content.append({"type": "text", "text": question})
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        ).to(network.device, dtype=network.dtype)
        with torch.no_grad():
            tokens = network.generate(
                **inputs, max_new_tokens=self.member.max_new_tokens, do_sample=False
            )
        answer = tokens[:, inputs["input_ids"].shape[1] :]
        return str(processor.batch_decode(answer, skip_special_tokens=True)[0]).strip()

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForImageTextToText, AutoProcessor

            processor = AutoProcessor.from_pretrained(self.folder, local_files_only=True)
            network, info = AutoModelForImageTextToText.from_pretrained(
                self.folder,
                dtype=self.member.dtype,
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
            self._loaded = processor, network.to(pick_device(self.device)).eval()
        return self._loaded
