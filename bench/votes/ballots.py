"""A user study: which pairs a form shows, in what order and on which sides, and its votes.

The key (which system is on the left) stays in the store, out of the form. A form is named by the
study and its number; votes name both.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api.errors import ProtocolError, UsageError
from bench.read.json_text import read_json
from bench.steps.predictions import ARRAYS, PREDICTIONS
from bench.store import Artifact, Store, Work, write_jsonl

LOG = logging.getLogger(__name__)

KIND = "study"
VERSION = 1
QUESTION = "Which image do you prefer given the prompt?"
"""Asked by RealAlign and by Diffusion-DRO."""

ROLE = "votes"
"""What people play for an evaluator, in place of a back-end."""

VOTES_FORMAT = 1
CHOICES = ("left", "tie", "right")
_FILE = "study.json"
_MANY = 8
"""Votes on fewer pairs may well be equal by chance."""


@dataclass(frozen=True, kw_only=True)
class Voter:
    """One voter's part: how many of the pairs shown were answered."""

    name: str
    file: str
    form: int
    answered: int
    asked: int


def make_study(store: Store, pairs: Artifact, *, seed: int = 0, forms: int = 1) -> Artifact:
    """Lay out the forms of a study and keep the key.

    Each form has all pairs in an order of its own; the candidate is on the left in half of them.

    Args:
        store: where it goes.
        pairs: a set of pairs; see `bench.votes.pairs`.
        seed: of orders and sides.
        forms: how many there are.

    Raises:
        UsageError: `forms` is not positive.
    """
    if forms < 1:
        raise UsageError(f"--forms {forms}; expected at least 1.")
    identity = {"version": VERSION, "pairs": pairs.id, "seed": seed, "forms": forms}

    def make(work: Work) -> None:
        suite = pairs.read_json("suite.json")
        ids = [prompt["id"] for prompt in suite["prompts"]]
        layout = {"pairs": pairs.id, "question": QUESTION, "seed": seed, "suite": suite["name"]}
        work.write_json(_FILE, {**layout, "forms": [_form(ids, seed, k) for k in range(forms)]})

    # the name stands in the forms: it must not tell whose images they are
    return store.build(KIND, "pairs", identity, make, upstream={"pairs": pairs.id})


def _form(ids: Sequence[str], seed: int, number: int) -> list[list[Any]]:
    """Return [pair id, whether the candidate is on the right] in the order shown."""
    draw = random.Random(f"study:{seed}:{number}")
    order = draw.sample(list(ids), len(ids))
    sides = [bool(k % 2) for k in range(len(ids))]
    draw.shuffle(sides)
    return [[pair, right] for pair, right in zip(order, sides, strict=True)]


def read_study(artifact: Artifact) -> dict[str, Any]:
    """Return what `make_study` laid out: `pairs`, `question`, and `forms` as in `_form`."""
    found: dict[str, Any] = artifact.read_json(_FILE)
    return found


def read_votes(
    store: Store, files: Sequence[Path]
) -> tuple[Artifact, list[dict[str, Any]], list[Voter]]:
    """Read the files that came back from the forms of one study.

    Returns:
        The study; by pair, `votes` (voter to win, tie or lose, the candidate's) and `asked`; and
        each voter's part.

    Raises:
        UsageError: a file is none of ours, or names a form that there is not.
        ProtocolError: files of unlike studies, or two files of one voter.
    """
    read = [(path, _read(path)) for path in files]
    studies = sorted({data["study"] for _, data in read})
    if len(studies) != 1:
        raise ProtocolError(f"the votes are of {len(studies)} studies: {', '.join(studies)}")
    study = store.get(studies[0])
    if study.kind != KIND:
        raise UsageError(f"{study.id} is of kind {study.kind!r}; expected a study.")
    layout = read_study(study)
    votes: dict[str, dict[str, str]] = {pair: {} for pair, _ in layout["forms"][0]}
    voters: list[Voter] = []
    for path, data in read:
        name, number = data["voter"], data["form"]
        known = {_folded(voter.name): voter for voter in voters}
        if _folded(name) in known:
            other = known[_folded(name)]
            raise ProtocolError(
                f"{path}: there is a file of voter {other.name!r} already, {other.file}; keep one "
                "of them, or tell two people of one name apart"
            )
        if not 1 <= number <= len(layout["forms"]):
            raise UsageError(f"{path}: form {number}; study {study.id} has {len(layout['forms'])}")
        shown = layout["forms"][number - 1]
        seen: set[int] = set()
        for vote in data["votes"]:
            item = vote["item"]
            if not 1 <= item <= len(shown) or item in seen:
                raise UsageError(
                    f"{path}: item {item} is voted on twice, or is none of 1 to {len(shown)}"
                )
            seen.add(item)
            pair, right = shown[item - 1]
            votes[pair][name] = _verdict(vote["choice"], candidate_right=right)
        voters.append(
            Voter(name=name, file=str(path), form=number, answered=len(seen), asked=len(shown))
        )
    _say_copies(read)
    records = [
        {"prompt_id": pair, "ordinal": 0, "votes": given, "asked": len(voters)}
        for pair, given in votes.items()
    ]
    return study, records, voters


