"""Which checks a plug-in gets, and their outcome.

| kind       | what is run                                                                   |
|------------|-------------------------------------------------------------------------------|
| method     | it, or each of its stages, on random latents, policy and reference             |
| evaluator  | on pictures of the tiny world that the profile's back-ends look at             |
| back-end   | on the same pictures, in one batch and image by image                          |
| table      | nothing: its cells are planned                                                 |
| backbone   | a checkpoint of its family, on two prompts and two images                      |

torch is imported only where a model runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.api.errors import ContractError, UsageError, unknown
from bench.api.evaluator import Backend, Evaluator
from bench.api.method import Method
from bench.api.registry import (
    BACKENDS,
    DEFAULT_PROFILE,
    EVALUATORS,
    METHODS,
    Registry,
    import_target,
)
from bench.api.stages import StagedMethod
from bench.backbones import BACKBONES
from bench.spec.profile import load_profile
from bench.spec.table_files import TABLES
from bench.validate.backbone import check_backbone
from bench.validate.backend import check_backend
from bench.validate.checks import Checks, Finding
from bench.validate.evaluator import check_evaluator
from bench.validate.method import check_method, check_staged
from bench.validate.sample import EvaluatorSample
from bench.validate.table import check_table

KINDS: Mapping[str, Registry[Any]] = {
    "method": METHODS,
    "evaluator": EVALUATORS,
    "backend": BACKENDS,
    "backbone": BACKBONES,
    "table": TABLES,
}
"""Where a name is looked for, the first that has it unless a kind is given."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The outcome.

    Attributes:
        target: the name or path that was checked.
        kind: a key of `KINDS`, or `"staged method"`.
        passed: the checks that hold.
        findings: the departures; empty when the contract is fulfilled.
        facts: numbers worth knowing, e.g. the loss at delta = 0.
    """

    target: str
    kind: str
    passed: tuple[str, ...]
    findings: tuple[Finding, ...]
    facts: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the contract is fulfilled."""
        return not self.findings

    def require(self) -> None:
        """Raise ContractError with all findings, if there are any."""
        if self.findings:
            listed = "\n".join(str(finding) for finding in self.findings)
            raise ContractError(f"{self.kind} {self.target} departs from its contract:\n{listed}")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return {**asdict(self), "ok": self.ok}


def validate(
    target: str,
    *,
    kind: str | None = None,
    sample: Callable[[Evaluator], EvaluatorSample] | None = None,
    profile: str = DEFAULT_PROFILE,
    overrides: Sequence[str] = (),
    checkpoint: str | None = None,
    trust: bool = False,
) -> Validation:
    """Check a plug-in.

    Args:
        target: a registered name, `pkg.mod:name`, `path/to/file.py:name`, or a table's file.
        kind: of a name that several kinds have; a key of `KINDS`.
        sample: makes the set an evaluator is run on; without it an evaluator's declarations are
            checked and it is not run.
        profile: name or file of what a table is planned in, and a back-end's role looked for in.
        overrides: `"key.key=value"` changes of the profile.
        checkpoint: folder that a backbone loads; without it its declarations are checked.
        trust: whether the files may name code that nobody registered.

    Raises:
        UsageError: there is no such plug-in.
        PrerequisiteError: it, or a model of it, is not on this machine.
        ContractError: it cannot be imported, or is of no kind.
    """
    checks = Checks()
    found, cls = _find(target, kind)
    if found == "table":
        check_table(target, checks, profile, overrides=overrides, trust=trust)
    elif found == "method":
        check_method(cls, checks)
    elif found == "staged method":
        check_staged(cls, checks)
    elif found == "evaluator":
        check_evaluator(cls, checks, sample)
    elif found == "backend":
        played = load_profile(profile, overrides=overrides, trust=trust).backends
        check_backend(
            cls, checks, [role for role, who in played.items() if who in (target, cls.name)]
        )
    else:
        check_backbone(cls, checks, checkpoint)
    return Validation(
        target=target,
        kind=found,
        passed=tuple(checks.passed),
        findings=tuple(checks.findings),
        facts=checks.facts,
    )


def _find(target: str, kind: str | None) -> tuple[str, Any]:
    """Return the kind of a plug-in, and what its name stands for; None of a table."""
    if target.endswith((".yaml", ".yml")):
        return "table", None
    if kind is not None and kind not in KINDS:
        raise unknown("kind of plug-in", kind, KINDS)
    for name, registry in KINDS.items() if ":" not in target else ():
        if kind in (None, name) and target in registry.entries():
            if registry is TABLES:
                return name, None
            return _kind_of(registry.load(target), target, name)
    if ":" not in target:
        known = [name for registry in KINDS.values() for name in registry.entries()]
        raise unknown(kind or "plug-in", target, known)
    return _kind_of(import_target(METHODS.entry(target).target), target, kind)


def _kind_of(found: Any, target: str, wanted: str | None) -> tuple[str, Any]:
    bases: Mapping[type, str] = {
        Method: "method",
        StagedMethod: "staged method",
        Evaluator: "evaluator",
        Backend: "backend",
    }
    kind = None
    if isinstance(found, type):
        kind = next((name for base, name in bases.items() if issubclass(found, base)), None)
    elif callable(found):
        kind = "backbone"
    if kind is None:
        what = f"the class {found.__qualname__}" if isinstance(found, type) else repr(found)
        raise ContractError(
            f"{target} is {what}; expected a subclass of bench.api.Method, StagedMethod, "
            "Evaluator or Backend, or a backbone's function load_backbone."
        )
    if wanted is not None and wanted not in kind:
        raise UsageError(f"{target} is a {kind}, not a {wanted}.")
    return kind, found
