"""Reading the parts of a checkpoint from a folder, the hub's cache or the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
from diffusers import DDPMScheduler, DiffusionPipeline

from bench.api.errors import CorruptArtifactError, PrerequisiteError, UsageError
from bench.read.shards import named_weights, require_own_files

# buffers that older text encoders saved and current ones compute
IGNORED_KEYS = ("position_ids",)


@dataclass(frozen=True, kw_only=True)
class PipelineFiles:
    """Where a checkpoint's parts come from.

    Attributes:
        checkpoint: a folder, or a hub id.
        revision: hub revision, or None for the default branch.
        local_files_only: never ask the network.
    """

    checkpoint: str
    revision: str | None
    local_files_only: bool

    def index(self) -> dict[str, Any]:
        """Return `model_index.json`: the pipeline's class, its parts and its settings.

        Raises:
            PrerequisiteError: the file is not there.
        """
        try:
            config = DiffusionPipeline.load_config(self.checkpoint, **self._where())
        except (OSError, ValueError) as error:
            raise self._missing("model_index.json", error) from error
        return dict(config)

    def index_of(self, pipeline_class: str, what: str) -> dict[str, Any]:
        """Return `model_index.json` of a checkpoint of one family.

        Args:
            pipeline_class: the class it must name.
            what: what such a checkpoint is, for the message.

        Raises:
            PrerequisiteError: the file is not there.
            UsageError: it names another class.
        """
        index = self.index()
        found = index.get("_class_name")
        if found != pipeline_class:
            raise UsageError(
                f"{self.checkpoint} holds a {found}; expected a {pipeline_class} ({what})."
            )
        return index

    def pipeline_class(self) -> str:
        """Return the class named in `model_index.json`.

        Raises:
            PrerequisiteError: the file is not there.
        """
        return str(self.index().get("_class_name"))

    def scheduler_class(self) -> str:
        """Return the class named in the scheduler's configuration.

        Raises:
            PrerequisiteError: the file is not there.
        """
        try:
            config = DDPMScheduler.load_config(
                self.checkpoint, subfolder="scheduler", **self._where()
            )
        except (OSError, ValueError) as error:
            raise self._missing("scheduler", error) from error
        return str(config["_class_name"])

    def load_scheduler(self) -> Any:
        """Load the sampler, of the class its configuration names.

        Raises:
            PrerequisiteError: its files are not there.
        """
        return self.load(getattr(diffusers, self.scheduler_class()), "scheduler")

    def load(self, part_class: Any, subfolder: str) -> Any:
        """Load a part that has no weights.

        Raises:
            PrerequisiteError: its files are not there.
        """
        try:
            return part_class.from_pretrained(self.checkpoint, subfolder=subfolder, **self._where())
        except (OSError, ValueError) as error:
            raise self._missing(subfolder, error) from error

    def load_tokenizer(self, part_class: Any, subfolder: str) -> Any:
        """Load a tokenizer that knows words.

        transformers 5 builds one with an empty vocabulary where the files are missing.

        Raises:
            PrerequisiteError: its files are not there.
        """
        require_own_files(Path(self.checkpoint, subfolder))
        tokenizer = self.load(part_class, subfolder)
        if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
            raise self._missing(subfolder, OSError("its vocabulary is empty"))
        return tokenizer

    def load_weights(self, part_class: Any, subfolder: str | None) -> Any:
        """Load a network and make sure that its weights fill it (safetensors only).

        The libraries fill missing weights at random with no more than a warning; here that is
        an error. `subfolder` None means that the checkpoint is the network's own folder.

        Raises:
            PrerequisiteError: its files are not there, name others that are no safetensors, or
                lead elsewhere.
            CorruptArtifactError: weights are missing, left over or of another shape.
        """
        require_own_files(Path(self.checkpoint, subfolder or ""))
        for file in Path(self.checkpoint, subfolder or "").glob("*.json"):
            list(named_weights(file))
        try:
            network, info = part_class.from_pretrained(
                self.checkpoint,
                subfolder=subfolder,
                use_safetensors=True,
                output_loading_info=True,
                **self._where(),
            )
        except (OSError, ValueError) as error:
            raise self._missing(subfolder or "network", error) from error
        problems = {
            kind: [key for key in info.get(kind) or () if not str(key).endswith(IGNORED_KEYS)]
            for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        }
        found = {kind: keys for kind, keys in problems.items() if keys}
        if found:
            shown = "; ".join(f"{len(k)} {kind}, e.g. {k[0]}" for kind, k in found.items())
            raise CorruptArtifactError(
                f"{self.checkpoint}/{subfolder or ''}: the weights do not fill the network: "
                f"{shown}. "
                "Expected exactly the network's own weights; save it without an adapter attached "
                "(unload or fuse the LoRA first), or fetch the checkpoint again."
            )
        return network

    def _where(self) -> dict[str, Any]:
        return {"revision": self.revision, "local_files_only": self.local_files_only}

    def _missing(self, part: str, error: Exception) -> PrerequisiteError:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        if looks_like_path(self.checkpoint):
            return PrerequisiteError(
                f"{self.checkpoint} has no usable {part} ({reason})",
                fix="python -m bench assets fetch, or name a folder that holds a whole pipeline",
            )
        revision = f" --revision {self.revision}" if self.revision else ""
        return PrerequisiteError(
            f"{part} of {self.checkpoint} is neither in the Hugging Face cache nor could it be "
            f"fetched ({reason})",
            fix=f"hf download {self.checkpoint}{revision}  (with the network on)",
        )


def looks_like_path(checkpoint: str) -> bool:
    """Whether a checkpoint's name means a folder rather than a hub id `owner/name`."""
    path = Path(checkpoint)
    return (
        path.exists()
        or path.is_absolute()
        or checkpoint.startswith((".", "~"))
        or checkpoint.count("/") != 1
    )
