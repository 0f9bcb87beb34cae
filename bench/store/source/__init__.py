"""What a class means, as a hash: read from source, nothing of it is run."""

from bench.store.source.identity import (
    Foreign,
    Source,
    SourceChangedError,
    code_identity,
    foreign_part,
    plugin_code,
    plugin_source_hash,
    require_unchanged,
    source_of,
)

__all__ = [
    "Foreign",
    "Source",
    "SourceChangedError",
    "code_identity",
    "foreign_part",
    "plugin_code",
    "plugin_source_hash",
    "require_unchanged",
    "source_of",
]
