"""What the configuration of a LoRA says: peft's file, or a copy in a header. No torch."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError, CorruptArtifactError, PrerequisiteError, UsageError
from bench.backbones.lora_names import COMPONENTS
from bench.read.json_text import parse_json, read_json
from bench.read.text import MissingFileError

LOG = logging.getLogger(__name__)

PEFT_FILE = "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"
CURE = (
    "Melt it into its base with the program that made it, save the pipeline in diffusers' format, "
    "and name that folder in place of the LoRA."
)
_BASES = ("ss_base_model_version", "ss_sd_model_name", "modelspec.architecture")
_PREDICTIONS = ("modelspec.prediction_type", "ss_v_parameterization", "ss_v_prediction")
_PEFT_NAMES = "base_model.model."
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "use_dora": (False,),
    "lora_bias": (False,),
    "bias": ("none",),
    "use_qalora": (False,),
    "layer_replication": ([],),
    "modules_to_save": ([],),
    "target_parameters": ([],),
    "trainable_token_indices": ([], {}),
    "alora_invocation_tokens": ([],),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),
}
"""Settings by which more than B A is added to the network, with the values by which it is not; None
is always one. Initial values such as PiSSA's change the base, too."""


def configuration(
    file: Path, metadata: Mapping[str, str], layers: Iterable[str], *, told: bool
) -> dict[str, Any] | None:
    """Return peft's configuration, from beside the weights or from their header; None without one.

    Args:
        file: the weights.
        metadata: of their header.
        layers: names in the file, which tell whether peft wrote it.
        told: whether tensors of the file say alpha.

    Raises:
        PrerequisiteError: the weights are peft's, and nothing says alpha.
        CorruptArtifactError: it cannot be read.
        UsageError: it is of no plain LoRA.
    """
    beside = file.parent / PEFT_CONFIG
    peft = of_peft(file, layers, told)
    try:
        if peft:
            found = read_json(beside)
        elif "lora_adapter_metadata" in metadata:
            flat = parse_json(metadata["lora_adapter_metadata"], "lora_adapter_metadata")
            found = {k.partition(".")[2] if k.startswith(COMPONENTS) else k: flat[k] for k in flat}
        else:
            _say_lost_alpha(file, metadata, told=told)
            _say_header(file, metadata)
            return None
        if not isinstance(found, dict):
            raise ValueError("expected a mapping")
    except MissingFileError:
        raise PrerequisiteError(
            f"{file} was written by peft, and there is no {PEFT_CONFIG} beside it, which says "
            "alpha",
            fix=f"fetch {PEFT_CONFIG} from where the adapter was published",
        ) from None
    except (BenchError, ValueError, TypeError) as error:
        where = beside if peft else file
        raise CorruptArtifactError(f"{where}: its configuration is unreadable: {error}") from error
    _require_plain(file, found)
    _say_base(file, found)
    return found


def of_peft(file: Path, names: Iterable[str], told: bool) -> bool:
    """Whether peft wrote a file, and its alpha stands in the configuration beside it.

    Args:
        file: the weights.
        names: of layers or tensors in them.
        told: whether tensors of the file say alpha.
    """
    spelt = any(name.startswith(_PEFT_NAMES) for name in names)
    return not told and (file.name == PEFT_FILE or spelt)


def _require_plain(file: Path, config: Mapping[str, Any]) -> None:
    if str(config.get("peft_type", "LORA")).rpartition(".")[2] != "LORA":
        raise UsageError(f"{file} is of type {config['peft_type']}, not a LoRA. {CURE}")
    for key, plain in _PLAIN.items():
        value = config.get(key)
        if value is not None and not any(value == p and type(value) is type(p) for p in plain):
            raise UsageError(f"{file}: {key} is {value!r}, which cannot be read. {CURE}")
    if not isinstance(config.get("use_rslora", False), bool):
        raise CorruptArtifactError(
            f"{file}: use_rslora is {config['use_rslora']!r}; expected true or false."
        )


def _say_base(file: Path, config: Mapping[str, Any]) -> None:
    base = config.get("base_model_name_or_path")
    if isinstance(base, str) and base:
        LOG.info("%s says that it was made from %s; it goes onto the profile's base", file, base)


def _say_header(file: Path, metadata: Mapping[str, str]) -> None:
    """Say from which base a header of kohya's programs says that a LoRA was made, and for what."""
    told = [str(metadata[key]) for key in _BASES if metadata.get(key) not in (None, "", "None")]
    if told:
        LOG.info(
            "%s says that it was made from %s; it goes onto the profile's base",
            *(file, ", ".join(dict.fromkeys(told))),
        )
    kinds = [str(metadata.get(key, "")).lower() for key in _PREDICTIONS]
    if any(kind in ("v", "true", "v_prediction") for kind in kinds):
        LOG.warning(
            "%s says that it was trained to predict v; on a base that predicts something else its "
            "images are nonsense",
            file,
        )


def _say_lost_alpha(file: Path, metadata: Mapping[str, str], *, told: bool) -> None:
    alpha, rank = metadata.get("ss_network_alpha"), metadata.get("ss_network_dim")
    if not told and alpha is not None and alpha != rank:
        LOG.warning(
            "%s: its header speaks of alpha %s and rank %s, its tensors of no alpha: it is taken "
            "as a file without one, whose alpha is the rank",
            *(file, alpha, rank),
        )


def configured_alpha(file: Path, config: Mapping[str, Any], module: str, rank: int) -> float:
    """Return a module's alpha as peft takes it: by the first pattern that ends its name.

    Raises:
        CorruptArtifactError: the rank is not the configuration's, or a value is no number.
    """

    def of(patterns: str, otherwise: str) -> float | None:
        found = config.get(otherwise)
        told = config.get(patterns) or {}
        for pattern, value in told.items() if isinstance(told, Mapping) else ():
            if re.match(rf"(.*\.)?({pattern})$", module):
                found = value
                break
        if found is not None and (isinstance(found, bool) or not isinstance(found, int | float)):
            raise CorruptArtifactError(
                f"{file}: its configuration says {otherwise} {found!r} for {module}; expected a "
                "number."
            )
        return found

    try:
        expected, alpha = of("rank_pattern", "r"), of("alpha_pattern", "lora_alpha")
    except re.error as error:
        raise CorruptArtifactError(
            f"{file}: a pattern of its configuration is none: {error}"
        ) from None
    if expected is not None and expected != rank:
        raise CorruptArtifactError(
            f"{file}: {module} has rank {rank}, its configuration says {expected}; weights and "
            "configuration are of two adapters. Fetch both again."
        )
    plain = 8.0 if alpha is None else float(alpha)  # peft's default
    return plain * math.sqrt(rank) if config.get("use_rslora") else plain
