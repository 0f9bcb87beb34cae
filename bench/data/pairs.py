"""Prompts and a reference checkpoint in, preference pairs out.

    prompt c --perturbation--> degraded prompt c⁻
    reference(c, seed) -> winner latents        reference(c⁻, same seed) -> loser latents

What an artifact of kind `"pairs"` holds:

    latents.safetensors   winner, loser (N, C, h, w), as the pipeline leaves them: already scaled;
                          winner alone where the settings leave losers out
    texts.safetensors     a condition's tensors (U, ...), one row per distinct text; or
                          encoder.json, what makes them (see `bench.data.texts`)
    texts.jsonl           those texts
    pairs.jsonl           one row per pair: id, prompt, degraded prompt, seed
    report.json           see `bench.data.report`
    suite.json, spec.json the prompts and the settings

Pairs are made in parts of fixed length, and an interrupted attempt goes on with the part it was
at, in the same batches: the result is equal to an uninterrupted one to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial

import torch
from torch import Tensor

from bench.api.errors import UsageError
from bench.api.memory import Fitting
from bench.api.prompts import PromptSuite
from bench.backbones.base import Backbone
from bench.data.parts import Parts, join_parts
from bench.data.report import pair_report
from bench.data.shards import LIST_FILE, SCRATCH, adopt, numbers_of
from bench.data.spec import (
    KIND,
    TEXTS_AUTO,
    PairPlan,
    PairRow,
    PairSpec,
    distinct,
    long_enough,
    pair_set_identity,
    pair_set_name,
    plan_pairs,
)
from bench.data.texts import Conditions, settle_texts, stored
from bench.generation.checkpoint import (
    CheckpointRef,
    device_name,
    load_pipeline_backbone,
    pick_device,
)
from bench.generation.image_set import suite_json
from bench.generation.sample import Sampler, default_batch_size
from bench.store import Artifact, Store, Work, read_safetensors, write_jsonl, write_safetensors
from bench.store.shards import finished_shards, shard_identity, shard_name

Progress = Callable[[int, int], None]
"""(pairs done, pairs in all)."""

LATENTS_FILE = "latents.safetensors"
TEXT_LIST_FILE, ROWS_FILE = "texts.jsonl", "pairs.jsonl"
REPORT_FILE, SUITE_FILE, SPEC_FILE = "report.json", "suite.json", "spec.json"
PAIRS_PER_PART = 32


def build_pairs(
    store: Store,
    reference: CheckpointRef,
    suite: PromptSuite,
    spec: PairSpec,
    *,
    name: str | None = None,
    shards: int = 1,
    shard: int | None = None,
    texts_are: str = TEXTS_AUTO,
    batch_size: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Artifact:
    """Return the artifact of a pair set, making what is missing of it.

    Args:
        store: where it goes.
        reference: what winners and losers are sampled from.
        suite: the prompts.
        spec: the settings.
        name: of the artifact.
        shards, shard: make one of so many shares of the latents alone, an artifact of its own that
            is no pair set; None makes the whole, from the shares that are there, and removes those.
        texts_are: whether embeddings of texts are stored, see `bench.data.spec.TEXTS`.
        batch_size: images sampled at once; by default decided by their size.
        device: see `bench.generation.checkpoint.pick_device`.
        progress: called after each part.

    Raises:
        PrerequisiteError: the checkpoint is not on this machine.
        UsageError: no prompt is long enough, or a setting does not fit.
        BenchError: a latent is NaN.
        StoreError: the disk fails.
    """
    of = pair_set_identity(store, reference, suite, spec)
    title = name or pair_set_name(reference, suite, spec)
    own = title if shard is None else shard_name(title)
    identity = of if shard is None else shard_identity(of, shard, shards)
    found = store.find(KIND, own, identity)
    if found is not None:
        return found
    texts = [prompt.text for prompt in long_enough(suite, spec)]
    pick = spec.rule().prepare(
        store, texts, spec.perturbation_options, seed=spec.seed, device=device
    )
    plan = plan_pairs(suite, spec, pick)
    size = batch_size or default_batch_size(spec.generation)
    if size < 2 and spec.losers:
        raise UsageError(f"batch_size is {size}; expected at least 2, a winner and its loser.")
    device = pick_device(device)

    settle = partial(
        settle_texts, choice=texts_are, checkpoint=reference, dtype=spec.generation.dtype
    )

    def make(work: Work) -> None:
        backbone = load_pipeline_backbone(
            reference, store, dtype=spec.generation.dtype, device=device
        )
        work.write_json(SUITE_FILE, suite_json(suite))
        work.write_json(SPEC_FILE, spec.identity())
        write_jsonl(work, ROWS_FILE, (asdict(row) for row in plan.rows))
        write_jsonl(work, TEXT_LIST_FILE, ({"text": text} for text in plan.texts))
        conditions = settle(work, backbone, plan.texts)
        adopt(work, finished_shards(store, KIND, title, of))
        _write_latents(work, backbone, plan, spec, size, conditions, progress)
        work.write_json(REPORT_FILE, _report(work, backbone, plan, conditions))

    def make_shard(work: Work) -> None:
        backbone = load_pipeline_backbone(
            reference, store, dtype=spec.generation.dtype, device=device
        )
        numbers = numbers_of(math.ceil(len(plan.rows) / PAIRS_PER_PART), shard, shards)
        work.write_json(LIST_FILE, {"parts": list(numbers)})
        mine = [row for number in numbers for row in part_of(plan.rows, number)]
        texts = distinct(text for row in mine for text in (row.prompt, row.degraded))
        if texts:
            conditions = settle(work, backbone, texts)
            _sample(work, backbone, plan, spec, size, conditions, numbers, progress)

    return store.build(
        KIND,
        own,
        identity,
        make if shard is None else make_shard,
        upstream={"reference": reference.location} if reference.kind == "train" else None,
        seeds={"pairs": spec.seed},
        config={"reference": reference.to_json(), "spec": spec.identity()},
        device=device_name(device),
        exclude=("parts/*",) if shard is None else SCRATCH,
    )


def part_of(rows: Sequence[PairRow], number: int) -> Sequence[PairRow]:
    """Return the rows of a part."""
    return rows[number * PAIRS_PER_PART : (number + 1) * PAIRS_PER_PART]


def _write_latents(
    work: Work,
    backbone: Backbone,
    plan: PairPlan,
    spec: PairSpec,
    batch_size: int,
    conditions: Conditions,
    progress: Progress | None,
) -> None:
    """Sample winners and losers, where no share of the work has, and write them."""
    count = math.ceil(len(plan.rows) / PAIRS_PER_PART)
    _sample(work, backbone, plan, spec, batch_size, conditions, range(count), progress)
    join_parts(work, LATENTS_FILE, Parts(work, "latents").paths(count))


def _sample(
    work: Work,
    backbone: Backbone,
    plan: PairPlan,
    spec: PairSpec,
    batch_size: int,
    conditions: Conditions,
    numbers: Sequence[int],
    progress: Progress | None,
) -> None:
    """Sample the parts of those `numbers` that are not there, under those `conditions`."""
    sampler = Sampler(backbone, spec.generation)
    # a family that trains on other conditions than it samples with (SD3) encodes texts anew
    if hasattr(backbone, "encode_train"):
        conditions = sampler.texts.many
    fitting = Fitting("pairs", str(backbone.device))
    parts = Parts(work, "latents")
    done, total = 0, sum(len(part_of(plan.rows, number)) for number in numbers)
    for number in numbers:
        rows = part_of(plan.rows, number)
        if parts.read(number, len(rows)) is None:
            if spec.losers:
                winner, loser = sample_pairs(sampler, conditions, rows, batch_size, fitting)
                latents = {"winner": stored(winner), "loser": stored(loser)}
            else:
                winner = sample_winners(sampler, conditions, rows, batch_size, fitting)
                latents = {"winner": stored(winner)}
            write_safetensors(work, parts.name(number), latents)
            parts.seal(number)
        done += len(rows)
        if progress:
            progress(done, total)


def sample_pairs(
    sampler: Sampler,
    conditions: Callable[[Sequence[str]], Mapping[str, Tensor]],
    rows: Sequence[PairRow],
    batch_size: int,
    fitting: Fitting | None = None,
) -> tuple[Tensor, Tensor]:
    """Return winners and losers (N, C, h, w); the two of a pair start from the same noise.

    Args:
        sampler: the reference with its settings.
        conditions: texts -> their condition.
        rows: N pairs.
        batch_size: images sampled at once; half of them are losers.
        fitting: remembers what fits into memory; a new one where None.
    """

    def both(some: Sequence[PairRow]) -> tuple[Tensor, Tensor]:
        texts = [row.prompt for row in some] + [row.degraded for row in some]
        latents = sampler.latents(conditions(texts), [row.seed for row in some] * 2)
        return latents[: len(some)], latents[len(some) :]

    fitting = fitting or Fitting("pairs", str(sampler.backbone.device))
    made = []
    for start in range(0, len(rows), batch_size // 2):
        made += fitting(both, rows[start : start + batch_size // 2])
    winners, losers = zip(*made, strict=True)
    return torch.cat(winners), torch.cat(losers)


def sample_winners(
    sampler: Sampler,
    conditions: Callable[[Sequence[str]], Mapping[str, Tensor]],
    rows: Sequence[PairRow],
    batch_size: int,
    fitting: Fitting | None = None,
) -> Tensor:
    """Return winners (N, C, h, w) alone, each from the noise it has in `sample_pairs`."""

    def winners(some: Sequence[PairRow]) -> Tensor:
        texts = conditions([row.prompt for row in some])
        return sampler.latents(texts, [row.seed for row in some])

    fitting = fitting or Fitting("winners", str(sampler.backbone.device))
    made = []
    for start in range(0, len(rows), batch_size):
        made += fitting(winners, rows[start : start + batch_size])
    return torch.cat(made)


def _report(
    work: Work, backbone: Backbone, plan: PairPlan, conditions: Conditions
) -> dict[str, object]:
    latents = read_safetensors(work.path / LATENTS_FILE)
    return pair_report(
        plan,
        backbone,
        winner=latents["winner"],
        loser=latents.get("loser"),
        conditions=conditions,
    )
