"""`bench check --evaluators`: are the evaluators' numbers still the committed ones?

Scores a committed image set again with every evaluator that has a back-end here and compares
metrics and raw predictions with the committed ones. This is what to run after upgrading a
dependency: exit code 1 where a number moved, and by how much.

bench check --evaluators
bench check --evaluators geneval,fid --json
bench check --evaluators --update     (the numbers were changed on purpose: write them anew)
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import BenchError, PrerequisiteError, UsageError
from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import add_store, no_bars, store_of
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from bench.check.regression import Rescorer

FOLDER = Path("results/regression")
SCORES = "scores.json"
FORMAT = 1
EVERY = "all"
PACKAGES = ("numpy", "pillow", "scipy", "torch", "torchvision", "transformers", "open_clip_torch")


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("check", help=VERBS["check"], description=__doc__)
    parser.add_argument(
        "--evaluators",
        nargs="?",
        const=EVERY,
        metavar="A,B",
        help="which; without a value, all that have a back-end here",
    )
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="DIR", help=f"default: {FOLDER} of the project"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="X",
        help="largest change that is no drift, of max(1, committed value); default: 1e-4",
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="write the numbers found as the committed ones, and make image sets that are missing",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    parser.add_argument("--profile", default="tiny", metavar="NAME", help="default: tiny")
    add_store(parser)
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Check, print, and return 1 where a number moved."""
    if args.evaluators is None:
        raise UsageError("nothing to check; say --evaluators")
    if args.tolerance is not None and not args.tolerance >= 0:
        raise UsageError(f"--tolerance is {args.tolerance:g}; expected 0 or more")
    no_bars()
    from bench.check.regression import TOLERANCE, Rescorer
    from bench.spec.profile import load_profile

    args.tolerance = TOLERANCE if args.tolerance is None else args.tolerance
    folder = _folder(args.source, update=args.update)
    stored = read_scores(folder)
    if not stored["evaluators"] and not args.update:
        raise PrerequisiteError(
            f"{folder / SCORES} holds no numbers to compare with",
            fix="bench check --evaluators --update",
        )
    rescorer = Rescorer(folder=folder, profile=load_profile(args.profile), device=args.device)
    names, explicit = _names(args.evaluators)
    rows = [_row(name, stored["evaluators"], rescorer, args, explicit=explicit) for name in names]
    if not explicit:
        gone = sorted(set(stored["evaluators"]) - set(names))
        note = "there is no evaluator of that name any more"
        rows += [
            {"evaluator": name, "state": "failed", "note": note, "drifts": []} for name in gone
        ]
    found = {row["evaluator"]: row.pop("entry") for row in rows if row.get("entry")}
    if args.update:
        kept = {**stored["evaluators"], **found}
        _write(folder, {name: kept[name] for name in sorted(kept)}, args.profile)
    report = {
        "tolerance": args.tolerance,
        "folder": str(folder),
        "packages": _changed_packages(stored.get("packages", {})),
        "evaluators": rows,
    }
    if args.json:
        print_json(report)
    else:
        _show(report)
    wrong = ("failed",) if args.update else ("drift", "failed")
    return int(any(row["state"] in wrong for row in rows))


def read_scores(folder: Path) -> dict[str, Any]:
    """Return the committed numbers, none where nothing was committed yet.

    Raises:
        CorruptArtifactError: the file is not as it was sealed.
        UsageError: it is of another format.
    """
    from bench.check.image_sets import not_as_committed
    from bench.store import MANIFEST, read_folder

    path, found = folder / SCORES, read_folder(folder)
    if MANIFEST in found.faults and not any((folder / n).exists() for n in (SCORES, MANIFEST)):
        return {"evaluators": {}}
    if found.faults:
        raise not_as_committed(found)
    try:
        data: dict[str, Any] = json.loads(found.files[SCORES])
    except (KeyError, ValueError) as error:
        raise UsageError(f"{path} is no JSON: {error!r}; take it from git again") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UsageError(f"{path} is not of format {FORMAT}; take it from git again")
    return data


def _folder(given: Path | None, *, update: bool) -> Path:
    if given is not None:
        if not given.is_dir() and not update:
            raise UsageError(f"--from {given}: there is no such folder")
        return given
    beside = Path(__file__).parents[2] / FOLDER
    for folder in (FOLDER, beside):
        if folder.is_dir():
            return folder
    if update and (beside.parents[1] / "pyproject.toml").is_file():
        return beside
    raise PrerequisiteError(
        f"there is no {FOLDER}: the committed images come with a checkout, not with the package",
        fix="run it in a checkout of the project, or name its folder with --from DIR",
    )


