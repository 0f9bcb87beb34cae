"""Small image sets of the tiny world, for evaluators and back-ends to be run on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from bench.api.declared import roles_of
from bench.api.errors import UsageError, did_you_mean
from bench.api.evaluator import Evaluator, Predictions
from bench.api.files import file_hash
from bench.api.generation import ImageRecord, ImageSet, image_seed
from bench.api.prompts import PromptSuite
from bench.api.registry import BACKENDS, DEFAULT_PROFILE, EVALUATORS, Entry
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


@dataclass(frozen=True, kw_only=True)
class EvaluatorSample:
    """A small complete image set as an evaluator sees it.

    Attributes:
        suite: a few prompts of a kind the evaluator understands.
        images_per_prompt: ordinals run from 0 to this less one.
        predictions: by role, one record for each image.
        reference: the same of a reference image set, for evaluators that need one.
    """

    suite: PromptSuite
    images_per_prompt: int
    predictions: Mapping[str, Predictions]
    reference: Mapping[str, Predictions] | None = None


def rendered_images(root: Path, roles: Sequence[str] = ()) -> ImageSet:
    """Return pictures of 24 prompts of a suite that back-ends of the roles look at.

    Two of each, and four of the first.
    """
    name = next((_SUITE_OF[e.name] for e in _askers(roles) if e.name in _SUITE_OF), None)
    return _rendered(_suite(name or "captions-tiny"), root, seed=0)


def questions_of(suite: PromptSuite, roles: Sequence[str] = ()) -> dict[str, Sequence[str]]:
    """Return what is asked of the prompts' images by role; the prompt itself where nobody asks."""
    for entry in _askers(roles):
        evaluator = EVALUATORS.load(entry.name)()
        role = next(role for role in roles if role in evaluator.spec.backends)
        return {p.id: texts for p in suite if (texts := evaluator.queries(role, p))}
    return {prompt.id: (prompt.text,) for prompt in suite}


def _askers(roles: Sequence[str]) -> list[Entry]:
    """Return the evaluators that have one of the roles; those that bring a suite come first."""
    found = [e for e in EVALUATORS.entries().values() if {*roles} & {*roles_of(e)}]
    return sorted(found, key=lambda entry: entry.name not in _SUITE_OF)


def rendered_sample(
    evaluator: Evaluator, *, suite_name: str | None = None, profile: Profile | None = None
) -> EvaluatorSample:
    """Return pictures of 24 prompts as a profile's back-ends see them: two each, four of the first.

    Args:
        evaluator: says which back-ends look, and what they are asked.
        suite_name: a key of the tiny suites; by default what suits the evaluator's name.
        profile: says which back-end plays which role; None takes tiny.

    Raises:
        UsageError: a role has no back-end in the profile.
    """
    backends = (profile or load_profile(DEFAULT_PROFILE)).of_evaluator(evaluator.spec.name).backends
    name = suite_name or _SUITE_OF.get(evaluator.spec.name, "captions-tiny")
    suite = _suite(name)
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


def _suite(name: str) -> PromptSuite:
    """Return 24 prompts, the first of them asked twice: nothing may count on like numbers."""
    suite = _SUITES[name]("validation").limited(PROMPTS)
    first, *others = suite.prompts
    return replace(suite, prompts=(replace(first, times=2), *others))


def _rendered(suite: PromptSuite, root: Path, *, seed: int) -> ImageSet:
    root.mkdir()
    records = []
    for prompt in suite:
        for ordinal in prompt.ordinals(IMAGES_PER_PROMPT):
            key = image_seed(prompt.text, ordinal, seed)
            scene = scene_for(meaning_of(prompt), np.random.default_rng(key))
            path = f"{prompt.id}-{ordinal}.png"
            Image.fromarray(render(scene)).save(root / path)
            digest = file_hash(root / path)
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
