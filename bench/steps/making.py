"""What the nodes of the graph do: from artifacts and a payload to one artifact.

Each function takes (store, node, runtime) and returns the artifact `node.id`. They run in worker
processes; heavy imports stay inside them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.api.errors import BenchError, IncompleteError
from bench.api.evaluator import Backend, Evaluator, Predictions
from bench.api.generation import ImageSet
from bench.api.memory import predict_within_memory
from bench.api.registry import BACKENDS, EVALUATORS
from bench.steps.graph import Node
from bench.store import (
    Artifact,
    Store,
    Work,
    nobody_makes,
    read_jsonl,
    write_jsonl,
    write_safetensors,
)
from bench.store import read_safetensors as read_arrays

if TYPE_CHECKING:
    import numpy as np

RECORDS = "records.jsonl"
METRICS = "metrics.json"
PREDICTIONS = "predictions.jsonl"
ARRAYS = "arrays.safetensors"

Progress = Callable[[int, int], None]
"""(done, all)."""


def _silent(_done: int, _total: int) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How the work is done; no number depends on it beyond float rounding.

    Attributes:
        device: `"cpu"`, `"cuda"`, or None to choose.
        generation_batch, prediction_batch: images per forward.
        progress: told how far the node is.
    """

    device: str | None = None
    generation_batch: int = 32
    prediction_batch: int = 32
    progress: Progress = _silent


def make_predictions(store: Store, node: Node, runtime: Runtime) -> Artifact:
    """Let a back-end look at an image set; files `predictions.jsonl`, `arrays.safetensors`.

    Raises:
        IncompleteError: an image is missing, naming it.
        CorruptArtifactError: an image's bytes were changed.
        PrerequisiteError: the back-end's weights are missing.
        BenchError: the back-end does not see what is on pictures of known content.
    """
    from bench.generation.image_set import open_image_set

    def make(work: Work) -> None:
        artifact = store.get(node.upstream["images"])
        images = open_image_set(artifact, verify=False)
        wanted = node.payload.get("prompts")
        if wanted is not None:
            images = _only(images, set(wanted))
        for image in images.records:
            artifact.file(image.path)
        backend: Backend = BACKENDS.load(node.payload["backend"])()
        backend.device = runtime.device
        backend.self_check()
        queries: Mapping[str, Sequence[str]] = node.payload["queries"]
        records: list[dict[str, Any]] = []
        arrays: dict[str, list[np.ndarray]] = {}
        predicted = predict_within_memory(
            backend, images, queries, batch_size=runtime.prediction_batch
        )
        for done, (record, named) in enumerate(predicted, start=1):
            records.append(dict(record))
            for name, array in named.items():
                arrays.setdefault(name, []).append(array)
            runtime.progress(done, len(images.records))
        _write_predictions(work, records, arrays, node.label)

    return store.build(
        node.kind, node.name, node.identity, make, upstream=node.upstream, device=runtime.device
    )


def _only(images: ImageSet, wanted: set[str]) -> ImageSet:
    prompts = tuple(p for p in images.suite if p.id in wanted)
    return replace(
        images,
        suite=replace(images.suite, prompts=prompts),
        records=tuple(r for r in images.records if r.prompt_id in wanted),
    )


def _write_predictions(
    work: Work,
    records: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, Sequence[np.ndarray]],
    label: str,
) -> None:
    import numpy as np

    lengths = {name: len(rows) for name, rows in arrays.items() if len(rows) != len(records)}
    if lengths:
        raise IncompleteError(
            f"{label}: arrays for some of the {len(records)} images only: {lengths}. A back-end "
            "must yield the same arrays with every image."
        )
    write_jsonl(work, PREDICTIONS, records)
    write_safetensors(work, ARRAYS, {name: np.stack(rows) for name, rows in arrays.items()})


def open_predictions(artifact: Artifact) -> Predictions:
    """Return what `make_predictions` stored, its bytes verified."""
    return Predictions(
        records=read_jsonl(artifact.file(PREDICTIONS)),
        arrays=read_arrays(artifact.file(ARRAYS)),
    )


def make_scores(store: Store, node: Node, runtime: Runtime) -> Artifact:
    """Score stored predictions; files `records.jsonl` and `metrics.json`.

    Raises:
        IncompleteError: an image lacks a prediction, naming it.
        BenchError: a value is NaN or infinite; it is never counted as 0.
    """
    from bench.generation.image_set import open_image_set

    def make(work: Work) -> None:
        suite = open_image_set(store.get(node.upstream["images"])).suite
        evaluator = make_evaluator(node.payload)
        predictions = {r: open_predictions(a) for r, a in _upstream(store, node, "predictions/")}
        reference = {r: open_predictions(a) for r, a in _upstream(store, node, "reference/")}
        try:
            records = [dict(record) for record in evaluator.score(suite, predictions)]
            metrics = evaluator.aggregate(records, predictions, reference or None)
        except ValueError as error:
            raise BenchError(f"{node.label}: {error}") from error
        write_jsonl(work, RECORDS, records)
        work.write_json(METRICS, {name: e.to_json() for name, e in metrics.items()})

    seeds = {what: node.payload.get(f"{what}_seed") for what in ("training", "noise")}
    return store.build(
        node.kind, node.name, node.identity, make, upstream=node.upstream, seeds=seeds
    )


