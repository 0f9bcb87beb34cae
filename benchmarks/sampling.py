"""Processor seconds of sampling: `python benchmarks/sampling.py [--dtypes float32,bfloat16]`.

Images of validation captions from a profile's base, by its settings, written nowhere; the dtypes in
turns. Prints the least milliseconds an image of texts, sampling and decoding (starting and loading
are not in them), and a hash of all pixels: ways that shall only be faster have one hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.api.generation import image_seed
from bench.generation.checkpoint import load_pipeline_backbone
from bench.generation.sample import Sampler
from bench.generation.text import TextCache
from bench.spec.profile import load_profile
from bench.steps.builder import GraphBuilder
from bench.steps.graph import Graph
from bench.store import Store


@dataclass
class Way:
    """One way of sampling, and what it took so far.

    Attributes:
        sampler: base and settings.
        best: least milliseconds an image, by part.
        sha256: of the pixels.
    """

    sampler: Sampler
    best: dict[str, float] = field(default_factory=dict)
    sha256: str = ""

    def run(self, jobs: Sequence[tuple[str, int]], batch_size: int) -> None:
        """Make the images once."""
        spent = dict.fromkeys(("texts", "sampling", "decoding"), 0.0)
        digest = hashlib.sha256()
        self.sampler.texts = TextCache(self.sampler.backbone)
        for start in range(0, len(jobs), batch_size):
            batch = jobs[start : start + batch_size]
            seeds = [image_seed(text, ordinal, 0) for text, ordinal in batch]
            began = time.process_time()
            condition = self.sampler.texts.many([text for text, _ in batch])
            encoded = time.process_time()
            latents = self.sampler.latents(condition, seeds)
            sampled = time.process_time()
            digest.update(self.sampler.pixels(latents).tobytes())
            spent["texts"] += encoded - began
            spent["sampling"] += sampled - encoded
            spent["decoding"] += time.process_time() - sampled
        self.sha256 = digest.hexdigest()[:16]
        for part, seconds in spent.items():
            each = 1000 * seconds / len(jobs)
            self.best[part] = min(each, self.best.get(part, each))


def main() -> None:
    """Print one JSON object a way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--store", type=Path, default=Path("outputs"))
    arguments = parser.parse_args()
    profile, store = load_profile(arguments.profile), Store(arguments.store)
    protocol = profile.protocols["validation"]["fid"]
    base = GraphBuilder(profile=profile, store=store, graph=Graph()).base()
    ways = {}
    for dtype in arguments.dtypes.split(","):
        spec = replace(protocol.generation, cfg_scale=arguments.scale, dtype=dtype)
        backbone = load_pipeline_backbone(base, store, dtype=dtype, device="cpu")
        ways[dtype] = Way(sampler=Sampler(backbone, spec))
    jobs = [(p.text, k) for p, k in protocol.suite.load().images(4)][: arguments.images]
    for _ in range(arguments.repeats):
        for way in ways.values():
            way.run(jobs, arguments.batch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    for dtype, way in ways.items():
        best = {part: round(each, 2) for part, each in way.best.items()}
        told = {"dtype": dtype, "images": len(jobs), "ms_an_image": best, "sha256": way.sha256}
        print(json.dumps({**told, "peak_mb": peak}))


if __name__ == "__main__":
    main()
