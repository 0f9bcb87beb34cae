"""A batch that does not fit is halved and said; every image is answered once, as without it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from bench.api import Backend, BenchError, ImageRecord, ImageSet, Prompt, PromptSuite
from bench.api.memory import Fitting, is_out_of_memory, predict_within_memory
from tests.precision import FORWARD

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nGPU 0 has ...")
PROMPTS, EACH = 5, 3


class Narrow(Backend):
    """Has room for `room` images at once, and says which batches it was asked in."""

    name: ClassVar[str] = "narrow"
    version: ClassVar[int] = 1

    def __init__(self, room: int, error: Exception = CUDA) -> None:
        self.room, self.error = room, error
        self.batches: list[int] = []

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[dict[str, Any], Mapping[str, np.ndarray]]]:
        for start in range(0, len(images.records), batch_size):
            part = images.records[start : start + batch_size]
            self.batches.append(len(part))
            # the last prompts are large: what went well before does not go well any more
            if len(part) > self.room and part[-1].prompt_id >= "2":
                raise self.error
            for r in part:
                asked = queries[r.prompt_id][0]
                value = np.array([float(r.ordinal)])
                yield {"prompt_id": r.prompt_id, "ordinal": r.ordinal, "asked": asked}, {"x": value}


def images() -> ImageSet:
    prompts = tuple(Prompt(id=str(n), text=f"text {n}") for n in range(PROMPTS))
    records = tuple(
        ImageRecord(prompt_id=p.id, ordinal=k, path=f"{p.id}-{k}.png", sha256="", seed=0)
        for p in prompts
        for k in range(EACH)
    )
    return ImageSet(
        root=Path("/"),
        suite=PromptSuite(name="s", version="1", prompts=prompts),
        images_per_prompt=EACH,
        records=records,
    )


QUERIES = {str(n): (f"asked {n}",) for n in range(PROMPTS)}


@pytest.mark.parametrize("room", [1, 2, 3, 7])
def test_every_image_is_answered_once_in_order(room: int, caplog: pytest.LogCaptureFixture) -> None:
    whole = list(Narrow(99).predict(images(), QUERIES, batch_size=8))
    backend = Narrow(room)
    with caplog.at_level(logging.WARNING):
        found = list(predict_within_memory(backend, images(), QUERIES, batch_size=8))
    assert found == whole and len(found) == PROMPTS * EACH
    said = [record.getMessage() for record in caplog.records]
    assert "CUDA out of memory" in said[0] and "going on with batches of 4" in said[0]
    assert len(said) == {1: 3, 2: 2, 3: 2, 7: 1}[room]
    assert not any("GPU 0" in text for text in said)  # one line each


def test_one_image_that_does_not_fit_is_an_error_that_says_so() -> None:
    with pytest.raises(BenchError, match=r"narrow: .*not suffice for one image.*--device cpu"):
        list(predict_within_memory(Narrow(0), images(), QUERIES, batch_size=2))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_other_words_for_it(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert len(list(predict_within_memory(Narrow(2, error), images(), QUERIES, batch_size=8))) == 15


def test_other_errors_pass() -> None:
    for error in (RuntimeError("shapes differ"), ValueError("out of range"), BenchError("x")):
        with pytest.raises(type(error)):
            list(predict_within_memory(Narrow(2, error), images(), QUERIES, batch_size=8))


def test_the_size_that_fitted_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    def function(items: Sequence[int]) -> list[int]:
        asked.append(len(items))
        if len(items) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(items)

    fitting = Fitting("images", "cuda:0")
    found = [x for part in fitting(function, list(range(10))) for x in part]
    assert found == list(range(10)) and asked == [10, 5, 2, 2, 2, 2, 2]
    assert fitting(function, [1, 2, 3]) == [[1, 2], [3]]
    assert sum("the memory of cuda:0" in r.getMessage() for r in caplog.records) == 2


def test_a_real_back_end_gives_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny world's CLIP, whose network has room for two pictures."""
    from evaluators.models.clip import TinyClip

    rng = np.random.default_rng(0)
    given = images()
    for record in given.records:
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / record.path)
    from dataclasses import replace

    from transformers import CLIPModel

    given = replace(given, root=tmp_path)
    queries = {key: ("a red circle",) for key in QUERIES}
    expected = [r["cosine"] for r, _ in TinyClip().predict(given, queries, batch_size=1)]
    look = CLIPModel.get_image_features

    def narrow(self: Any, *args: Any, **named: Any) -> Any:
        pixels = named.get("pixel_values", args[0] if args else None)
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return look(self, *args, **named)

    monkeypatch.setattr(CLIPModel, "get_image_features", narrow)
    with pytest.raises(torch.OutOfMemoryError):
        list(TinyClip().predict(given, queries, batch_size=8))
    found = predict_within_memory(TinyClip(), given, queries, batch_size=8)
    for (record, _), cosine in zip(found, expected, strict=True):
        assert record["cosine"] == pytest.approx(cosine, abs=FORWARD)
