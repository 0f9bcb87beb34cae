"""Two systems' images as one set of pairs: what judges and voters look at."""

from __future__ import annotations

from dataclasses import replace

from bench.api.errors import ProtocolError, UsageError
from bench.api.generation import ImageRecord, ImageSet
from bench.api.prompts import Prompt, PromptSuite
from bench.generation.image_set import open_image_set
from bench.steps.imported import import_images
from bench.store import Artifact, Store


def pair_set(
    store: Store,
    candidate: Artifact,
    other: Artifact,
    *,
    per_prompt: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Artifact:
    """Return the image set whose prompts are pairs: image 0 the candidate's, image 1 the other's.

    Args:
        store: where all three are.
        candidate, other: image sets of the same prompts.
        per_prompt: only the first so many images of each prompt; None takes all.
        limit: about so many prompts, by strata as `PromptSuite.limited`; None takes all.
        seed: of that choice.

    Raises:
        ProtocolError: they are of unlike prompts, or of unlike numbers of images.
        UsageError: both are the same set, or `per_prompt` is out of range.
        IncompleteError, CorruptArtifactError: as `open_image_set`.
    """
    if candidate.id == other.id:
        raise UsageError(f"both sides are {candidate.id}; expected two systems' images.")
    first, second = open_image_set(candidate), open_image_set(other)
    _require_alike(first, second)
    count = first.images_per_prompt if per_prompt is None else per_prompt
    if not 1 <= count <= first.images_per_prompt:
        raise UsageError(f"--per-prompt {count}; each prompt has {first.images_per_prompt} images.")
    suite = first.suite.limited(limit, seed)
    sides = [{(r.prompt_id, r.ordinal): r for r in images.records} for images in (first, second)]
    prompts, records = [], []
    for prompt in suite:
        for ordinal in prompt.ordinals(count):
            pair = f"{prompt.id}#{ordinal}"
            meta = {**prompt.meta, "pair": {"prompt_id": prompt.id, "ordinal": ordinal}}
            prompts.append(Prompt(id=pair, text=prompt.text, tag=prompt.tag, meta=meta))
            for side, (images, known) in enumerate(zip((first, second), sides, strict=True)):
                record = known[prompt.id, ordinal]
                records.append(
                    ImageRecord(
                        prompt_id=pair,
                        ordinal=side,
                        path=(images.root / record.path).relative_to(store.root).as_posix(),
                        sha256=record.sha256,
                        seed=record.seed,
                    )
                )
    whole = PromptSuite(
        name=f"{suite.name}.pairs",
        version=suite.version,
        prompts=tuple(prompts),
        licence=suite.licence,
    )
    pairs = ImageSet(root=store.root, suite=whole, images_per_prompt=2, records=tuple(records))
    return import_images(store, pairs)


def _require_alike(first: ImageSet, second: ImageSet) -> None:
    one, other = (
        (replace(p, meta={}) for p in first.suite),
        (replace(p, meta={}) for p in second.suite),
    )
    texts = [{p.id: p.text for p in side} for side in (one, other)]
    unlike = sorted(
        pid for pid in texts[0].keys() | texts[1].keys() if texts[0].get(pid) != texts[1].get(pid)
    )
    if unlike:
        raise ProtocolError(
            f"the two sides are of unlike prompts: {len(unlike)} of {len(texts[0])} differ, e.g. "
            f"{unlike[:3]} ({texts[0].get(unlike[0])!r} and {texts[1].get(unlike[0])!r}). Sample "
            "both from the same suite."
        )
    if first.images_per_prompt != second.images_per_prompt:
        raise ProtocolError(
            f"{first.images_per_prompt} images per prompt on one side, "
            f"{second.images_per_prompt} on the other; a pair needs one of each"
        )
