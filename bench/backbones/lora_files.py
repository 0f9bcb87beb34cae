"""LoRA files as they are published, read by their headers. No torch.

- diffusers: `pytorch_lora_weights.safetensors`, with `unet.<module>.lora_A.weight`, or older
  spellings of it;
- peft: `adapter_model.safetensors` and `adapter_config.json`, with
  `base_model.model.<module>.lora_A.weight`;
- kohya: one `*.safetensors` of any name, with `lora_unet_<module>.lora_down.weight`.

What is written in a file is told apart by its tensors' names, not by the file's name. A layer adds
`alpha / rank * B A` to its module. peft's `use_rslora` divides by the root of the rank: such an
alpha is given here as the plain one of the same scale, alpha * sqrt(rank).
"""

from __future__ import annotations

import json
import logging
import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api.errors import CorruptArtifactError, PrerequisiteError, UsageError
from bench.backbones.lora_config import CURE as _CURE
from bench.backbones.lora_config import (
    PEFT_CONFIG,
    PEFT_FILE,
    configuration,
    configured_alpha,
    of_peft,
)
from bench.backbones.lora_names import COMPONENTS, module_of, other_names

LOG = logging.getLogger(__name__)

LORA_FILE = "pytorch_lora_weights.safetensors"
_WEIGHTS = re.compile(
    r"(?P<module>.+?)(?P<half>\.lora_A|\.lora_B|[._]lora\.down|[._]lora\.up|\.lora_down|\.lora_up)"
    r"(?:\.[A-Za-z_]\w*)?\.weight"  # peft may name the adapter in between
)
_OTHERS = {  # what the name of a tensor tells about methods that are no plain LoRA
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "lora_mid": "a Tucker-decomposed LoRA",
    "oft_": "OFT",
}
_TEXT = ("text_encoder", "lora_te", "text_model")
_FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
_NUMBERS = {"F64": "<d", "F32": "<f", "F16": "<e", "I64": "<q", "I32": "<i"}


@dataclass(frozen=True, kw_only=True)
class LoraLayer:
    """One module's two matrices.

    Attributes:
        down, up: tensors A (rank, inputs, ...) and B (outputs, rank, ...) by name in the file.
        rank: of both.
        alpha: over the rank, the factor of B A.
        inputs, outputs: of the module.
    """

    down: str
    up: str
    rank: int
    alpha: float
    inputs: int
    outputs: int


