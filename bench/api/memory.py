"""A batch that does not fit into memory: halved, said so, and nothing is looked at twice. No torch.

Batch size changes no number beyond float rounding, so a smaller one is no other result.
"""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from bench.api.errors import BenchError
from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet

if TYPE_CHECKING:
    import numpy as np

LOG = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

_SAID = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What libraries say that have no class of error for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, a GPU's or the machine's, does not suffice.

    Errors of the harness are not: who raised them has tried with less already.
    """
    if isinstance(error, BenchError):
        return False
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID)


def free_memory() -> None:
    """Give back what nothing refers to any more; call it when the error has been let go of."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def predict_within_memory(
    backend: Backend,
    images: ImageSet,
    queries: Mapping[str, Sequence[str]],
    *,
    batch_size: int,
) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
    """Yield what `backend.predict` yields, in batches that fit.

    Where a batch does not, the back-end is asked anew with half of it, from the first prompt that
    it has not finished; the log says so.

    Args:
        backend: asked.
        images: a complete image set.
        queries: by prompt id.
        batch_size: to begin with.

    Raises:
        BenchError: a single image does not fit.
        Exception: as `backend.predict`.
    """
    done: set[tuple[str, int]] = set()
    rest, size = images, batch_size
    while True:
        try:
            for record, arrays in backend.predict(rest, queries, batch_size=size):
                key = (record["prompt_id"], record["ordinal"])
                if key not in done:
                    yield record, arrays
                    done.add(key)
            return
        except Exception as error:  # the libraries' classes differ
            reason = _reason(error)
            if not reason:
                raise
        size = _smaller(size, reason, backend.name, backend.device, "one image")
        rest = _unfinished(images, done)


class Fitting:
    """Calls a function on parts of a batch that fit into memory, and remembers their size.

    Args:
        name: of what is made, for the log.
        device: whose memory it is.
    """

    def __init__(self, name: str, device: str | None) -> None:
        self.name, self.device = name, device
        self.size: int | None = None

    def __call__(
        self, function: Callable[[Sequence[Item]], Result], items: Sequence[Item]
    ) -> list[Result]:
        """Return what the function gives for each part, in order.

        Raises:
            BenchError: a single item does not fit.
            Exception: as the function.
        """
        found: list[Result] = []
        position = 0
        while position < len(items):
            part = items[position : position + (self.size or len(items))]
            try:
                found.append(function(part))
                position += len(part)
                continue
            except Exception as error:  # as above
                reason = _reason(error)
                if not reason:
                    raise
            self.size = _smaller(len(part), reason, self.name, self.device, "one")
        return found


def _reason(error: Exception) -> str:
    """Return the first line of an error of memory, nothing for others."""
    if not is_out_of_memory(error):
        return ""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _smaller(size: int, reason: str, name: str, device: str | None, one: str) -> int:
    """Return half the size, and say so (BenchError where there is no half)."""
    free_memory()
    where = device or "this machine"
    if size <= 1:
        raise BenchError(
            f"{name}: the memory of {where} does not suffice for {one} ({reason}). End what else "
            "runs there, or let it run on the CPU: --device cpu"
        )
    LOG.warning(
        "%s: the memory of %s does not suffice (%s); going on with batches of %d",
        name,
        where,
        reason,
        size // 2,
    )
    return size // 2


def _unfinished(images: ImageSet, done: set[tuple[str, int]]) -> ImageSet:
    """Return the set without the prompts of which every image is done."""
    open_prompts = {r.prompt_id for r in images.records if (r.prompt_id, r.ordinal) not in done}
    return replace(
        images,
        suite=replace(images.suite, prompts=tuple(p for p in images.suite if p.id in open_prompts)),
        records=tuple(r for r in images.records if r.prompt_id in open_prompts),
    )
