r"""GenEval by a real detector on pictures whose truth is known: `geneval-yolo` end to end.

    apt-get download tuxpaint-stamps-default mate-backgrounds     (in a folder outside of this one)
    dpkg-deb -x tuxpaint-stamps-default_*.deb x; dpkg-deb -x mate-backgrounds_*.deb x
    eval "$(benchmarks/fetch_detector.sh)"; pip install onnxruntime
    python benchmarks/real_pictures.py --stamps x/usr/share/tuxpaint/stamps \
        --walls x/usr/share/backgrounds/mate/nature

Cut-outs of objects are put on wallpapers, so object, number, place and colour are known exactly.
Each scene is asked for twice: by the prompt that is true of it and by one that is false in the one
thing its task is about. Shown is how often the verdict is the truth, on true and false prompts.
Nothing of the packages is kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.api import ImageRecord, ImageSet, Predictions, Prompt, PromptSuite
from evaluators.geneval.metric import GenEval
from evaluators.geneval.prompts import TASKS
from evaluators.models.yolo_onnx import YoloDetector

SIZE = 512
STAMPS: Mapping[str, tuple[tuple[str, str | None], ...]] = {
    "elephant": (("animals/mammals/elephant.png", None),),
    "giraffe": (("animals/mammals/**/giraffe.png", None),),
    "zebra": (("animals/mammals/equines/zebra.png", None),),
    "dog": (("animals/mammals/dogs/dog.png", None),),
    "horse": (("animals/mammals/equines/horse.png", None),),
    "cow": (("animals/mammals/bovines/cow.png", None),),
    "sheep": (("animals/mammals/bovines/sheep.png", None),),
    "bear": (("animals/mammals/bears/bear.png", None),),
    "apple": (("food/fruit/apple_red.png", "red"), ("food/fruit/apple_green.png", "green")),
    "banana": (("food/fruit/banana.png", "yellow"),),
    "orange": (("food/fruit/orange.png", "orange"),),
    "broccoli": (("food/vegetables/broccoli.png", "green"),),
    "carrot": (("food/vegetables/carrot.png", "orange"),),
    "bus": (("vehicles/masstransit/green_korean_bus.png", "green"),),
}
"""Classes, the files that show one, and GenEval's colour where it has one."""
COLORED = tuple(c for c, files in STAMPS.items() if files[0][1] is not None)
OTHER_COLOR = {"red": "blue", "green": "purple", "yellow": "red", "orange": "blue"}
PLACES = {"left of": ((0.25, 0.5), (0.75, 0.5)), "right of": ((0.75, 0.5), (0.25, 0.5)),
          "above": ((0.5, 0.25), (0.5, 0.75)), "below": ((0.5, 0.75), (0.5, 0.25))}  # fmt: skip
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
GRID = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))

Placed = tuple[str, str, tuple[float, float], float]
"""Class, file, centre, and longest side, the last two as shares of the picture."""


def scene(task: str, rng: np.random.Generator) -> tuple[list[Placed], Any, Any]:
    """Return what to draw, and the true and the false `include` clauses."""
    one, other, third = (str(c) for c in rng.choice(list(STAMPS), 3, replace=False))
    files = {c: STAMPS[c][int(rng.integers(len(STAMPS[c])))] for c in STAMPS}

    def put(name: str, at: tuple[float, float], side: float) -> Placed:
        jitter = rng.uniform(-0.03, 0.03, 2)
        return name, files[name][0], (at[0] + jitter[0], at[1] + jitter[1]), side

    def clause(name: str, **more: Any) -> dict[str, Any]:
        return {"class": name, "count": 1, **more}

    if task == "single_object":
        return [put(one, (0.5, 0.5), 0.6)], [clause(one)], [clause(other)]
    if task == "two_object":
        things = [put(one, (0.27, 0.5), 0.42), put(other, (0.73, 0.5), 0.42)]
        return things, [clause(one), clause(other)], [clause(one), clause(third)]
    if task == "counting":
        count = int(rng.integers(2, 5))
        things = [put(one, at, 0.4) for at in GRID[:count]]
        wrong = count + 1 if count < 4 and rng.random() < 0.5 else count - 1
        return things, [clause(one, count=count)], [clause(one, count=wrong)]
    if task == "position":
        relation = str(rng.choice(list(PLACES)))
        first, second = PLACES[relation]
        things = [put(one, first, 0.4), put(other, second, 0.4)]

        def related(word: str) -> list[dict[str, Any]]:
            return [clause(other), clause(one, position=[word, 0])]

        return things, related(relation), related(OPPOSITE[relation])
    one, other = (str(c) for c in rng.choice(COLORED, 2, replace=False))
    color, second_color = str(files[one][1]), str(files[other][1])
    if task == "colors":
        wrong = [clause(one, color=OTHER_COLOR[color])]
        return [put(one, (0.5, 0.5), 0.6)], [clause(one, color=color)], wrong
    things = [put(one, (0.27, 0.5), 0.42), put(other, (0.73, 0.5), 0.42)]
    true = [clause(one, color=color), clause(other, color=second_color)]
    return things, true, [true[0], clause(other, color=OTHER_COLOR[second_color])]


