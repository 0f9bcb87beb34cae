"""The model that DPG-Bench was published with, in the environment its library needs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api.errors import PrerequisiteError
from bench.api.prompts import Prompt
from bench.assets.places import cache_root
from evaluators.isolated.backend import IsolatedBackend
from evaluators.isolated.process import WorkerError

MODEL = "mplug_visual-question-answering_coco_large_en"
OWNER = "damo"
VARIABLE = "BENCH_MPLUG_MODEL"
FILES = ("configuration.json", "config.yaml", "pytorch_model.bin", "vocab.txt")
"""What modelscope's classes read of the model's folder."""


def places() -> Iterator[Path]:
    """Yield where the model may lie, first choice first: ours, then modelscope's own cache."""
    yield cache_root() / "weights" / MODEL
    given = os.environ.get("MODELSCOPE_CACHE")
    cache = Path(given).expanduser() if given else Path.home() / ".cache" / "modelscope"
    for between in ("hub/models", "hub", "models"):  # newer versions, older, a cache of one's own
        yield cache / between / OWNER / MODEL


def model_folder() -> Path:
    """Return the folder of mPLUG-large: `$BENCH_MPLUG_MODEL`, else the first of `places`.

    Raises:
        PrerequisiteError: it is not there, or files are missing.
    """
    given = os.environ.get(VARIABLE)
    looked = [Path(given).expanduser()] if given else list(places())
    found = next((folder for folder in looked if folder.is_dir()), None)
    fix = f"modelscope download --model {OWNER}/{MODEL}, or set {VARIABLE} to its folder"
    if found is None:
        raise PrerequisiteError(f"{MODEL} is not at {', '.join(map(str, looked))}", fix=fix)
    absent = [name for name in FILES if not (found / name).is_file()]
    if absent:
        raise PrerequisiteError(f"{found} has no {', '.join(absent)}", fix=fix)
    return found


class MPlugAnswers(IsolatedBackend):
    """mPLUG-large's answers to DPG-Bench's questions; see `evaluators/workers/dpg_mplug`.

    This is the published model; nobody has run it here.
    """

    name: ClassVar[str] = "dpg-mplug"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "rules"
    environment_name: ClassVar[str] = "dpg-mplug"

    def weights(self) -> Mapping[str, Path]:
        """Return the model's folder (PrerequisiteError where it is not on this machine)."""
        return {"model": model_folder()}

    def asks(self, prompt: Prompt, texts: Sequence[str]) -> Mapping[str, Any]:
        """Return the questions; the prompt itself is none."""
        return {"texts": list(texts)}

    def answer(
        self, value: Any, asked: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
        """Return `"answers"`, one text for each question."""
        texts = isinstance(value, list) and all(isinstance(text, str) for text in value)
        if not texts or len(value) != len(asked["texts"]):
            raise WorkerError(
                f"the worker of {self.name} answered {str(value)[:100]}, expected "
                f"{len(asked['texts'])} texts: its environment has another modelscope than the "
                "worker is for."
            )
        return {"answers": value}, {}
