"""Cases of `evaluator_speed.py` over CLIPs: CLIPScore, colours, HPSv2, PickScore, aesthetic."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from speed_case import Case, Sides, first, opened, values_of
from speed_networks import (
    as_transformers,
    clip_config,
    open_clip_network,
    pictures,
    write_clip_files,
)
from torch.nn.functional import normalize

from bench.api import ImageSet
from bench.api.errors import BenchError
from evaluators.geneval.rules import COLORS
from evaluators.isolated.environments import environment
from evaluators.models import aesthetic, crop_colors, hpsv2, hub
from evaluators.models.affine_head import affine_head
from evaluators.models.clip import ClipCosine
from evaluators.models.crop_colors import TEMPLATES, ColorReader, Thing, crop_on_grey
from evaluators.models.pickscore import PickScorer
from evaluators.workers.serve import load_module

HUGE = {"vision": 2, "text": 2}
LARGE = {"vision": 3, "text": 2}
NAMES = ("bench", "dog")


def _queries(images: ImageSet) -> dict[str, list[str]]:
    return {prompt.id: [prompt.text] for prompt in images.suite}


def _texts(images: ImageSet) -> list[str]:
    said = {prompt.id: prompt.text for prompt in images.suite}
    return [said[record.prompt_id] for record in images.records]


@contextmanager
def _in_memory(folder: Path, model: Any) -> Iterator[None]:
    """Let ours find the network and the tokenizer that the other side has loaded too."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder)
    with (
        patch.object(hub, "load_network", lambda *a, **k: model),
        patch.object(CLIPTokenizer, "from_pretrained", lambda *a, **k: tokenizer),
    ):
        yield


def _library(folder: Path, model: Any, *, scaled: bool) -> Callable[[ImageSet], list[float]]:
    """Return transformers' call: processor and model on one image and its text at a time."""
    from transformers import CLIPImageProcessorPil, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder)
    processor = CLIPImageProcessorPil.from_pretrained(folder)

    def score(images: ImageSet) -> list[float]:
        found = []
        for picture, text in zip(opened(images), _texts(images), strict=True):
            tokens = tokenizer(
                text, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
            )
            pixels = processor(picture, return_tensors="pt")
            with torch.no_grad():
                seen = normalize(model.get_image_features(**pixels).pooler_output, dim=-1)
                said = normalize(model.get_text_features(**tokens).pooler_output, dim=-1)
                scale = model.logit_scale.exp() if scaled else 1.0
                found.append(float(scale * (said @ seen.T)[0, 0]))
        return found

    return score


def clip_score(root: Path, count: int, batch: int) -> Sides:
    """T2I-CompBench's CLIPScore, four images a prompt."""
    config = clip_config("ViT-B-32-quickgelu")
    model = as_transformers(open_clip_network(config), config)
    folder = write_clip_files(root / "clip")
    images = pictures(root / "pictures", count, per_prompt=4)

    class Ours(ClipCosine):
        def folder(self) -> Path:
            return folder

    def ours(n: int) -> list[float]:
        some = first(images, n)
        return values_of(Ours().predict(some, _queries(some), batch_size=batch), "cosine")

    library = _library(folder, model, scaled=False)
    return Sides(
        ours=ours,
        published=lambda n: library(first(images, n)),
        memory=lambda: _in_memory(folder, model),
    )


def pickscore(root: Path, count: int, batch: int) -> Sides:
    """PickScore as its model card does it."""
    config = clip_config("ViT-H-14", **HUGE)
    model = as_transformers(open_clip_network(config), config)
    folder = write_clip_files(root / "clip")
    images = pictures(root / "pictures", count)

    class Ours(PickScorer):
        def folders(self) -> tuple[Path, Path]:
            return folder, folder

    def ours(n: int) -> list[float]:
        some = first(images, n)
        return values_of(Ours().predict(some, _queries(some), batch_size=batch), "score")

    library = _library(folder, model, scaled=True)
    return Sides(
        ours=ours,
        published=lambda n: library(first(images, n)),
        memory=lambda: _in_memory(folder, model),
    )


def hps(root: Path, count: int, batch: int) -> Sides:
    """HPS v2.1 by the authors' package; without its environment by open_clip, image by image."""
    config = clip_config("ViT-H-14", **HUGE)
    network = open_clip_network(config)
    images = pictures(root / "pictures", count)

    class Ours(hpsv2.HPSv21):
        def checkpoint(self) -> Path:
            return root

        def config(self) -> Any:
            return config

    def ours(n: int) -> list[float]:
        some = first(images, n)
        with (
            patch.object(hpsv2, "new_network", lambda c: None),
            patch.object(hpsv2, "read_tensors", lambda *a, **k: {}),
            patch.object(hpsv2, "fill", lambda *a, **k: network),
        ):
            return values_of(Ours().predict(some, _queries(some), batch_size=batch), "score")

    try:
        package = _hps_package(root, config, network)
    except (BenchError, ImportError):
        tokenise = hpsv2.byte_pair_tokenizer()

        def one_by_one(n: int) -> list[float]:
            found = []
            some = first(images, n)
            for picture, text in zip(opened(some), _texts(some), strict=True):
                pixels = hpsv2.network_input(np.asarray(picture), 224, antialias=True)[None]
                with torch.no_grad():
                    seen = network.encode_image(pixels, normalize=True)
                    said = network.encode_text(tokenise([text]), normalize=True)
                    found.append(float(100.0 * (seen @ said.T)[0, 0]))
            return found

        return Sides(ours=ours, published=one_by_one, note="open_clip in place of the package")

    def published(n: int) -> list[float]:
        some = first(images, n)
        return [
            package.score([{"image": str(some.root / record.path), "texts": [text]}])[0][0]
            for record, text in zip(some.records, _texts(some), strict=True)
        ]

    return Sides(ours=ours, published=published)


