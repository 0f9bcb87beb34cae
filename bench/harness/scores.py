"""Scores of images by themselves: by one evaluator, with its settings in a profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.declared import verified_of
from bench.api.errors import UsageError
from bench.api.estimate import Estimate
from bench.api.registry import BACKENDS, EVALUATORS
from bench.executors.outcome import Listener, ignore
from bench.generation.image_set import open_image_set
from bench.harness.folders import is_artifact, read_folder, take_folder
from bench.harness.images import Images
from bench.harness.parts import Setting, finish
from bench.harness.records import frame, write_results
from bench.harness.repairs import with_repairs
from bench.harness.work import Work
from bench.report.circular import Selections, circular_names
from bench.steps.builder import GraphBuilder
from bench.steps.images import add_reference
from bench.steps.predictions import backend_identities, needed_roles
from bench.steps.references import add_stored_reference
from bench.steps.scores import METRICS, RECORDS, add_scores
from bench.steps.step import stored_step
from bench.store import Artifact, Store, read_jsonl
from bench.votes.pairs import pair_set

if TYPE_CHECKING:
    import pandas

Pictures = Images | Path | str
Change = Callable[[GraphBuilder], object]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What `score` returns.

    Attributes:
        artifact: as it is stored.
        evaluator: who measured.
        images: id of what was measured.
        store: where they all are.
        declared: the metrics that the evaluator says it measures, in its order.
    """

    artifact: Artifact
    evaluator: str
    images: str
    store: Store
    declared: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`scores/NAME-HASH`."""
        return self.artifact.id

    @cached_property
    def metrics(self) -> dict[str, Estimate]:
        """By name, as they are stored."""
        found = self.artifact.read_json(METRICS)
        return {name: Estimate.from_json(data) for name, data in found.items()}

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """One per sample, as the evaluator made them."""
        return read_jsonl(self.artifact.file(RECORDS))

    @cached_property
    def measured_by(self) -> dict[str, dict[str, str]]:
        """By role, the back-end's name, how far it was verified, and its variant if it is one.

        Back-ends of others, and votes of people, are named alone.
        """
        known = BACKENDS.entries()
        found = {}
        for role, key in sorted(self.artifact.upstream.items()):
            kind, _, name = role.partition("/")
            if kind != "predictions":
                continue
            backend = self.store.get(str(key)).identity.get("backend")
            if not isinstance(backend, dict):
                continue
            entry = known.get(str(backend["backend"]))
            word = None if entry is None else verified_of(entry, self.evaluator)
            found[name] = {"name": str(backend["backend"]), "verified": word or "not stated"}
            if "variant" in backend:
                found[name]["variant"] = str(backend["variant"])
        return found

    @cached_property
    def circular(self) -> list[str]:
        """The back-ends that measured the images and selected the data behind them."""
        selectors = Selections(store=self.store).behind(self.id)
        if not selectors:
            return []
        measured = {
            role: self.store.get(str(key)).identity["backend"]
            for role, key in self.artifact.upstream.items()
            if role.startswith("predictions/")
        }
        return circular_names(selectors, measured)

    @property
    def about(self) -> dict[str, Any]:
        """What was measured, and by what."""
        return {
            "evaluator": self.evaluator,
            "artifact": self.id,
            "images": self.images,
            **({"circular": self.circular} if self.circular else {}),
            **({"backends": self.measured_by} if self.measured_by else {}),
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Return the records as a frame, one line per sample.

        Raises:
            PrerequisiteError: pandas is not installed.
        """
        return frame(self.records)

    def save(self, folder: Path | str) -> list[Path]:
        """Write metrics and records, as `metrics.json`, `records.jsonl` and `records.parquet`.

        Raises:
            StoreError: the folder cannot be written.
        """
        metrics = self.artifact.read_json(METRICS)
        return write_results(Path(folder), metrics, self.records, about=self.about)

    def _repr_markdown_(self) -> str:
        lines = ["| metric | value | low | high | n |", "| --- | --- | --- | --- | --- |"]
        for name in self.declared:
            found = self.metrics.get(name)
            if found is not None:
                values = (found.value, found.low, found.high)
                shown = ("-" if value is None else f"{value:.4f}" for value in values)
                lines.append(f"| {name} | {' | '.join(shown)} | {found.n} |")
        return "\n".join(lines) + "\n"


