"""Settings of the perturbations that ask a language model. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.api.errors import UsageError, did_you_mean
from bench.config import construct

BACKENDS = ("transformers", "endpoint")
FALLBACKS = ("drop", "rand-removal")

OUTSIDE_IDENTITY = ("batch", "workers", "retries", "timeout_seconds", "key_env")
"""How the work is done; the replies do not depend on it beyond float rounding."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model is asked, and how.

    The defaults of sampling are the DDSPO authors': temperature 0.7, 256 new tokens, and
    Llama-3-Instruct's own top-p.

    Attributes:
        model: hub id or folder of a transformers causal language model, or what an endpoint calls
            its model.
        backend: one of `BACKENDS`.
        revision: of a hub repository.
        url: of an OpenAI-compatible endpoint, up to and without `/chat/completions`.
        temperature: 0 takes the likeliest token always.
        top_p: only the likeliest tokens that together have this probability are drawn from.
        max_new_tokens: a reply is cut after so many.
        dtype: precision of a transformers model.
        fallback: what a prompt without a usable reply gets: `"drop"` leaves it out of the pairs,
            as the authors do; `"rand-removal"` degrades it by that rule.
        batch: prompts a transformers model answers at once.
        workers: requests that are open at an endpoint at once.
        retries: how often a failed request is sent again.
        timeout_seconds: of one request.
        key_env: environment variable with the endpoint's key; no key is sent where it is unset.

    Raises:
        UsageError: a value is unknown or out of range, or two contradict each other.
    """

    model: str
    backend: str = "transformers"
    revision: str | None = None
    url: str | None = None
    temperature: float = 0.7
    top_p: float = 0.9
    max_new_tokens: int = 256
    dtype: str = "float16"
    fallback: str = "drop"
    batch: int = 64
    workers: int = 4
    retries: int = 5
    timeout_seconds: float = 120.0
    key_env: str = "OPENAI_API_KEY"

    def __post_init__(self) -> None:
        for name, known in (("backend", BACKENDS), ("fallback", FALLBACKS)):
            value = getattr(self, name)
            if value not in known:
                raise UsageError(f"unknown {name} {value!r}.{did_you_mean(str(value), known)}")
        if (self.backend == "endpoint") != (self.url is not None):
            raise UsageError(
                f"backend {self.backend!r} and url {self.url!r} do not fit together; an endpoint "
                "needs a url such as http://localhost:8000/v1, a transformers model has none."
            )
        for name in ("max_new_tokens", "batch", "workers"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected at least 1.")
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.retries < 0:
            raise UsageError(
                f"temperature {self.temperature}, top_p {self.top_p}, retries {self.retries}; "
                "expected temperature >= 0, 0 < top_p <= 1, retries >= 0."
            )

    def identity(self) -> dict[str, Any]:
        """Return what can change a reply, JSON-able."""
        kept = {k: v for k, v in asdict(self).items() if k not in OUTSIDE_IDENTITY}
        if self.backend == "endpoint":
            for name in ("revision", "dtype"):  # the endpoint's own business
                kept.pop(name)
        return kept


def read_options(rule: str, data: Mapping[str, Any]) -> ModelOptions:
    """Return the options that stand in a file.

    Raises:
        UsageError: the model is not named, a key is unknown, or a value is refused.
    """
    if "model" not in data:
        raise UsageError(
            f"perturbation {rule} asks a language model; name it, e.g. "
            "perturbation_options: {model: meta-llama/Meta-Llama-3-8B-Instruct}."
        )
    return construct(ModelOptions, data, f"perturbation {rule}")
