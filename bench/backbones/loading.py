"""How a checkpoint of any family is loaded: one way; what differs is data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar

import torch

from bench.api.errors import UsageError
from bench.backbones.base import place, resolve_dtype
from bench.backbones.hub import PipelineFiles
from bench.backbones.latents import LatentBackbone

B = TypeVar("B", bound=LatentBackbone)


class How(TypedDict, total=False):
    """How a checkpoint is loaded; see `Family.load`."""

    revision: str | None
    dtype: str | torch.dtype
    device: str | torch.device
    local_files_only: bool


def _as_asked(name: str, network: Any, wanted: torch.dtype, checkpoint: str) -> torch.dtype:
    return wanted


def _no_options(index: Mapping[str, Any]) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Family(Generic[B]):
    """What differs between families.

    Attributes:
        pipeline_class: `_class_name` in the `model_index.json` of its checkpoints.
        title: what its checkpoints are, in words.
        backbone: made of the parts, by their names; the denoiser lies in its `denoiser_name`.
        tokenizers, networks: class of each part, by argument of `backbone` and folder.
        optional: parts that a checkpoint may lack; they are None then, all of them.
        require_fit: raises CorruptArtifactError where the networks do not fit together.
        precision: of a network (its name and itself) where one is asked for, of a checkpoint.
        options: further arguments of `backbone`, from `model_index.json`.
    """

    pipeline_class: str
    title: str
    backbone: type[B]
    tokenizers: Mapping[str, Any]
    networks: Mapping[str, Any]
    optional: tuple[str, ...] = ()
    require_fit: Callable[[str, Mapping[str, Any]], None]
    precision: Callable[[str, Any, torch.dtype, str], torch.dtype] = field(default=_as_asked)
    options: Callable[[Mapping[str, Any]], dict[str, Any]] = field(default=_no_options)

    def load(
        self,
        checkpoint: str | Path,
        *,
        revision: str | None = None,
        dtype: str | torch.dtype = "float32",
        device: str | torch.device = "cpu",
        local_files_only: bool = False,
    ) -> B:
        """Load a checkpoint from a folder, the hub's cache, or the hub.

        Args:
            checkpoint: folder with `model_index.json`, or hub id.
            revision: branch, tag or commit of the hub repository.
            dtype: precision of all parts, but those that overflow in float16.
            device: where the parts go.
            local_files_only: never ask the network (HF_HUB_OFFLINE=1 has the same effect).

        Raises:
            PrerequisiteError: files are missing; the message has the command that gets them.
            UsageError: the checkpoint is of another family, lacks a part, or is of another kind of
                prediction or scheduler than the family's.
            CorruptArtifactError: weights do not fill a network, or the parts do not fit together.
        """
        files = PipelineFiles(
            checkpoint=str(checkpoint), revision=revision, local_files_only=local_files_only
        )
        index = files.index_of(self.pipeline_class, self.title)
        absent = self._absent(files.checkpoint, index)
        networks: dict[str, Any] = {
            name: None
            if name in absent
            else files.load_weights(
                kind, self.backbone.denoiser_name if name == "denoiser" else name
            )
            for name, kind in self.networks.items()
        }
        self.require_fit(files.checkpoint, networks)
        wanted = resolve_dtype(dtype)
        for name, network in networks.items():
            if network is not None:
                place(network, device, self.precision(name, network, wanted, files.checkpoint))
        tokenizers: dict[str, Any] = {
            name: None if name in absent else files.load_tokenizer(kind, name)
            for name, kind in self.tokenizers.items()
        }
        return self.backbone(
            checkpoint=files.checkpoint,
            revision=files.revision,
            scheduler=files.load_scheduler(),
            **networks,
            **tokenizers,
            **self.options(index),
        )

    def _absent(self, checkpoint: str, index: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the parts that a checkpoint may lack, where it lacks one of them."""
        if not self.optional:
            return ()
        for name in (*self.tokenizers, *self.networks):
            if name not in (*self.optional, "denoiser") and not _present(index, name):
                raise UsageError(
                    f"{checkpoint} has no {name}; {' and '.join(self.optional)} alone may be left "
                    "out. Fetch it again."
                )
        return () if all(_present(index, name) for name in self.optional) else self.optional


def _present(index: Mapping[str, Any], part: str) -> bool:
    return isinstance(index.get(part), list | tuple) and None not in index[part]