@dataclass(frozen=True, kw_only=True)
class LoraFacts:
    """What a LoRA's header and configuration say; alpha is the rank where neither says it.

    Attributes:
        file: the weights.
        layers: by module as the file spells it, without what the pipeline calls the network.
        components: what the pipeline calls the network, `"unet"` or `"transformer"`, where the
            names say it; else empty.
    """

    file: Path
    layers: Mapping[str, LoraLayer]
    components: frozenset[str]

    @property
    def ranks(self) -> tuple[int, ...]:
        """The ranks that occur."""
        return tuple(sorted({layer.rank for layer in self.layers.values()}))

    @property
    def alphas(self) -> tuple[float, ...]:
        """The alphas that occur."""
        return tuple(sorted({layer.alpha for layer in self.layers.values()}))

    def changes_nothing(self) -> bool:
        """Whether B A or alpha is 0 in every layer, as in a LoRA that was never trained.

        The matrices are read as far as the first that is not 0.

        Raises:
            CorruptArtifactError: the file is no whole safetensors file.
        """
        entries = header(self.file)
        return not any(
            layer.alpha != 0.0
            and _has_content(self.file, entries[layer.up])
            and _has_content(self.file, entries[layer.down])
            for layer in self.layers.values()
        )

    def placed(self, shapes: Mapping[str, tuple[int, ...]], where: str) -> dict[str, LoraLayer]:
        """Return the layers by the network's own names of its modules.

        Args:
            shapes: of the network's tensors, by name.
            where: what the network is called in messages.

        Raises:
            UsageError: a layer has no module in the network, or one of another width.
        """
        modules = {name.removesuffix(".weight") for name in shapes if name.endswith(".weight")}
        names = other_names(modules)
        found: dict[str, LoraLayer] = {}
        for spelt, layer in self.layers.items():
            module = module_of(spelt, modules, names)
            shape = None if module is None else shapes[f"{module}.weight"]
            if module is None or shape is None or len(shape) < 2:
                raise self._misfit(layer, where, f"there is no module {spelt} there")
            # a transposed or grouped layer would need other arithmetic; no such network is here
            if (layer.outputs, layer.inputs) != (shape[0], shape[1]):
                told = f"{module}.weight has shape {shape} there"
                raise self._misfit(layer, where, told)
            if module in found:
                raise _twice(self.file, module, {True: layer.down})
            found[module] = layer
        return found

    def require_fits(self, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
        """Compare with a pipeline's network; arguments as of `placed`.

        Raises:
            UsageError: it was made for another network; file and tensor are named.
        """
        convolutions = any(name.startswith("down_blocks.") for name in shapes)
        wrong = self.components - {COMPONENTS[0] if convolutions else COMPONENTS[1]}
        if wrong:
            raise UsageError(
                f"{self.file} was made for another network than {where}: it is for a pipeline's "
                f"{', '.join(sorted(wrong))}. Choose a profile with the base it was made from."
            )
        self.placed(shapes, where)

    def _misfit(self, layer: LoraLayer, where: str, told: str) -> UsageError:
        return UsageError(
            f"{self.file} was made for another network than {where}: {layer.down} takes "
            f"{layer.inputs} inputs and gives {layer.outputs}; {told}. Choose a profile with the "
            "base it was made from."
        )


def find_lora(folder: Path) -> Path | None:
    """Return the file with a folder's LoRA, None where there is none; a file is its own.

    Raises:
        PrerequisiteError: an adapter lies there without its configuration, or several files might
            be meant.
    """
    if folder.is_file():
        return folder
    if (folder / LORA_FILE).is_file():
        others = [f.name for f in sorted(folder.glob("*.safetensors")) if f.name != LORA_FILE]
        loras = [name for name in others if _holds_lora(folder / name)]
        if loras:
            raise PrerequisiteError(
                f"{folder} holds several LoRAs: {LORA_FILE}, {', '.join(loras[:5])}",
                fix="name the file that is meant, or put it into a folder of its own",
            )
        return folder / LORA_FILE
    if (folder / PEFT_FILE).is_file():
        if not (folder / PEFT_CONFIG).is_file():
            raise PrerequisiteError(
                f"{folder / PEFT_FILE} lies there without its {PEFT_CONFIG}, which says alpha",
                fix=f"fetch {PEFT_CONFIG} from where the adapter was published",
            )
        return folder / PEFT_FILE
    if (folder / PEFT_CONFIG).is_file():
        raise PrerequisiteError(
            f"{folder} has {PEFT_CONFIG} and no {PEFT_FILE}; pickled adapters are not read",
            fix=f"fetch {PEFT_FILE}, or save the adapter again with safe_serialization=True",
        )
    if any((folder / name).is_file() for name in ("config.json", "model_index.json")):
        return None
    files = [f for f in sorted(folder.glob("*.safetensors")) if _holds_lora(f)]
    if len(files) > 1:
        raise PrerequisiteError(
            f"{folder} holds {len(files)} LoRAs: {', '.join(f.name for f in files[:5])}",
            fix="put the one that is meant into a folder of its own, and name that",
        )
    return files[0] if files else None


def configuration_of(file: Path) -> list[Path]:
    """Return the file that says the alpha of a LoRA's file, where one beside it does."""
    beside = file.parent / PEFT_CONFIG
    try:
        names = header(file)
    except CorruptArtifactError:
        names = {}
    told = any(name.endswith(".alpha") for name in names)
    return [beside] if of_peft(file, names, told) and beside.is_file() else []


def _holds_lora(file: Path) -> bool:
    try:
        return any(_WEIGHTS.fullmatch(name) for name in header(file))
    except CorruptArtifactError:
        return False


def header(file: Path) -> dict[str, Any]:
    """Return the header of a safetensors file: `__metadata__`, and shape and dtype by tensor.

    Raises:
        CorruptArtifactError: it is no such file.
    """
    try:
        with file.open("rb") as stream:
            found: dict[str, Any] = json.loads(stream.read(_header_length(stream.read(8))))
    except (OSError, ValueError) as error:
        raise CorruptArtifactError(f"{file} is no whole safetensors file: {error}") from error
    return found


def _header_length(first: bytes) -> int:
    length = int.from_bytes(first, "little")
    if length > 100_000_000:
        raise ValueError("its header is longer than the format allows")
    return length


def lora_facts(folder: Path) -> LoraFacts:
    """Return what the LoRA in a folder, or that is a file, says of itself.

    Raises:
        CorruptArtifactError: the file holds none, a matrix is missing, or ranks contradict.
        UsageError: it is of another kind, or changes more than the denoising network.
        PrerequisiteError: there is no such file.
    """
    file = find_lora(folder)
    if file is None:
        raise PrerequisiteError(f"{folder} holds no LoRA", fix="name the folder of one")
    entries = header(file)
    metadata = entries.pop("__metadata__", None) or {}
    _require_plain(file, entries)
    halves: dict[str, dict[bool, str]] = {}
    alphas: dict[str, float] = {}
    for name, entry in entries.items():
        match = _WEIGHTS.fullmatch(name)
        if match is not None:
            down = match["half"].endswith(("_A", "down"))
            halves.setdefault(match["module"], {})[down] = name
        elif name.endswith(".alpha"):
            alphas[re.sub(r"([._]lora)?\.alpha$", "", name)] = _scalar(file, name, entry)
        else:
            raise UsageError(f"{file}: {name} belongs to no LoRA that can be read here. {_CURE}")
    if not halves:
        raise CorruptArtifactError(f"{file} holds no LoRA: no tensor is named *.lora_A.weight")
    if stray := sorted(set(alphas) - set(halves)):
        raise CorruptArtifactError(
            f"{file}: {stray[0]}.alpha is of no layer; is a part of the file missing? Fetch it "
            "again."
        )
    if alphas and (without := sorted(set(halves) - set(alphas))):
        LOG.warning(
            "%s: %d of %d layers have no alpha, e.g. %s, and are taken as of alpha = rank; is a "
            "part of the file missing?",
            *(file, len(without), len(halves), without[0]),
        )
    config = configuration(file, metadata, halves, told=bool(alphas))
    layers: dict[str, LoraLayer] = {}
    components: set[str] = set()
    for spelt, names in halves.items():
        component, module = split_component(spelt)
        components |= {component} - {""}
        if module in layers:
            raise _twice(file, module, names)
        layers[module] = _layer(file, entries, names, alphas.get(spelt), config, module)
    return LoraFacts(
        file=file,
        layers=layers,
        components=frozenset(components),
    )


def _require_plain(file: Path, names: Iterable[str]) -> None:
    for name in names:
        kind = next((kind for mark, kind in _OTHERS.items() if mark in name), None)
        if kind is not None:
            raise UsageError(f"{file} is {kind}, not a plain LoRA ({name}). {_CURE}")
        if name.startswith(_TEXT):
            raise UsageError(
                f"{file} changes the text encoder too ({name}); here a LoRA changes the denoising "
                f"network alone. {_CURE}"
            )


def split_component(spelt: str) -> tuple[str, str]:
    """Return what the pipeline calls the network, or nothing, and the rest of a module's name."""
    rest = spelt.removeprefix("base_model.model.")
    for component in COMPONENTS:
        for mark in (f"{component}.", f"lora_{component}_"):
            # kohya's programs write `lora_unet_` whatever the network is
            if rest.startswith(mark):
                return ("" if mark == "lora_unet_" else component), rest.removeprefix(mark)
    return "", rest


def _twice(file: Path, module: str, names: Mapping[bool, str]) -> UsageError:
    return UsageError(
        f"{file} has two layers for the module {module}, one of them {next(iter(names.values()))}: "
        "in two spellings, or of two networks. Which is meant? Save the one that is."
    )


def _layer(
    file: Path,
    entries: Mapping[str, Any],
    names: Mapping[bool, str],
    alpha: float | None,
    config: Mapping[str, Any] | None,
    module: str,
) -> LoraLayer:
    if len(names) < 2:
        raise CorruptArtifactError(f"{file}: {next(iter(names.values()))} lacks its other half.")
    down, up = entries[names[True]]["shape"], entries[names[False]]["shape"]
    if len(down) < 2 or len(up) < 2 or down[0] != up[1]:
        raise CorruptArtifactError(
            f"{file}: the rank of {names[True]} {tuple(down)} is not that of {names[False]} "
            f"{tuple(up)}. Fetch it again."
        )
    if not {entries[name]["dtype"] for name in names.values()} <= _FLOATS:
        raise UsageError(
            f"{file}: {names[True]} holds whole numbers without their scale. Save it as floats."
        )
    rank = int(down[0])
    if alpha is None and config is not None:
        alpha = configured_alpha(file, config, module, rank)
    if alpha is not None and not math.isfinite(alpha):
        raise CorruptArtifactError(f"{file}: the alpha of {module} is {alpha}; expected a number.")
    return LoraLayer(
        down=names[True],
        up=names[False],
        rank=rank,
        alpha=float(rank) if alpha is None else alpha,
        inputs=int(down[1]),
        outputs=int(up[0]),
    )


def _scalar(file: Path, name: str, entry: Mapping[str, Any]) -> float:
    """Return the one number in a tensor."""
    data = _data(file, entry)
    try:
        if entry["dtype"] == "BF16":
            return float(struct.unpack("<f", b"\0\0" + data)[0])
        return float(struct.unpack(_NUMBERS[entry["dtype"]], data)[0])
    except (KeyError, struct.error) as error:
        raise CorruptArtifactError(f"{file}: {name} is no single number") from error


def _has_content(file: Path, entry: Mapping[str, Any]) -> bool:
    """Whether a number of a tensor is not 0, whatever its type; -0 is 0, too."""
    data = _data(file, entry)
    return any(data) and any(data.translate(None, b"\x00\x80"))


def _data(file: Path, entry: Mapping[str, Any]) -> bytes:
    start, end = entry["data_offsets"]
    with file.open("rb") as stream:
        stream.seek(_header_length(stream.read(8)) + 8 + start)
        return stream.read(end - start)


__all__ = [
    "LORA_FILE",
    "PEFT_CONFIG",
    "PEFT_FILE",
    "LoraFacts",
    "LoraLayer",
    "find_lora",
    "header",
    "lora_facts",
]
