"""Are the evaluators' numbers still the committed ones?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError, PrerequisiteError, UsageError
from bench.api.registry import DEFAULT_PROFILE, EVALUATORS
from bench.check.committed import (
    SCORES,
    changed_packages,
    committed_folder,
    read_scores,
    write_scores,
)
from bench.check.image_sets import make_sets, protocol_of
from bench.check.regression import TOLERANCE, CannotCheckError, Drift, Rescorer, compare
from bench.executors.numerics import usual_numerics
from bench.spec.profile import load_profile
from bench.store import Store


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One evaluator's outcome.

    Attributes:
        evaluator: registry name.
        state: `"ok"`, `"drift"`, `"new"` (nothing was committed), `"not checked"` or `"failed"`.
        note: why, or what of the evaluator is not as it was.
        drifts: the numbers that moved.
        entry: what was measured, as it is committed; None where nothing was.
    """

    evaluator: str
    state: str
    note: str = ""
    drifts: tuple[Drift, ...] = ()
    entry: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        row: dict[str, Any] = {"evaluator": self.evaluator, "state": self.state, "note": self.note}
        row["drifts"] = [asdict(drift) for drift in self.drifts]
        if self.entry is not None:
            row |= {"images": self.entry["images"], "metrics": self.entry["metrics"]}
        return row


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What `check` returns.

    Attributes:
        tolerance: the largest change that is no drift, of max(1, the committed value).
        folder: of the committed numbers.
        packages: those of other versions than the committed numbers', as `old -> new`.
        evaluators: one for each that was looked at.
        updated: the numbers were written anew.
    """

    tolerance: float
    folder: Path
    packages: Mapping[str, str]
    evaluators: tuple[Checked, ...]
    updated: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing failed, and nothing moved but on purpose."""
        wrong = ("failed",) if self.updated else ("drift", "failed")
        return not any(one.state in wrong for one in self.evaluators)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return {
            "tolerance": self.tolerance,
            "folder": str(self.folder),
            "packages": dict(self.packages),
            "evaluators": [one.to_json() for one in self.evaluators],
        }


def check(
    evaluators: Sequence[str] | None = None,
    profile: str = DEFAULT_PROFILE,
    *,
    folder: Path | None = None,
    tolerance: float | None = None,
    update: bool = False,
    device: str = "cpu",
    store: Path | str = "outputs",
) -> CheckReport:
    """Score the committed images again, and compare metrics and raw predictions.

    Args:
        evaluators: which; None means all that have a back-end here.
        profile: which back-end plays which role.
        folder: of the committed numbers; None is the checkout's.
        tolerance: in place of `bench.check.regression.TOLERANCE`.
        update: write the numbers found as the committed ones, make image sets that are missing.
        device: where models run.
        store: where image sets are made.

    Raises:
        UsageError: an evaluator is unknown, or no numbers of one that was named are committed.
        PrerequisiteError: there is nothing to compare with.
        CorruptArtifactError: what was committed was changed.
    """
    if tolerance is not None and not tolerance >= 0:
        raise UsageError(f"--tolerance is {tolerance:g}; expected 0 or more")
    allowed = TOLERANCE if tolerance is None else tolerance
    place = committed_folder(folder, update=update)
    stored = read_scores(place)
    before: Mapping[str, Any] = stored["evaluators"]
    if not before and not update:
        raise PrerequisiteError(
            f"{place / SCORES} holds no numbers to compare with",
            fix="bench check --evaluators --update",
        )
    rescorer = Rescorer(folder=place, profile=load_profile(profile), device=device)
    names = EVALUATORS.names() if evaluators is None else list(evaluators)
    for name in names:
        EVALUATORS.entry(name)
    made_in = Store(Path(store)) if update else None
    found = [
        _checked(name, before, rescorer, allowed, made_in, named=evaluators is not None)
        for name in names
    ]
    if evaluators is None:
        note = "there is no evaluator of that name any more"
        gone = sorted(set(before) - set(names))
        found += [Checked(evaluator=name, state="failed", note=note) for name in gone]
    if update:
        now = {one.evaluator: one.entry for one in found if one.entry is not None}
        write_scores(place, {**before, **now}, profile)
    return CheckReport(
        tolerance=allowed,
        folder=place,
        packages=changed_packages(stored.get("packages", {})),
        evaluators=tuple(found),
        updated=update,
    )


def _checked(
    name: str,
    committed: Mapping[str, Any],
    rescorer: Rescorer,
    tolerance: float,
    made_in: Store | None,
    *,
    named: bool,
) -> Checked:
    """Measure one evaluator; where it was named, what keeps it from being measured is raised."""
    if name not in committed and made_in is None:
        if named:
            raise UsageError(
                f"no numbers of {name} are committed; there are: {', '.join(sorted(committed))}"
            )
        return Checked(evaluator=name, state="not checked", note="no committed numbers")
    try:
        if made_in is not None:
            _make_sets(name, rescorer, made_in)
        with usual_numerics():
            entry = rescorer.measure(name)
    except BenchError as error:
        if named:
            raise
        state = "failed" if name in committed else "not checked"
        return Checked(evaluator=name, state=state, note=" ".join(str(error).split()))
    before = committed.get(name)
    if before is None:
        return Checked(evaluator=name, state="new", entry=entry)
    drifts = tuple(compare(before, entry, tolerance=tolerance))
    return Checked(
        evaluator=name,
        state="drift" if drifts else "ok",
        note="; ".join(_changes(before, entry)),
        drifts=drifts,
        entry=entry,
    )


def _make_sets(name: str, rescorer: Rescorer, store: Store) -> None:
    evaluator = EVALUATORS.load(name)()
    protocol = protocol_of(rescorer.profile, name, evaluator)
    lacking = [r for r in evaluator.spec.backends if r not in rescorer.profile.backends]
    if protocol is None or len(lacking) == len(evaluator.spec.backends):
        raise CannotCheckError(
            f"profile {rescorer.profile.name} has no back-end for {', '.join(lacking)}"
        )
    make_sets(rescorer.folder, rescorer.profile, evaluator, protocol, store)


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what of an evaluator is not as it was when its numbers were committed."""
    changes = []
    if before["version"] != now["version"]:
        changes.append(f"version {before['version']} -> {now['version']}")
    for role, identity in now["backends"].items():
        old = before["backends"].get(role)
        if old is not None and old != json.loads(json.dumps(identity)):
            keys = [k for k in {**old, **identity} if old.get(k) != identity.get(k)]
            changes.append(f"{role}: other {', '.join(sorted(keys))}")
    return changes
