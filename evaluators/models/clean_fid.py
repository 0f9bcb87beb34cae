"""The package clean-fid as back-ends, one for each of its modes: its resize, its scale.

    clean-fid                     mode clean: each channel by PIL's bicubic filter, not rounded
    clean-fid-legacy-pytorch      as pytorch-fid: bilinear of torch, no antialias
    clean-fid-legacy-tensorflow   as the first FID: TensorFlow 1's bilinear, inside the network

The network is FID's Inception-v3 with the weights that all its back-ends take; the package's two
(TorchScript, and pytorch-fid's port) are that network. Who wants another resize without the package
has `fid-clean`, `fid-pytorch-fid` and `fid-tensorflow`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.api.errors import PrerequisiteError
from bench.api.evaluator import Record
from bench.api.generation import ImageSet
from evaluators.fid.protocols import FidProtocol
from evaluators.models import inception_weights as weights
from evaluators.models.hub import pick_device
from evaluators.models.images import read_batches
from evaluators.models.inception import InceptionFeatures
from evaluators.models.inception_input import network_input

PACKAGE = "clean-fid"
SOURCE = "Parmar et al., CVPR 2022; GaParmar/clean-fid@e88c4d6:cleanfid/features.py"

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


def package_version() -> str:
    """Return the version of the package.

    Raises:
        PrerequisiteError: it is not installed.
    """
    try:
        return version(PACKAGE)
    except PackageNotFoundError as error:
        raise PrerequisiteError(
            f"the package {PACKAGE} is not installed", fix="pip install 'align-bench[metrics]'"
        ) from error


def input_of(mode: str) -> Callable[[Picture], Floats]:
    """Return what makes (3, 299, 299), scaled for the network, of a picture (H, W, 3) in a mode."""
    if mode == "legacy_tensorflow":  # the package leaves it to its TorchScript file
        return lambda picture: network_input(picture, "tensorflow")
    from cleanfid.resize import build_resizer

    with warnings.catch_warnings():  # it turns all warnings of the process off
        resize = build_resizer(mode)

    def prepared(picture: Picture) -> Floats:
        resized: Floats = np.moveaxis(resize(picture), 2, 0).astype(np.float32)
        if mode == "clean":
            return (resized - np.float32(128)) / np.float32(128)
        return np.float32(2) * (resized / np.float32(255)) - np.float32(1)

    return prepared


class CleanFidPackage(InceptionFeatures):
    """Features (2048,) by clean-fid's mode `clean`.

    Attributes:
        mode: of the package.
    """

    name: ClassVar[str] = "clean-fid"
    version: ClassVar[int] = 1
    batches_of: ClassVar[str] = "images"
    verified: ClassVar[str] = "random-weights"
    verified_for: ClassVar[Mapping[str, str]] = {}
    protocol = FidProtocol(name="clean-fid", resize="clean-fid, clean", source=SOURCE)
    mode: ClassVar[str] = "clean"

    def identity(self) -> dict[str, Any]:
        """Return name, version, weights, protocol and the package's version.

        Raises:
            PrerequisiteError: the package or the weights are not on this machine.
            CorruptArtifactError: the weights cannot be read.
        """
        return {"package": f"{PACKAGE} {package_version()}", **super().identity()}

    def unfit_for(self, evaluator: str) -> str:
        """Return that there is no inception score: the package measures features alone."""
        return "clean-fid measures no class scores" if evaluator == "inception-score" else ""

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `features` of each image; queries are ignored.

        Raises:
            PrerequisiteError: the package or the weights are not on this machine.
        """
        import torch

        package_version()
        prepared = input_of(self.mode)
        device = pick_device(self.device)
        network = weights.load(weights.weights_path()).to(device)
        for records, pictures in read_batches(images, batch_size):
            inputs = torch.from_numpy(np.stack([prepared(picture) for picture in pictures]))
            with torch.inference_mode():
                features = network(inputs.to(device))[0].cpu().numpy()
            for row, record in enumerate(records):
                seen = {"prompt_id": record.prompt_id, "ordinal": record.ordinal}
                yield seen, {"features": features[row]}


class CleanFidLegacyPytorch(CleanFidPackage):
    """Features (2048,) by clean-fid's mode `legacy_pytorch`."""

    name: ClassVar[str] = "clean-fid-legacy-pytorch"
    protocol = FidProtocol(
        name="clean-fid-legacy-pytorch", resize="clean-fid, legacy_pytorch", source=SOURCE
    )
    mode: ClassVar[str] = "legacy_pytorch"


class CleanFidLegacyTensorflow(CleanFidPackage):
    """Features (2048,) by clean-fid's mode `legacy_tensorflow`."""

    name: ClassVar[str] = "clean-fid-legacy-tensorflow"
    protocol = FidProtocol(
        name="clean-fid-legacy-tensorflow", resize="clean-fid, legacy_tensorflow", source=SOURCE
    )
    mode: ClassVar[str] = "legacy_tensorflow"
