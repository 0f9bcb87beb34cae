"""Weights of FID's Inception-v3: the published formats, read without running what they hold.

    pt_inception-2015-12-05-6726825d.pth   pytorch-fid's and torch-fidelity's: with a classifier
    inception-2015-12-05.pt                NVIDIA's TorchScript: pool features only
    fid-inception.safetensors              ours, made of either

No network: `bench assets fetch fid-inception` puts the file where it is looked for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api.errors import CorruptArtifactError, PrerequisiteError
from bench.api.files import Stamp, stamp
from bench.read.weights import load_tensors, load_torch, load_torchscript

if TYPE_CHECKING:
    import torch

    from evaluators.models.inception_network import FidInception

VARIABLE = "BENCH_FID_INCEPTION"
"""Names a file of one of the formats, in place of the asset."""
FILE = "fid-inception.safetensors"
COMMAND = "python -m bench assets fetch fid-inception"
WITH_SCORES = f"{COMMAND} --from pt_inception-2015-12-05-6726825d.pth"
"""The same, from pytorch-fid's file, which has the classifier."""

_CLASSIFIER = ("fc.weight", "fc.bias")
_NVIDIA = "net.layers."
_TERMS = {
    "weight": "conv.weight",
    "beta": "bn.bias",
    "mean": "bn.running_mean",
    "var": "bn.running_var",
}


def weights_path() -> Path:
    """Return the file of the weights.

    Raises:
        PrerequisiteError: it is not there.
    """
    given = os.environ.get(VARIABLE)
    path = Path(given).expanduser() if given else asset_path()
    if path.is_file():
        return path
    fix = f"name a file that exists in {VARIABLE}" if given else COMMAND
    raise PrerequisiteError(f"FID's Inception-v3 is not at {path}", fix=fix)


def asset_path() -> Path:
    """Return where the asset lies: `$BENCH_CACHE`, else the user's cache folder."""
    # the rule of bench.assets.places, which back-ends may not import
    base = os.environ.get("XDG_CACHE_HOME")
    root = (Path(base).expanduser() if base else Path.home() / ".cache") / "bench"
    own = os.environ.get("BENCH_CACHE")
    return (Path(own).expanduser() if own else root) / "weights" / FILE


def converted(path: Path) -> bytes:
    """Return the weights of a file of any of the formats as ours.

    Raises:
        CorruptArtifactError: it holds no such network.
    """
    from safetensors.torch import save

    load(path)  # all of it, or an error
    return save({name: tensor.contiguous() for name, tensor in sorted(read_state(path).items())})


def gives(path: Path) -> str:
    """Return what can be measured with the weights of a file, in words."""
    return (
        "features, logits" if has_classifier(path) else "features (no logits: no inception score)"
    )


def weights_sha256(path: Path) -> str:
    """Return the sha256 over names, shapes and values, whatever the file's format.

    Equal weights have one hash, so features of two formats of one network are not told apart.
    """
    return _content_hash(path, stamp(path))


@lru_cache
def _content_hash(path: Path, _stamp: Stamp) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(read_state(path).items()):
        array = np.ascontiguousarray(tensor.numpy())
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def has_classifier(path: Path) -> bool:
    """Whether a file has the classifier that class scores, and so an inception score, need.

    Raises:
        CorruptArtifactError: it cannot be read.
    """
    return _CLASSIFIER[0] in read_state(path)


def load(path: Path) -> FidInception:
    """Return the network with the weights of a file, in float32, ready to measure.

    Raises:
        CorruptArtifactError: names or shapes are not those of the network.
    """
    import torch

    from evaluators.models.inception_network import FidInception

    state = read_state(path)
    with torch.device("meta"):  # nothing is drawn at random only to be overwritten
        network = FidInception(classifier=_CLASSIFIER[0] in state)
    # counters of training steps: some files have them, none needs them
    counters = {
        name: torch.zeros((), dtype=torch.long)
        for name in network.state_dict()
        if name.endswith("num_batches_tracked")
    }
    try:
        network.load_state_dict({**counters, **state}, strict=True, assign=True)
    except RuntimeError as error:
        raise CorruptArtifactError(
            f"{path} does not hold FID's Inception-v3: {str(error).strip()[:300]}"
        ) from error
    return network.eval().requires_grad_(False)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the weights by their names in `FidInception`, float32, without counters.

    Raises:
        CorruptArtifactError: the file is of no known format, or damaged.
    """
    import torch
    from safetensors import SafetensorError

    try:
        if path.suffix == ".safetensors":
            state: Mapping[str, Any] = load_tensors(path)
        elif path.suffix == ".pt":
            state = _from_torchscript(load_torchscript(path).state_dict())
        else:
            state = load_torch(path)
    except (RuntimeError, ValueError, OSError, SafetensorError) as error:
        raise CorruptArtifactError(
            f"{path} cannot be read as weights: {str(error).strip()[:200]}"
        ) from error
    except Exception as error:  # what the safe unpickler raises is no public name
        raise CorruptArtifactError(f"{path} holds more than weights: {error}") from error
    return {
        name: tensor.to(torch.float32)
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }


def _from_torchscript(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename NVIDIA's weights; its units come in the order of ours, and have no scale.

    Raises:
        ValueError: there are other units, or one has another shape.
    """
    import torch

    from evaluators.models.inception_network import FidInception, Unit

    theirs = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    with torch.device("meta"):
        network = FidInception(classifier=False)
    ours = {name: unit for name, unit in network.named_modules() if isinstance(unit, Unit)}
    if len(theirs) != len(ours) or not all(name.startswith(_NVIDIA) for name in theirs):
        raise ValueError(f"{len(theirs)} units such as {theirs[:1]}, expected {len(ours)}")
    found = {}
    for their, (our, unit) in zip(theirs, ours.items(), strict=True):
        if state[f"{their}.weight"].shape != unit.conv.weight.shape:
            raise ValueError(f"{their} has shape {tuple(state[f'{their}.weight'].shape)}")
        for term, name in _TERMS.items():
            found[f"{our}.{name}"] = state[f"{their}.{term}"].detach().clone()
        found[f"{our}.bn.weight"] = torch.ones_like(found[f"{our}.bn.bias"])
    return found
