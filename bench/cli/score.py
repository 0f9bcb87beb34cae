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
from bench.api.registry import DEFAULT_EVALUATOR, EVALUATORS
from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common, count
from bench.cli._progress import LOG, shown_work
from bench.cli._request import add_profile, add_work, go_offline, setting_of
from bench.cli._verbs import VERBS
from bench.harness.folders import LAYOUTS, Folder, is_artifact, no_images

if TYPE_CHECKING:
    from bench.harness.scores import Scores
    from bench.harness.scoring import Pictures


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
        "--size", type=_size_of, metavar="WxH", help="of a folder: what each picture must have"
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
    _add_versus(parser)
    add_profile(parser)
    add_work(parser)
    add_common(parser, json=True)
    return parser


def _size_of(text: str) -> tuple[int, int]:
    """Return (width, height) of a text such as 512x512 (for argparse)."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 512x512")
    return int(match[1]), int(match[2])


def _add_versus(parser: argparse.ArgumentParser) -> None:
    """Add the options of comparisons."""
    group = parser.add_argument_group(
        "comparisons (evaluators of pairs)", "--images twice: the candidate's, then the other's"
    )
    group.add_argument(
        "--judges", type=Path, metavar="FILE", help="YAML file of models; see the evaluator's card"
    )
    group.add_argument("--per-prompt", type=count, metavar="K", help="pairs of each prompt")
    group.add_argument(
        "--limit", type=count, metavar="N", help="about N prompts, stratified by task"
    )
    group.add_argument("--export", type=Path, metavar="DIR", help="write forms for people there")
    group.add_argument(
        "--forms", type=count, default=1, metavar="N", help="unlike orders and sides"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of orders and sides")
    group.add_argument(
        "--votes", type=Path, nargs="+", metavar="FILE", help="what came back from the forms"
    )


def _refuse_versus(args: argparse.Namespace) -> None:
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


def run(args: argparse.Namespace) -> int:
    """Score and print the metrics."""
    go_offline(args)
    setting = setting_of(args)
    from bench.harness.official import require_official
    from bench.harness.scoring import score
    from bench.harness.votes import asks_people

    compares = EVALUATORS.load(args.evaluator).pairwise
    if not compares:
        _refuse_versus(args)
    if args.official is not None:
        require_official(args.evaluator, args.official)
    people = asks_people(args.evaluator)
    sides = [] if people and args.votes else _given(args, 2 if compares else 1, people=people)
    images = [_side(args, given) for given in sides]
    if people and not args.votes:
        return _forms(args, images)
    with shown_work(args) as work:
        scores = score(
            _measured(images),
            args.evaluator,
            reference=args.reference,
            judges=args.judges,
            votes=args.votes or (),
            per_prompt=args.per_prompt,
            limit=args.limit,
            seed=args.seed,
            **setting,
            **work,
        )
    _show(args, scores)
    return 0


def _measured(images: list[Folder | str]) -> Pictures | tuple[Pictures, Pictures] | None:
    if len(images) == 2:
        return images[0], images[1]
    return images[0] if images else None


def _forms(args: argparse.Namespace, images: list[Folder | str]) -> int:
    """Write forms and print where they are."""
    from bench.harness.forms import make_forms

    if args.export is None:
        raise UsageError(
            f"{args.evaluator}: name a folder for the forms with --export, or --votes FILE..."
        )
    found = make_forms(
        (images[0], images[1]),
        args.export,
        args.evaluator,
        per_prompt=1 if args.per_prompt is None else args.per_prompt,
        limit=args.limit,
        forms=args.forms,
        seed=args.seed,
        **setting_of(args),
    )
    LOG.info(
        "give each voter one form; then: bench score --evaluator %s --votes FILE... (the key "
        "is in the store, %s)",
        args.evaluator,
        found.study,
    )
    rows = [
        {"form": str(path), "pairs": found.count, "bytes": size}
        for path, size in found.files.items()
    ]
    if args.json:
        print_json({"study": found.study, "pairs": found.pairs, "forms": rows})
    else:
        print_rows(rows, ["form", "pairs", "bytes"])
    return 0


def _show(args: argparse.Namespace, scores: Scores) -> None:
    """Print the metrics of stored scores, and write them with their records where asked to."""
    metrics = {name: found.to_json() for name, found in scores.metrics.items()}
    circular, measured_by = scores.circular, scores.measured_by
    written = {k: v for k, v in scores.about.items() if k in ("circular", "backends", "remarks")}
    if args.out is not None:
        written["files"] = [str(path) for path in scores.save(args.out)]
    if args.official is not None:
        from bench.harness.official import write_official

        names = write_official(scores.evaluator, scores.store, scores.artifact, args.official)
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
    for said in scores.remarks:
        print(f"remark: {said}")
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


def _side(args: argparse.Namespace, given: str) -> Folder | str:
    """Return an artifact's id as it is, or a folder with what the options say of it.

    Raises:
        UsageError: there is none of that name, or an option does not fit.
    """
    for_folders = (args.layout, args.suite, args.size, args.any_size or None)
    if is_artifact(given) and not Path(given).is_dir():
        if any(option is not None for option in for_folders):
            raise UsageError("--layout, --suite, --size and --any-size are for folders.")
        return given
    path = Path(given).expanduser()
    if not path.is_dir():
        raise UsageError(f"--images {no_images(path)}")
    return Folder(
        path=path,
        layout="official" if args.official_folder else args.layout,
        layout_of=DEFAULT_EVALUATOR if args.official_folder else None,
        suite=args.suite,
        size=args.size,
        any_size=args.any_size,
    )


def _shown(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value
