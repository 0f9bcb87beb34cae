"""Measuring images by themselves: by one evaluator, with its settings in a profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Unpack

from bench.api.errors import UsageError
from bench.api.registry import DEFAULT_PROFILE, EVALUATORS
from bench.generation.image_set import open_image_set
from bench.harness.folders import Folder, is_artifact, no_images, take_folder
from bench.harness.images import Images
from bench.harness.parts import Setting, finish
from bench.harness.references import measured_alike
from bench.harness.repairs import with_repairs
from bench.harness.scores import Scores
from bench.harness.votes import asks_people, judged_by, votes_upstream
from bench.harness.work import Work, WorkOptions
from bench.steps.builder import GraphBuilder
from bench.steps.images import add_reference
from bench.steps.predictions import backend_identities, needed_roles
from bench.steps.references import add_stored_reference, evaluator_of
from bench.steps.scores import add_scores, add_scores_of
from bench.steps.step import stored_step
from bench.store import Artifact, Store
from bench.votes.pairs import pair_set

Pictures = Images | Folder | Path | str


def score(
    images: Pictures | tuple[Pictures, Pictures] | None = None,
    evaluator: str = "geneval",
    profile: str = DEFAULT_PROFILE,
    *,
    reference: str | None = None,
    judges: Path | str | None = None,
    votes: Sequence[Path] = (),
    per_prompt: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    overrides: Sequence[str] = (),
    protocol: str | None = None,
    trust: bool = False,
    store: Path | str = "outputs",
    **how: Unpack[WorkOptions],
) -> Scores:
    """Measure images; what was measured before is not measured again.

    Args:
        images: what `generate` returned, `images/NAME-HASH`, or a folder (`Folder` says more of
            it): an image set of another store, one with a manifest.jsonl, or as the evaluator's
            authors lay it out. For an evaluator that compares two systems two of them, the
            candidate's and the other's; None with `votes`.
        evaluator: a name, `pkg.mod:Class` or `file.py:Class`.
        profile: a shipped name, or the path of a YAML file: says which back-ends look.
        reference: of a metric that compares with one, the name of what `build_reference` made, in
            place of the protocol's reference images; its back-end measures.
        judges: YAML file of the models that compare, whatever the profile says.
        votes: files that came back from the forms of `make_forms`, of people.
        per_prompt, limit, seed: of a comparison: so many pairs of each prompt, about so many
            prompts, chosen by this seed.
        overrides: changes to the profile, `"backends.detector=..."`.
        protocol: in place of the profile's own: says which reference images are meant.
        trust: whether YAML files may name code that nobody registered.
        store: the folder artifacts lie in.
        how: jobs, gpus, device, executor, ray_address, on_event, as in `bench.harness.run`.

    Raises:
        UsageError: something is unknown, or nothing reads one of `overrides`.
        PrerequisiteError: weights of a back-end, the reference or the judges are missing.
        ProtocolError: the reference was made under another protocol, or the sides are unlike.
        IncompleteError: a folder lacks images.
        FailedError: measuring failed.
    """
    whose = evaluator if reference is None else evaluator_of(evaluator)
    work = Work(**how)
    if votes and images is not None:
        raise UsageError("votes name the images they are of; leave images out.")
    if bool(votes) != asks_people(whose) or (not votes and images is None):
        given = "votes" if votes else "no images" if images is None else "images"
        raise UsageError(f"{whose} looks at {_wanted(whose)}; found {given}.")
    with judged_by(judges) as told:
        setting = Setting(
            profile=profile,
            overrides=[*overrides, *told],
            protocol=protocol,
            trust=trust,
            store=store,
        )

        def action() -> Scores:
            if images is None:
                return _score_votes(setting, votes, whose, work)
            artifact = measured_set(
                setting, images, whose, per_prompt=per_prompt, limit=limit, seed=seed
            )
            return _score_artifact(setting, artifact, whose, work, reference, _folders(images))

        return with_repairs(action)


def measured_set(
    setting: Setting,
    images: Pictures | tuple[Pictures, Pictures],
    evaluator: str,
    *,
    per_prompt: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Artifact:
    """Return the image set that an evaluator looks at, in the store; of two systems, their pairs.

    Args and errors are those of `score`.
    """
    sides = images if isinstance(images, tuple) else (images,)
    compares = EVALUATORS.load(evaluator).pairwise
    if len(sides) != (2 if compares else 1):
        raise UsageError(f"{evaluator} looks at {_wanted(evaluator)}; found {len(sides)}.")
    found = [_image_set(setting, side, evaluator) for side in sides]
    if not compares:
        return found[0]
    return pair_set(
        Store(Path(setting.store)), *found, per_prompt=per_prompt, limit=limit, seed=seed
    )


def _wanted(evaluator: str) -> str:
    if asks_people(evaluator):
        return "votes; `make_forms` lays out two image sets for people"
    return "two image sets" if EVALUATORS.load(evaluator).pairwise else "one image set"


def _folders(images: Pictures | tuple[Pictures, Pictures]) -> list[Path]:
    """Return the folders among what is measured, whose files a reference may refuse."""
    sides = images if isinstance(images, tuple) else (images,)
    paths = [side.path if isinstance(side, Folder) else side for side in sides]
    return [Path(p) for p in paths if not isinstance(p, Images) and Path(p).is_dir()]


def _image_set(setting: Setting, images: Pictures, evaluator: str) -> Artifact:
    if isinstance(images, Images):
        return images.artifact
    store = Store(Path(setting.store))
    folder = images if isinstance(images, Folder) else Folder(path=Path(images).expanduser())
    if isinstance(images, Folder) or folder.path.is_dir() or not is_artifact(str(images)):
        if not folder.path.is_dir():
            raise UsageError(no_images(folder.path))
        return take_folder(store, folder, setting.builder().profile, evaluator)
    artifact = store.get(str(images))
    if artifact.kind != "images":
        raise UsageError(f"{artifact.id} is of kind {artifact.kind!r}; expected images/...")
    return artifact


def _score_artifact(
    setting: Setting,
    artifact: Artifact,
    evaluator: str,
    work: Work,
    reference: str | None,
    folders: Sequence[Path],
) -> Scores:
    """Measure an image set of the store, whose pictures came from `folders`."""
    images = open_image_set(artifact, verify=False)

    def build(builder: GraphBuilder) -> str:
        if reference is not None:
            builder.profile = measured_alike(builder.profile, reference, evaluator, folders)
        found = builder.profile.evaluator(evaluator)
        roles = needed_roles(found, images.suite, builder.profile)
        backends = backend_identities(builder, roles, evaluator=found.spec.name)
        own = found.spec.needs_reference and reference is None
        stored: dict[str, str] = {}
        if reference is not None:
            for error in builder.missing.values():
                raise error
            stored = add_stored_reference(
                builder, reference, evaluator, found, backends, measured=len(images.records)
            )
        return add_scores(
            builder,
            evaluator,
            found,
            images=builder.graph.add(stored_step(artifact, images=len(images.records))),
            suite=images.suite,
            roles=roles,
            backends=backends,
            reference=_reference(builder, evaluator) if own else None,
            reference_predictions=stored,
        )

    return _made(setting, build, evaluator, work)


def _score_votes(setting: Setting, votes: Sequence[Path], evaluator: str, work: Work) -> Scores:
    """Count the votes of people."""

    def build(builder: GraphBuilder) -> str:
        found = builder.profile.evaluator(evaluator)
        return add_scores_of(builder.graph, evaluator, found, votes_upstream(builder, votes))

    return _made(setting, build, evaluator, work)


def _made(
    setting: Setting, build: Callable[[GraphBuilder], str], evaluator: str, work: Work
) -> Scores:
    builder, key = setting.built(build)
    images = str(builder.graph[key].upstream["images"])
    declared = builder.profile.evaluator(evaluator).spec.metrics
    return Scores(
        artifact=finish(builder, key, work),
        evaluator=evaluator,
        images=images,
        store=builder.store,
        declared=tuple(metric.name for metric in declared),
    )


def _reference(builder: GraphBuilder, evaluator: str) -> str:
    """Return the reference image set that the profile's protocol names for the evaluator."""
    profile = builder.profile
    protocol = profile.protocols.get(profile.protocol, {}).get(evaluator)
    if protocol is None:
        raise UsageError(
            f"profile {profile.name} has no protocol {profile.protocol!r} for {evaluator}, so "
            "there are no reference images. Name a reference with --reference NAME (bench assets "
            "build --fid-reference NAME --images DIR makes one), or choose another --profile or "
            "--protocol."
        )
    return add_reference(builder, protocol)
