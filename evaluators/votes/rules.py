"""Pairwise preference: from replies or votes to verdicts, and from verdicts to win rates. Pure.

The images come as a *set of pairs*: a prompt is a pair, image 0 the candidate's, image 1 the
other system's; `meta["pair"]` names the prompt that both are of. Win, tie and lose are the
candidate's.

Following RealAlign's study (18 people, 60 prompts) and Diffusion-DRO's (35 votes a prompt), the
judges of a pair are reduced to one verdict by majority; the votes before that are counted too.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.api import Estimate, IncompleteError, MetricSpec, PromptSuite, Record
from bench.stats import clustered_mean
from bench.stats.agreement import fleiss_kappa, krippendorff_alpha, mean_cohen_kappa
from evaluators.records import finite

WIN, TIE, LOSE = "win", "tie", "lose"
FIRST, SECOND = "first", "second"
MIRRORED = {WIN: LOSE, TIE: TIE, LOSE: WIN}
POINTS = {WIN: 1.0, TIE: 0.5, LOSE: 0.0}

RATES: tuple[MetricSpec, ...] = (
    MetricSpec(name="win_rate", higher_is_better=True, range=(0.0, 1.0)),
    MetricSpec(name="tie_rate", higher_is_better=False, range=(0.0, 1.0)),
    MetricSpec(name="lose_rate", higher_is_better=False, range=(0.0, 1.0)),
    MetricSpec(name="points", higher_is_better=True, range=(0.0, 1.0)),
    MetricSpec(name="votes_won", higher_is_better=True, range=(0.0, 1.0)),
    MetricSpec(name="krippendorff_alpha", higher_is_better=True, unit="agreement"),
    MetricSpec(name="fleiss_kappa", higher_is_better=True, unit="agreement"),
    MetricSpec(name="cohen_kappa", higher_is_better=True, unit="agreement"),
    MetricSpec(name="undecided", higher_is_better=False, range=(0.0, 1.0)),
)
"""What both the judge and the study report; `points` counts a tie as half a win."""

_CHOICES: dict[Any, str] = {
    1: FIRST,
    2: SECOND,
    0: TIE,
    "1": FIRST,
    "2": SECOND,
    "0": TIE,
    "image 1": FIRST,
    "image 2": SECOND,
    "tie": TIE,
    "neither": TIE,
    "both": TIE,
}
_OBJECT = re.compile(r"\{[^{}]*\}")
_WORDS = re.compile(r"(?:image\s*)?([12])|(tie|neither|both|equal)", re.IGNORECASE)


def parse_reply(reply: str) -> str | None:
    """Return `"first"`, `"second"` or `"tie"`; None where a reply says none of them clearly.

    The last JSON object with a `choice` counts; else the whole reply must be a bare choice.

    >>> parse_reply('The light! {"choice": 2}'), parse_reply("Image 1."), parse_reply("both!")
    ('second', 'first', 'tie')
    >>> parse_reply("Image 1 has better colours than Image 2") is None
    True
    """
    for text in reversed(_OBJECT.findall(reply)):
        try:
            data = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(data, dict) and "choice" in data:
            choice = data["choice"]
            key = choice.strip().lower() if isinstance(choice, str) else choice
            if isinstance(key, bool) or not isinstance(key, int | str):
                return None
            return _CHOICES.get(key)
    bare = _WORDS.fullmatch(reply.strip().strip(".!\"'`* "))
    if bare is None:
        return None
    return TIE if bare[2] else {"1": FIRST, "2": SECOND}[bare[1]]


def both_orders(candidate_first: str | None, candidate_second: str | None) -> str | None:
    """Return a judge's verdict on a pair it saw in both orders.

    A judge that contradicts itself (prefers whichever comes first, or comes second) has no
    preference: a tie; so has one that calls one order a tie. None where a reply was not readable.
    """
    if candidate_first is None or candidate_second is None:
        return None
    one = {FIRST: WIN, SECOND: LOSE, TIE: TIE}[candidate_first]
    other = {FIRST: LOSE, SECOND: WIN, TIE: TIE}[candidate_second]
    return one if one == other else TIE


def majority(verdicts: Iterable[str]) -> str | None:
    """Return the verdict with the most votes, a tie where two lead; None without any vote."""
    counted = Counter(verdicts).most_common()
    if not counted:
        return None
    leaders = [verdict for verdict, count in counted if count == counted[0][1]]
    return leaders[0] if len(leaders) == 1 else TIE


def pair_records(
    suite: PromptSuite,
    verdicts: Mapping[str, Mapping[str, str]],
    facts: Mapping[str, Mapping[str, Any]],
) -> Iterable[Record]:
    """Yield two records per pair, the candidate's and the other's, which mirrors it.

    Args:
        suite: of pairs.
        verdicts: by pair id and judge, the candidate's.
        facts: by pair id, what else goes into the candidate's record.
    """
    for prompt in suite:
        given = verdicts.get(prompt.id, {})
        decided = majority(given.values())
        pair = prompt.meta.get("pair", {})
        for ordinal in (0, 1):
            seen = {j: v if ordinal == 0 else MIRRORED[v] for j, v in sorted(given.items())}
            verdict = None if decided is None else (decided, MIRRORED[decided])[ordinal]
            yield {
                "prompt_id": prompt.id,
                "ordinal": ordinal,
                "tag": prompt.tag,
                "of": str(pair.get("prompt_id", prompt.id)),
                "verdict": verdict,
                "points": None if verdict is None else POINTS[verdict],
                "verdicts": seen,
                **(facts.get(prompt.id, {}) if ordinal == 0 else {}),
            }


def rates(records: Sequence[Record], *, evaluator: str) -> dict[str, Estimate]:
    """Return the win rates with intervals by prompt, and the agreement of the judges.

    Raises:
        IncompleteError: no pair has a verdict.
        ValueError: a value is NaN, naming the record.
    """
    pairs = [record for record in records if record["ordinal"] == 0]
    decided = [record for record in pairs if record["verdict"] is not None]
    if not decided:
        raise IncompleteError(f"{evaluator}: none of {len(pairs)} pairs has a verdict")
    prompts = [record["of"] for record in decided]

    def mean(values: Sequence[float], of: Sequence[str]) -> Estimate:
        return clustered_mean(values, of, bounds=(0.0, 1.0))

    points = [finite(record["points"], record, "points") for record in decided]
    found = {
        f"{name}_rate": mean([float(p == POINTS[name]) for p in points], prompts)
        for name in (WIN, TIE, LOSE)
    }
    found["points"] = mean(points, prompts)
    votes = [(POINTS[v], r["of"]) for r in pairs for v in r["verdicts"].values()]
    found["votes_won"] = mean([float(p == 1.0) for p, _ in votes], [of for _, of in votes])
    given = [record["verdicts"] for record in pairs]
    for name, value in (
        ("krippendorff_alpha", krippendorff_alpha(given)),
        ("fleiss_kappa", fleiss_kappa(given)),
        ("cohen_kappa", mean_cohen_kappa(given)),
    ):
        if value is not None:
            found[name] = Estimate(value=value, n=len(pairs))
    found["undecided"] = share(len(pairs) - len(decided), len(pairs))
    return found


def share(count: int, of: int) -> Estimate:
    """Return a plain share of what was counted, without an interval."""
    return Estimate(value=count / of if of else 0.0, n=max(of, 1))
