"""`bench score`: measure images, ours or those of others.

bench score --images images/tiny.base.geneval-tiny-test.300x4.s0-0123456789ab
bench score --evaluator geneval --images my_images/                  (GenEval's own folders)
bench score --evaluator geneval --images images/... --official out/  (as its scripts have them)
bench score --evaluator pickscore --images mine/ --layout manifest   (mine/manifest.jsonl)
bench score --evaluator vlm-judge --images mine/ --images base/ --judges judges.yaml
bench score --evaluator human --images mine/ --images base/ --limit 60 --export study/
bench score --evaluator human --votes votes-*.json
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import UsageError
from bench.api.registry import DEFAULT_EVALUATOR
from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._progress import shown_work
from bench.cli._references import use_reference
from bench.cli._request import add_profile, add_work, go_offline, setting_of, store_of
from bench.cli._verbs import VERBS
from bench.cli._versus import (
    add_versus,
    asks_people,
    export_forms,
    pairs_of,
    refuse_versus,
    use_judges,
    votes_upstream,
)
from bench.harness.folders import LAYOUTS, is_artifact, read_folder, take_folder
from bench.harness.official import require_official, write_official

if TYPE_CHECKING:
    from bench.harness.scores import Scores
    from bench.spec.profile import Profile
    from bench.steps.builder import GraphBuilder
    from bench.store import Artifact, Store


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("score", help=VERBS["score"], description=__doc__)
    parser.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="ID|DIR",
        help="an artifact images/NAME-HASH, or a folder",
    )
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        help="of a folder: the evaluator's official one, or manifest.jsonl (default: whichever "
        "is there)",
    )
    parser.add_argument(
        "--suite", metavar="NAME", help="of a folder: the prompts that must be there, all of them"
    )
    parser.add_argument(
        "--size", type=size_of, metavar="WxH", help="of a folder: what each picture must have"
    )
    parser.add_argument(
        "--any-size", action="store_true", help="of a folder: pictures may be of any size"
    )
    parser.add_argument(
        f"--{DEFAULT_EVALUATOR}-folder",
        dest="official_folder",
        metavar="DIR",
        help=f"as --images DIR --layout official with the folders of {DEFAULT_EVALUATOR}",
    )
    parser.add_argument(
        "--evaluator",
        default=DEFAULT_EVALUATOR,
        metavar="NAME",
        help=f"default: {DEFAULT_EVALUATOR}",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write metrics and per-sample records there"
    )
    parser.add_argument(
        "--official",
        type=Path,
        metavar="DIR",
        help="write the images, and results, as the scripts of the evaluator's authors have them",
    )
    parser.add_argument(
        "--reference",
        metavar="NAME",
        help="of a metric that compares with one: a reference that bench assets build "
        "--fid-reference made; its back-end measures the images",
    )
    add_versus(parser)
    add_profile(parser)
    add_work(parser)
    add_common(parser, json=True)
    return parser


def size_of(text: str) -> tuple[int, int]:
    """Return (width, height) of a text such as 512x512 (for argparse)."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 512x512")
    return int(match[1]), int(match[2])


def run(args: argparse.Namespace) -> int:
    """Score and print the metrics."""
    go_offline(args)
    from bench.api.registry import EVALUATORS
    from bench.harness.parts import Setting
    from bench.harness.scores import made_scores, score_artifact
    from bench.steps.references import evaluator_of
    from bench.steps.scores import add_scores_of

    if args.reference is not None:
        args.evaluator = evaluator_of(args.evaluator)
    compares = EVALUATORS.load(args.evaluator).pairwise
    if not compares:
        refuse_versus(args)
    if args.official is not None:
        require_official(args.evaluator, args.official)
    use_judges(args)
    setting = Setting(**setting_of(args))
    source = setting.builder()
    with shown_work(args) as work:
        evaluator = source.profile.evaluator(args.evaluator)
        people = asks_people(type(evaluator))
        if people and args.votes is not None:
            upstream = votes_upstream(args, source)
            key = add_scores_of(source.graph, args.evaluator, evaluator, upstream)
            scores = made_scores(source, key, args.evaluator, work)
        else:
            sides = [
                images_of(args, given, source.store, source.profile)
                for given in _given(args, 2 if compares else 1, people=people)
            ]
            artifact = pairs_of(args, source.store, sides, people=people) if compares else sides[0]
            if people:
                return _people(args, source.store, artifact)
            scores = score_artifact(
                setting,
                artifact,
                args.evaluator,
                work,
                reference=args.reference,
                change=lambda builder: _measuring(args, builder),
            )
    show_scores(args, scores)
    return 0


