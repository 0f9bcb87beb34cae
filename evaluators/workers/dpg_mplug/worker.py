"""DPG-Bench's questions to mPLUG-large, by modelscope's own pipeline, as the official script does.

options: none. weights: model, the folder of damo/mplug_visual-question-answering_coco_large_en.
Value: the answers to an item's texts, word for word. What counts as a yes is the rules' matter.
Source: TencentQQGYLab/ELLA@3c228f1:dpg_bench/compute_dpg_bench.py (`MPLUG`). The pipeline itself
makes the picture RGB, resizes it, and reads the question in lower case and at most 25 tokens long
(modelscope/preprocessors/multi_modal.py `MPlugPreprocessor`).
"""

from __future__ import annotations

import os
from typing import Any

NAME = "dpg-mplug"
VERSION = 1
PACKAGES = ("modelscope", "transformers", "tokenizers", "torch", "torchvision", "pillow")


def load(options: dict[str, Any], weights: dict[str, str], device: str | None) -> Answerer:
    """Return modelscope's pipeline on the folder; of its checkpoint only tensors are read.

    modelscope unpickles pytorch_model.bin. Where torch knows the variable set here it reads
    plain tensors alone, and refuses a file that wants to run code.
    """
    os.environ.setdefault("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    from modelscope.pipelines import pipeline
    from modelscope.utils.constant import Tasks

    if device is None:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    task = Tasks.visual_question_answering
    return Answerer(pipeline(task, model=weights["model"], device=device))


class Answerer:
    """Asks one question at a time, as the official script does."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    def score(self, items: list[dict[str, Any]]) -> list[list[str]]:
        """Return the answers about each image, in the order of its questions."""
        from PIL import Image

        found = []
        for item in items:
            with Image.open(item["image"]) as picture:
                image = picture.convert("RGB")
            asked = [{"image": image, "question": text} for text in item["texts"]]
            found.append([self.pipeline(question)["text"] for question in asked])
        return found
