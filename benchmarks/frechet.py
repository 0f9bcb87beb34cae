"""Fréchet distance and feature extraction: `python benchmarks/frechet.py [--width 2048]`.

Times one distance between Gaussians fitted to random features of that width: by the harness (two
symmetric eigenproblems, the reference's counted apart because it is made once), by SciPy's matrix
square root as pytorch-fid and clean-fid use it, and by the eigenvalues of the product as
torch-fidelity does. Seconds are the processor's, lowest to highest of `--repeats`.
With `--images N`, images/s of FID's Inception-v3 by resize rule, on N random pictures of 256 x 256
(random weights where the asset is not there: the time is the same).
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from evaluators.fid.frechet import FrechetReference, GaussianSums

Floats = NDArray[np.float64]


def timed(what: Callable[[], float]) -> tuple[float, float]:
    """Return (result, seconds of the processor: other processes do not count)."""
    start = time.process_time()
    found = what()
    return found, time.process_time() - start


def distances(width: int, images: int, repeats: int) -> list[list[object]]:
    """Return one row per way: name, distance, seconds, relative difference from SciPy's."""
    from scipy import linalg

    draw = np.random.default_rng(0)
    ours = GaussianSums.of(draw.normal(size=(images, width)))
    theirs = GaussianSums.of(draw.normal(0.05, 1.1, size=(images, width)))
    product = ours.covariance() @ theirs.covariance()
    gap = ours.mean - theirs.mean
    rest = float(gap @ gap) + np.trace(ours.covariance()) + np.trace(theirs.covariance())
    made: list[FrechetReference] = []

    def reference() -> float:
        made.append(FrechetReference.from_sums(theirs))
        return float("nan")

    rows: list[list[object]] = []
    first = 0.0
    for name, way in (
        ("scipy sqrtm", lambda: float(rest - 2 * np.trace(linalg.sqrtm(product)).real)),
        (
            "eigenvalues of the product",
            lambda: float(
                rest - 2 * np.sqrt(np.linalg.eigvals(product).astype(complex)).real.sum()
            ),
        ),
        ("harness: reference, once", reference),
        ("harness: distance", lambda: made[0].distance_to(ours)),
    ):
        runs = [timed(way) for _ in range(repeats)]
        value, seconds = runs[0][0], sorted(run[1] for run in runs)
        first = first or value
        rows.append([name, value, f"{seconds[0]:.3g}–{seconds[-1]:.3g}", abs(value / first - 1)])
    return rows


def extraction(images: int, batch: int) -> list[list[object]]:
    """Return one row per resize rule: rule, seconds of resizing, of the network, images/s."""
    import torch

    from bench.api.errors import PrerequisiteError
    from evaluators.models import inception_weights as weights
    from evaluators.models.inception_input import RULES, network_input
    from evaluators.models.inception_network import FidInception

    try:
        network = weights.load(weights.weights_path())
    except PrerequisiteError:
        network = FidInception(classifier=False).eval()
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (images, 256, 256, 3), dtype=np.uint8)
    rows: list[list[object]] = []
    for rule in RULES:
        start = time.process_time()
        inputs = torch.from_numpy(np.stack([network_input(p, rule) for p in pictures]))
        resized = time.process_time()
        with torch.inference_mode():
            for part in inputs.split(batch):
                network(part)
        done = time.process_time()
        rows.append([rule, resized - start, done - resized, images / (done - start)])
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--sample", type=int, default=3000, help="images behind each Gaussian")
    parser.add_argument("--images", type=int, default=0, help="time the network on this many")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    heads = ["way", "distance", "seconds", "relative difference"]
    print(tabulate(distances(args.width, args.sample, args.repeats), headers=heads, floatfmt=".4g"))
    if args.images:
        heads = ["rule", "resize s", "network s", "images/s"]
        print(tabulate(extraction(args.images, args.batch), headers=heads, floatfmt=".3g"))


if __name__ == "__main__":
    main()
