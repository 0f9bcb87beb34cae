"""Who compares two systems: models of the user's choice, or people, whose votes are counted."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.api.registry import EVALUATORS
from bench.generation.image_set import open_image_set
from bench.steps.builder import GraphBuilder
from bench.steps.step import stored_step
from bench.votes.ballots import ROLE, read_study, read_votes, votes_artifact

LOG = logging.getLogger("bench.harness")


def asks_people(evaluator: str) -> bool:
    """Whether an evaluator is measured by votes of people, who come with forms."""
    backends: tuple[str, ...] = EVALUATORS.load(evaluator).spec.backends
    return backends == (ROLE,)


@contextmanager
def judged_by(path: Path | str | None) -> Iterator[tuple[str, ...]]:
    """Let a file say who judges, here and in workers, until the end; give the changes to a profile.

    Raises:
        UsageError, PrerequisiteError: the file is wrong, or not there.
    """
    if path is None:
        yield ()
        return
    from evaluators.models.judge_settings import OVERRIDE, VARIABLE, read_judges

    file = Path(path)
    read_judges(file)
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(file.resolve())
    try:
        yield (OVERRIDE,)
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def votes_upstream(builder: GraphBuilder, files: Sequence[Path]) -> dict[str, str]:
    """Read the votes, say what is missing, and return what their scores are made from.

    Raises:
        UsageError, ProtocolError: as `bench.votes.ballots.read_votes`.
    """
    study, records, voters = read_votes(builder.store, files)
    for voter in voters:
        if voter.answered < voter.asked:
            LOG.warning(
                "%s answered %d of %d pairs (%s)",
                voter.name,
                voter.answered,
                voter.asked,
                voter.file,
            )
    votes = votes_artifact(builder.store, study, records)
    pairs = builder.store.get(read_study(study)["pairs"])
    images = open_image_set(pairs, verify=False)
    return {
        "images": builder.graph.add(stored_step(pairs, images=len(images.records))),
        f"predictions/{ROLE}": builder.graph.add(stored_step(votes, images=len(records))),
    }
