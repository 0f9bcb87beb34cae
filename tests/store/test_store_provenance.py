import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.store import collect_provenance, scrubbed, strip_credentials
from bench.store.provenance import environment, git_state


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://user:token@host.org/g/p.git", "https://host.org/g/p.git"),
        ("https://token@host.org/g/p.git", "https://host.org/g/p.git"),
        ("https://user:p@ss@host.org/p", "https://host.org/p"),
        ("https://user:p/a@ss@host.org/p", "https://host.org/p"),
        ("https://user:p/ass", "https://(removed)"),
        ("https://host.org:8443/@scope/p", "https://host.org:8443/@scope/p"),
        ("https://host.org/p?private_token=abc#x", "https://host.org/p"),
        ("ssh://git@host.org:22/p", "ssh://host.org:22/p"),
        ("http://u:t@[::1]:80/p", "http://[::1]:80/p"),
        ("git@host.org:g/p.git", "host.org:g/p.git"),
        ("/srv/git/p.git", "/srv/git/p.git"),
    ],
)
def test_credentials_are_stripped(url: str, clean: str) -> None:
    assert strip_credentials(url) == clean
    assert strip_credentials(clean) == clean


def test_secrets_are_removed_from_nested_data_and_the_rest_is_kept() -> None:
    config = {
        "tokenizer": "clip",
        "hf_token": "hf_abc",
        "steps": 3,
        "remotes": ["see https://u:t@h.org/p now", {"api_key": "k", "token": 7}],
    }
    assert scrubbed(config) == {
        "tokenizer": "clip",
        "hf_token": "(removed)",
        "steps": 3,
        "remotes": ["see https://h.org/p now", {"api_key": "(removed)", "token": 7}],
    }


def test_only_variables_that_change_numbers_are_recorded() -> None:
    variables = {"OMP_NUM_THREADS": "1", "TORCH_X": "y", "HF_TOKEN": "s", "HOME": "/h"}
    variables["TORCH_HUB_TOKEN"] = "s"
    assert environment(variables) == {"OMP_NUM_THREADS": "1", "TORCH_X": "y"}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("https://me:hunter2@hub.org/cache?sig=abc", "https://hub.org/cache"),
        ("level=2,token=abcdef123", "level=2,token=(removed)"),
        ("Authorization: Bearer-abc", "Authorization: (removed)"),
        ("--key hf_abcdefghijklmnopqrst", "--key (removed)"),
        ("sk-proj-abcdefghijklmnop", "(removed)"),
        ("x=swordfish-9 y", "x=(removed) y"),
        ("expandable_segments:True", "expandable_segments:True"),
        ("/data/torch:/opt/token/cache", "/data/torch:/opt/token/cache"),
    ],
)
def test_values_of_recorded_variables_hold_no_secret(value: str, kept: str) -> None:
    variables = {"TORCH_X": value, "MY_API_KEY": "swordfish-9"}
    assert environment(variables) == {"TORCH_X": kept}


def test_what_is_collected() -> None:
    found = collect_provenance(device="cpu", wall_seconds=1.5)
    assert found["device"] == "cpu"
    assert found["wall_seconds"] == 1.5
    assert found["pid"] == os.getpid()
    assert found["packages"]["numpy"]
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert 1 < found["peak_rss_mb"] < 10**6


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    # as inside a hook: must not lead to another repository
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    git_state.cache_clear()
    package = tmp_path / "repo" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("x = 1\n")
    yield package
    git_state.cache_clear()


def git(folder: Path, *arguments: str) -> None:
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    variables = {k: v for k, v in os.environ.items() if k != "GIT_DIR"}
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, env=variables)


def test_commit_dirt_and_origin_of_the_repository(repository: Path) -> None:
    git(repository.parent, "init", "-q")
    git(repository.parent, "remote", "add", "origin", "https://me:secret@host.org/p.git")
    git(repository.parent, "add", ".")
    git(repository.parent, "commit", "-q", "-m", "first")

    def state() -> dict[str, object]:
        git_state.cache_clear()
        return git_state(repository)

    clean = state()
    assert len(str(clean["commit"])) == 40
    assert clean["origin"] == "https://host.org/p.git"
    assert (clean["dirty"], clean["dirty_sha256"]) == (False, None)

    (repository / "new.py").write_text("y = 1\n")
    untracked = state()
    (repository / "new.py").write_text("y = 2\n")
    untracked_other = state()
    (repository / "new.py").unlink()
    (repository / "__init__.py").write_text("x = 2\n")
    edited = state()
    hashes = {s["dirty_sha256"] for s in (clean, untracked, untracked_other, edited)}
    assert len(hashes) == 4
    assert all(s["dirty"] for s in (untracked, untracked_other, edited))
    assert {s["commit"] for s in (clean, edited)} == {clean["commit"]}


def test_no_repository_a_surrounding_one_and_no_git_are_survived(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = git_state(repository)
    assert alone["commit"] is None
    assert "not a git repository" in alone["reason"]

    git(repository.parent, "init", "-q")  # it surrounds the package but does not track it
    git_state.cache_clear()
    assert git_state(repository)["commit"] is None

    git_state.cache_clear()
    monkeypatch.setenv("PATH", "/nonexistent")
    assert git_state(repository)["reason"] == "git is not installed"


def test_importing_the_store_imports_nothing_heavy() -> None:
    heavy = (
        "torch",
        "numpy",
        "pyarrow",
        "safetensors",
        "scipy",
        "subprocess",
        "importlib.metadata",
    )
    code = f"import sys, bench.store; print([m for m in {heavy!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
