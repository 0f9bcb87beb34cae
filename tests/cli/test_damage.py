"""A damaged artifact is found by whoever reads it, made anew by the same command, and said."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bench.cli import main
from bench.store import FOUND, Artifact, Store
from tests.steps.micro import table_arguments
from tests.steps.toys import save_checkpoint, write_profile

PART = ("--rows", "base,ddspo", "--cols", "GE,FID", "-q")
LAST = "exports/step-00000003/diff"
ORDER = ("pairs", "train", "images", "predictions", "scores")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage")
    return write_profile(folder, save_checkpoint(folder / "checkpoint"))


@pytest.fixture(scope="module")
def whole(profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the whole table."""
    store = tmp_path_factory.mktemp("whole") / "store"
    assert main(table_arguments(profile, store, *PART)) == 0
    return store


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Store:
    """A copy of it; nothing was found damaged yet."""
    shutil.copytree(whole, tmp_path / "store")
    FOUND.clear()
    return Store(tmp_path / "store")


def numbers(store: Path) -> list[bytes]:
    return [(store / "tables" / "1a" / name).read_bytes() for name in ("table.csv", "samples.png")]


def flip(artifact: Artifact, like: str) -> Path:
    """Change a byte of a file, keeping size and time: only its hash tells."""
    path = next(artifact.path / name for name in artifact.files if like in name)
    stat = path.stat()
    data = bytearray(path.read_bytes())
    place = data.rfind(b"1") if path.suffix in (".jsonl", ".json") else len(data) - 3
    data[place] ^= 3
    path.write_bytes(bytes(data))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return path


def forget_after(store: Store, kind: str) -> None:
    """Remove all that is made from artifacts of a kind, and the table."""
    for later in ORDER[ORDER.index(kind) + 1 :]:
        shutil.rmtree(store.root / later)
    shutil.rmtree(store.root / "tables")


@pytest.mark.parametrize(
    ("kind", "like", "jobs"),
    [
        ("scores", "records", "1"),
        ("predictions", "predictions", "2"),
        ("images", ".png", "1"),
        ("pairs", "latents", "1"),
        pytest.param("scores", "metrics", "1", marks=pytest.mark.slow),
        pytest.param("predictions", "arrays", "1", marks=pytest.mark.slow),
        pytest.param("train", LAST, "1", marks=pytest.mark.slow),
        pytest.param("pairs", "texts.jsonl", "1", marks=pytest.mark.slow),
    ],
)
def test_whatever_is_damaged_is_made_anew_by_the_command_that_reads_it(
    profile: Path,
    whole: Path,
    store: Store,
    kind: str,
    like: str,
    jobs: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    forget_after(store, kind)
    whose = "geneval" if kind in ("scores", "predictions", "images") else ""
    victims = [artifact for artifact in store.artifacts(kind) if whose in artifact.name]
    for artifact in victims:
        flip(artifact, like)
    arguments = table_arguments(profile, store.root, *PART, "--jobs", jobs)
    assert main(arguments) == 0
    said = capfd.readouterr().err
    for artifact in victims:
        assert f"{artifact.path}" in said
        store.get(artifact.id).verify()
    assert numbers(store.root) == numbers(whole)
    assert main(arguments) == 0
    assert "complete: nothing to do" in capfd.readouterr().err


def test_an_image_that_only_the_sheet_of_samples_shows_is_sampled_anew(
    profile: Path, whole: Path, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(store.root / "tables")
    for artifact in store.artifacts("images"):
        for name in [name for name in artifact.files if name.endswith(".png")]:
            flip(artifact, name)
    assert main(table_arguments(profile, store.root, *PART)) == 0
    assert "it is made anew" in capfd.readouterr().err
    assert numbers(store.root) == numbers(whole)


def images_of(store: Store, like: str) -> Artifact:
    return next(a for a in store.artifacts("images") if like in a.name)


@pytest.mark.parametrize("verb", ["score", "train", "generate"])
def test_the_other_verbs_make_what_they_read_anew_too(
    profile: Path, store: Store, verb: str, capfd: pytest.CaptureFixture[str]
) -> None:
    common = ["--profile", str(profile), "--store", str(store.root), "--jobs", "1", "-q"]
    victim, like = {
        "score": (next(a for a in store.artifacts("scores") if "geneval" in a.name), "metrics"),
        "train": (next(store.artifacts("train")), LAST),
        "generate": (images_of(store, "checkpoint.geneval"), ".png"),
    }[verb]
    words = {
        "score": ["--images", str(victim.upstream.get("images")), "--evaluator", "geneval"],
        "train": ["ddspo"],
        "generate": ["--geneval-folder", str(store.root.parent / "folder")],
    }[verb]
    command = [verb, *words, *common]
    assert main(command) == 0
    expected = capfd.readouterr().out
    key = victim.id if verb == "score" else expected.splitlines()[0]
    damaged = store.get(key)
    content = damaged.content_sha256
    shutil.rmtree(store.root.parent / "folder", ignore_errors=True)
    flip(damaged, like)
    assert main(command) == 0
    said = capfd.readouterr()
    assert said.out == expected and "was changed" in said.err
    assert verb == "train" or store.get(key).content_sha256 == content
    store.get(key).verify()


def test_what_this_command_cannot_make_is_exit_three_with_the_mend_and_is_not_removed(
    profile: Path, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    common = ["--profile", str(profile), "--store", str(store.root), "--jobs", "1", "-q"]
    training, images = next(store.artifacts("train")), images_of(store, "checkpoint.geneval")
    commands = {
        training: (["train", "diffusion-dpo", "--start-from", training.id], "bench train"),
        images: (["score", "--images", images.id], "bench generate"),
    }
    shutil.rmtree(store.root / "predictions")
    shutil.rmtree(store.root / "scores")
    for artifact, (words, mend) in commands.items():
        flip(artifact, LAST if artifact is training else ".png")
        for _ in range(2):  # it stays so until it is mended
            assert main([*words, *common]) == 3
            said = capfd.readouterr().err
            assert artifact.id in said and "is damaged, and this command does not make it" in said
            assert "to mend it: rm -r" in said and mend in said
        assert artifact.path.is_dir()
