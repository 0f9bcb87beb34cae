"""Published hyperparameters as data: one YAML file per method, one entry per backbone.

Nothing here was measured or chosen by this project. Each entry names its sources and where they
contradict each other or themselves. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bench.api.errors import UsageError, unknown
from bench.config import construct, load_yaml, mapping, sequence
from bench.published.entry import Backbone, Beta, Ema, Entry, Lora, Sampler, Stage
from bench.read.folders import shipped

__all__ = [
    "Backbone",
    "Beta",
    "Ema",
    "Entry",
    "Lora",
    "Sampler",
    "Stage",
    "backbones",
    "entries",
    "entry",
    "find_entry",
    "methods",
]

FOLDER = Path(__file__).parent
_BACKBONES = "backbones"
_NO_METHODS = (_BACKBONES, "gpus")
"""Files that hold no settings of a method."""


def methods() -> list[str]:
    """Return the methods there are entries for."""
    return sorted(path.stem for path in shipped(FOLDER, ".yaml") if path.stem not in _NO_METHODS)


@cache
def backbones() -> Mapping[str, Backbone]:
    """Return the published backbones by name (UsageError naming the key in a wrong file)."""
    return {
        name: construct(Backbone, data, f"published {_BACKBONES}.{name}", name=name)
        for name, data in load_yaml(FOLDER / f"{_BACKBONES}.yaml").items()
    }


def entries(method: str) -> dict[str, Entry]:
    """Return a method's entries by backbone; none for a method without a file.

    A stage that is a method of its own (`alone` in the file) has the entries of the stage, a preset
    (`presets`) those of the method it is one of.

    Raises:
        UsageError: the file is wrong (the key is named).
    """
    if method in methods():
        return dict(_file(method))
    found = {}
    for whole in methods():
        for backbone, entry in _file(whole).items():
            if method in entry.presets:
                found[backbone] = replace(entry, method=method)
            for stage in entry.stages:
                if stage.alone == method:
                    found[backbone] = entry.only(stage)
    return found


def find_entry(method: str, backbone: str) -> Entry | None:
    """Return the settings published for a method on a backbone, None where there are none.

    Raises:
        UsageError: the backbone is unknown.
    """
    if backbone not in backbones():
        raise unknown("backbone", backbone, backbones())
    return entries(method).get(backbone)


def entry(method: str, backbone: str) -> Entry:
    """Return the settings published for a method on a backbone.

    Args:
        method: registry name.
        backbone: its name, or that of a family of which the method has one entry.

    Raises:
        UsageError: there are none; those there are, are named.
    """
    found = entries(method)
    if backbone in found:
        return found[backbone]
    families = {known.family for known in backbones().values()}
    if backbone not in backbones() and backbone not in families:
        raise unknown("backbone", backbone, {*backbones(), *families})
    family = [name for name in found if backbones()[name].family == backbone]
    if len(family) == 1:
        return found[family[0]]
    if family:
        raise UsageError(f"family {backbone!r} has several backbones: {', '.join(family)}.")
    there = f"on {', '.join(found)}" if found else "on none"
    raise UsageError(
        f"no settings were published for method {method!r} on {backbone}; there are some {there}. "
        f"`bench show method {method}` shows the method's own defaults."
    )


@cache
def _file(method: str) -> Mapping[str, Entry]:
    return {
        backbone: read_entry(method, backbone, data)
        for backbone, data in load_yaml(FOLDER / f"{method}.yaml").items()
    }


def read_entry(method: str, backbone: str, data: Any) -> Entry:
    """Make an Entry of what a YAML file holds (UsageError naming the key otherwise)."""
    where = f"published {method}.{backbone}"
    if backbone not in backbones():
        raise unknown(f"backbone in published {method}", backbone, backbones())
    found = mapping(data, where)
    training = found.pop("training", None)
    stages = found.pop("stages", None)
    if (training is None) == (stages is None):
        raise UsageError(f"{where} needs exactly one of training and stages.")
    if training is not None:
        read = [_stage("", training, f"{where}.training")]
    else:
        named = mapping(stages, f"{where}.stages")
        read = [_stage(name, entry, f"{where}.stages.{name}") for name, entry in named.items()]
    given: dict[str, Any] = {
        "method": method,
        "backbone": backbones()[backbone],
        "stages": tuple(read),
    }
    for key in ("pair_sampler", "evaluation_sampler"):
        given[key] = _part(Sampler, found.pop(key, None), f"{where}.{key}")
    for key in ("sources", "contradictions", "presets"):
        given[key] = tuple(str(x) for x in sequence(found.pop(key, []), f"{where}.{key}"))
    return construct(Entry, found, where, **given)


def _stage(name: str, data: Any, where: str) -> Stage:
    found = mapping(data, where)
    given: dict[str, Any] = {"name": name}
    for key, cls in (("lora", Lora), ("beta", Beta), ("ema", Ema)):
        given[key] = _part(cls, found.pop(key, None), f"{where}.{key}")
    told = sequence(found.pop("departures", []), f"{where}.departures")
    return construct(Stage, found, where, departures=tuple(map(str, told)), **given)


def _part(cls: type[Any], data: Any, where: str) -> Any:
    if data is None:
        return None
    found = mapping(data, where)
    lists = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    return construct(cls, lists, where)
