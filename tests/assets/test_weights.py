"""The registry of weights: complete, read strictly, and what is fetched is held to it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.api.errors import CorruptArtifactError, PrerequisiteError, UsageError
from bench.api.registry import BACKENDS
from bench.assets import weights
from bench.assets.hub import fetch
from bench.assets.weights import (
    REGISTRY,
    WeightsEntry,
    WeightsFile,
    hold_to_registry,
    read_registry,
    registry,
)
from bench.cli import main
from bench.published import backbones
from bench.spec.profile import load_profile, profile_names
from bench.spec.table import load_table, table_names
from bench.steps.prerequisites import table_needs
from bench.suites import catalog
from tests.assets.server import Site, serve
from tests.paper.hub_cache import add_repository

ROOT = Path(__file__).parents[2]
WORKERS = ROOT / "evaluators" / "workers"
NAME = "someone/model"
FILE = "unet/model.safetensors"
DATA = b"weights" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A repository with one file of weights, as the hub's client leaves it in its cache."""
    source = tmp_path / "source"
    (source / FILE).parent.mkdir(parents=True)
    (source / FILE).write_bytes(DATA)
    (source / "config.json").write_text("{}")
    return add_repository(tmp_path / "home", NAME, source)


def known(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Put one entry in place of the registry's."""
    given = {"name": NAME, "licence": "MIT", "used_by": ("a test",), "gigabytes": 0.1, **changes}
    entry = WeightsEntry(**given)  # type: ignore[arg-type]
    monkeypatch.setattr(weights, "registry", lambda: {entry.name: entry})


def test_every_model_that_is_loaded_has_a_line_in_the_registry() -> None:
    """A new back-end's `hub_models` need one: add it to bench/assets/weights.yaml."""
    wanted = {backbone.checkpoint for backbone in backbones().values()}
    for name in BACKENDS.names():
        wanted.update(BACKENDS.load(name).hub_models)
    for name in profile_names():
        base = load_profile(name).checkpoint
        wanted.update([base.location] if base.kind == "hub" else [])
    assert not sorted(wanted - set(registry()))


@pytest.mark.parametrize("name", [n for n in table_names() if load_table(n).world is None])
def test_what_a_table_needs_is_known_by_name(name: str) -> None:
    """A row's weights need a line in the registry, a column's prompts one in the catalogue."""
    table = load_table(name).in_profile("paper")
    needs = table_needs(table, load_profile("paper", table=table))
    own = {"GE", "FID"}  # GenEval's prompts are generated, those of FID's reference stand with it
    assert needs.models and (needs.suites or {column.key for column in table.columns} <= own)
    assert not {model.repository for model in needs.models} - set(registry())
    assert not {need.name for need in needs.weights} - set(registry())
    assert not {need.name for need in needs.suites} - set(catalog())
    assert all(thing.fix and thing.purpose for thing in needs.by_hand)


def test_a_back_end_s_own_revision_and_code_are_what_is_fetched() -> None:
    """Where a worker runs the checkpoint's Python files, at the revision that it asks for."""
    for name in BACKENDS.names():
        backend = BACKENDS.load(name)
        for repository in backend.hub_models:
            wanted = getattr(backend, "revision", None)
            assert wanted is None or registry()[repository].revision == wanted
    trusting = {
        p.parent.name for p in WORKERS.glob("*/worker.py") if "remote_code" in p.read_text()
    }
    assert trusting == {"deqa", "llm2clip"}
    code = {name for name, entry in registry().items() if entry.code}
    used = {word for name in code for by in registry()[name].used_by for word in by.split()}
    assert trusting <= used


def test_each_line_says_licence_size_and_user() -> None:
    for entry in registry().values():
        assert entry.licence and entry.used_by and entry.gigabytes > 0
        assert entry.url is None or entry.url.startswith("https://")


def test_what_nobody_knew_is_pinned_and_held_to_ever_after(snapshot: Path, cache: Path) -> None:
    assert hold_to_registry(NAME, snapshot, fix="fetch it") == {FILE: SHA256}
    pins = json.loads((cache / "weights" / "pins.json").read_text())
    assert pins == {f"{NAME}@{snapshot.name}": {FILE: SHA256}}
    (snapshot / FILE).unlink()
    (snapshot / FILE).write_bytes(DATA + b"!")  # no link to a blob: only the pin can tell
    with pytest.raises(CorruptArtifactError, match="damaged, or other weights") as caught:
        hold_to_registry(NAME, snapshot, fix="fetch it")
    assert SHA256 in str(caught.value) and "then fetch it" in str(caught.value)


def test_a_blob_that_is_not_what_its_name_says_is_refused(snapshot: Path, cache: Path) -> None:
    (snapshot / FILE).resolve().write_bytes(DATA[:-1])
    with pytest.raises(CorruptArtifactError, match=f"expected {SHA256}"):
        hold_to_registry(NAME, snapshot, fix="fetch it")
    assert not (cache / "weights").exists()


@pytest.mark.parametrize("digits", [8, 64])
def test_a_known_hash_is_held_to(
    digits: int, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, known=(WeightsFile(name=FILE, sha256=SHA256[:digits]),))
    assert hold_to_registry(NAME, snapshot, fix="fetch it") == {FILE: SHA256}
    known(monkeypatch, known=(WeightsFile(name=FILE, sha256="0" * digits),))
    with pytest.raises(CorruptArtifactError, match="expected 0000"):
        hold_to_registry(NAME, snapshot, fix="fetch it")


def test_a_file_that_the_registry_names_must_be_there(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, files=(WeightsFile(name="HPS.pt"),))
    with pytest.raises(PrerequisiteError, match=r"lacks HPS\.pt"):
        hold_to_registry(NAME, snapshot, fix="fetch it")


@pytest.mark.parametrize(
    ("before", "after", "hint"),
    [
        ("licence: mit", "license: mit", "Did you mean 'licence'"),
        ("gigabytes: 0.28\n  url", "url", "gigabytes"),
        ("{bytes: 1710540580, sha256", "{size: 1710540580, sha256", "unknown key 'size'"),
        ("mask2former-mmdet:", "mmdet/mask2former:", "with a url or a package"),
    ],
)
def test_a_registry_with_a_slip_is_refused(
    before: str, after: str, hint: str, tmp_path: Path
) -> None:
    good = REGISTRY.read_text()
    assert before in good
    (tmp_path / "weights.yaml").write_text(good.replace(before, after))
    with pytest.raises(UsageError) as caught:
        read_registry(tmp_path / "weights.yaml")
    assert hint in str(caught.value)


def bench(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: the hub's client reads its settings at import."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *argv],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_offline_the_cache_is_enough(snapshot: Path, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    done = bench("assets", "fetch", NAME, "--json", HF_HOME=home, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["folder"] == str(snapshot) and row["licence"] == "?"
    (snapshot / FILE).resolve().write_bytes(b"x")
    done = bench("assets", "fetch", NAME, HF_HOME=home, HF_HUB_OFFLINE="1")
    assert done.returncode == 1 and "damaged, or other weights" in done.stderr


def test_the_registry_s_commit_is_fetched_and_becomes_the_default(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the hub's client, whose two calls to the hub are answered here."""
    known(monkeypatch, revision="c0ffee")
    asked = []

    def download(repository: str, *, revision: str | None, **_: object) -> str:
        asked.append(revision)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_, **__: [FILE])
    main_branch = snapshot.parents[1] / "refs" / "main"
    main_branch.unlink()
    fetch(NAME, "v2")
    assert not main_branch.exists()
    assert fetch(NAME) == str(snapshot) and asked == ["v2", "c0ffee"]
    assert main_branch.read_text() == snapshot.name
    main_branch.write_text("another")
    fetch(NAME)
    assert main_branch.read_text() == "another"


def test_offline_another_commit_than_the_registry_s_will_do_and_is_told(
    snapshot: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    known(monkeypatch, revision="c" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    assert fetch(NAME) == str(snapshot)
    assert f"has commit {snapshot.name}, not {'c' * 40}" in caplog.text
    with pytest.raises(PrerequisiteError, match="the network is off"):
        fetch(NAME, "c" * 40)


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached_is_exit_three(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = bench("assets", "fetch", NAME, HF_HOME=str(home), HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 3, done.stderr
    assert f"python -m bench assets fetch {NAME}" in done.stderr
    assert str(home / "hub") in done.stderr


def test_nobody_there_is_tried_once_and_the_cache_will_do_for_the_rest(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def files(_: object, repository: str, **__: object) -> list[str]:
        asked.append(repository)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", files)
    monkeypatch.setattr("bench.assets.hub._UNREACHABLE", set())
    with pytest.raises(PrerequisiteError, match="Connection refused"):
        fetch("someone/first")
    with pytest.raises(PrerequisiteError, match="not in the cache, and the hub cannot be reached"):
        fetch("someone/second")
    assert fetch(NAME) == str(snapshot)
    assert asked == ["someone/first"]


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site(files={"/m.pth": DATA})) as found:
        yield found


def test_weights_beside_the_hub_are_fetched_whole_or_not_at_all(
    site: Site,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = f"{site.url}/m.pth"
    known(monkeypatch, name="toy", url=url, sha256=SHA256[:8])
    assert main(["assets", "fetch", "toy", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["sha256"] == SHA256 and Path(row["file"]) == cache / "weights" / "m.pth"
    assert row["licence"] == "MIT"
    (cache / "weights" / "m.pth").unlink()
    known(monkeypatch, name="toy", url=url, sha256="0" * 64)
    assert main(["assets", "fetch", "toy"]) == 1
    assert not list((cache / "weights").glob("m.pth*[!k]"))
    # where nobody knows a hash, the first fetch says what it is ever after
    known(monkeypatch, name="toy", url=url)
    site.files["/m.pth"] = DATA + b"!"
    assert main(["assets", "fetch", "toy"]) == 1
    said = capsys.readouterr().err
    assert SHA256 in said and not list((cache / "weights").glob("m.pth*[!k]"))
    assert main(["assets", "fetch", "toyy"]) == 2
    assert "'toy'" in capsys.readouterr().err


def test_a_table_s_weights_are_listed_with_licence_and_size(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["assets", "fetch", "--table", "1a", "--profile", "paper", "-n", "--json"]) == 0
    every = json.loads(capsys.readouterr().out)
    rows = {row["repository"]: row for row in every if "repository" in row}
    assert rows["CompVis/stable-diffusion-v1-4"]["licence"] == "creativeml-openrail-m"
    assert all(row["gigabytes"] != "?" for row in rows.values())