def _folded(name: str) -> str:
    """Return a voter's name without what the same person may write in another way."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _say_copies(read: Sequence[tuple[Path, Mapping[str, Any]]]) -> None:
    """Log voters whose files hold the same votes on many pairs: one file under two names?"""
    first: dict[str, str] = {}
    for path, data in read:
        choices = {vote["choice"] for vote in data["votes"]}
        if len(data["votes"]) >= _MANY and len(choices) == 1:
            told = "%s: all %d votes of %r are %r; they count"
            LOG.warning(told, path, len(data["votes"]), data["voter"], choices.pop())
        votes = sorted((vote["item"], vote["choice"]) for vote in data["votes"])
        if len(votes) < _MANY:
            continue
        other = first.setdefault(json.dumps([data["form"], votes]), data["voter"])
        if other != data["voter"]:
            LOG.warning(
                "%s: the votes of %r are those of %r, all %d of them; both count",
                *(path, data["voter"], other, len(votes)),
            )


def votes_artifact(store: Store, study: Artifact, records: Sequence[Mapping[str, Any]]) -> Artifact:
    """Keep votes as predictions of the role `votes`: the form that scores are made from."""
    text = json.dumps(list(records), sort_keys=True)
    identity = {
        "version": VERSION,
        "study": study.id,
        "votes_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }

    def make(work: Work) -> None:
        from bench.store import write_safetensors

        write_jsonl(work, PREDICTIONS, records)
        write_safetensors(work, ARRAYS, {})

    upstream = {"study": study.id, "images": read_study(study)["pairs"]}
    return store.build("predictions", f"{study.name}-votes", identity, make, upstream=upstream)


def _verdict(choice: str, *, candidate_right: bool) -> str:
    if choice == "tie":
        return "tie"
    return "win" if (choice == "right") == candidate_right else "lose"


def _read(path: Path) -> dict[str, Any]:
    try:
        data = read_json(path)
    except UsageError as error:
        raise UsageError(f"--votes: {error}") from None
    kinds = {"format": int, "study": str, "form": int, "voter": str, "votes": list}
    wrong = [
        key
        for key, kind in kinds.items()
        if not isinstance(data, dict) or type(data.get(key)) is not kind  # true is no number
    ]
    if wrong or data["format"] != VOTES_FORMAT or not data["voter"].strip():
        raise UsageError(
            f"--votes {path}: no file of a form ({', '.join(wrong) or 'format, voter'} missing or "
            "wrong); send back what the form's save button wrote"
        )
    for vote in data["votes"]:
        good = isinstance(vote, dict) and type(vote.get("item")) is int
        if good and (more := sorted(set(vote) - {"item", "choice"})):
            raise UsageError(
                f"--votes {path}: {vote!r} says {', '.join(more)}, which a form does not write: "
                "does the vote count? Take the words out, or the vote"
            )
        if not good or vote.get("choice") not in CHOICES:
            raise UsageError(
                f"--votes {path}: {vote!r} is no vote; expected item and one of {CHOICES}"
            )
    return {**data, "voter": data["voter"].strip()}
