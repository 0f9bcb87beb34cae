"""Which models judge: a YAML file of the user's, named by `BENCH_JUDGES` or `--judges`. No torch.

judges:
  - {name: qwen, kind: transformers, model: Qwen/Qwen2.5-VL-7B-Instruct}
  - {name: gpt, kind: endpoint, model: gpt-5.1, url: "https://api.openai.com/v1"}
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.api.errors import PrerequisiteError, UsageError, did_you_mean
from bench.config import construct, load_yaml, mapping

VARIABLE = "BENCH_JUDGES"
OVERRIDE = "backends.judge=vlm-judge"
"""What `--set` says so that these judges judge, whatever the profile."""
KINDS = ("transformers", "endpoint")
DTYPES = ("auto", "float32", "float16", "bfloat16")

OUTSIDE_IDENTITY = ("workers", "retries", "timeout_seconds", "key_env", "name")


@dataclass(frozen=True, kw_only=True)
class JudgeMember:
    """One judge.

    Attributes:
        name: in records.
        kind: one of `KINDS`.
        model: hub id or folder, or what an endpoint calls its model.
        revision: of a hub repository.
        dtype: of a transformers model; `"auto"` is the checkpoint's own.
        url: of an OpenAI-compatible endpoint, up to and without `/chat/completions`.
        temperature: an endpoint's; transformers models answer greedily.
        max_new_tokens: of a reply.
        key_env: environment variable with the endpoint's key; no key is sent where it is unset.
        workers: requests open at an endpoint at once.
        retries: how often a failed request is sent again.
        timeout_seconds: of one request.
    """

    name: str
    kind: str
    model: str
    revision: str | None = None
    dtype: str = "auto"
    url: str | None = None
    temperature: float = 0.0
    max_new_tokens: int = 128
    key_env: str = "OPENAI_API_KEY"
    workers: int = 4
    retries: int = 5
    timeout_seconds: float = 120.0

    def __post_init__(self) -> None:
        for key, known in (("kind", KINDS), ("dtype", DTYPES)):
            value = getattr(self, key)
            if value not in known:
                raise UsageError(
                    f"judge {self.name}: unknown {key} {value!r}.{did_you_mean(str(value), known)}"
                )
        if (self.kind == "endpoint") != (self.url is not None):
            raise UsageError(
                f"judge {self.name}: kind {self.kind!r} and url {self.url!r} do not fit together"
            )
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise UsageError(f"judge {self.name}: url is {self.url!r}; expected http(s)://...")
        for key in ("max_new_tokens", "workers"):
            if getattr(self, key) < 1:
                raise UsageError(f"judge {self.name}: {key} is {getattr(self, key)}; expected >= 1")

    def identity(self) -> dict[str, Any]:
        """Return what can change a reply."""
        kept = {key: value for key, value in asdict(self).items() if key not in OUTSIDE_IDENTITY}
        for key in ("revision", "dtype") if self.kind == "endpoint" else ("url", "temperature"):
            kept.pop(key)
        return kept


def chosen_judges() -> tuple[JudgeMember, ...]:
    """Return the judges of the file that `BENCH_JUDGES` names.

    Raises:
        PrerequisiteError: the variable is not set, or there is no such file.
        UsageError: as `read_judges`.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        raise PrerequisiteError(
            "no judge is chosen",
            fix=f"write a YAML file with a list `judges:` of name, kind ({' or '.join(KINDS)}) and "
            f"model, and pass it as --judges FILE or in {VARIABLE}",
        )
    return read_judges(Path(path).expanduser())


def read_judges(path: Path) -> tuple[JudgeMember, ...]:
    """Read a file of judges.

    Raises:
        PrerequisiteError: there is no such file.
        UsageError: it holds something else, naming the judge and the key.
    """
    if not path.exists():
        raise PrerequisiteError(
            f"judges file {path}: there is none", fix=f"write it, or correct {VARIABLE}"
        )
    data = load_yaml(path)
    listed = data.get("judges") if set(data) == {"judges"} else None
    if not isinstance(listed, list) or not listed:
        raise UsageError(f"{path}: expected one key `judges` with a list of at least one judge")
    found = tuple(_member(f"{path}, judge {k}", entry) for k, entry in enumerate(listed, start=1))
    names = [member.name for member in found]
    if len(set(names)) != len(names):
        raise UsageError(f"{path}: two judges have one name: {sorted(names)}")
    return found


def _member(where: str, data: Any) -> JudgeMember:
    found = mapping(data, where)
    absent = [key for key in ("name", "kind", "model") if not found.get(key)]
    if absent:
        raise UsageError(f"{where}: it lacks {', '.join(absent)}")
    return construct(JudgeMember, found, where)
