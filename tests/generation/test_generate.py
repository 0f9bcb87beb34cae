"""Image sets as artifacts: complete, resumable, and the same however they were cut."""

from __future__ import annotations

import hashlib
import io
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.api import (
    CorruptArtifactError,
    GenerationSpec,
    IncompleteError,
    PromptSuite,
    StoreError,
    UsageError,
    image_seed,
)
from bench.backbones.base import Backbone
from bench.generation import generate
from bench.generation.checkpoint import CheckpointRef
from bench.generation.generate import generate_image_set
from bench.generation.image_set import image_jobs, image_set_identity, open_image_set
from bench.generation.sample import Sampler
from bench.store import Artifact, Disk, Store
from tests.generation.test_sample import counted

Make = Callable[..., Artifact]


@pytest.fixture
def make(ref: CheckpointRef, suite: PromptSuite, spec: GenerationSpec) -> Make:
    """Two images for each of four prompts, three at a time unless said otherwise."""

    def build(store: Store, **changes: Any) -> Artifact:
        options: dict[str, Any] = {"batch_size": 3, "device": "cpu", "seed": 0, "spec": spec}
        options |= changes
        return generate_image_set(store, ref, suite, images_per_prompt=2, **options)

    return build


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch, backbone: Backbone, whole: Artifact) -> None:
    """Loading is slow, and tested elsewhere; `whole` was made with a checkpoint of its own."""
    monkeypatch.setattr(generate, "load_pipeline_backbone", lambda *_a, **_o: backbone)


@pytest.fixture(scope="module")
def whole(
    ref: CheckpointRef,
    suite: PromptSuite,
    spec: GenerationSpec,
    tmp_path_factory: pytest.TempPathFactory,
) -> Artifact:
    """The set made without interruption. Tests must leave it as it is."""
    store = Store(tmp_path_factory.mktemp("whole"))
    return generate_image_set(store, ref, suite, spec, 2, 0, batch_size=3, device="cpu")


def contents(artifact: Artifact) -> dict[str, bytes]:
    return {name: (artifact.path / name).read_bytes() for name in artifact.files}


def test_a_set_holds_all_a_reader_needs(
    whole: Artifact, suite: PromptSuite, spec: GenerationSpec
) -> None:
    images = open_image_set(whole)
    assert images.suite.sha256 == suite.sha256
    assert images.spec == spec
    assert images.images_per_prompt == 2
    assert images.identity == whole.manifest["identity_sha256"]
    keys = [(r.prompt_id, r.ordinal) for r in images.records]
    assert keys == [(p.id, k) for p in suite for k in (0, 1)]
    for record, path in zip(images.records, images.paths(), strict=True):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == record.sha256
        prompt = next(p for p in suite if p.id == record.prompt_id)
        assert record.seed == image_seed(prompt.text, record.ordinal, 0)
        assert Image.open(path).size == (32, 32)
    assert len({r.sha256 for r in images.records}) == 8
    assert sorted(whole.files) == sorted(
        [r.path for r in images.records] + ["suite.json", "generation.json", "records.jsonl"]
    )
    assert whole.manifest["config"]["spec"] == spec.identity()


def test_the_manifest_does_not_depend_on_how_the_work_was_cut(whole: Artifact) -> None:
    assert "batch_size" not in str(whole.identity) + str(whole.manifest["config"])


