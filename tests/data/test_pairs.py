"""Pair sets: what they hold, and that an interruption leaves no trace."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.api import CorruptArtifactError, PromptSuite, UsageError, image_seed
from bench.backbones.base import Backbone
from bench.data import pairs as pairs_module
from bench.data.on_disk import PairsOnDisk
from bench.data.pairs import build_pairs, sample_pairs
from bench.data.spec import PairSpec, plan_pairs
from bench.data.texts import TextRows
from bench.generation.checkpoint import CheckpointRef, load_pipeline_backbone
from bench.generation.generate import generate_image_set
from bench.generation.image_set import open_image_set
from bench.generation.sample import Sampler, generators, initial_noise
from bench.store import Artifact, Store, read_jsonl, read_safetensors
from bench.training.source import PairSource
from tests.data.conftest import PAIRS

CPU = torch.device("cpu")


def contents(artifact: Artifact) -> dict[str, bytes]:
    return {name: (artifact.path / name).read_bytes() for name in artifact.files}


def test_what_a_pair_set_holds(pairs: Artifact, suite: PromptSuite, spec: PairSpec) -> None:
    assert set(pairs.files) == {
        "latents.safetensors",
        "texts.safetensors",
        "texts.jsonl",
        "pairs.jsonl",
        "report.json",
        "suite.json",
        "spec.json",
    }
    plan = plan_pairs(suite, spec)
    rows = read_jsonl(pairs.file("pairs.jsonl"))
    assert [(r["prompt"], r["degraded"], r["seed"]) for r in rows] == [
        (r.prompt, r.degraded, r.seed) for r in plan.rows
    ]
    assert pairs.read_json("spec.json") == spec.identity()
    latents = read_safetensors(pairs.file("latents.safetensors"))
    assert {k: (v.shape, v.dtype.name) for k, v in latents.items()} == {
        "winner": ((PAIRS, 4, 8, 8), "float32"),
        "loser": ((PAIRS, 4, 8, 8), "float32"),
    }
    texts = read_safetensors(pairs.file("texts.safetensors"))
    assert texts["encoder_hidden_states"].shape == (len(plan.texts), 24, 16)


def test_stored_latents_are_those_of_the_sampler(
    pairs: Artifact, suite: PromptSuite, spec: PairSpec, backbone: Backbone
) -> None:
    plan = plan_pairs(suite, spec)
    sampler = Sampler(backbone, spec.generation)
    latents = read_safetensors(pairs.file("latents.safetensors"))
    for start in (0, 3, 6):  # the parts of three pairs the set was made in
        rows = plan.rows[start : start + 3]
        winner, loser = sample_pairs(sampler, sampler.texts.many, rows, batch_size=4)
        assert np.array_equal(latents["winner"][start : start + 3], winner.numpy())
        assert np.array_equal(latents["loser"][start : start + 3], loser.numpy())


def test_latents_were_scaled_once(
    pairs: Artifact,
    suite: PromptSuite,
    spec: PairSpec,
    backbone: Backbone,
    ref: CheckpointRef,
    store: Store,
) -> None:
    """Decoded as they are, winners are the images of the same prompts and seed."""
    one = PromptSuite(name="one", version="1", prompts=suite.prompts[:3])
    images = generate_image_set(
        store, ref, one, spec.generation, 1, spec.seed, batch_size=3, device="cpu"
    )
    from PIL import Image

    expected = np.stack([np.asarray(Image.open(p)) for p in open_image_set(images).paths()])
    batch = PairsOnDisk(pairs).batch([0, 1, 2], CPU)
    found = Sampler(backbone, spec.generation).pixels(batch.winner)
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1  # batches differ
    report = PairsOnDisk(pairs).report
    latents = read_safetensors(pairs.file("latents.safetensors"))
    for half in ("winner", "loser"):
        assert report["latent_std"][half] == pytest.approx(float(latents[half].std()), rel=1e-5)


def test_winner_and_loser_start_from_the_same_noise(
    suite: PromptSuite, spec: PairSpec, backbone: Backbone
) -> None:
    seen: list[tuple[list[int], torch.Tensor]] = []
    sampler = Sampler(backbone, spec.generation)
    sample = sampler.latents

    def spy(condition: Any, seeds: Any) -> torch.Tensor:
        seen.append((list(seeds), initial_noise((4, 8, 8), generators(seeds))))
        return sample(condition, seeds)

    sampler.latents = spy  # type: ignore[method-assign]
    rows = plan_pairs(suite, spec).rows[:2]
    winner, loser = sample_pairs(sampler, sampler.texts.many, rows, batch_size=4)
    ((seeds, noise),) = seen
    assert seeds == [image_seed(row.prompt, 0, 0) for row in rows] * 2
    assert torch.equal(noise[:2], noise[2:])
    assert not torch.equal(winner, loser)
    # with the winner's own prompt the loser would be the winner
    same = [replace(row, degraded=row.prompt) for row in rows]
    winner, loser = sample_pairs(sampler, sampler.texts.many, same, batch_size=4)
    assert torch.allclose(winner, loser, atol=1e-5)


def test_cached_embeddings_are_the_computed_ones(
    pairs: Artifact, suite: PromptSuite, spec: PairSpec, backbone: Backbone
) -> None:
    plan = plan_pairs(suite, spec)
    batch = PairsOnDisk(pairs).batch(range(PAIRS), CPU)
    for number, row in enumerate(plan.rows):
        for text, condition in ((row.prompt, batch.condition), (row.degraded, batch.degraded)):
            assert condition is not None
            expected = backbone.encode_prompts([text])
            assert condition.keys() == expected.keys()
            for name, tensor in expected.items():
                assert torch.equal(condition[name][number], tensor[0])
    rows = TextRows(pairs.path, plan.texts)([plan.texts[3], plan.texts[3]])
    assert torch.equal(rows["encoder_hidden_states"][0], rows["encoder_hidden_states"][1])


def test_each_distinct_text_is_encoded_once(
    store: Store,
    ref: CheckpointRef,
    suite: PromptSuite,
    spec: PairSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded: list[str] = []

    def spying(*args: Any, **options: Any) -> Any:
        backbone: Any = load_pipeline_backbone(*args, **options)
        encode = backbone.encode_prompts

        def encode_prompts(texts: list[str]) -> Any:
            encoded.extend(texts)
            return encode(texts)

        backbone.encode_prompts = encode_prompts
        return backbone

    monkeypatch.setattr(pairs_module, "load_pipeline_backbone", spying)
    plain = replace(spec, generation=replace(spec.generation, cfg_scale=1.0))
    build_pairs(store, ref, suite, plain, batch_size=14, device="cpu")
    assert sorted(encoded) == sorted(plan_pairs(suite, spec).texts)


def test_the_training_loop_can_read_it(pairs: Artifact, spec: PairSpec) -> None:
    source = PairsOnDisk(pairs)
    used: PairSource = source
    assert len(used) == PAIRS
    batch = used.batch([4, 0, 4], CPU)
    latents = read_safetensors(pairs.file("latents.safetensors"))
    assert batch.winner.dtype == torch.float32
    assert np.array_equal(batch.winner.numpy(), latents["winner"][[4, 0, 4]])
    assert np.array_equal(batch.loser.numpy(), latents["loser"][[4, 0, 4]])
    assert batch.index.tolist() == [4, 0, 4]
    assert torch.equal(
        batch.condition["encoder_hidden_states"][0], batch.condition["encoder_hidden_states"][2]
    )
    # only the rows of a batch are read
    assert _is_mapped(source._latents["winner"])
    assert _is_mapped(source._conditions["encoder_hidden_states"])
    batch.winner.zero_()  # a batch is a copy
    assert np.array_equal(source.batch([4], CPU).winner.numpy(), latents["winner"][[4]])
    assert batch.winner.data_ptr() % 64 == 0


def _is_mapped(array: Any) -> bool:
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


def test_controls(pairs: Artifact) -> None:
    plain = PairsOnDisk(pairs)
    same = PairsOnDisk(pairs, identity_degraded=True)
    batch = same.batch([0, 1], CPU)
    assert batch.degraded is batch.condition
    shuffled = PairsOnDisk(pairs, shuffle_seed=1).batch(range(PAIRS), CPU)
    ordered = plain.batch(range(PAIRS), CPU)
    swapped = [
        torch.equal(shuffled.winner[i], ordered.loser[i])
        and torch.equal(shuffled.loser[i], ordered.winner[i])
        for i in range(PAIRS)
    ]
    kept = [torch.equal(shuffled.winner[i], ordered.winner[i]) for i in range(PAIRS)]
    assert any(swapped)
    assert any(kept)
    assert all(a != b for a, b in zip(swapped, kept, strict=True))
    identities = [source.identity for source in (plain, same, PairsOnDisk(pairs, shuffle_seed=1))]
    assert len({str(identity) for identity in identities}) == 3
    assert identities[0]["pairs"] == pairs.content_sha256


@pytest.mark.parametrize("damage", ["cut", "flip", "texts"])
def test_a_killed_build_goes_on_and_ends_with_equal_bytes(
    store: Store,
    ref: CheckpointRef,
    suite: PromptSuite,
    spec: PairSpec,
    pairs: Artifact,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    def progress(done: int, total: int) -> None:
        assert total == PAIRS
        if done >= 6:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            build_pairs(store, ref, suite, spec, batch_size=4, device="cpu", progress=progress)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    (partial,) = (store.root / "pairs").glob("*.partial")
    first, second = sorted((partial / "parts").glob("latents-*"))
    kept = first.stat().st_mtime_ns
    victim = partial / "parts" / "texts-000000.safetensors" if damage == "texts" else second
    data = victim.read_bytes()
    # as after a power cut; or a changed number in a file that can still be read
    changed = data[:-10] if damage == "cut" else data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
    victim.write_bytes(changed)
    forwards: list[int] = []
    again = build_pairs(
        store,
        ref,
        suite,
        spec,
        batch_size=4,
        device="cpu",
        progress=lambda done, _: forwards.append(done if first.stat().st_mtime_ns == kept else -1),
    )
    assert forwards == [3, 6, 7]
    assert contents(again) == contents(pairs)
    assert again.manifest["resumed"]
    assert caplog.text.count("it is made again") == 1 and victim.name in caplog.text


def test_half_precision_is_stored_as_it_is(
    store: Store, ref: CheckpointRef, suite: PromptSuite, spec: PairSpec
) -> None:
    small = PromptSuite(name="s", version="1", prompts=suite.prompts[:2])
    for dtype, stored in (("float16", "float16"), ("bfloat16", "float32")):
        half = replace(spec, generation=replace(spec.generation, dtype=dtype, cfg_scale=1.0))
        artifact = build_pairs(store, ref, small, half, batch_size=4, device="cpu")
        for name in ("latents.safetensors", "texts.safetensors"):
            kinds = {a.dtype.name for a in read_safetensors(artifact.file(name)).values()}
            assert kinds == {stored}
        batch = PairsOnDisk(artifact).batch([1], CPU)
        assert batch.winner.dtype == batch.condition["encoder_hidden_states"].dtype
        assert batch.winner.dtype == torch.float32


def test_damage_is_found(
    store: Store, ref: CheckpointRef, suite: PromptSuite, spec: PairSpec
) -> None:
    small = PromptSuite(name="s", version="1", prompts=suite.prompts[:2])
    artifact = build_pairs(store, ref, small, spec, batch_size=4, device="cpu")
    file: Path = artifact.path / "latents.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 4
    file.write_bytes(data)
    with pytest.raises(CorruptArtifactError, match=r"latents\.safetensors was changed"):
        PairsOnDisk(artifact)
    with store.create("images", "x", {}) as work:
        work.write_json("a.json", 1)
    with pytest.raises(UsageError, match="of kind 'images'; expected 'pairs'"):
        PairsOnDisk(next(store.artifacts("images")))


def test_a_pair_needs_two_images_in_a_batch(
    store: Store, ref: CheckpointRef, suite: PromptSuite, spec: PairSpec
) -> None:
    with pytest.raises(UsageError, match="batch_size is 1; expected at least 2"):
        build_pairs(store, ref, suite, spec, batch_size=1)


def test_a_set_without_losers_samples_winners_alone(
    ref: CheckpointRef,
    suite: PromptSuite,
    spec: PairSpec,
    pairs: Artifact,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampled: list[int] = []
    latents = Sampler.latents

    def counted(self: Sampler, condition: Any, seeds: Any) -> torch.Tensor:
        sampled.append(len(seeds))
        return latents(self, condition, seeds)

    monkeypatch.setattr(Sampler, "latents", counted)
    alone = replace(spec, losers=False)
    artifact = build_pairs(store, ref, suite, alone, batch_size=4, device="cpu")
    assert sum(sampled) == PAIRS
    found = read_safetensors(artifact.file("latents.safetensors"))
    with_losers = read_safetensors(pairs.file("latents.safetensors"))
    assert set(found) == {"winner"}
    # the same noise and prompts; another batch rounds otherwise
    np.testing.assert_allclose(found["winner"], with_losers["winner"], rtol=0, atol=1e-4)
    assert artifact.read_json("spec.json") == {**spec.identity(), "losers": False}
    assert set(artifact.read_json("report.json")["latent_std"]) == {"winner"}
    batch = PairsOnDisk(artifact).batch([0, 1], CPU)
    assert batch.loser is None and batch.degraded is not None


def test_a_batch_that_does_not_fit_is_halved_once_and_that_is_said(
    ref: CheckpointRef,
    suite: PromptSuite,
    spec: PairSpec,
    store: Store,
    pairs: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    latents, asked = Sampler.latents, []

    def narrow(self: Sampler, condition: Any, seeds: Sequence[int], *more: Any) -> torch.Tensor:
        asked.append(len(seeds))
        if len(seeds) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return latents(self, condition, seeds, *more)

    monkeypatch.setattr(Sampler, "latents", narrow)
    found = build_pairs(store, ref, suite, spec, batch_size=6, device="cpu")
    assert asked[0] == 6 and set(asked[1:]) == {2}  # one pair at a time ever after
    assert caplog.text.count("the memory of cpu does not suffice") == 1
    before, after = (read_safetensors(a.file("latents.safetensors")) for a in (pairs, found))
    for side in ("winner", "loser"):
        np.testing.assert_allclose(after[side], before[side], atol=1e-4)
