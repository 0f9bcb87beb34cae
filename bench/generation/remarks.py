"""What is said of images before they are sampled, and kept with them (`bench.store.remarks`)."""

from __future__ import annotations

from collections.abc import Iterator

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
    if token_counts(backbone, [spec.negative_prompt])[1][0] > limit:
        yield (
            f"the negative prompt is longer than the {limit} tokens that the text encoder reads; "
            "the rest is cut off"
        )