def test_a_second_call_computes_nothing(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(store)
    monkeypatch.setattr(generate, "load_pipeline_backbone", None)
    assert make(store).manifest == first.manifest


def test_a_batch_that_does_not_fit_is_halved_and_that_is_said(
    make: Make,
    store: Store,
    whole: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    images, asked = Sampler.images, []

    def narrow(self: Sampler, texts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        asked.append(len(texts))
        if len(texts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images(self, texts, seeds)

    monkeypatch.setattr(Sampler, "images", narrow)
    found = make(store, batch_size=8)
    assert asked == [8, 4, 2, 2, 2, 2]
    assert "images of 32x32: the memory of cpu does not suffice" in caplog.text
    assert "going on with batches of 2" in caplog.text
    for name in whole.files:
        if name.endswith(".png"):
            with Image.open(whole.path / name) as one, Image.open(found.path / name) as other:
                differ = np.abs(np.asarray(one, int) - np.asarray(other, int))
                assert differ.max() <= 1 and (differ > 0).mean() < 1e-3


@pytest.mark.parametrize("size", [1, 7])
def test_the_batch_size_changes_pixels_by_rounding_alone(
    make: Make, store: Store, whole: Artifact, size: int
) -> None:
    """At most one level in a thousandth of the values; with these networks usually none."""
    other = make(store, batch_size=size)
    assert other.id == whole.id
    pairs = zip(open_image_set(whole).paths(), open_image_set(other).paths(), strict=True)
    differences = [
        np.abs(np.asarray(Image.open(a)).astype(int) - np.asarray(Image.open(b)).astype(int))
        for a, b in pairs
    ]
    assert np.max(differences) <= 1
    assert np.mean(np.stack(differences) > 0) < 1e-3


def test_seeds_make_other_sets(make: Make, store: Store, whole: Artifact) -> None:
    other = make(store, seed=1)
    assert other.id != whole.id
    ours = {r.sha256 for r in open_image_set(whole).records}
    assert not ours & {r.sha256 for r in open_image_set(other).records}


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 3},
        {"cfg_scale": 2.0},
        {"height": 64},
        {"width": 64},
        {"scheduler": "DDIMScheduler"},
        {"scheduler_config": {"beta_end": 0.02}},
        {"dtype": "bfloat16"},
        {"negative_prompt": "blurred"},
        {"file_format": "jpeg75"},
    ],
)
def test_a_changed_setting_is_another_artifact(
    store: Store,
    ref: CheckpointRef,
    suite: PromptSuite,
    spec: GenerationSpec,
    change: dict[str, Any],
) -> None:
    def path(changed: GenerationSpec, prompts: PromptSuite = suite, count: int = 2) -> Path:
        identity = image_set_identity(ref.identity(store), prompts, changed, count, 0)
        return store.path("images", "x", identity)

    assert path(replace(spec, **change)) != path(spec)
    assert path(replace(spec, cfg_scale=3)) == path(spec)
    assert path(spec, suite.limited(2)) != path(spec)
    assert path(spec, count=3) != path(spec)


def interrupted(make: Make, store: Store, after: int) -> None:
    """Let a child process begin the set and die by SIGKILL when `after` images are done."""

    def progress(done: int, total: int) -> None:
        if done >= after:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            make(store, progress=progress)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def partial_of(store: Store) -> Path:
    (folder,) = (store.root / "images").glob("*.partial")
    return folder


def test_a_killed_run_goes_on_and_ends_with_equal_bytes(
    make: Make, store: Store, whole: Artifact
) -> None:
    interrupted(make, store, after=6)
    assert store.find("images", whole.name, whole.identity) is None
    folder = partial_of(store)
    made = sorted((folder / "images").iterdir())
    assert len(made) == 6
    untouched = made[0].stat().st_mtime_ns
    made[3].unlink()
    made[4].write_bytes(made[4].read_bytes()[:40])
    journal = folder / "progress.jsonl"
    journal.write_bytes(journal.read_bytes()[:-25])
    again = make(store)
    assert contents(again) == contents(whole)
    assert again.manifest["resumed"]
    assert (again.path / "images" / made[0].name).stat().st_mtime_ns == untouched
    assert not list(again.path.glob("progress*"))


def test_only_batches_with_missing_images_are_sampled_again(
    make: Make, store: Store, whole: Artifact, backbone: Backbone
) -> None:
    interrupted(make, store, after=6)
    images = sorted((partial_of(store) / "images").iterdir())
    # the second batch of three: p/1 ordinal 1, p/2 ordinals 0 and 1
    (next(p for p in images if p.name.startswith("p%2F2-1"))).unlink()
    steps: list[tuple[int, int]] = []
    with counted(backbone) as calls:
        again = make(store, progress=lambda *s: steps.append(s))
    assert contents(again) == contents(whole)
    assert steps == [(6, 8), (8, 8), (8, 8)]
    # PNDM takes one forward more than it has steps; guidance doubles the batch
    assert calls == [6, 6, 6, 4, 4, 4]


def test_a_missing_image_is_named_and_a_changed_one_too(make: Make, store: Store) -> None:
    artifact = make(store)
    victim = artifact.path / "images" / "p%2F2-1.png"
    data = victim.read_bytes()
    victim.unlink()
    with pytest.raises(IncompleteError, match=r"lacks 1 of 8 images: p/2/1\."):
        open_image_set(artifact)
    victim.write_bytes(data[:-1] + b"x")
    with pytest.raises(CorruptArtifactError, match=r"p%2F2-1\.png was changed"):
        open_image_set(artifact)
    assert len(open_image_set(artifact, verify=False).records) == 8
    again = make(store)
    assert victim.read_bytes() == data
    assert len(open_image_set(again).records) == 8


def test_a_suite_that_is_not_the_identitys_is_refused(make: Make, store: Store) -> None:
    with store.create("images", "x", {"suite": {"sha256": "0" * 64}}) as work:
        for name in ("suite.json", "generation.json", "records.jsonl"):
            work.write_bytes(name, (make(store).path / name).read_bytes())
    (artifact,) = (a for a in store.artifacts("images") if a.name == "x")
    with pytest.raises(CorruptArtifactError, match="its identity says 000000000000"):
        open_image_set(artifact)
    with store.create("scores", "x", {}) as work:
        work.write_json("a.json", 1)
    with pytest.raises(UsageError, match="of kind 'scores'; expected 'images'"):
        open_image_set(next(store.artifacts("scores")))


def test_shards_are_parts_of_the_same_set(make: Make, store: Store, whole: Artifact) -> None:
    parts = [make(store, shards=2, shard=shard) for shard in (0, 1)]
    counts = [sum(name.endswith(".png") for name in part.files) for part in parts]
    assert counts == [5, 3]  # batches of 3, 3, 2, taken in turn
    with pytest.raises(IncompleteError, match="lacks 3 of 8 images"):
        open_image_set(parts[0])
    assert contents(make(store, shards=2)) == contents(whole)
    assert make(store, shards=2).id == whole.id


def test_the_whole_makes_what_no_shard_has_made(make: Make, store: Store, whole: Artifact) -> None:
    make(store, shards=2, shard=1)
    steps: list[tuple[int, int]] = []
    assert contents(make(store, shards=2, progress=lambda *s: steps.append(s))) == contents(whole)
    assert steps == [(3, 8), (8, 8), (8, 8)]
    with pytest.raises(UsageError, match="shard 2 of 2"):
        make(store, shards=2, shard=2)


def test_jpeg_of_quality_75(
    make: Make, store: Store, spec: GenerationSpec, whole: Artifact
) -> None:
    artifact = make(store, spec=replace(spec, file_format="jpeg75"))
    pairs = zip(open_image_set(artifact).paths(), open_image_set(whole).paths(), strict=True)
    for jpeg, png in pairs:
        assert jpeg.suffix == ".jpg"
        expected = io.BytesIO()
        Image.open(png).save(expected, "JPEG", quality=75)
        assert jpeg.read_bytes() == expected.getvalue()


class FullDisk(Disk):
    """Runs out of space at the given change of an image."""

    def __init__(self, operation: str, at: int) -> None:
        self.operation, self.left = operation, at

    def before(self, operation: str, path: Path) -> None:
        if operation == self.operation and "images" in path.parent.name:
            self.left -= 1
            if self.left < 0:
                raise OSError(28, "No space left on device")


@pytest.mark.parametrize("operation", ["write_bytes", "replace", "fsync"])
def test_a_full_disk_publishes_nothing_and_can_be_gone_on_from(
    make: Make, tmp_path: Path, whole: Artifact, operation: str
) -> None:
    with pytest.raises(StoreError, match="no space is left"):
        make(Store(tmp_path, disk=FullDisk(operation, 4)))
    store = Store(tmp_path)
    assert not list(store.artifacts())
    assert contents(make(store)) == contents(whole)


def test_bad_requests(make: Make, store: Store, ref: CheckpointRef, suite: PromptSuite) -> None:
    with pytest.raises(UsageError, match="batch_size is -1"):
        make(store, batch_size=-1)
    with pytest.raises(UsageError, match="0 images for each of 4 prompts"):
        generate_image_set(
            store, ref, suite, GenerationSpec(steps=1, cfg_scale=1, height=32, width=32), 0, 0
        )


def test_unlike_ids_have_unlike_files() -> None:
    from bench.api import Prompt

    ids = ["a", "a-0", "a/0", "a%2F0", "..", "ä", "A"]
    prompts = tuple(Prompt(id=i, text="t") for i in ids)
    jobs = image_jobs(PromptSuite(name="s", version="1", prompts=prompts), 11, 0)
    assert len({job.path for job in jobs}) == 7 * 11
    assert all(job.path.count("/") == 1 and ".." not in job.path[:8] for job in jobs[:44])
