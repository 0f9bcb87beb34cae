"""How torch computes while a step is made in a process that is the caller's. No torch at import.

A notebook may have set other precisions for work of its own: they change numbers, and are part of
no identity.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bench.api.errors import UsageError

_DEVICES = ("cpu", "cuda")


@contextmanager
def usual_numerics() -> Iterator[None]:
    """Let torch compute as in a process of its own, for a while; then as the caller had set it.

    Default precision and device, autocast, precision of matrix products, gradients. Where torch is
    imported only inside, nobody has set anything.

    Raises:
        UsageError: the precision of matrix products was set in two ways that contradict.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    with ExitStack() as after:
        after.callback(torch.set_default_dtype, torch.get_default_dtype())
        after.callback(torch.set_float32_matmul_precision, _matmul_precision(torch))
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        if torch.get_default_device().type != "cpu":
            after.enter_context(torch.device("cpu"))
        for device in _DEVICES:
            if torch.is_autocast_enabled(device):
                after.enter_context(torch.autocast(device, enabled=False))
        after.enter_context(torch.inference_mode(False))
        after.enter_context(torch.enable_grad())
        yield


def _matmul_precision(torch: Any) -> str:
    try:
        return str(torch.get_float32_matmul_precision())
    except RuntimeError as error:
        raise UsageError(
            "this process has set torch's precision of matrix products in two ways "
            f"({str(error).partition(',')[0]}); set torch.backends.fp32_precision to 'ieee' alone, "
            "or work in a process of its own (jobs=2, or the command line)."
        ) from None
