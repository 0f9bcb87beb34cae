"""FID in the paper profile: against stored statistics that its protocol or the profile names.

    python -m bench assets build --fid-reference toy --images DIR --protocol custom-pytorch-fid
    python -m bench run --table 1a --profile paper --limit 6 --cols FID,IS --set references.fid=toy

A published protocol has 40,504 reference pictures, so the toy's is a custom one.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.store import read_safetensors
from evaluators.fid.protocols import CUSTOM_PYTORCH
from tests.paper.place import LIMIT, ROWS, Place, make_place
from tests.paper.repositories import write_inception

pytestmark = pytest.mark.slow

REFERENCE = "toy"
PICTURES = 8
CAPTIONS = 30_000  # the protocol's own number, of which --limit takes a part
ASKED = ("--cols", "FID,IS", "--set=backends.features=fid-pytorch-fid")
NAMED = f"--set=references.fid={REFERENCE}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    found = make_place(*(tmp_path_factory.mktemp(n) for n in ("home", "repositories", "work")))
    rows = (f"{i}.jpg,picture number {i}\n" for i in range(CAPTIONS))
    (found.work / "metadata.csv").write_text("file_name,text\n" + "".join(rows))
    asked = ("assets", "fetch", "coco-30k", "--from", str(found.work / "metadata.csv"))
    done = found.bench(*asked)
    assert done.returncode == 0, done.stderr
    write_inception(found.work / "inception.safetensors")
    return found


def variables(place: Place) -> dict[str, str]:
    return {"BENCH_FID_INCEPTION": str(place.work / "inception.safetensors")}


def fid_table(place: Place, *more: str, **others: str) -> subprocess.CompletedProcess[str]:
    return place.table(*ASKED, *more, **{**variables(place), **others})


@pytest.fixture(scope="module")
def before(place: Place) -> dict[str, subprocess.CompletedProcess[str]]:
    """What the table says while something is missing."""
    nothing = str(place.work / "nothing.safetensors")
    return {
        "no reference": fid_table(place, NAMED),
        "no name": fid_table(place),
        "no network": fid_table(place, NAMED, BENCH_FID_INCEPTION=nothing),
    }


@pytest.fixture(scope="module")
def reference(place: Place, before: Any) -> Path:
    """The stored statistics of toy pictures, made by the command that the message names."""
    pictures = place.work / "pictures"
    pictures.mkdir()
    draw = np.random.default_rng(0)
    for i in range(PICTURES):
        picture = draw.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(picture).save(pictures / f"{i}.png")
    asked = ("--images", str(pictures), "--protocol", CUSTOM_PYTORCH.name)
    build = ("assets", "build", "--fid-reference", REFERENCE, *asked, "--keep-features", "--json")
    done = place.bench(*build, **variables(place))
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)[0]["file"])


@pytest.fixture(scope="module")
def table(place: Place, reference: Path) -> dict[str, Any]:
    done = fid_table(place, NAMED, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The distance of two sets of few images by their factors, without a 2048-wide matrix."""
    means, factors = [], []
    for features in (a.astype(np.float64), b.astype(np.float64)):
        means.append(features.mean(0))
        factors.append((features - means[-1]) / np.sqrt(len(features) - 1))
    shared = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    traces = sum((factor**2).sum() for factor in factors)
    return float(((means[0] - means[1]) ** 2).sum() + traces - 2.0 * shared)


def test_fid_is_measured_against_the_stored_reference(
    place: Place, table: dict[str, Any], reference: Path
) -> None:
    cells = {cell["row"]: cell for cell in table["cells"] if cell["column"] == "FID"}
    assert tuple(cells) == ROWS
    stored = read_safetensors(reference)
    values = []
    for cell in cells.values():
        assert cell["state"] == "measured", cell["reason"]
        assert cell["protocol"]["backends"]["features"]["backend"] == "fid-pytorch-fid"
        artifacts = cell["provenance"]["artifacts"]
        assert artifacts["reference/features"] == cell["protocol"]["reference"]
        outputs = place.work / "outputs"
        features = read_safetensors(
            outputs / artifacts["predictions/features"] / "arrays.safetensors"
        )
        assert features["features"].shape == (LIMIT, 2048) and cell["estimate"]["n"] == LIMIT
        expected = frechet(features["features"], stored["features"])
        assert cell["estimate"]["value"] == pytest.approx(expected, rel=1e-5)
        values.append(cell["estimate"]["value"])
        manifest = outputs / artifacts["reference/features"] / "manifest.json"
        identity = json.loads(manifest.read_text())["identity"]
        assert identity["sha256"] == hashlib.sha256(reference.read_bytes()).hexdigest()
        assert identity["images"] == PICTURES
    assert len(set(values)) == len(ROWS)


def test_inception_score_says_what_it_lacks(table: dict[str, Any]) -> None:
    cells = [cell for cell in table["cells"] if cell["column"] == "IS"]
    assert {cell["state"] for cell in cells} == {"n/a"}
    assert all("no classifier" in c["reason"] and "pt_inception" in c["reason"] for c in cells)


def test_what_is_missing_ends_with_its_command(
    before: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    assert {done.returncode for done in before.values()} == {3}
    build = "assets build --fid-reference"
    under = f"--images DIR --protocol {CUSTOM_PYTORCH.name}"
    assert f"{build} {REFERENCE} {under}" in before["no reference"].stderr
    assert f"{build} coco-val2014-ddspo-30k {under}" in before["no name"].stderr
    assert "inception" in before["no network"].stderr.lower()


def test_a_reference_of_another_extractor_is_refused(place: Place, table: dict[str, Any]) -> None:
    done = fid_table(place, NAMED, "--set=backends.features=fid-clean")
    assert done.returncode == 1, done.stderr
    assert "made under another protocol" in done.stderr and "protocol.resize" in done.stderr