def _measuring(args: argparse.Namespace, source: GraphBuilder) -> None:
    """Measure as the reference does, where one is named."""
    if args.reference is not None:
        use_reference(args, source, source.profile.evaluator(args.evaluator))


def _people(args: argparse.Namespace, store: Store, pairs: Artifact) -> int:
    if args.export is None:
        raise UsageError(
            f"{args.evaluator}: name a folder for the forms with --export, or --votes FILE..."
        )
    return export_forms(args, store, pairs)


def show_scores(args: argparse.Namespace, scores: Scores) -> None:
    """Print the metrics of stored scores, and write them with their records where asked to."""
    metrics = {name: found.to_json() for name, found in scores.metrics.items()}
    circular, measured_by = scores.circular, scores.measured_by
    written = {k: v for k, v in scores.about.items() if k in ("circular", "backends")}
    if args.out is not None:
        written["files"] = [str(path) for path in scores.save(args.out)]
    if args.official is not None:
        names = write_official(args.evaluator, store_of(args), scores.artifact, args.official)
        written["official"] = {"folder": str(args.official), "results": names}
    if args.json:
        print_json({"artifact": scores.id, "images": scores.images, "metrics": metrics, **written})
        return
    rows = [
        {"metric": name, **{k: _shown(metrics[name][k]) for k in ("value", "low", "high", "n")}}
        for name in scores.declared
        if name in metrics
    ]
    print_rows(rows, ["metric", "value", "low", "high", "n"])
    for role, backend in measured_by.items():
        variant = f"; variant: {backend['variant']}" if "variant" in backend else ""
        print(f"{role}: {backend['name']}, verified: {backend['verified']}{variant}")
    if circular:
        print(f"circular: {', '.join(circular)} selected the data the model was trained on")


def _given(args: argparse.Namespace, count: int, *, people: bool) -> list[str]:
    given = [*args.images, *([args.official_folder] if args.official_folder else [])]
    if len(given) != count:
        what = "one image set" if count == 1 else "two: the candidate's, then the other's"
        found = ", ".join(map(str, given)) or "nothing"
        votes = " (or --votes FILE... of forms that came back)" if people else ""
        raise UsageError(
            f"--images is required, an artifact images/NAME-HASH or a folder: {args.evaluator} "
            f"looks at {what}{votes}; found {found}."
        )
    return [str(text) for text in given]


def images_of(args: argparse.Namespace, given: str, store: Store, profile: Profile) -> Artifact:
    """Return the image set that an artifact's id or a folder names, in the store.

    Raises:
        UsageError: there is none of that name, or an option does not fit.
        IncompleteError, ProtocolError: a folder is not what its layout or its suite says.
    """
    for_folders = (args.layout, args.suite, args.size, args.any_size or None)
    if is_artifact(given) and not Path(given).is_dir():
        if any(option is not None for option in for_folders):
            raise UsageError("--layout, --suite, --size and --any-size are for folders.")
        artifact = store.get(given)
        if artifact.kind != "images":
            raise UsageError(f"{artifact.id} is of kind {artifact.kind!r}; expected images/...")
        return artifact
    root = Path(given).expanduser()
    if not root.is_dir():
        raise UsageError(
            f"--images {given}: no folder of that name, and no artifact images/NAME-HASH."
        )
    suite = None if args.suite is None else _suite(args.suite)
    whose = DEFAULT_EVALUATOR if args.official_folder else args.evaluator
    layout = "official" if args.official_folder else args.layout
    images = read_folder(root, evaluator=whose, layout=layout, suite=suite)
    return take_folder(
        store,
        images,
        size=args.size,
        any_size=args.any_size,
        profile=profile,
        evaluator=args.evaluator,
    )


def _suite(name: str) -> Any:
    from bench.suites import load_suite

    return load_suite(name)


def _shown(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value
