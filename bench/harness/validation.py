"""A plug-in against its contract."""

from __future__ import annotations

from collections.abc import Sequence

from bench.api.evaluator import Evaluator
from bench.api.registry import DEFAULT_PROFILE
from bench.spec.profile import load_profile
from bench.validate import EvaluatorSample, Validation
from bench.validate import validate as checked


def validate(
    target: str,
    profile: str = DEFAULT_PROFILE,
    *,
    kind: str | None = None,
    suite: str | None = None,
    overrides: Sequence[str] = (),
    checkpoint: str | None = None,
    trust: bool = False,
) -> Validation:
    """Check a plug-in, and say what to mend.

    Args:
        target: a name, `pkg.mod:Class`, `file.py:Class` or a table's YAML file.
        profile: whose back-ends look at the pictures an evaluator is run on.
        kind: of a name that several kinds have.
        suite: prompts of those pictures; by default what suits the evaluator.
        overrides: changes to the profile.
        checkpoint: of a backbone, what it loads.
        trust: whether YAML files may name code that nobody registered.

    Raises:
        UsageError: there is no such plug-in, or it is of no kind.
    """

    def sample(evaluator: Evaluator) -> EvaluatorSample:
        from bench.validate.sample import rendered_sample

        found = load_profile(profile, overrides=overrides, trust=trust)
        return rendered_sample(evaluator, suite_name=suite, profile=found)

    return checked(
        target,
        kind=kind,
        sample=sample,
        profile=profile,
        overrides=overrides,
        checkpoint=checkpoint,
        trust=trust,
    )
