"""Sampling away from a degraded prompt: the training-free counterpart of DDSPO.

Classifier-free guidance with c⁻ in the place of the empty text, out + s (ref(c) - ref(c⁻)), moves
a sample along the very direction DDSPO teaches (at the start, its gradient on the loser is
proportional to ref(c⁻) - ref(c)).

Source: dohyun-as/DDSPO@d8edbaf:script/eval_sd14_neg_prompt_geneval_compbench.sh (Rand-removal of
the test prompt with a fixed share of .25, .5 or .75, scales 5.0 and 7.5, 50 steps).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from bench.api.errors import UsageError, did_you_mean
from bench.data.perturbation import PERTURBATIONS
from bench.data.perturbation.rand_removal import LEAST_RATIO, MOST_RATIO, rand_removal
from bench.data.perturbation.rule import Immediate

NONE = "none"


def negative_texts(rule: str, texts: Sequence[str]) -> list[str]:
    """Return the negative prompt of each text: a function of that text and the rule alone.

    Args:
        rule: see `GenerationSpec.negative`, not `"none"`.
        texts: the prompts. One the rule cannot degrade gets the empty text.

    Raises:
        UsageError: there is no such rule.
    """
    name, ratio = parse_negative(rule)
    found = PERTURBATIONS[name]
    assert isinstance(found, Immediate)
    negatives = []
    for text in texts:
        rng = Random(f"negative\x1f{rule}\x1f{text}")
        if name == "rand-removal":  # the variants of the pairs are drawn from five, here from one
            least, most = (LEAST_RATIO, MOST_RATIO) if ratio is None else (ratio, ratio)
            degraded = rand_removal(text, rng, least=least, most=most)
        else:
            degraded = found.picked({})(text, rng)
        negatives.append(degraded or "")
    return negatives


def parse_negative(rule: str) -> tuple[str, float | None]:
    """Return (name of the perturbation, share of words removed or None for its own range).

    Raises:
        UsageError: there is no such rule, or the share is none.
    """
    name, colon, share = rule.partition(":")
    known = [n for n, found in PERTURBATIONS.items() if isinstance(found, Immediate)]
    if name not in known:
        near = did_you_mean(name, [NONE, *known])
        raise UsageError(
            f"unknown negative {rule!r}.{near} Expected {NONE!r}, one of {', '.join(known)}, or "
            "rand-removal:SHARE."
        )
    if not colon:
        return name, None
    try:
        ratio = float(share)
    except ValueError:
        ratio = -1.0
    if name != "rand-removal" or not 0 < ratio < 1:
        raise UsageError(
            f"negative {rule!r}: expected rand-removal:SHARE with a share between 0 and 1, such as "
            "rand-removal:0.5."
        )
    return name, ratio
