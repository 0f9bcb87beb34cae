"""The detectors that GenEval and T2I-CompBench were published with, where a user has them.

Neither can be installed from an index beside a current torch, and neither has been run here: what
is verified is the exchange with the worker and the rules after it.
"""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api.errors import PrerequisiteError
from bench.api.prompts import Prompt, PromptSuite
from bench.assets.places import cache_root
from bench.read.pictures import read_pixels
from evaluators.compbench.rules import DETECTOR_LONG_SIDE, DETECTOR_SHORT_SIDE
from evaluators.geneval.clauses import unofficial_words
from evaluators.geneval.prompts import OBJECT_NAMES
from evaluators.isolated.backend import IsolatedBackend
from evaluators.models import hub
from evaluators.models.mask2former import COLORS, FLOOR, asked_in_color, best_of_classes
from evaluators.sentinel import require_sentinel

Answer = tuple[dict[str, Any], Mapping[str, np.ndarray]]

_MASK2FORMER = "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco"


def users_file(name: str, variable: str) -> Path:
    """Return a file only the user can bring: `$variable`, else `<cache>/weights/<name>`.

    Raises:
        PrerequisiteError: it is not there.
    """
    given = os.environ.get(variable)
    path = Path(given).expanduser() if given else cache_root() / "weights" / name
    if not path.is_file():
        raise PrerequisiteError(
            f"{name} is not at {path}", fix=f"put it there, or set {variable} to where it is"
        )
    return path


class MMDetDetector(IsolatedBackend):
    """GenEval's Mask2Former in MMDetection 2.x, with colours by the same CLIP as `geneval-hf`.

    Files: BENCH_GENEVAL_CHECKPOINT, whose name ends in the first digits of its sha256, and
    BENCH_GENEVAL_CONFIG, MMDetection's configuration of the same name.
    """

    name: ClassVar[str] = "geneval-mmdet"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "rules"
    hub_models: ClassVar[tuple[str, ...]] = (COLORS,)
    other_weights: ClassVar[tuple[str, ...]] = ("mask2former-mmdet",)
    environment_name: ClassVar[str] = "geneval-mmdet"

    def __init__(self) -> None:
        self._reader: Any = None

    def unfit_for_prompts(self, evaluator: str, suite: PromptSuite) -> str:
        """Return which of GenEval's words it does not know."""
        return unofficial_words(evaluator, suite, who=self.name)

    def weights(self) -> Mapping[str, Path]:
        """Return configuration and checkpoint (PrerequisiteError where they are not there)."""
        checkpoint = f"{_MASK2FORMER}_20220504_001756-743b7d99.pth"
        return {
            "config": users_file(f"{_MASK2FORMER}.py", "BENCH_GENEVAL_CONFIG"),
            "checkpoint": users_file(checkpoint, "BENCH_GENEVAL_CHECKPOINT"),
        }

    def pinned(self) -> Mapping[str, str]:
        """Return the beginning of the checkpoint's sha256."""
        return {"checkpoint": "743b7d99"}

    def self_check(self) -> None:
        """Find what is on the sentinel's photographs."""
        require_sentinel(self, "photos")

    def options(self) -> dict[str, Any]:
        """Return the score above which detections are stored."""
        return {"floor": FLOOR}

    def identity(self) -> dict[str, Any]:
        """Return the identity with that of the CLIP (errors as `IsolatedBackend`)."""
        return {**super().identity(), "colors": hub.content_hash(self._colors())}

    def _colors(self) -> Path:
        return hub.snapshot(COLORS, needs=(*hub.NETWORK, *hub.TOKENIZER))

    def asks(self, prompt: Prompt, texts: Sequence[str]) -> Mapping[str, Any]:
        """Return the classes whose masks are needed: those asked in a colour."""
        return {"masks": sorted(OBJECT_NAMES.index(name) for name in asked_in_color(prompt))}

    def answer(self, value: Any, asked: Mapping[str, Any]) -> Answer:
        """Return `"width"`, `"height"` and `"detections"`, coloured where a colour is asked."""
        width, height = value["width"], value["height"]
        detections: list[dict[str, Any]] = [
            {"class": OBJECT_NAMES[label], "score": score, "box": box}
            for label, score, box, _ in value["detections"]
        ]
        places = best_of_classes(detections, [OBJECT_NAMES[label] for label in asked["masks"]])
        if places:
            from evaluators.models.crop_colors import ColorReader, Thing

            if self._reader is None:
                device = hub.pick_device(self.device)
                self._reader = ColorReader(self._colors(), repository=COLORS, device=device)
            picture = read_pixels(Path(asked["image"]))
            things = [
                Thing(
                    name=detections[place]["class"],
                    picture=picture,
                    mask=unpack_mask(value["detections"][place][3], height, width),
                    box=detections[place]["box"],
                )
                for place in places
            ]
            for place, color in zip(places, self._reader.read(things), strict=True):
                detections[place]["color"] = color
        return {"width": width, "height": height, "detections": detections}, {}


def unpack_mask(text: str, height: int, width: int) -> np.ndarray:
    """Return the (height, width) bool mask that the worker packed."""
    bits = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    return np.unpackbits(bits, count=height * width).astype(bool).reshape(height, width)


class UniDetDetector(IsolatedBackend):
    """T2I-CompBench's UniDet in detectron2: all 722 labels, boxes in pixels of the image.

    Files: BENCH_UNIDET_CONFIG, BENCH_UNIDET_CHECKPOINT and BENCH_UNIDET_LABELS, a JSON list of
    the class names by index (from the benchmark's dataset/detection_features.pt).
    """

    name: ClassVar[str] = "compbench-unidet"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "rules"
    environment_name: ClassVar[str] = "compbench-unidet"

    def weights(self) -> Mapping[str, Path]:
        """Return configuration, checkpoint and labels (PrerequisiteError where not there)."""
        model = "Unified_learned_OCIM_RS200_6x+2x"
        return {
            "config": users_file(f"{model}.yaml", "BENCH_UNIDET_CONFIG"),
            "checkpoint": users_file(f"{model}.pth", "BENCH_UNIDET_CHECKPOINT"),
            "labels": users_file("unidet_labels.json", "BENCH_UNIDET_LABELS"),
        }

    def options(self) -> dict[str, Any]:
        """Return the size pictures are resized into, and the score detections are stored from."""
        return {
            "short_side": DETECTOR_SHORT_SIDE,
            "long_side": DETECTOR_LONG_SIDE,
            "floor": FLOOR,
        }

    def asks(self, prompt: Prompt, texts: Sequence[str]) -> Mapping[str, Any]:
        """Return nothing: it looks for all it knows."""
        return {}

    def answer(self, value: Any, asked: Mapping[str, Any]) -> Answer:
        """Return `"width"`, `"height"` and `"detections"`."""
        return {key: value[key] for key in ("width", "height", "detections")}, {}
