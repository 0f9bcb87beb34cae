"""The settings of a curation run, from YAML or from a mapping. No torch.

Two presets are shipped, `paper` and `tiny`; a run may start from either and change keys by their
dotted names.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from bench.api.errors import UsageError, did_you_mean, unknown
from bench.config import load_yaml, read
from bench.config.trust import require_registered
from bench.read.folders import shipped

PRESETS = Path(__file__).parent / "presets"
SOURCES = ("folder", "rendered")
COLOUR_RULES = ("above-mean", "above", "none")
NEGATIVES = ("inpaint", "whole", "text", "given")


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """Where the real images and their captions come from.

    Attributes:
        kind: `"folder"` of image files, or `"rendered"` scenes of a world that can be drawn.
        folder: of kind folder; `hub:owner/name[@revision]` is a data set in the hub's cache.
        captions: JSONL or CSV file, relative to the folder; None looks for `captions.*` and
            `metadata.*`, then for a text file beside each image.
        min_side: images with a shorter side are dropped.
        suite: of kind rendered; `{function: "module:function", options: {...}}`.
        renderer: of kind rendered; a module with `render_image_set` and `image_set_identity`.
        seed: of the scenes.
        uids: CSV with a column `uid`: nothing else is taken in. None takes all.
        limit: take in the first so many.
    """

    kind: str = "folder"
    folder: str | None = None
    captions: str | None = None
    min_side: int = 16
    suite: Mapping[str, Any] | None = None
    renderer: str | None = None
    seed: int = 0
    uids: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        _one_of("source.kind", self.kind, SOURCES)
        if self.kind == "folder" and self.folder is None:
            raise UsageError("source.folder is not set; name the folder of images (--images DIR).")
        if self.kind == "rendered" and not (self.suite and self.renderer):
            raise UsageError("source.kind 'rendered' needs source.suite and source.renderer.")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"source.limit is {self.limit}; expected at least 1.")


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """Who drops what is no photograph; `name` None asks nobody.

    Attributes:
        name: `"vlm"`, or `pkg.mod:Class` of a `bench.data.curation.judge.PhotoJudge`.
        options: of its constructor.
    """

    name: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ColourSettings:
    """Which images are colourful enough.

    Attributes:
        rule: `"above-mean"` of those that entered the step, `"above"` the threshold, or `"none"`.
        threshold: of rule above.
    """

    rule: str = "above-mean"
    threshold: float | None = None

    def __post_init__(self) -> None:
        _one_of("colour.rule", self.rule, COLOUR_RULES)
        if (self.rule == "above") != (self.threshold is not None):
            raise UsageError("colour.threshold belongs to colour.rule 'above', and to that alone.")


@dataclass(frozen=True, kw_only=True)
class SaliencySettings:
    """What finds the salient region: see `bench.data.curation.saliency`.

    Attributes:
        name: `"spectral-residual"`, `"u2net"`, `"u2net-onnx"`, or `pkg.mod:Class`.
        options: of its constructor, e.g. `weights`.
    """

    name: str = "spectral-residual"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NegativeSettings:
    """How the degraded copy is made.

    Attributes:
        kind: `"inpaint"` the salient region; `"whole"` image repainted; plain `"text"` to image;
            `"given"`: the source brings the degraded image.
        checkpoint: shipped name, folder or hub id of a diffusers pipeline.
        steps, cfg_scale, strength: of the pipeline.
        scheduler: class in diffusers, or `"default"`.
        dtype: precision of all parts.
        seed: the generator of an image is keyed by this and its uid.
        paste_back: put the real pixels back where the mask is off.
    """

    kind: str = "inpaint"
    checkpoint: str | None = None
    steps: int = 50
    cfg_scale: float = 7.5
    strength: float = 1.0
    scheduler: str = "default"
    dtype: str = "float32"
    seed: int = 0
    paste_back: bool = False

    def __post_init__(self) -> None:
        _one_of("negatives.kind", self.kind, NEGATIVES)
        if self.kind != "given" and self.checkpoint is None:
            raise UsageError("negatives.checkpoint is not set; name what paints the negatives.")
        if self.paste_back and self.kind != "inpaint":
            raise UsageError(f"negatives.paste_back needs a mask; kind {self.kind!r} has none.")
        if self.steps < 1 or not 0.0 < self.strength <= 1.0:
            raise UsageError(
                f"negatives.steps {self.steps} and strength {self.strength}; expected at least 1, "
                "and above 0 up to 1."
            )


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """What ranks the pairs.

    Attributes:
        backend: registry name of the scorer.
        value: the key of its records that holds the score of the caption.
        scale: raw score = scale x value.
        min_gap: keep pairs with score(real) - score(negative) above this, on the raw scale; None
            keeps all. The published 0.02 is on the scale divided by 26, so 0.52 raw.
    """

    backend: str = "pickscore"
    value: str = "score"
    scale: float = 1.0
    min_gap: float | None = 0.52


@dataclass(frozen=True, kw_only=True)
class CurationSettings:
    """A whole run; see the classes of its parts.

    Attributes:
        name: of the run, part of its artifacts' names.
        size: side of the square images in pixels.
        top_k: how many pairs are selected, by the real image's score; None takes all.
    """

    name: str
    source: SourceSettings
    negatives: NegativeSettings
    size: int = 512
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    colour: ColourSettings = field(default_factory=ColourSettings)
    saliency: SaliencySettings = field(default_factory=SaliencySettings)
    scores: ScoreSettings = field(default_factory=ScoreSettings)
    top_k: int | None = 512

    def __post_init__(self) -> None:
        if self.size < 8:
            raise UsageError(f"size is {self.size}; expected at least 8 pixels.")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k is {self.top_k}; expected at least 1, or null for all.")


def preset_names() -> list[str]:
    """Return the names of the shipped presets."""
    return sorted(path.stem for path in shipped(PRESETS, ".yaml"))


def load_settings(
    preset: str, changes: Mapping[str, Any] | None = None, *, trust: bool = False
) -> CurationSettings:
    """Return a preset (or a YAML file) with some keys changed.

    Args:
        preset: shipped name, or path of a YAML file.
        changes: value by dotted key, e.g. `{"negatives.steps": 20}`.
        trust: whether a file of the user's own may name code that nobody registered.

    Raises:
        UsageError: it does not exist, or a key or value is wrong (it is named).
    """
    if preset in preset_names():
        path = PRESETS / f"{preset}.yaml"
    elif preset.endswith((".yaml", ".yml")):
        path = Path(preset)
    else:
        raise unknown("preset", preset, [*preset_names(), "PATH.yaml"])
    data = load_yaml(path)
    if path.parent != PRESETS and not trust:
        require_registered(data, path)
    return read_settings(changed({"name": path.stem, **data}, changes or {}))


def changed(data: Any, changes: Mapping[str, Any]) -> Any:
    """Return nested settings with the values of dotted keys in place."""
    found = copy.deepcopy(data)
    for key, value in changes.items():
        *folders, last = key.split(".")
        here = found
        for name in folders:
            here = here.setdefault(name, {}) if isinstance(here, dict) else None
            if not isinstance(here, dict):
                raise UsageError(f"{key}: {name} holds no settings.")
        here[last] = value
    return found


def read_settings(data: Any) -> CurationSettings:
    """Return the settings a mapping holds. Raises as `load_settings`.

    A part that holds nothing is refused: `colour: null` reads as "no colour filter", and would be
    the usual one.
    """
    for key, kind in get_type_hints(CurationSettings).items():
        if is_dataclass(kind) and key in data and data[key] is None:
            raise UsageError(f"curation.{key} is None; expected keys and values.")
    return read(CurationSettings, data, "curation")


def _one_of(where: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UsageError(f"{where} is {value!r}.{did_you_mean(str(value), known)}")