def score(
    images: Pictures | tuple[Pictures, Pictures],
    evaluator: str = "geneval",
    profile: str = "tiny",
    *,
    per_prompt: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    overrides: Sequence[str] = (),
    protocol: str | None = None,
    trust: bool = False,
    store: Path | str = "outputs",
    jobs: int | None = None,
    device: str | None = None,
    on_event: Listener = ignore,
) -> Scores:
    """Measure images of the store; what was measured before is not measured again.

    Args:
        images: what `generate` returned, `images/NAME-HASH`, or a folder: an image set of another
            store, one with a manifest.jsonl, or as the evaluator's authors lay it out. For an
            evaluator that compares two systems two of them, the candidate's and the other's.
        evaluator: a name, `pkg.mod:Class` or `file.py:Class`.
        profile: a shipped name, or the path of a YAML file: says which back-ends look.
        per_prompt, limit, seed: of a comparison: so many pairs of each prompt, about so many
            prompts, chosen by this seed.
        overrides: changes to the profile, `"backends.detector=..."`.
        protocol: in place of the profile's own: says which reference images are meant.
        trust: whether YAML files may name code that nobody registered.
        store: the folder artifacts lie in.
        jobs, device, on_event: as in `bench.harness.run`.

    Raises:
        UsageError: something is unknown, or nothing reads one of `overrides`.
        PrerequisiteError: weights of a back-end are missing.
        FailedError: measuring failed.
    """
    setting = Setting(
        profile=profile, overrides=overrides, protocol=protocol, trust=trust, store=store
    )
    work = Work(jobs=jobs, device=device, on_event=on_event)
    sides = images if isinstance(images, tuple) else (images,)
    compares = bool(getattr(EVALUATORS.load(evaluator), "pairwise", False))
    if len(sides) != (2 if compares else 1):
        wanted = "two image sets" if compares else "one image set"
        raise UsageError(f"{evaluator} looks at {wanted}; found {len(sides)}.")

    def action() -> Scores:
        found = [_image_set(setting, side, evaluator) for side in sides]
        artifact = found[0]
        if compares:
            artifact = pair_set(
                Store(Path(store)), *found, per_prompt=per_prompt, limit=limit, seed=seed
            )
        return score_artifact(setting, artifact, evaluator, work)

    return with_repairs(action)


def _image_set(setting: Setting, images: Pictures, evaluator: str) -> Artifact:
    if isinstance(images, Images):
        return images.artifact
    store = Store(Path(setting.store))
    folder = Path(images).expanduser()
    if not is_artifact(str(images)) or folder.is_dir():
        if not folder.is_dir():
            raise UsageError(f"{images}: no folder of that name, and no artifact images/NAME-HASH.")
        return take_folder(
            store,
            read_folder(folder, evaluator=evaluator),
            size=None,
            any_size=False,
            profile=setting.builder().profile,
            evaluator=evaluator,
        )
    artifact = store.get(str(images))
    if artifact.kind != "images":
        raise UsageError(f"{artifact.id} is of kind {artifact.kind!r}; expected images/...")
    return artifact


def score_artifact(
    setting: Setting,
    artifact: Artifact,
    evaluator: str,
    work: Work,
    *,
    reference: str | None = None,
    change: Change = lambda _: None,
) -> Scores:
    """Measure an image set of the store.

    Args:
        setting: profile and store.
        artifact: the image set.
        evaluator: registry name or path.
        work: how it is done.
        reference: name of stored statistics, in place of the protocol's reference images.
        change: made to the empty graph before anything is added.

    Raises:
        UsageError, PrerequisiteError, FailedError: as `score`.
        ProtocolError: the reference was made under another protocol.
    """
    images = open_image_set(artifact, verify=False)

    def build(builder: GraphBuilder) -> str:
        change(builder)
        found = builder.profile.evaluator(evaluator)
        roles = needed_roles(found, images.suite, builder.profile)
        backends = backend_identities(builder, roles, evaluator=found.spec.name)
        own = found.spec.needs_reference and reference is None
        if reference is not None:
            for error in builder.missing.values():
                raise error
        return add_scores(
            builder,
            evaluator,
            found,
            images=builder.graph.add(stored_step(artifact, images=len(images.records))),
            suite=images.suite,
            roles=roles,
            backends=backends,
            reference=_reference(builder, evaluator) if own else None,
            reference_predictions={}
            if reference is None
            else add_stored_reference(
                builder, reference, evaluator, found, backends, measured=len(images.records)
            ),
        )

    builder = setting.builder()
    key = build(builder)
    setting.require_read(build)
    return made_scores(builder, key, evaluator, work)


def made_scores(builder: GraphBuilder, key: str, evaluator: str, work: Work) -> Scores:
    """Make scores of a graph (PrerequisiteError, FailedError: as `score`)."""
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
