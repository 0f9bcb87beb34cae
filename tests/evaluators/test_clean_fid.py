"""`--set backends.features=clean-fid`: its numbers are the package's, weights of the true class.

The weights are random: what is compared is resize, scale and network, mode by mode.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench import harness
from bench.api.folder import read_flat
from bench.cli import main
from evaluators.models import inception_weights
from evaluators.models.clean_fid import (
    CleanFidLegacyPytorch,
    CleanFidLegacyTensorflow,
    CleanFidPackage,
)
from evaluators.models.inception import TensorflowFid

fid = pytest.importorskip("cleanfid.fid", reason="clean-fid is an optional extra")
pytestmark = pytest.mark.numeric
ROOT = Path(__file__).parents[2]
SIZES = ((64, 48), (320, 350))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """pytorch-fid's port in the package, with random weights, and the file of them."""
    from cleanfid import inception_pytorch as package

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = package._inception_v3(num_classes=1008, aux_logits=False, pretrained=False)
    network.Mixed_5b = package.FIDInceptionA(192, pool_features=32)
    network.Mixed_5c = package.FIDInceptionA(256, pool_features=64)
    network.Mixed_5d = package.FIDInceptionA(288, pool_features=64)
    network.Mixed_6b = package.FIDInceptionC(768, channels_7x7=128)
    network.Mixed_6c = package.FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6d = package.FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6e = package.FIDInceptionC(768, channels_7x7=192)
    network.Mixed_7b = package.FIDInceptionE_1(1280)
    network.Mixed_7c = package.FIDInceptionE_2(2048)
    network.fc = torch.nn.Linear(2048, 1008)
    for part in network.modules():  # as drawn by default, 94 layers leave nothing of a picture
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
    path = tmp_path_factory.mktemp("weights") / "pt_inception.pth"
    torch.save(network.state_dict(), path)
    old = package.fid_inception_v3
    package.fid_inception_v3 = lambda: network
    try:
        whole = package.InceptionV3(output_blocks=[3], resize_input=False).eval()
    finally:
        package.fid_inception_v3 = old
    return whole, path


@pytest.fixture(autouse=True)
def weights(theirs: tuple[torch.nn.Module, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(inception_weights.VARIABLE, str(theirs[1]))


def pictures(root: Path, count: int, seed: int, *, sizes: tuple[tuple[int, int], ...]) -> Path:
    root.mkdir()
    draw = np.random.default_rng(seed)
    for i in range(count):
        coarse = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(sizes[i % len(sizes)]).save(root / f"{i:03d}.png")
    return root


def extractor(network: torch.nn.Module, mode: str):  # type: ignore[no-untyped-def]
    """The package's own scale before the network; in mode `clean` that of its TorchScript file."""
    if mode == "legacy_pytorch":
        return lambda x: network(x / 255)[0].squeeze(-1).squeeze(-1)
    # InceptionV3W: (x - 128) / 128, which the port's own 2 x - 1 undoes
    return lambda x: network(((x - 128) / 128 + 1) / 2)[0].squeeze(-1).squeeze(-1)


@pytest.mark.parametrize("ours", [CleanFidPackage, CleanFidLegacyPytorch])
def test_features_are_the_packages(
    ours: type[CleanFidPackage], theirs: tuple[torch.nn.Module, Path], tmp_path: Path
) -> None:
    folder = pictures(tmp_path / "p", 4, 0, sizes=SIZES)
    backend = ours()
    backend.device = "cpu"
    found = [arrays["features"] for _, arrays in backend.predict(read_flat(folder), {})]
    expected = fid.get_folder_features(
        str(folder),
        extractor(theirs[0], ours.mode),
        num_workers=0,
        batch_size=4,
        device=torch.device("cpu"),
        mode=ours.mode,
        verbose=False,
    )
    scale = np.abs(expected).max()
    assert scale > 0.01 and np.ptp(expected, axis=0).max() > 1e-4 * scale
    assert np.abs(np.stack(found) - expected).max() < 2e-5 * scale


def test_the_tensorflow_mode_resizes_as_the_first_fid_did(tmp_path: Path) -> None:
    images = read_flat(pictures(tmp_path / "p", 2, 1, sizes=SIZES))
    sides = []
    for backend in (CleanFidLegacyTensorflow(), TensorflowFid()):
        backend.device = "cpu"
        sides.append(np.stack([arrays["features"] for _, arrays in backend.predict(images, {})]))
    assert (sides[0] == sides[1]).all()


def test_each_mode_is_an_identity_of_its_own() -> None:
    found = [c().identity() for c in (CleanFidPackage, CleanFidLegacyPytorch)]
    assert found[0]["protocol"]["name"] == "clean-fid" and found[0]["package"] == "clean-fid 0.1.35"
    assert found[0]["protocol"]["resize"] != found[1]["protocol"]["resize"]
    assert "no class scores" in CleanFidPackage().unfit_for("inception-score")


@pytest.mark.slow
def test_a_fid_under_it_is_compute_fids(
    theirs: tuple[torch.nn.Module, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    real = pictures(tmp_path / "real", 12, 2, sizes=SIZES[:1])
    mine = pictures(tmp_path / "mine", 10, 3, sizes=SIZES[:1])
    harness.build_reference("real", real, "clean-fid")
    found = harness.score(mine, "fid", reference="real", store=tmp_path / "store", jobs=1)
    expected = fid.compare_folders(
        str(mine),
        str(real),
        extractor(theirs[0], "clean"),
        "clean",
        batch_size=4,
        device=torch.device("cpu"),
        verbose=False,
    )
    assert found.metrics["fid"].value == pytest.approx(expected, rel=1e-3)
    assert found.measured_by["features"]["name"] == "clean-fid"


def test_the_command_line_takes_it_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "--table", "1a", "--rows", "base", "--cols", "FID", "--limit", "6", "--json"]
    words += ["--store", str(tmp_path / "store")]
    for name in ("clean-fid", "clean-fid-legacy-pytorch", "clean-fid-legacy-tensorflow"):
        assert main([*words, "--set", f"backends.features={name}"]) == 0
        labels = [step["label"] for step in json.loads(capsys.readouterr().out)["steps"]]
        assert any("features" in label for label in labels)


def test_without_the_weights_it_says_how_to_get_them(tmp_path: Path) -> None:
    words = ["plan", "--table", "1a", "--rows", "base", "--cols", "FID", "--limit", "6"]
    words += ["--set", "backends.features=clean-fid", "--store", str(tmp_path / "store")]
    kept = {k: v for k, v in os.environ.items() if k != inception_weights.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        cwd=ROOT,
        env={**kept, "BENCH_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3 and "assets fetch fid-inception" in done.stdout
