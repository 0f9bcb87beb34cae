"""The tiny world's style and diversity, by the feature network that FID uses too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.api.errors import UsageError, did_you_mean
from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from bench.tiny.assets import path_of, weights_sha256
from bench.tiny.graph_suites import STYLES, style_of
from bench.tiny.render import RENDER_VERSION, render
from bench.tiny.scenes import SCENES_VERSION, random_description, scene_for
from bench.tiny.world import WORLD_VERSION
from evaluators.models.images import prediction, read_batches

REFERENCES = 16
"""Renders of a style that pictures are compared with."""
_SEED = 5_000


class _FeaturesBackend(Backend):
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "real-weights"

    def identity(self) -> dict[str, Any]:
        """Return name, version and the hash of the weights."""
        return {**super().identity(), "weights": weights_sha256("tiny-features")}


class TinyStyle(_FeaturesBackend):
    """Cosines to clean renders of a style, under two layers of the network.

    The mean over the references of all styles is taken off first: it is what pictures of this
    world have in common, whatever their style.
    """

    name: ClassVar[str] = "tiny-style"

    def identity(self) -> dict[str, Any]:
        """Return the above and the versions of what the references are made by."""
        return {**super().identity(), "world": [WORLD_VERSION, SCENES_VERSION, RENDER_VERSION]}

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"cosines"`: by layer, one to each reference of the style that is asked.

        Raises:
            UsageError: a prompt asks for a style the world does not have.
        """
        for style in sorted({style for styles in queries.values() for style in styles}):
            if style not in STYLES:
                raise UsageError(f"unknown style {style!r}.{did_you_mean(style, STYLES)}")
        asked = {prompt_id for prompt_id, styles in queries.items() if styles}
        references, means = _references() if asked else ({}, {})
        for records, pictures in read_batches(images, batch_size, asked, one_size=self.name):
            layers = {k: _unit(v - means[k]) for k, v in _embed(np.stack(pictures)).items()}
            for row, record in enumerate(records):
                (style,) = queries[record.prompt_id]
                cosines = {k: (references[style][k] @ v[row]).tolist() for k, v in layers.items()}
                yield prediction(record, cosines=cosines)


class TinyDiversity(_FeaturesBackend):
    """The two layers side by side: what distances between pictures are measured with."""

    name: ClassVar[str] = "tiny-diversity"

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield array `embedding` (192,) of each image; queries are ignored."""
        for records, pictures in read_batches(images, batch_size, one_size=self.name):
            rows = np.concatenate([_unit(v) for v in _embed(np.stack(pictures)).values()], axis=1)
            for record, row in zip(records, rows, strict=True):
                yield prediction(record, {"embedding": row.astype(np.float32)})


def style_pictures(style: str, count: int, *, seed: int = _SEED) -> NDArray[np.uint8]:
    """Return (count, 32, 32, 3) clean renders of scenes in one of `STYLES`, shapes alone."""
    pictures: list[NDArray[np.uint8]] = []
    index = 0
    while len(pictures) < count:
        rng = np.random.default_rng([seed, index])
        index += 1
        meaning = random_description(rng)
        if meaning.letters or meaning.quality or any(noun.fill for noun in meaning.nouns):
            continue
        word = style.removeprefix("night ")
        asked = replace(meaning, style=word, night=style.startswith("night "))
        assert style_of(asked) == style
        pictures.append(render(scene_for(asked, rng, clean=True)))
    return np.stack(pictures)


@lru_cache
def _references() -> tuple[
    dict[str, dict[str, NDArray[np.float64]]], dict[str, NDArray[np.float64]]
]:
    """Return unit references (REFERENCES, d) by style and layer, and the mean (d,) by layer."""
    raw = {style: _embed(style_pictures(style, REFERENCES)) for style in STYLES}
    layers = next(iter(raw.values()))
    means = {k: np.concatenate([r[k] for r in raw.values()]).mean(axis=0) for k in layers}
    unit = {s: {k: _unit(v - means[k]) for k, v in r.items()} for s, r in raw.items()}
    return unit, means


def _embed(pictures: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """Return `pooled` (N, 128) and `features` (N, 64) of pictures (N, 32, 32, 3)."""
    import torch

    from bench.tiny.networks import to_unit

    net = _network()
    with torch.no_grad():
        pooled = net.trunk(to_unit(pictures)).mean((2, 3))
        features = net.neck(pooled)
    return {
        "pooled": pooled.double().numpy(),
        "features": features.double().numpy(),
    }


@lru_cache
def _network() -> Any:
    from bench.tiny.networks import FeatureNet, load_network

    return load_network(FeatureNet(), path_of("tiny-features"))


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found