def _upstream(store: Store, node: Node, prefix: str) -> Iterator[tuple[str, Artifact]]:
    for role, key in node.upstream.items():
        if role.startswith(prefix):
            yield role.removeprefix(prefix), store.get(key)


def make_evaluator(payload: Mapping[str, Any]) -> Evaluator:
    """Return the evaluator a payload names, with its settings (UsageError when it is unknown)."""
    return EVALUATORS.load(payload["evaluator"])(**payload.get("settings", {}))


def make_data(store: Store, node: Node, runtime: Runtime) -> Artifact:
    """Make a pair set; see `bench.data.kinds.PairKind` for what is raised."""
    from bench.data.kinds import kind_module
    from bench.generation.checkpoint import CheckpointRef

    payload = node.payload
    return kind_module(payload["kind"]).build(
        store,
        CheckpointRef.from_json(payload["checkpoint"]),
        payload["settings"],
        name=node.name,
        batch_size=runtime.generation_batch,
        device=runtime.device,
        progress=runtime.progress,
    )


def make_images(store: Store, node: Node, runtime: Runtime) -> Artifact:
    """Sample an image set; see `bench.generation.generate_image_set` for what is raised."""
    from bench.generation.checkpoint import CheckpointRef
    from bench.generation.generate import generate_image_set
    from bench.generation.image_set import read_spec, read_suite

    payload = node.payload
    return generate_image_set(
        store,
        CheckpointRef.from_json(payload["checkpoint"]),
        read_suite(payload["suite"]),
        read_spec(payload["spec"]),
        payload["images_per_prompt"],
        payload["noise_seed"],
        name=node.name,
        batch_size=runtime.generation_batch,
        device=runtime.device,
        progress=runtime.progress,
    )


def make_renders(store: Store, node: Node, runtime: Runtime) -> Artifact:
    """Render an image set with the profile's renderer."""
    from bench.generation.checkpoint import CheckpointRef
    from bench.generation.image_set import read_suite

    payload = node.payload
    renderer = importlib.import_module(payload["renderer"])
    through = payload["through_vae"]
    artifact: Artifact = renderer.render_image_set(
        store,
        read_suite(payload["suite"]),
        payload["images_per_prompt"],
        seed=payload["noise_seed"],
        quality=payload["quality"],
        through_vae=None if through is None else CheckpointRef.from_json(through),
        name=node.name,
        device=runtime.device,
        progress=runtime.progress,
    )
    return artifact


def make_training(store: Store, node: Node, runtime: Runtime) -> Artifact:
    """Train a method on a pair set; exports under `exports/`, metrics in `metrics.jsonl`.

    Raises:
        DivergedError: a NaN or an infinity; the last good checkpoint stays.
        PrerequisiteError, UsageError: as `bench.training.runner.train`.
    """
    from bench.data.pairing import open_pairs
    from bench.generation.checkpoint import (
        CheckpointRef,
        load_pipeline_backbone,
        weights_folder,
    )
    from bench.generation.weights import content_hash
    from bench.spec.methods import stage_method
    from bench.training.config import TrainConfig
    from bench.training.runner import train

    def make(work: Work) -> None:
        payload = node.payload
        method = stage_method(payload["method"], payload["settings"], payload.get("stage"))
        config = TrainConfig.from_json(payload["train"])
        base = CheckpointRef.from_json(payload["checkpoint"])
        backbone = load_pipeline_backbone(base, store, device=runtime.device)
        start: Mapping[str, Any] | None = payload.get("start")
        start_from = None
        if start is not None:
            start_from = weights_folder(CheckpointRef.from_json(start), store)
        pairs = store.get(node.upstream["pairs"])
        source = open_pairs(pairs, method.needs.pairing, **payload["control"])
        suppliers = {
            name: load_pipeline_backbone(
                CheckpointRef.from_json(ref), store, device=runtime.device
            ).denoiser
            for name, ref in payload.get("suppliers", {}).items()
        }
        result = train(
            method,
            backbone,
            source,
            config,
            work_dir=work.path,
            start_from=start_from,
            suppliers=suppliers,
            progress=lambda done, total, _row: runtime.progress(done, total),
        )
        work.note("steps", result.steps)
        work.note("seconds", result.seconds)
        work.note("peak_memory_mb", result.peak_memory_mb)
        work.note("backbone", base.to_json())
        if start is not None and start_from is not None:
            work.note("start", {**start, "content_sha256": content_hash(start_from)})

    return store.build(
        node.kind,
        node.name,
        node.identity,
        make,
        upstream=node.upstream,
        seeds={"training": node.payload["train"]["seed"]},
        config=node.payload["train"],
        device=runtime.device,
        exclude=("checkpoints/*",),
    )


def made_before(store: Store, node: Node, runtime: Runtime) -> Artifact:
    """Return an artifact that was in the store when the graph was made.

    Raises:
        UsageError: it is gone.
        PrerequisiteError: it is damaged, and nothing here makes it.
    """
    artifact = store.get(node.id)
    fault = artifact.fault()
    if fault is not None:
        raise nobody_makes(artifact.path, fault)
    return artifact
