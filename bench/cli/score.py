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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import UsageError
from bench.api.registry import DEFAULT_EVALUATOR
from bench.cli._folder import LAYOUTS, is_artifact, read_folder, size_of, take_folder
from bench.cli._official import require_official, write_official
from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._references import reference_nodes, use_reference
from bench.cli._request import add_profile, add_work, go_offline, store_of
from bench.cli._sets import require_part_sets
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

if TYPE_CHECKING:
    from bench.api.generation import ImageSet
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


def run(args: argparse.Namespace) -> int:
    """Score and print the metrics."""
    go_offline(args)
    from bench.api.registry import EVALUATORS
    from bench.cli._parts import finish, open_source
    from bench.generation.image_set import open_image_set
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
    source = _measuring(args, open_source(args, store_of(args)))
    evaluator = source.profile.evaluator(args.evaluator)
    people = asks_people(type(evaluator))
    if people and args.votes is not None:
        key = add_scores_of(source.graph, args.evaluator, evaluator, votes_upstream(args, source))
    else:
        sides = [
            images_of(args, given, source.store, source.profile)
            for given in _given(args, 2 if compares else 1, people=people)
        ]
        artifact = pairs_of(args, source.store, sides, people=people) if compares else sides[0]
        if people:
            return _people(args, source.store, artifact)
        images = open_image_set(artifact, verify=False)
        key = _scores(args, source, artifact, images)
        require_part_sets(
            args,
            source.store,
            lambda tried: _scores(args, _measuring(args, tried), artifact, images),
        )
    code = finish(args, source, [key])
    if code:
        return code
    scores = source.store.get(key)
    images_id = str(source.graph[key].upstream["images"])
    show_scores(args, scores, [m.name for m in evaluator.spec.metrics], images_id)
    return 0


def _measuring(args: argparse.Namespace, source: GraphBuilder) -> GraphBuilder:
    """Return the source, measuring as the reference does where one is named."""
    if args.reference is not None:
        use_reference(args, source, source.profile.evaluator(args.evaluator))
    return source


def _scores(
    args: argparse.Namespace, source: GraphBuilder, artifact: Artifact, images: ImageSet
) -> str:
    """Add the scores of an image set and all they need; return their id."""
    from bench.steps.predictions import backend_identities, needed_roles
    from bench.steps.scores import add_scores
    from bench.steps.step import stored_step

    evaluator = source.profile.evaluator(args.evaluator)
    roles = needed_roles(evaluator, images.suite, source.profile)
    backends = backend_identities(source, roles, evaluator=evaluator.spec.name)
    own = evaluator.spec.needs_reference and args.reference is None
    return add_scores(
        source,
        args.evaluator,
        evaluator,
        images=source.graph.add(stored_step(artifact, images=len(images.records))),
        suite=images.suite,
        roles=roles,
        backends=backends,
        reference=_reference(args, source) if own else None,
        reference_predictions=reference_nodes(
            args, source, evaluator, backends, measured=len(images.records)
        ),
    )


def _people(args: argparse.Namespace, store: Store, pairs: Artifact) -> int:
    if args.export is None:
        raise UsageError(
            f"{args.evaluator}: name a folder for the forms with --export, or --votes FILE..."
        )
    return export_forms(args, store, pairs)


def show_scores(args: argparse.Namespace, scores: Artifact, order: list[str], images: str) -> None:
    """Print the metrics of stored scores, and write them with their records where asked to."""
    from bench.steps.scores import METRICS, RECORDS
    from bench.store import read_jsonl

    metrics: dict[str, dict[str, Any]] = scores.read_json(METRICS)
    circular = _circular(args, scores)
    measured_by = _measured_by(args, scores)
    written: dict[str, Any] = {"circular": circular} if circular else {}
    if measured_by:
        written["backends"] = measured_by
    if args.out is not None:
        from bench.cli._records import write_results

        about = {"evaluator": args.evaluator, "artifact": scores.id, "images": images, **written}
        records = read_jsonl(scores.file(RECORDS))
        paths = write_results(args.out, metrics, records, about=about)
        written["files"] = [str(path) for path in paths]
    if args.official is not None:
        names = write_official(args.evaluator, store_of(args), scores, args.official)
        written["official"] = {"folder": str(args.official), "results": names}
    if args.json:
        print_json({"artifact": scores.id, "images": images, "metrics": metrics, **written})
        return
    rows = [
        {"metric": name, **{k: _shown(metrics[name][k]) for k in ("value", "low", "high", "n")}}
        for name in order
        if name in metrics
    ]
    print_rows(rows, ["metric", "value", "low", "high", "n"])
    for role, backend in measured_by.items():
        variant = f"; variant: {backend['variant']}" if "variant" in backend else ""
        print(f"{role}: {backend['name']}, verified: {backend['verified']}{variant}")
    if circular:
        print(f"circular: {', '.join(circular)} selected the data the model was trained on")


def _measured_by(args: argparse.Namespace, scores: Artifact) -> dict[str, dict[str, str]]:
    """Return, by role, the back-end's name, how far it was verified, and its variant if it is one.

    Back-ends of others, and votes of people, are named alone.
    """
    from bench.api.declared import verified_of
    from bench.api.registry import BACKENDS

    known, store = BACKENDS.entries(), store_of(args)
    found = {}
    for role, key in sorted(scores.upstream.items()):
        kind, _, name = role.partition("/")
        backend = store.get(str(key)).identity.get("backend") if kind == "predictions" else None
        if not isinstance(backend, dict):
            continue
        entry = known.get(str(backend["backend"]))
        word = None if entry is None else verified_of(entry, args.evaluator)
        found[name] = {"name": str(backend["backend"]), "verified": word or "not stated"}
        if "variant" in backend:
            found[name]["variant"] = str(backend["variant"])
    return found


def _circular(args: argparse.Namespace, scores: Artifact) -> list[str]:
    """Return the back-ends that measured the images and selected the data behind them."""
    from bench.report.circular import Selections, circular_names

    store = store_of(args)
    selectors = Selections(store=store).behind(scores.id)
    if not selectors:
        return []
    measured = {
        role: store.get(str(key)).identity["backend"]
        for role, key in scores.upstream.items()
        if role.startswith("predictions/")
    }
    return circular_names(selectors, measured)


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


def _reference(args: argparse.Namespace, source: GraphBuilder) -> str:
    """Return the reference image set that the profile's protocol names for the evaluator."""
    from bench.steps.images import add_reference

    profile = source.profile
    protocol = profile.protocols.get(profile.protocol, {}).get(args.evaluator)
    if protocol is None:
        raise UsageError(
            f"profile {profile.name} has no protocol {profile.protocol!r} for {args.evaluator}, so "
            "there are no reference images. Name a reference with --reference NAME (bench assets "
            "build --fid-reference NAME --images DIR makes one), or choose another --profile or "
            "--protocol."
        )
    return add_reference(source, protocol)


def _shown(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value
