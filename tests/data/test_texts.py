"""Embeddings of texts: stored, or made when a set is read, with the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.api import PromptSuite, UsageError
from bench.cli import main
from bench.data.on_disk import PairsOnDisk
from bench.data.pairing import open_pairs
from bench.data.pairs import build_pairs
from bench.data.spec import PairSpec, texts_fit
from bench.data.texts import conditions_of
from bench.generation.checkpoint import CheckpointRef
from bench.store import Store
from bench.training.randomness import Sample
from bench.training.source import PairSource, Visits, read_visits
from tests.data.conftest import PAIRS
from tests.steps.toys import save_checkpoint, write_profile

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_set_without_embeddings_reads_as_one_with_them(
    store: Store, ref: CheckpointRef, suite: PromptSuite, spec: PairSpec, tmp_path: Path, dtype: str
) -> None:
    spec = replace(spec, generation=replace(spec.generation, dtype=dtype))
    kept = build_pairs(store, ref, suite, spec, device="cpu")
    other = Store(tmp_path / "other")
    light = build_pairs(other, ref, suite, spec, texts_are="encoded", device="cpu")
    assert kept.id == light.id
    assert set(kept.files) - set(light.files) == {"texts.safetensors"}
    assert set(light.files) - set(kept.files) == {"encoder.json"}
    for name in set(kept.files) & set(light.files):
        assert (kept.path / name).read_bytes() == (light.path / name).read_bytes(), name

    assert conditions_of(kept, store, device="cpu") is None
    encode = conditions_of(light, other, device="cpu")
    with pytest.raises(UsageError, match="stores no embeddings of its texts: open it with"):
        PairsOnDisk(light)
    for pairing in ("own", "rand-positive"):
        one = open_pairs(kept, pairing)
        two = open_pairs(light, pairing, encode=encode)
        same_batches(one, two)


def same_batches(one: PairSource, two: PairSource) -> None:
    samples = tuple(Sample(index, 0) for index in (0, PAIRS - 1, 1, 0))
    visits = Visits(seed=3, step=1, samples=samples)
    left, right = (read_visits(source, visits, CPU) for source in (one, two))
    for part in ("condition", "degraded"):
        tensors, others = getattr(left, part), getattr(right, part)
        assert tensors.keys() == others.keys()
        for name, tensor in tensors.items():
            assert tensor.dtype == others[name].dtype == torch.float32
            assert torch.equal(tensor, others[name])


def test_they_are_stored_where_they_are_small() -> None:
    assert texts_fit("auto", 4_000_000_000) and not texts_fit("auto", 4_000_000_001)
    assert texts_fit("stored", 10**15) and not texts_fit("encoded", 1)
    with pytest.raises(UsageError, match=r"unknown texts 'enncoded'.*encoded"):
        texts_fit("enncoded", 1)


def test_a_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    """Through the command line."""
    profile = write_profile(tmp_path, save_checkpoint(tmp_path / "checkpoint"))
    left = []
    for name, more in (("stored", []), ("encoded", ["--set", "pairs.texts=encoded"])):
        words = ["train", "ddspo", "--profile", str(profile), "--store", str(tmp_path / name)]
        assert main([*words, "--jobs", "1", *more]) == 0
        (pairs,) = Store(tmp_path / name).artifacts("pairs")
        assert ("encoder.json" in pairs.files) == (name == "encoded")
        (trained,) = Store(tmp_path / name).artifacts("train")
        files = trained.manifest["files"]
        left.append({n: e["sha256"] for n, e in files.items() if n.startswith("exports/")})
    assert left[0] == left[1] and left[0]
