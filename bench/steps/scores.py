"""The lower half of the graph: image set -> predictions by role -> scores. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import lru_cache
from typing import Any

from bench.api.errors import PrerequisiteError
from bench.api.evaluator import Evaluator
from bench.api.prompts import PromptSuite
from bench.api.registry import BACKENDS, EVALUATORS
from bench.spec.profile import Profile
from bench.steps.graph import Graph, Node
from bench.steps.images import ImageSource, NotExpressibleError
from bench.store import canonical_json, code_identity, plugin_code, source_of

SCORES_VERSION = 1
"""Bumped when predictions or scores are stored or combined in another way."""


def needed_roles(
    evaluator: Evaluator, suite: PromptSuite, profile: Profile
) -> dict[str, tuple[str, ...]]:
    """Return, by role the evaluator needs on this suite, the ids of the prompts it looks at.

    Raises:
        NotExpressibleError: the profile has no back-end for a role, or one that cannot serve the
            evaluator as it is on this machine.
    """
    found = {}
    profile = profile.of_evaluator(evaluator.spec.name)
    for role in evaluator.spec.backends:
        wanted = tuple(p.id for p in suite if evaluator.wants(role, p))
        if not wanted:
            continue
        if role not in profile.backends:
            raise NotExpressibleError(
                f"profile {profile.name} has no back-end for the role {role!r}"
            )
        if reason := _unfit(profile.backends[role], evaluator.spec.name):
            raise NotExpressibleError(reason)
        found[role] = wanted
    return found


def scores_node(
    graph: Graph,
    profile: Profile,
    name: str,
    evaluator: Evaluator,
    *,
    images: str,
    suite: PromptSuite,
    roles: Mapping[str, tuple[str, ...]],
    backends: Mapping[str, Mapping[str, Any]],
    reference: str | None = None,
    reference_predictions: Mapping[str, str] | None = None,
) -> str:
    """Add the scores of an image set, with the predictions they need, and return their id.

    Args:
        graph: where nodes go.
        profile: which back-end plays which role.
        name: the evaluator's registry name or path.
        evaluator: the same, loaded.
        images: id of the image set's node.
        suite: its prompts.
        roles: as `needed_roles` returned.
        backends: as `backend_identities` returned.
        reference: id of the reference image set's node.
        reference_predictions: in its place, ids of nodes that hold its predictions, by role.
    """
    upstream = {"images": images}
    profile = profile.of_evaluator(evaluator.spec.name)
    for role, wanted in roles.items():
        looked_at = set(wanted)
        asked = {
            prompt.id: texts
            for prompt in suite
            if prompt.id in looked_at and (texts := list(evaluator.queries(role, prompt)))
        }
        prompts = None if len(wanted) == len(suite) else wanted
        upstream[f"predictions/{role}"] = _predictions(
            graph,
            profile,
            role,
            images,
            asked,
            prompts,
            backend=backends[role],
            share=len(wanted) / len(suite),
        )
    if reference is not None:
        for role in roles:
            key = _predictions(graph, profile, role, reference, {}, None, backend=backends[role])
            upstream[f"reference/{role}"] = key
    for role, key in (reference_predictions or {}).items():
        upstream[f"reference/{role}"] = key
    return scores_of(graph, name, evaluator, upstream)


def scores_of(graph: Graph, name: str, evaluator: Evaluator, upstream: Mapping[str, str]) -> str:
    """Add the scores of what is in the graph already, and return their id.

    Args:
        graph: where the node goes.
        name: the evaluator's registry name or path.
        evaluator: the same, loaded.
        upstream: `images`, `predictions/ROLE` and perhaps `reference/ROLE`.
    """
    images = upstream["images"]
    target = EVALUATORS.entry(name).target
    node = Node(
        kind="scores",
        name=f"{graph[images].name}-{evaluator.spec.name}"[:120],
        identity={
            "version": SCORES_VERSION,
            "evaluator": code_identity(type(evaluator), target),
            "settings": asdict(evaluator) if is_dataclass(evaluator) else {},
            "upstream": dict(upstream),
        },
        upstream=dict(upstream),
        payload={
            "evaluator": name,
            **settings_changed(evaluator),
            # not in the identity: both are in the images', whence the scores have them
            **{key: graph[images].payload.get(key) for key in ("training_seed", "noise_seed")},
        },
        function="bench.steps.making:make_scores",
        label=f"score {graph[images].label} with {evaluator.spec.name}",
        seconds=1.0,
        bytes=200 * _count(graph[images]),
        sources=(source_of(type(evaluator), target).to_json(),),
    )
    return graph.add(node)


def settings_changed(evaluator: Evaluator) -> dict[str, dict[str, Any]]:
    """Return {"settings": those that are not the evaluator's defaults}, or nothing."""
    if not is_dataclass(evaluator):
        return {}
    found = {f.name: v for f in fields(evaluator) if (v := getattr(evaluator, f.name)) != f.default}
    return {"settings": found} if found else {}


def _predictions(
    graph: Graph,
    profile: Profile,
    role: str,
    images: str,
    asked: Mapping[str, list[str]],
    prompts: tuple[str, ...] | None,
    *,
    backend: Mapping[str, Any],
    share: float = 1.0,
) -> str:
    """Add the predictions of a role on an image set; `prompts` None means on all its images."""
    count = int(share * _count(graph[images]))
    seconds = profile.speed.predict_seconds
    node = Node(
        kind="predictions",
        name=f"{graph[images].name}-{role}"[:120],
        identity={
            "version": SCORES_VERSION,
            "images": images,
            "backend": backend,
            "queries_sha256": _digest(asked),
            "prompts_sha256": None if prompts is None else _digest(prompts),
        },
        upstream={"images": images},
        payload={
            "backend": profile.backends[role],
            "queries": dict(asked),
            "prompts": None if prompts is None else list(prompts),
        },
        function="bench.steps.making:make_predictions",
        label=f"{role} on {graph[images].label}",
        seconds=2.0 + count * seconds.get(role, seconds.get("default", 0.05)),
        bytes=400 * count,
        sources=_backend_sources(profile.backends[role]),
    )
    return graph.add(node)


def _count(node: Node) -> int:
    return int(node.payload.get("images", 1))


def backend_identities(
    source: ImageSource, roles: Iterable[str], *, evaluator: str = ""
) -> dict[str, Mapping[str, Any]]:
    """Return, by role of evaluator `evaluator`, what of its back-end enters an identity.

    A back-end whose weights are not on this machine gets a placeholder and is noted in
    `source.missing`: the graph can be shown, not run.

    Raises:
        UsageError: a back-end is unknown.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for role in roles:
        name = source.profile.of_evaluator(evaluator).backends[role]
        try:
            found[role] = backend_identity(name)
        except PrerequisiteError as error:
            source.missing.setdefault(name, error)
            found[role] = {"backend": name, "version": None}
    return found


@lru_cache
def _unfit(name: str, evaluator: str) -> str:
    """Return why a back-end cannot serve an evaluator, or nothing; looked up once per process."""
    return BACKENDS.load(name)().unfit_for(evaluator)


def backend_identity(name: str) -> Mapping[str, Any]:
    """Return what of a back-end enters an identity: its own, and the source of a third party's.

    Raises:
        UsageError: it is unknown.
        PrerequisiteError: its weights are missing.
    """
    return {**_own_identity(name), **plugin_code(BACKENDS.entry(name), BACKENDS.load(name))}


@lru_cache
def _own_identity(name: str) -> Mapping[str, Any]:
    """Looked up once per process, for it hashes weights."""
    return BACKENDS.load(name)().identity()


def _backend_sources(name: str) -> tuple[Mapping[str, Any], ...]:
    """Return what of a third party's back-end is compared again where it is used."""
    entry = BACKENDS.entry(name)
    if entry.origin == "built-in":
        return ()
    return (source_of(BACKENDS.load(name), entry.target).to_json(),)


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()