def _names(given: str) -> tuple[list[str], bool]:
    from bench.api.registry import EVALUATORS

    if given == EVERY:
        return EVALUATORS.names(), False
    names = [name for name in given.split(",") if name]
    for name in names:
        EVALUATORS.entry(name)
    return names, True


def _row(
    name: str,
    committed: Mapping[str, Any],
    rescorer: Rescorer,
    args: argparse.Namespace,
    *,
    explicit: bool,
) -> dict[str, Any]:
    """Return one evaluator's outcome: state, its drifts, and what was measured (`entry`)."""
    from bench.check.regression import compare, to_json

    row: dict[str, Any] = {"evaluator": name, "state": "ok", "note": "", "drifts": []}
    if name not in committed and not args.update:
        if explicit:
            raise UsageError(
                f"no numbers of {name} are committed; there are: {', '.join(sorted(committed))}"
            )
        return {**row, "state": "not checked", "note": "no committed numbers"}
    try:
        if args.update:
            _make_sets(name, rescorer, args)
        entry = rescorer.measure(name)
    except BenchError as error:
        if explicit:
            raise
        state = "failed" if name in committed else "not checked"
        return {**row, "state": state, "note": " ".join(str(error).split())}
    row |= {"images": entry["images"], "metrics": entry["metrics"], "entry": entry}
    before = committed.get(name)
    if before is None:
        return {**row, "state": "new"}
    drifts = compare(before, entry, tolerance=args.tolerance)
    row["drifts"] = [to_json(drift) for drift in drifts]
    row["note"] = "; ".join(_changes(before, entry))
    return {**row, "state": "drift" if drifts else "ok"}


def _make_sets(name: str, rescorer: Rescorer, args: argparse.Namespace) -> None:
    from bench.api.registry import EVALUATORS
    from bench.check.image_sets import make_sets, protocol_of
    from bench.check.regression import CannotCheckError

    evaluator = EVALUATORS.load(name)()
    protocol = protocol_of(rescorer.profile, name, evaluator)
    lacking = [r for r in evaluator.spec.backends if r not in rescorer.profile.backends]
    if protocol is None or len(lacking) == len(evaluator.spec.backends):
        raise CannotCheckError(
            f"profile {rescorer.profile.name} has no back-end for {', '.join(lacking)}"
        )
    make_sets(rescorer.folder, rescorer.profile, evaluator, protocol, store_of(args))


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


def _changed_packages(before: Mapping[str, str]) -> dict[str, str]:
    now = _packages()
    return {
        name: f"{before.get(name, 'none')} -> {now.get(name, 'none')}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    }


def _packages() -> dict[str, str]:
    from bench.store.provenance import package_versions

    return {k: v for k, v in package_versions().items() if k in PACKAGES}


def _write(folder: Path, entries: Mapping[str, Any], profile: str) -> None:
    """Seal the committed numbers, one image a line so that a change reads well in a diff."""
    from bench.store import publish_folder

    head = {"format": FORMAT, "profile": profile, "packages": _packages(), "evaluators": entries}
    publish_folder(folder, {SCORES: f"{_text(head)}\n".encode()})


def _text(value: Any, indent: str = "") -> str:
    if not isinstance(value, dict) or not value:
        return json.dumps(value, allow_nan=False)
    inner = indent + " "
    lines = [f"{inner}{json.dumps(key)}: {_text(part, inner)}" for key, part in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _show(report: Mapping[str, Any]) -> None:
    rows: Sequence[Mapping[str, Any]] = report["evaluators"]
    columns = ["evaluator", "state", "images", "drifts", "note"]
    print_rows([{**row, "drifts": len(row["drifts"])} for row in rows], columns)
    for row in rows:
        for drift in row["drifts"]:
            change = "-" if drift["change"] is None else f"{drift['change']:.3g}"
            print(
                f"{row['evaluator']}: {drift['what']}: committed {_number(drift['committed'])}, "
                f"found {_number(drift['found'])}: moved by {change}, allowed "
                f"{drift['allowed']:.3g}" + (f" ({drift['where']})" if drift["where"] else "")
            )
    if report["packages"]:
        moved = "; ".join(f"{name} {text}" for name, text in sorted(report["packages"].items()))
        print(f"packages that are not those of the committed numbers: {moved}")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.8g}"