def _hps_package(root: Path, config: Any, network: Any) -> Any:
    """Return the authors' scorer in this process: its environment has the running torch."""
    place = environment("hpsv2-package")
    (site,) = place.python().parent.parent.glob("lib/python*/site-packages")
    sys.path.append(str(site))
    (root / "ViT-H-14-few.json").write_text(json.dumps(config))
    torch.save({"state_dict": network.state_dict()}, root / "hps.pt")
    worker = load_module(place.worker, "hpsv2_package_worker")
    options = {"model": "ViT-H-14", "config": str(root / "ViT-H-14-few.json")}
    return worker.load(options, {"checkpoint": str(root / "hps.pt")}, "cpu")


def aesthetic_score(root: Path, count: int, batch: int) -> Sides:
    """The predictor: open_clip's transform and network, and the linear layers, image by image."""
    from open_clip import image_transform

    config = clip_config("ViT-L-14-quickgelu", **LARGE)
    network = open_clip_network(config)
    model = as_transformers(network, config)
    folder = write_clip_files(root / "clip")
    torch.manual_seed(1)
    head = affine_head(config["embed_dim"]).eval()
    images = pictures(root / "pictures", count)
    transform = image_transform(224, is_train=False)

    class Ours(aesthetic.AestheticScorer):
        def clip_folder(self) -> Path:
            return folder

        def head_file(self) -> Path:
            return root

    def ours(n: int) -> list[float]:
        with (
            patch.object(hub, "load_network", lambda *a, **k: model),
            patch.object(aesthetic, "read_tensors", lambda *a, **k: {}),
            patch.object(aesthetic, "fill", lambda *a, **k: head),
        ):
            return values_of(Ours().predict(first(images, n), {}, batch_size=batch), "score")

    def published(n: int) -> list[float]:
        found = []
        for picture in opened(first(images, n)):
            with torch.no_grad():
                seen = network.encode_image(transform(picture)[None])
                found.append(float(head(normalize(seen, dim=-1))[0, 0]))
        return found

    return Sides(ours=ours, published=published)


def colors(root: Path, count: int, batch: int) -> Sides:
    """GenEval's colours: open_clip on one crop at a time; class vectors are there before."""
    import open_clip

    config = clip_config("ViT-L-14-quickgelu", **LARGE)
    network = open_clip_network(config)
    model = as_transformers(network, config)
    folder = write_clip_files(root / "clip")
    images = pictures(root / "pictures", count)
    transform = open_clip.image_transform(224, is_train=False)
    tokenise = open_clip.get_tokenizer("ViT-L-14")
    with patch.object(crop_colors, "load_network", lambda *a, **k: model):
        reader = ColorReader(folder, repository="random", device="cpu")

    def things(n: int) -> list[Thing]:
        found = []
        for number, picture in enumerate(opened(first(images, n))):
            mask = np.zeros(picture.size[::-1], dtype=bool)
            mask[100 + number : 400, 120:380] = True
            box = (120.0, 100.0 + number, 380.0, 400.0)
            name = NAMES[number % 2]
            found.append(Thing(name=name, picture=np.asarray(picture), mask=mask, box=box))
        return found

    with torch.no_grad():
        known = {name: _class_vectors(network, tokenise, name) for name in NAMES}
    ours_known = [float(v) for name in NAMES for v in reader.classifier(name).flatten()]
    theirs_known = [float(v) for name in NAMES for v in known[name].T.flatten()]

    def ours(n: int) -> list[float]:
        return [*(float(COLORS.index(c)) for c in reader.read(things(n))), *ours_known]

    def published(n: int) -> list[float]:
        found = []
        with torch.no_grad():
            for thing in things(n):
                seen = network.encode_image(transform(crop_on_grey(thing))[None], normalize=True)
                found.append(float((seen @ known[thing.name]).argmax()))
        return [*found, *theirs_known]

    return Sides(ours=ours, published=published, note="of colours by number and class vectors")


def _class_vectors(network: Any, tokenise: Any, name: str) -> torch.Tensor:
    """Return (D, 10), one colour after another as clip_benchmark encodes them."""
    columns = []
    for color in COLORS:
        texts = tokenise([t.format(color=color, thing=name) for t in TEMPLATES])
        mean = network.encode_text(texts, normalize=True).mean(dim=0)
        columns.append(mean / mean.norm())
    return torch.stack(columns, dim=1)


def cases() -> Sequence[Case]:
    """Return the cases of this file."""
    return (
        Case(
            name="clip-score",
            network="CLIP ViT-B/32, whole; 4 images a prompt",
            published="transformers: an image and its text at a time",
            make=clip_score,
        ),
        Case(
            name="hpsv2",
            network="ViT-H/14, 2 of 32 and 2 of 24 layers",
            published="hpsv2 1.2.0 `score`",
            make=hps,
        ),
        Case(
            name="pickscore",
            network="ViT-H/14, 2 of 32 and 2 of 24 layers",
            published="transformers, as the model card",
            make=pickscore,
        ),
        Case(
            name="aesthetic",
            network="ViT-L/14, 3 of 24 layers, and the head",
            published="open_clip and the head",
            make=aesthetic_score,
        ),
        Case(
            name="geneval-colors",
            network="ViT-L/14, 3 of 24 and 2 of 12 layers",
            published="open_clip, a crop at a time",
            make=colors,
        ),
    )
