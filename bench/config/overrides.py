"""Changes of configuration from outside its file: `--set KEY=VALUE`, `${NAME}`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import yaml

from bench.api.errors import PrerequisiteError, UsageError
from bench.config.files import parse_yaml

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def expand(value: Any, where: str) -> Any:
    """Return `value` with `${NAME}` in its texts replaced from the environment.

    Raises:
        PrerequisiteError: a variable is not set.
    """
    if isinstance(value, Mapping):
        return {key: expand(item, where) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [expand(item, where) for item in value]
    if not isinstance(value, str):
        return value
    for name in _VARIABLE.findall(value):
        if name not in os.environ:
            raise PrerequisiteError(
                f"{where} lies in a place named by the variable {name}, which is not set",
                fix=f"export {name}=/path/to/it",
            )
    return _VARIABLE.sub(lambda match: os.environ[match.group(1)], value)


def override(data: dict[str, Any], assignment: str) -> None:
    """Change one value of a nested mapping in place: `"a.b.c=YAML value"`.

    New keys may be added at any depth: whether they mean something is checked by the reader of
    the mapping, which names the nearest known ones.

    Raises:
        UsageError: the assignment has no `=`, or leads through something that is no mapping.
    """
    path, equals, text = assignment.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise UsageError(f"--set {assignment!r}; expected KEY.KEY=VALUE, e.g. generation.steps=4")
    value = assigned(assignment, text)
    here = data
    for key in keys[:-1]:
        here = here.setdefault(key, {})
        if not isinstance(here, dict):
            raise UsageError(f"--set {assignment!r}: {key} is {here!r}, not a mapping.")
    here[keys[-1]] = value


def assigned(assignment: str, text: str) -> Any:
    """Return the value that stands behind the `=` of a `--set` (UsageError: it is no YAML)."""
    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or error
        raise UsageError(f"--set {assignment!r}: {text!r} is not valid YAML: {problem}.") from None
