"""A checkpoint that is changed while a step is made: nothing is published under what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.executors.worker import make_step
from bench.generation.held import WeightsChangedError
from bench.spec.profile import load_profile
from bench.spec.table import RowSpec
from bench.steps.builder import GraphBuilder
from bench.steps.data import PairStep, add_pairs
from bench.steps.graph import Graph
from bench.steps.images import ImageStep, add_images
from bench.steps.step import Runtime, Step, step_from_json, step_to_json
from bench.steps.training import TrainingStep, add_training
from bench.store import Store
from tests.steps.toys import captions_micro, save_checkpoint, write_profile


def builder(folder: Path) -> tuple[GraphBuilder, Path]:
    checkpoint = save_checkpoint(folder / "checkpoint")
    profile = load_profile(str(write_profile(folder, checkpoint)))
    made = GraphBuilder(profile=profile, store=Store(folder / "store"), graph=Graph())
    (file,) = (checkpoint / "unet").glob("*.safetensors")
    return made, file


def sent(graph: Graph, key: str) -> Step:
    """Return a step as a worker process gets it."""
    return step_from_json(step_to_json(graph[key]))


def test_images_pairs_and_trainings_of_weights_that_were_swapped_are_not_published(
    tmp_path: Path,
) -> None:
    source, file = builder(tmp_path)
    store, original = source.store, file.read_bytes()
    protocol = source.profile.protocols["micro"]["fid"]
    images = add_images(
        source, source.base(), protocol=protocol, suite=captions_micro(), noise_seed=0
    )
    row = RowSpec(key="ddspo", label="ddspo", method="ddspo")
    keys = {
        PairStep: add_pairs(source),
        ImageStep: images,
        TrainingStep: add_training(source, row, 0),
    }

    def swap(_done: int, _total: int) -> None:
        file.write_bytes(original[:-1] + bytes([original[-1] ^ 0x80]))

    for kind, key in keys.items():
        node = sent(source.graph, key)
        assert isinstance(node, kind)
        with pytest.raises(WeightsChangedError, match=r"checkpoint were changed .*\n.*the same"):
            make_step(node, store, Runtime(device="cpu", generation_batch=4, progress=swap))
        with pytest.raises(WeightsChangedError):  # at once, before any work
            make_step(node, store, Runtime(device="cpu"))
        assert not (store.root / node.id).exists()
        assert not list((store.root / node.kind).glob("*.partial"))
        file.write_bytes(original)
        make_step(node, store, Runtime(device="cpu", generation_batch=4))
        assert store.get(node.id).fault() is None
