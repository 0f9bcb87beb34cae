"""A small image set of the tiny world for `bench validate` to run an evaluator on."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from bench.api.errors import UsageError, did_you_mean
from bench.api.evaluator import Evaluator, Predictions
from bench.api.generation import ImageRecord, ImageSet, image_seed
from bench.api.prompts import PromptSuite
from bench.api.registry import BACKENDS
from bench.api.validate import EvaluatorSample
from bench.spec.profile import Profile, load_profile
from bench.tiny.graph_suites import dpg_tiny, oneig_tiny
from bench.tiny.plus_suites import compbench_plus_tiny
from bench.tiny.render import render
from bench.tiny.scenes import scene_for
from bench.tiny.suites import captions_tiny, compbench_tiny, geneval_tiny, meaning_of

PROMPTS = 24
IMAGES_PER_PROMPT = 2

_SUITES: dict[str, Callable[[str], PromptSuite]] = {
    "captions-tiny": captions_tiny,
    "geneval-tiny": geneval_tiny,
    "compbench-tiny": compbench_tiny,
    "compbench-plus-tiny": compbench_plus_tiny,
    "oneig-tiny": oneig_tiny,
    "dpg-tiny": dpg_tiny,
}
_SUITE_OF = {
    "geneval": "geneval-tiny",
    "t2i-compbench": "compbench-tiny",
    "t2i-compbench-plus": "compbench-plus-tiny",
    "oneig": "oneig-tiny",
    "dpg": "dpg-tiny",
}


def rendered_sample(
    evaluator: Evaluator, *, suite_name: str | None = None, profile: Profile | None = None
) -> EvaluatorSample:
    """Return pictures of 24 prompts, two each, as a profile's back-ends see them.

    Args:
        evaluator: says which back-ends look, and what they are asked.
        suite_name: a key of the tiny suites; by default what suits the evaluator's name.
        profile: says which back-end plays which role; None takes tiny.

    Raises:
        UsageError: a role has no back-end in the profile.
    """
    backends = (profile or load_profile("tiny")).of_evaluator(evaluator.spec.name).backends
    name = suite_name or _SUITE_OF.get(evaluator.spec.name, "captions-tiny")
    suite = _SUITES[name]("validation").limited(PROMPTS)
    with tempfile.TemporaryDirectory(prefix="bench-validate-") as folder:
        images = _rendered(suite, Path(folder) / "images", seed=0)
        reference = None
        if evaluator.spec.needs_reference:
            other = _rendered(suite, Path(folder) / "reference", seed=1)
            reference = _predictions(evaluator, other, backends)
        predictions = _predictions(evaluator, images, backends)
    return EvaluatorSample(
        suite=suite,
        images_per_prompt=IMAGES_PER_PROMPT,
        predictions=predictions,
        reference=reference,
    )


def _rendered(suite: PromptSuite, root: Path, *, seed: int) -> ImageSet:
    root.mkdir()
    records = []
    for prompt in suite:
        for ordinal in range(IMAGES_PER_PROMPT):
            key = image_seed(prompt.text, ordinal, seed)
            scene = scene_for(meaning_of(prompt), np.random.default_rng(key))
            path = f"{prompt.id}-{ordinal}.png"
            Image.fromarray(render(scene)).save(root / path)
            digest = hashlib.sha256((root / path).read_bytes()).hexdigest()
            records.append(
                ImageRecord(
                    prompt_id=prompt.id, ordinal=ordinal, path=path, sha256=digest, seed=key
                )
            )
    return ImageSet(
        root=root, suite=suite, images_per_prompt=IMAGES_PER_PROMPT, records=tuple(records)
    )


def _predictions(
    evaluator: Evaluator, images: ImageSet, backends: Mapping[str, str]
) -> dict[str, Predictions]:
    return {
        role: _predict(evaluator, role, images, backends)
        for role in evaluator.spec.backends
        if any(evaluator.wants(role, prompt) for prompt in images.suite)
    }


def _predict(
    evaluator: Evaluator, role: str, images: ImageSet, backends: Mapping[str, str]
) -> Predictions:
    if role not in backends:
        raise UsageError(
            f"no back-end plays the role {role!r} of {evaluator.spec.name}."
            f"{did_you_mean(role, backends)} Say which: --set backends.{role}=pkg.mod:Class, or a "
            "profile that has it."
        )
    backend = BACKENDS.load(backends[role])()
    wanted = {prompt.id for prompt in images.suite if evaluator.wants(role, prompt)}
    asked = ImageSet(
        root=images.root,
        suite=PromptSuite(
            name=images.suite.name,
            version=images.suite.version,
            prompts=tuple(prompt for prompt in images.suite if prompt.id in wanted),
        ),
        images_per_prompt=images.images_per_prompt,
        records=tuple(record for record in images.records if record.prompt_id in wanted),
    )
    queries = {prompt.id: evaluator.queries(role, prompt) for prompt in asked.suite}
    answers = list(backend.predict(asked, {p: q for p, q in queries.items() if q}))
    names = list(answers[0][1]) if answers else []
    return Predictions(
        records=[record for record, _ in answers],
        arrays={name: np.stack([arrays[name] for _, arrays in answers]) for name in names},
    )
