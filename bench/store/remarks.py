"""What is to be known of an artifact beside its numbers, in words: kept in its manifest's notes.

A remark is no error: the numbers are of what was asked for. It says what a reader would not see in
them: a LoRA that changes nothing, prompts that were cut, pictures that are their own reference.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.api.errors import BenchError
from bench.store.artifact import Artifact
from bench.store.store import Store
from bench.store.work import Work

LOG = logging.getLogger("bench")

REMARKS = "remarks"


def remark(work: Work, said: Sequence[str]) -> None:
    """Keep remarks with an artifact in the making; none leave no trace."""
    if said:
        work.note(REMARKS, list(said))


def say(work: Work, said: Sequence[str], *, aloud: bool = True) -> None:
    """Keep remarks with an artifact in the making, and log them.

    Args:
        work: the artifact.
        said: the remarks.
        aloud: False where others say the same: of an artifact's parts the first speaks.
    """
    remark(work, said)
    for one in said if aloud else ():
        LOG.warning("%s", one)


def remarks_of(artifact: Artifact) -> list[str]:
    """Return the remarks that an artifact was published with."""
    return [str(one) for one in artifact.manifest.get("notes", {}).get(REMARKS, ())]


@dataclass(kw_only=True)
class Remarks:
    """Remarks of artifacts of a store and of all they were made from; each is looked up once.

    Attributes:
        store: where the artifacts are.
    """

    store: Store
    _found: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def behind(self, key: str) -> tuple[str, ...]:
        """Return the remarks, each once; an artifact that is not there any more tells nothing."""
        if key not in self._found:
            self._found[key] = ()  # nothing is upstream of itself; a broken manifest ends here
            try:
                artifact = self.store.get(key)
            except BenchError:
                return ()
            above = [
                said
                for keys in artifact.upstream.values()
                for one in ([keys] if isinstance(keys, str) else keys)
                for said in self.behind(str(one))
            ]
            self._found[key] = tuple(dict.fromkeys([*remarks_of(artifact), *above]))
        return self._found[key]