def draw(things: list[Placed], stamps: Path, wall: Path, rng: np.random.Generator) -> Image.Image:
    """Return a picture of cut-outs on a wallpaper."""
    with Image.open(wall) as opened:
        ground = opened.convert("RGB")
    side = min(ground.size)
    left = int(rng.integers(0, ground.size[0] - side + 1))
    top = int(rng.integers(0, ground.size[1] - side + 1))
    ground = ground.crop((left, top, left + side, top + side)).resize((SIZE, SIZE))
    for _, file, (x, y), longest in things:
        path = next(iter(sorted(stamps.glob(file))))
        with Image.open(path) as opened:
            stamp = opened.convert("RGBA")
        stamp = stamp.crop(stamp.getchannel("A").getbbox())
        ratio = longest * SIZE / max(stamp.size)
        size = (max(1, round(stamp.size[0] * ratio)), max(1, round(stamp.size[1] * ratio)))
        stamp = stamp.resize(size, Image.Resampling.LANCZOS)
        corner = (round(x * SIZE - size[0] / 2), round(y * SIZE - size[1] / 2))
        ground.paste(stamp, corner, stamp)
    return ground


def scenes(folder: Path, stamps: Path, walls: list[Path], count: int) -> ImageSet:
    """Draw `count` scenes of each task; each stands under a true and under a false prompt."""
    prompts, records = [], []
    for number, task in enumerate(TASKS):
        for i in range(count):
            rng = np.random.default_rng([number, i])
            things, true, false = scene(task, rng)
            wall = walls[int(rng.integers(len(walls)))]
            name = f"{task}-{i}.png"
            draw(things, stamps, wall, rng).save(folder / name)
            for truth, include in (("true", true), ("false", false)):
                key = f"{task}-{i}-{truth}"
                exclude = [{"class": c["class"], "count": c["count"] + 1} for c in include]
                meta = {"include": include} | ({"exclude": exclude} if task == "counting" else {})
                prompts.append(Prompt(id=key, text=json.dumps(include), tag=task, meta=meta))
                records.append(
                    ImageRecord(prompt_id=key, ordinal=0, path=name, sha256="", seed=number)
                )
    suite = PromptSuite(name="real-pictures", version="1", prompts=tuple(prompts))
    return ImageSet(root=folder, suite=suite, images_per_prompt=1, records=tuple(records))


def looked_at_once(images: ImageSet) -> Iterator[dict[str, Any]]:
    """Yield the detections of each record; a picture that stands twice is looked at once."""
    detector = YoloDetector()
    detector.self_check()
    seen: dict[str, Any] = {}
    unique = {record.path: record for record in images.records}
    only = ImageSet(
        root=images.root, suite=images.suite, images_per_prompt=1, records=tuple(unique.values())
    )
    for record, (made, _) in zip(only.records, detector.predict(only, {}), strict=True):
        seen[record.path] = made
    for record in images.records:
        yield {**seen[record.path], "prompt_id": record.prompt_id}


def main() -> None:
    """Print, by task, how often the verdict is the truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stamps", type=Path, required=True)
    parser.add_argument("--walls", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=12, help="of each task")
    parser.add_argument("--keep", type=Path, help="keep the pictures there")
    args = parser.parse_args()
    walls = sorted(p for p in args.walls.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
    with tempfile.TemporaryDirectory(prefix="bench-real-") as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        images = scenes(folder, args.stamps, walls, args.scenes)
        predictions = {"detector": Predictions(records=list(looked_at_once(images)))}
        records = list(GenEval().score(images.suite, predictions))
    print(f"{'task':<14} {'true prompts':>13} {'false prompts':>14} {'agreement':>10}")
    every: list[bool] = []
    for task in TASKS:
        held = {"true": [], "false": []}  # type: dict[str, list[bool]]
        for record in records:
            if record["tag"] == task:
                truth = record["prompt_id"].rpartition("-")[2]
                held[truth].append(bool(record["correct"]) == (truth == "true"))
        both = held["true"] + held["false"]
        every += both
        right = [f"{sum(held[truth])} of {len(held[truth])}" for truth in ("true", "false")]
        print(f"{task:<14} {right[0]:>13} {right[1]:>14} {np.mean(both):>10.2f}")
    print(f"{'all':<14} {'':>13} {'':>14} {np.mean(every):>10.2f}")


if __name__ == "__main__":
    main()
