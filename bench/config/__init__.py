"""One reader of configuration: YAML files and `--set` in, frozen dataclasses out. No torch."""

from bench.config.files import line_of, load_yaml, mapping, merged, place_of, sequence
from bench.config.overrides import assigned, expand, override
from bench.config.reader import construct, read, require_kinds

__all__ = [
    "assigned",
    "construct",
    "expand",
    "line_of",
    "load_yaml",
    "mapping",
    "merged",
    "override",
    "place_of",
    "read",
    "require_kinds",
    "sequence",
]
