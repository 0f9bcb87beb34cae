"""What is said of images before they are sampled, and kept with them (`bench.store.remarks`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from bench.api.generation import GenerationSpec
from bench.api.prompts import PromptSuite
from bench.backbones.base import Backbone
from bench.backbones.lengths import token_counts
from bench.backbones.lora_files import find_lora, lora_facts
from bench.generation.checkpoint import CheckpointRef, weights_folder
from bench.read.folders import few
from bench.store import Store


def image_remarks(
    backbone: Backbone,
    checkpoint: CheckpointRef,
    suite: PromptSuite,
    spec: GenerationSpec,
    store: Store,
) -> list[str]:
    """Return what a reader of the numbers would not see in them.

    Args:
        backbone: the checkpoint, loaded.
        checkpoint: the same, by name.
        suite: the prompts.
        spec: the settings.
        store: where trainings are.
    """
    return [*_of_weights(checkpoint, store), *_of_texts(backbone, suite, spec)]


def _of_weights(checkpoint: CheckpointRef, store: Store) -> Iterator[str]:
    if checkpoint.kind != "train" and checkpoint.base is None:
        return
    found = find_lora(weights_folder(checkpoint, store))
    if found is not None and lora_facts(found).changes_nothing():
        name = checkpoint.location.rpartition("/")[2]
        yield (
            f"{name} is a LoRA that changes nothing: in each of its layers a matrix or alpha is 0. "
            "Its images are those of what it was put onto"
        )


def _of_texts(backbone: Backbone, suite: PromptSuite, spec: GenerationSpec) -> Iterator[str]:
    prompts = list(suite)
    limit, counts = token_counts(backbone, [prompt.text for prompt in prompts])
    if limit is None:
        return
    cut = [p.id for p, count in zip(prompts, counts, strict=True) if count > limit]
    if cut:
        yield (
            f"{suite.name}: {len(cut)} of {len(prompts)} prompts are longer than the {limit} "
            "tokens that the text encoder reads, start and end among them; the rest is cut off "
            f"({few(cut)})"
        )
    yield from _cut_by_some(backbone, suite, cut)
    if token_counts(backbone, [spec.negative_prompt])[1][0] > limit:
        yield (
            f"the negative prompt is longer than the {limit} tokens that the text encoder reads; "
            "the rest is cut off"
        )


def _cut_by_some(backbone: Backbone, suite: PromptSuite, cut: Collection[str]) -> Iterator[str]:
    """Yield a remark on prompts of which one of several text encoders reads a part alone.

    A family with such encoders says so by a method `shorter_counts(texts)`: how many tokens the
    shortest reads, and how many each text has.

    Args:
        backbone: the checkpoint.
        suite: the prompts.
        cut: ids of those that no encoder reads whole.
    """
    counting: Any = getattr(backbone, "shorter_counts", None)
    prompts = list(suite)
    found = None if counting is None else counting([prompt.text for prompt in prompts])
    if found is None:
        return
    limit, counts = found
    some = [p.id for p, n in zip(prompts, counts, strict=True) if n > limit and p.id not in cut]
    if some:
        yield (
            f"{suite.name}: {len(some)} of {len(prompts)} prompts are longer than the {limit} "
            "tokens that CLIP's text encoders read; what is behind them is read by T5 alone, and "
            f"not by the pooled vector ({few(some)})"
        )
