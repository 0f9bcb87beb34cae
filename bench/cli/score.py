"""`bench score`: measure an image set that is in the store, or a folder in GenEval's layout.

bench score --images images/tiny.base.geneval-tiny-test.300x4.s0-0123456789ab
bench score --geneval-folder my_images/ --evaluator geneval
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import UsageError
from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import add_profile, add_work, go_offline, store_of
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from bench.store import Artifact, Store
    from bench.tables.images import ImageSource


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("score", help=VERBS["score"], description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--images", metavar="ID", help="an artifact, images/NAME-HASH")
    what.add_argument("--geneval-folder", type=Path, metavar="DIR", help="00000/samples/00000.png")
    parser.add_argument("--evaluator", default="geneval", metavar="NAME", help="default: geneval")
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
    from bench.tables.imported import artifact_node
    from bench.tables.making import METRICS
    from bench.tables.scoring import backend_identities, needed_roles, scores_node

    source = open_source(args, store_of(args))
    evaluator = EVALUATORS.load(args.evaluator)()
    artifact = _artifact(args, source.store)
    images = open_image_set(artifact, verify=False)
    roles = needed_roles(evaluator, images.suite, source.profile)
    key = scores_node(
        source.graph,
        source.profile,
        args.evaluator,
        evaluator,
        images=artifact_node(source.graph, artifact, len(images.records)),
        suite=images.suite,
        roles=roles,
        backends=backend_identities(source, roles),
        reference=_reference(args, source) if evaluator.spec.needs_reference else None,
    )
    code = finish(args, source, [key])
    if code:
        return code
    metrics: dict[str, dict[str, Any]] = source.store.get(key).read_json(METRICS)
    if args.json:
        print_json({"artifact": key, "images": artifact.id, "metrics": metrics})
        return 0
    order = [m.name for m in evaluator.spec.metrics if m.name in metrics]
    rows = [
        {"metric": name, **{k: _shown(metrics[name][k]) for k in ("value", "low", "high", "n")}}
        for name in order
    ]
    print_rows(rows, ["metric", "value", "low", "high", "n"])
    return 0


def _artifact(args: argparse.Namespace, store: Store) -> Artifact:
    if args.images is not None:
        artifact = store.get(args.images)
        if artifact.kind != "images":
            raise UsageError(f"{artifact.id} is of kind {artifact.kind!r}; expected images/...")
        return artifact
    from bench.tables.imported import import_images
    from evaluators.geneval_layout import import_layout

    return import_images(store, import_layout(args.geneval_folder))


def _reference(args: argparse.Namespace, source: ImageSource) -> str:
    """Return the reference image set that the profile's protocol names for the evaluator."""
    from bench.tables.images import reference_node

    profile = source.profile
    protocol = profile.protocols.get(profile.protocol, {}).get(args.evaluator)
    if protocol is None:
        raise UsageError(
            f"profile {profile.name} has no protocol {profile.protocol!r} for {args.evaluator}, so "
            "there are no reference images; choose another --profile or --protocol."
        )
    return reference_node(source, protocol)


def _shown(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value
