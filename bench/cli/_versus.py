"""`score` for evaluators that compare two systems: judges, and people by form and votes."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.errors import UsageError
from bench.cli._output import print_json, print_rows

if TYPE_CHECKING:
    from bench.api.evaluator import Evaluator
    from bench.steps.builder import GraphBuilder
    from bench.store import Artifact, Store

LOG = logging.getLogger(__name__)


def asks_people(evaluator: type[Evaluator]) -> bool:
    """Whether an evaluator is measured by votes of people, who come with forms."""
    from bench.votes.ballots import ROLE

    return evaluator.spec.backends == (ROLE,)


def add_versus(parser: argparse.ArgumentParser) -> None:
    """Add the options of comparisons."""
    group = parser.add_argument_group(
        "comparisons (evaluators of pairs)", "--images twice: the candidate's, then the other's"
    )
    group.add_argument(
        "--judges", type=Path, metavar="FILE", help="YAML file of models; see the evaluator's card"
    )
    group.add_argument("--per-prompt", type=int, metavar="K", help="pairs of each prompt")
    group.add_argument("--limit", type=int, metavar="N", help="about N prompts, stratified by task")
    group.add_argument("--export", type=Path, metavar="DIR", help="write forms for people there")
    group.add_argument("--forms", type=int, default=1, metavar="N", help="unlike orders and sides")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of orders and sides")
    group.add_argument(
        "--votes", type=Path, nargs="+", metavar="FILE", help="what came back from the forms"
    )


def refuse_versus(args: argparse.Namespace) -> None:
    """Refuse the options of comparisons beside an evaluator that compares nothing."""
    given = {
        "--judges": args.judges,
        "--per-prompt": args.per_prompt,
        "--limit": args.limit,
        "--export": args.export,
        "--votes": args.votes,
    }
    named = [name for name, value in given.items() if value is not None]
    if named:
        raise UsageError(f"{', '.join(named)}: {args.evaluator} compares no two systems.")


def use_judges(args: argparse.Namespace) -> None:
    """Let `--judges` say who judges, in this process and its workers, whatever the profile.

    Raises:
        UsageError, PrerequisiteError: the file is wrong, or not there.
    """
    if args.judges is None:
        return
    from evaluators.models.judge_settings import OVERRIDE, VARIABLE, read_judges

    read_judges(args.judges)
    os.environ[VARIABLE] = str(args.judges.resolve())
    args.overrides = [*args.overrides, OVERRIDE]


def pairs_of(
    args: argparse.Namespace, store: Store, sides: list[Artifact], *, people: bool
) -> Artifact:
    """Return the set of pairs of the two image sets given; people get one pair of a prompt."""
    from bench.votes.pairs import pair_set

    per_prompt = args.per_prompt
    if per_prompt is None and people:
        per_prompt = 1
    return pair_set(
        store, sides[0], sides[1], per_prompt=per_prompt, limit=args.limit, seed=args.seed
    )


def export_forms(args: argparse.Namespace, store: Store, pairs: Artifact) -> int:
    """Lay out a study, write its forms and print where they are.

    Raises:
        StoreError: the folder cannot be written.
    """
    from bench.generation.image_set import open_image_set
    from bench.store import DISK
    from bench.votes.ballots import make_study, read_study
    from bench.votes.form import FormItem, render_form

    study = make_study(store, pairs, seed=args.seed, forms=args.forms)
    layout = read_study(study)
    images = open_image_set(pairs)
    texts = {prompt.id: prompt.text for prompt in images.suite}
    files = {(r.prompt_id, r.ordinal): images.root / r.path for r in images.records}
    pages: dict[Path, bytes] = {}
    for number, shown in enumerate(layout["forms"], start=1):
        items = [
            FormItem(
                prompt=texts[pair],
                left=files[pair, int(right)].read_bytes(),
                right=files[pair, int(not right)].read_bytes(),
            )
            for pair, right in shown
        ]
        page = render_form(items, study=study.id, form=number, question=layout["question"])
        pages[args.export / f"form-{number}.html"] = page.encode()
    for path, data in pages.items():
        DISK.write_atomically(path, data)
    LOG.info(
        "give each voter one form; then: bench score --evaluator %s --votes FILE... (the key "
        "is in the store, %s)",
        args.evaluator,
        study.id,
    )
    rows = [{"form": str(path), "pairs": len(texts), "bytes": len(d)} for path, d in pages.items()]
    if args.json:
        print_json({"study": study.id, "pairs": pairs.id, "forms": rows})
    else:
        print_rows(rows, ["form", "pairs", "bytes"])
    return 0


def votes_upstream(args: argparse.Namespace, source: GraphBuilder) -> dict[str, str]:
    """Read the votes, say what is missing, and return what their scores are made from."""
    from bench.generation.image_set import open_image_set
    from bench.steps.step import stored_step
    from bench.votes.ballots import ROLE, read_study, read_votes, votes_artifact

    study, records, voters = read_votes(source.store, args.votes)
    for voter in voters:
        if voter.answered < voter.asked:
            LOG.warning(
                "%s answered %d of %d pairs (%s)",
                voter.name,
                voter.answered,
                voter.asked,
                voter.file,
            )
    votes = votes_artifact(source.store, study, records)
    pairs = source.store.get(read_study(study)["pairs"])
    images = open_image_set(pairs, verify=False)
    return {
        "images": source.graph.add(stored_step(pairs, images=len(images.records))),
        f"predictions/{ROLE}": source.graph.add(stored_step(votes, images=len(records))),
    }
