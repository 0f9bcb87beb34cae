"""Who compares two systems: models of the user's choice, or people by forms and votes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.api.registry import EVALUATORS
from bench.generation.image_set import open_image_set
from bench.read.text import read_bytes
from bench.steps.builder import GraphBuilder
from bench.steps.step import stored_step
from bench.store import DISK, Artifact, Store
from bench.votes.ballots import ROLE, make_study, read_study, read_votes, votes_artifact
from bench.votes.form import FormItem, render_form

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


@dataclass(frozen=True, kw_only=True)
class Forms:
    """A study that was laid out.

    Attributes:
        study: id of the study, which keeps the key: who is on which side.
        pairs: id of the pairs shown.
        count: how many pairs.
        files: the forms, with their sizes in bytes.
    """

    study: str
    pairs: str
    count: int
    files: Mapping[Path, int]


def write_forms(
    store: Store, pairs: Artifact, folder: Path, *, forms: int = 1, seed: int = 0
) -> Forms:
    """Lay out a study of pairs and write its forms, an HTML page each.

    Args:
        store: where the study goes.
        pairs: what `bench.votes.pairs.pair_set` returned.
        folder: where the forms go.
        forms: how many, of unlike orders and sides.
        seed: of orders and sides.

    Raises:
        UsageError: `forms` is not positive.
        StoreError: the folder cannot be written.
    """
    study = make_study(store, pairs, seed=seed, forms=forms)
    layout = read_study(study)
    images = open_image_set(pairs)
    texts = {prompt.id: prompt.text for prompt in images.suite}
    files = {(r.prompt_id, r.ordinal): images.root / r.path for r in images.records}
    pages: dict[Path, bytes] = {}
    for number, shown in enumerate(layout["forms"], start=1):
        items = [
            FormItem(
                prompt=texts[pair],
                left=read_bytes(files[pair, int(right)]),
                right=read_bytes(files[pair, int(not right)]),
            )
            for pair, right in shown
        ]
        page = render_form(items, study=study.id, form=number, question=layout["question"])
        pages[folder / f"form-{number}.html"] = page.encode()
    for path, data in pages.items():
        DISK.write_atomically(path, data)
    return Forms(
        study=study.id,
        pairs=pairs.id,
        count=len(texts),
        files={path: len(data) for path, data in pages.items()},
    )


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
