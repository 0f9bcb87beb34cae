"""Pair-set nodes: the profile's `pairs`, and the data sets it names under `data`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from bench.api.errors import BenchError, PrerequisiteError, UsageError, unknown
from bench.api.prompts import PromptSuite
from bench.config import expand, mapping
from bench.data.kinds import DEFAULT as DEFAULT_KIND
from bench.data.kinds import image_draws, kind_module
from bench.generation.image_set import suite_json
from bench.spec.protocol import SuiteSpec, load_suite, read_generation, read_suite
from bench.spec.training import DEFAULT_DATA, DataSpec
from bench.steps.builder import ImageSource
from bench.steps.graph import Node


def data_node(source: ImageSource, name: str | None) -> str:
    """Add a data set by name and return its node's id.

    Args:
        source: where nodes go.
        name: one of the profile's `data`; None or `"pairs"` is its `pairs`.

    Raises:
        UsageError: the name, its kind or a setting is unknown.
    """
    asked = ("data", name or DEFAULT_DATA)
    if asked not in source.made:
        source.made[asked] = _data_node(source, name or DEFAULT_DATA)
    return source.made[asked]


def described(name: str, payload: Mapping[str, Any]) -> str:
    """Return a pair set in words.

    Args:
        name: of the pair set.
        payload: of its node: `kind` and `settings`.
    """
    kind, settings = str(payload["kind"]), payload["settings"]
    said = [f"{name} ({kind})"]
    if kind == DEFAULT_KIND:
        least = int(settings.get("min_words", 1))
        said.append(f"prompts of {least} words or more, {settings['perturbation']}")
    try:
        draws = image_draws(kind, settings)
    except BenchError:
        draws = None  # another version's settings; what is known is said
    if draws is not None and draws.words():
        said.append(draws.words())
    return ", ".join(said)


def _data_node(source: ImageSource, name: str) -> str:
    if name == DEFAULT_DATA:
        return pairs_node(source)
    known = source.profile.data
    if name not in known:
        raise unknown(f"data set of profile {source.profile.name}", name, [DEFAULT_DATA, *known])
    try:
        return _named_node(source, name, known[name])
    except UsageError as error:
        where = f"profile {source.profile.name}: data.{name}"
        raise UsageError(f"{where}: {error}") from error


def pairs_node(source: ImageSource) -> str:
    """Add the profile's pairs and return their node's id.

    Raises:
        UsageError: a setting is unknown.
    """
    settings = {"kind": DEFAULT_KIND, **asdict(source.profile.pairs)}
    return _node(source, DEFAULT_DATA, settings, lambda count: f"{count} preference pairs")


def _named_node(source: ImageSource, name: str, spec: DataSpec) -> str:
    given = dict(spec.settings)
    if spec.kind == DEFAULT_KIND:  # what is not said is as in the profile's pairs
        given = {**asdict(source.profile.pairs), **given}
    label = f"data set {name} ({spec.kind})"
    return _node(source, name, {"kind": spec.kind, **given}, lambda _: label)


def _node(
    source: ImageSource, name: str, given: Mapping[str, Any], label: Callable[[int], str]
) -> str:
    profile, base = source.profile, source.base()
    kind = str(given["kind"])
    module = kind_module(kind)
    own = {k: v for k, v in given.items() if k != "kind"}
    purpose = name if name == DEFAULT_DATA else f"data.{name}"
    settings, count, there = _settled(source, purpose, own)
    title = f"{profile.stem}.{name}"
    identity: Mapping[str, Any] = {"kind": kind, "of": title, "settings": settings}
    if source.known(base) and there:
        try:
            identity = module.identity(source.store, base, settings)
        except PrerequisiteError as error:
            source.missing.setdefault(purpose, error)
    draws = image_draws(kind, settings)
    times = 1 if draws is None else draws.latents_per_image
    more = f", {draws.words()}: {times} latents an image" if draws and times > 1 else ""
    node = Node(
        kind="pairs",
        name=title[:120],
        identity=identity,
        payload={
            "kind": kind,
            "settings": settings,
            "checkpoint": base.to_json(),
            "pairs": count,
        },
        function="bench.steps.making:make_data",
        label=label(count or 0) + more,
        **_cost(source, count or 0, _forwards(settings.get("generation")), times),
    )
    return source.graph.add(node)


def _settled(
    source: ImageSource, purpose: str, given: Mapping[str, Any]
) -> tuple[dict[str, Any], int | None, bool]:
    """Return a kind's settings with prompts and sampling read, the number of prompts, and whether
    all that they name is there.
    """
    where = f"profile {source.profile.name}: {purpose}"
    settings, count, there = dict(given), None, True
    try:
        settings = {
            k: v if k == "suite" else expand(v, f"{where}.{k}") for k, v in settings.items()
        }
    except PrerequisiteError as error:
        source.missing.setdefault(purpose, error)
        there = False
    if settings.get("suite") is not None:
        suite = _suite(source, read_suite(settings["suite"], f"{where}.suite"), purpose)
        there = there and suite is not None
        settings["suite"] = None if suite is None else suite_json(suite)
        count = None if suite is None else len(suite)
    if settings.get("generation") is not None:
        entry = mapping(settings["generation"], f"{where}.generation")
        settings["generation"] = read_generation(entry, f"{where}.generation").identity()
    return settings, count, there


def _suite(source: ImageSource, spec: SuiteSpec, purpose: str) -> PromptSuite | None:
    try:
        return load_suite(spec, None)
    except PrerequisiteError as error:
        source.missing.setdefault(purpose, error)
        return None


def _forwards(generation: Any) -> int:
    """Network evaluations for one image; 0 where nothing is sampled."""
    if not isinstance(generation, Mapping):
        return 0
    return int(generation["steps"]) * (2 if generation["cfg_scale"] != 1.0 else 1)


def _cost(source: ImageSource, count: int, forwards: int, times: int) -> dict[str, Any]:
    speed = source.profile.speed
    return {
        "seconds": 5.0 + 2 * count * forwards * speed.image_step_seconds,
        "bytes": count * speed.pair_bytes * times,
    }
