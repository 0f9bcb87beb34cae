"""Weights of others: a pipeline, a network or a LoRA, found on disk and compared by their headers.

Nothing is loaded: the header of a safetensors file names every tensor and its shape, so a LoRA of
another rank or a network of another family is noticed before anything is computed. No torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.api.errors import PrerequisiteError, UsageError
from bench.backbones import BACKBONES, PIPELINES, family_of
from bench.backbones.lora_files import (
    LORA_FILE,
    PEFT_CONFIG,
    PEFT_FILE,
    find_lora,
    header,
    lora_facts,
)
from bench.backbones.lora_names import COMPONENTS
from bench.generation.weights import INDEX, hub_snapshot, read_index
from bench.read.json_text import read_json
from bench.store import Foreign, plugin_code, source_of

NETWORKS = COMPONENTS

_MARKS = (
    INDEX,
    LORA_FILE,
    PEFT_FILE,
    PEFT_CONFIG,
    "config.json",
    *(f"{part}/config.json" for part in NETWORKS),
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """Weights on disk.

    Attributes:
        folder: what `bench.training.export.load_export` takes; a LoRA may be a file.
        kind: `"pipeline"`, `"network"` or `"lora"`.
    """

    folder: Path
    kind: str


def find_weights(location: str, revision: str | None, *, hub: bool) -> Found:
    """Find a pipeline, a network or a LoRA in a folder or in the Hugging Face cache.

    A network may also lie in the folder `unet` or `transformer` of one that holds no pipeline, and
    a LoRA may be named by its file.

    Raises:
        PrerequisiteError: it is not on this machine, or the folder holds none of them.
        CorruptArtifactError: the file is no safetensors file.
        UsageError: the file holds no LoRA.
    """
    folder = _snapshot(location, revision) if hub else Path(location).expanduser()
    if not hub and folder.is_file():
        lora_facts(folder)
        return Found(folder=folder, kind="lora")
    if not hub and not folder.is_dir():
        raise PrerequisiteError(
            f"there is no folder {folder}", fix="name a folder, or a LoRA's file, that exists"
        )
    if (folder / INDEX).is_file():
        return Found(folder=hub_snapshot(location, revision) if hub else folder, kind="pipeline")
    if find_lora(folder) is not None:
        return Found(folder=folder, kind="lora")
    for inner in (folder, *(folder / part for part in NETWORKS)):
        if (inner / "config.json").is_file() and list(inner.glob("*.safetensors")):
            return Found(folder=inner, kind="network")
    raise PrerequisiteError(
        f"{folder} holds no weights: no {INDEX} (a pipeline), no config.json with safetensors (a "
        f"network), no {LORA_FILE}, no {PEFT_FILE} and no other safetensors file of a LoRA (a name "
        "with a dot before its suffix is a variant's, such as model.fp16.safetensors)",
        fix="name a folder in one of these formats, as diffusers' save_pretrained and "
        "save_lora_weights, peft's save_pretrained and kohya's trainers write them",
    )


def _snapshot(repository: str, revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import LocalEntryNotFoundError

    folder: Path | None
    for mark in _MARKS:
        found = try_to_load_from_cache(repository, mark, revision=revision)
        if isinstance(found, str):
            return Path(found).parents[mark.count("/")]
    try:  # a file of any name, as kohya's trainers write
        folder = Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        folder = None
    if folder is not None and find_lora(folder) is not None:
        return folder
    at = f" --revision {revision}" if revision else ""
    raise PrerequisiteError(
        f"{repository} is not in the Hugging Face cache ({constants.HF_HUB_CACHE})",
        fix=f"python -m bench assets fetch {repository}{at}  (with the network on)",
    )


def adapter_of(pipeline: Path) -> Foreign:
    """Return the code of an installed package's adapter that loads a pipeline: what of it enters
    identities, and what whoever loads the pipeline compares again.

    A built-in adapter adds nothing.

    Raises:
        UsageError: no adapter is for such pipelines.
        ContractError: the adapter's source cannot be read.
    """
    family = _foreign_family(pipeline)
    if family is None:
        return Foreign(identity={}, sources=())
    entry, adapter = BACKBONES.entry(family), BACKBONES.load(family)
    return Foreign(
        identity={"backbone": {"family": family, **plugin_code(entry, adapter)}},
        sources=() if entry.origin == "built-in" else (source_of(adapter, entry.target),),
    )


def _foreign_family(pipeline: Path) -> str | None:
    """Return the family of a pipeline that no built-in adapter is for; None of one that does not
    say what it is: who loads it says what is wrong with it.
    """
    try:
        name = read_index(pipeline).get("_class_name")
    except UsageError:
        return None
    if name is None or name in PIPELINES:
        return None
    return family_of(str(name), str(pipeline))


def network_folder(pipeline: Path) -> Path:
    """Return the folder of a pipeline's denoising network.

    Raises:
        UsageError: no adapter is for such pipelines, it has no such folder, or its index cannot
            be read.
    """
    family_of(str(read_index(pipeline).get("_class_name")), str(pipeline))
    for part in NETWORKS:
        if (pipeline / part).is_dir():
            return pipeline / part
    raise UsageError(f"{pipeline} has neither of the folders {', '.join(NETWORKS)}.")


def native_side(pipeline: Path) -> int:
    """Return the side, in pixels, of the images that a pipeline's network was made for.

    Its latents' side by how much its autoencoder shrinks, as diffusers' pipelines compute it.

    Raises:
        UsageError: the configurations do not say it.
    """
    network = read_json(network_folder(pipeline) / "config.json")
    vae = read_json(pipeline / "vae" / "config.json")
    latents = network.get("sample_size") if isinstance(network, dict) else None
    channels = (
        vae.get("block_out_channels") or vae.get("encoder_block_out_channels")
        if isinstance(vae, dict)
        else None
    )
    if not isinstance(latents, int) or latents < 1 or not isinstance(channels, list):
        raise UsageError(
            f"{pipeline} does not say of what size its images are (sample_size of the network, "
            "block_out_channels of the autoencoder); set `resolution`."
        )
    return latents * int(2 ** (len(channels) - 1))


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a network's folder, shards together.

    Raises:
        CorruptArtifactError: a file is no safetensors file.
    """
    found: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        if "." in file.stem:  # a named variant of the same weights
            continue
        found |= {k: tuple(v["shape"]) for k, v in header(file).items() if k != "__metadata__"}
    return found


def require_fits(found: Found, network: Path) -> None:
    """Compare weights with the network they are to be put into.

    Args:
        found: a network or a LoRA.
        network: folder of the base's network.

    Raises:
        UsageError: they were made for another network; file and tensor are named.
        CorruptArtifactError: a file is no safetensors file.
    """
    base = shapes(network)
    if found.kind == "network":
        own = shapes(found.folder)
        wrong = sorted(key for key in base.keys() | own.keys() if base.get(key) != own.get(key))
        if wrong:
            raise UsageError(
                f"{found.folder} holds another network than {network}: {len(wrong)} tensors "
                f"differ, e.g. {wrong[0]} of shape {own.get(wrong[0], 'none')} against "
                f"{base.get(wrong[0], 'none')}. Choose a profile with the base it was made from."
            )
        return
    lora_facts(found.folder).require_fits(base, str(network))
