"""The CLIP checkpoint that `clip` and `clip-features` load, and the tiny world's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.api.errors import ProtocolError
from bench.api.evaluator import Backend
from evaluators.models import hub


class PublishedClip(Backend):
    """A back-end over OpenAI's CLIP ViT-B/32 in the Hugging Face cache.

    Attributes:
        needs: the files of the checkpoint that it reads.
        activation: what the weights were trained with; None takes what the checkpoint says.
    """

    verified: ClassVar[str] = "random-weights"
    hub_models: ClassVar[tuple[str, ...]] = ("openai/clip-vit-base-patch32",)
    needs: ClassVar[Sequence[hub.Alternatives]] = hub.NETWORK
    activation: ClassVar[str | None] = "quick_gelu"

    def network(self, folder: Path, device: str) -> Any:
        """Return the CLIPModel of a folder, in float32.

        Raises:
            CorruptArtifactError: its weights do not fill the network.
            ProtocolError: it computes with another activation than the weights were trained with.
        """
        from transformers import CLIPModel

        model = hub.load_network(CLIPModel, folder, device=device)
        for part in (model.config.text_config, model.config.vision_config):
            if self.activation not in (None, part.hidden_act):
                raise ProtocolError(
                    f"{folder}: the CLIP computes with {part.hidden_act!r}; OpenAI's weights need "
                    f"{self.activation!r}, and give other numbers without. Fetch "
                    f"{self.hub_models[0]} again: its config.json was changed."
                )
        return model

    def folder(self) -> Path:
        """Return the folder the model is loaded from.

        Raises:
            PrerequisiteError: it is not on this machine.
        """
        return hub.snapshot(self.hub_models[0], needs=self.needs)

    def identity(self) -> dict[str, Any]:
        """Return name, version, the model's commit and a hash over its files.

        Raises:
            PrerequisiteError: the model is not in the cache.
        """
        folder = self.folder()
        return {
            **super().identity(),
            "models": {self.hub_models[0]: folder.name},
            "weights": hub.content_hash(folder),
        }


class ShippedClip(PublishedClip):
    """The same over the tiny world's own CLIP; stands before a back-end among the bases."""

    verified: ClassVar[str] = "real-weights"
    hub_models: ClassVar[tuple[str, ...]] = ()
    activation: ClassVar[str | None] = None

    def folder(self) -> Path:
        """Return the folder of the shipped weights."""
        from bench.tiny.assets import path_of

        return path_of("tiny-clip")

    def identity(self) -> dict[str, Any]:
        """Return name, version and the hash of the weights."""
        from bench.tiny.assets import weights_sha256

        return {
            "backend": self.name,
            "version": self.version,
            "weights": weights_sha256("tiny-clip"),
        }
