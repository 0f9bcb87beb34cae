"""The rendered training scenes, made once per build and memory-mapped by every asset."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.tiny.render import render
from bench.tiny.scenes import training_scene
from bench.tiny.world import IMAGE_SIZE

log = logging.getLogger("bench.assets")
CHUNK = 2000


@dataclass(frozen=True, kw_only=True)
class SceneSet:
    """N rendered scenes: `pixels` (N, H, W, 3) uint8, true `texts`, and `captions` with errors."""

    pixels: np.ndarray
    texts: list[str]
    captions: list[str]

    def __len__(self) -> int:
        return len(self.texts)


def load_scenes(work: Path, count: int, seed: int) -> SceneSet:
    """Return `count` training scenes of `seed`, rendering what is not there yet."""
    folder = work / f"scenes-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    pixels, texts, captions = [], [], []
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        file = folder / f"{start:06d}-{size}.npy"
        side = file.with_suffix(".json")
        if not side.is_file():
            examples = [training_scene(i, seed) for i in range(start, start + size)]
            images = np.stack([render(scene) for scene, _, _ in examples])
            partial = file.with_suffix(".partial.npy")
            np.save(partial, images, allow_pickle=False)
            partial.replace(file)
            words = json.dumps([[text, caption] for _, text, caption in examples])
            side.with_suffix(".tmp").write_text(words)
            side.with_suffix(".tmp").replace(side)
            log.info("scenes %d: rendered %d of %d", seed, start + size, count)
        pixels.append(np.load(file, allow_pickle=False))
        for text, caption in json.loads(side.read_text()):
            texts.append(text)
            captions.append(caption)
    merged = np.concatenate(pixels)
    if merged.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
        raise ValueError(f"{folder}: scenes of shape {merged.shape[1:]}; delete the folder")
    return SceneSet(pixels=merged, texts=texts, captions=captions)
