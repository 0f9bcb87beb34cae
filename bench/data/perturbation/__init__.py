"""Rules that turn a prompt into a degraded one, by name. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from bench.data.perturbation import tiny
from bench.data.perturbation.language_model import LanguageModelRule
from bench.data.perturbation.local_rules import OtherPrompt, RandRemoval
from bench.data.perturbation.rule import Perturbation, Rule

__all__ = ["PERTURBATIONS", "Perturbation", "Rule"]

PERTURBATIONS: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        RandRemoval(),
        OtherPrompt(),
        LanguageModelRule(name="llm-ta", version=1, template="llm-ta.txt"),
        LanguageModelRule(name="llm-aq", version=1, template="llm-aq.txt"),
        Perturbation(name="tiny-ta", version=tiny.VERSION, pick=tiny.text_alignment),
        Perturbation(name="tiny-aq", version=tiny.VERSION, pick=tiny.aesthetic_quality),
    )
}
