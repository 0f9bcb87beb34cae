"""Pair sets: the profile's `pairs`, and the data sets it names under `data`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.api.errors import BenchError, PrerequisiteError, UsageError, unknown
from bench.api.prompts import PromptSuite
from bench.config import expand, mapping
from bench.data.kinds import DEFAULT as DEFAULT_KIND
from bench.data.kinds import How, Reading, image_draws, kind_module, read_images
from bench.data.spec import TEXTS_AUTO, texts_fit
from bench.data.stored import PAIRS_PER_PART
from bench.generation.checkpoint import CheckpointRef
from bench.generation.image_set import suite_json
from bench.read.names import artifact_name
from bench.spec.profile import Profile, Speed
from bench.spec.protocol import SuiteSpec, load_suite, read_generation, read_suite
from bench.spec.training import DEFAULT_DATA, DataSpec
from bench.steps.builder import GraphBuilder
from bench.steps.cost import cost_of
from bench.steps.step import DivisibleStep, Runtime
from bench.store import Artifact, Store, canonical_json
from bench.store.shards import shard_identity

_ROW_BYTES = 700
"""A pair's prompts, its row, and its prompt in the suite, as JSON."""

_MAY_ENCODE = (DEFAULT_KIND, "labelled")
"""Kinds that need not store embeddings of their texts."""

_NAMED_BYTES = 1_000_000_000
"""Embeddings of texts are named by themselves where they take more."""


class DataChangedError(BenchError):
    """Data were changed since the step that reads them was asked for (exit 1)."""


@dataclass(frozen=True, kw_only=True)
class PairStep(DivisibleStep):
    """A pair set to be made.

    Attributes:
        data_kind: see `bench.data.kinds`.
        settings: of that kind, prompts and sampling written out; each kind reads its own.
        checkpoint: whose images, latents and reference they are of.
        pairs: how many, before short prompts are dropped; None where that is not known.
        encoded: in words, which given images are encoded for it; empty where none are.
    """

    kind: str = "pairs"
    data_kind: str
    settings: Mapping[str, Any]
    checkpoint: CheckpointRef
    pairs: int | None
    encoded: str = ""

    @property
    def sampled(self) -> int | None:
        """Images that are sampled for it; None where its prompts are not known."""
        if not isinstance(self.settings.get("generation"), Mapping):
            return 0
        each = 1 if self.settings.get("losers") is False else 2
        return None if self.pairs is None else self.pairs * each

    @property
    def described(self) -> str:
        """The set in words."""
        said = [f"{self.name} ({self.data_kind})"]
        if self.data_kind == DEFAULT_KIND:
            least = int(self.settings.get("min_words", 1))
            said.append(f"prompts of {least} words or more, {self.settings['perturbation']}")
        try:
            draws = image_draws(self.data_kind, self.settings)
        except BenchError:
            draws = None  # another version's settings; what is known is said
        if draws is not None and draws.words():
            said.append(draws.words())
        return ", ".join(said)

    def batches(self, runtime: Runtime) -> int:
        """Return the number of parts that are sampled; sets of other kinds are made at once."""
        if self.data_kind != DEFAULT_KIND or self.pairs is None:
            return 1
        return math.ceil(self.pairs / PAIRS_PER_PART)

    def require_unchanged(self, store: Store) -> None:
        """Compare the weights, and the data that are read, with what they were.

        Raises:
            WeightsChangedError, DataChangedError: they are something else now.
            PrerequisiteError: they are gone.
        """
        super().require_unchanged(store)
        now = kind_module(self.data_kind).identity(store, self.checkpoint, self.settings)
        if self.shard is not None:
            now = shard_identity(now, self.shard, self.shards)
        if canonical_json(now) != canonical_json(self.identity):
            raise DataChangedError(
                f"what {self.label or self.name} is made of was changed since the command began; "
                "nothing was published that may have been made of both.\n"
                "  to mend it: leave the files alone, and run the same command again"
            )

    def make(self, store: Store, runtime: Runtime) -> Artifact:
        """Make the set; see `bench.data.kinds.PairKind` for what is raised."""
        how: How = {
            "name": self.whole,
            "batch_size": runtime.generation_batch,
            "device": runtime.device,
            "progress": runtime.progress,
        }
        if self.shard is not None:
            how = {**how, "shards": self.shards, "shard": self.shard}
        kind = kind_module(self.data_kind)
        return kind.build(store, self.checkpoint, self.settings, **how)


def add_data(builder: GraphBuilder, name: str | None) -> str:
    """Add a data set by name and return its step's id.

    Args:
        builder: of the graph.
        name: one of the profile's `data`; None or `"pairs"` is its `pairs`.

    Raises:
        UsageError: the name, its kind or a setting is unknown.
    """
    wanted = name or DEFAULT_DATA
    asked = ("data", wanted)
    if asked not in builder.made:
        builder.made[asked] = (
            add_pairs(builder) if wanted == DEFAULT_DATA else _named(builder, wanted)
        )
    return builder.made[asked]


def add_pairs(builder: GraphBuilder) -> str:
    """Add the profile's pairs and return their step's id (UsageError: an unknown setting)."""
    return _add(builder, DEFAULT_DATA, DEFAULT_KIND, asdict(builder.profile.pairs))


def _named(builder: GraphBuilder, name: str) -> str:
    profile = builder.profile
    if name not in profile.data:
        known = [DEFAULT_DATA, *profile.data]
        raise unknown(f"data set of profile {profile.name}", name, known)
    spec: DataSpec = profile.data[name]
    given = dict(spec.settings)
    if spec.kind == DEFAULT_KIND:  # what is not said is as in the profile's pairs
        given = {**asdict(profile.pairs), **given}
    try:
        return _add(builder, name, spec.kind, given, label=f"data set {name} ({spec.kind})")
    except UsageError as error:
        raise UsageError(f"profile {profile.name}: data.{name}: {error}") from error


def _add(
    builder: GraphBuilder, name: str, kind: str, given: Mapping[str, Any], *, label: str = ""
) -> str:
    profile, base = builder.profile, builder.base()
    module = kind_module(kind)
    purpose = name if name == DEFAULT_DATA else f"data.{name}"
    settings, count, there = _settled(builder, purpose, given)
    title = f"{base.label}.{name}"
    identity: Mapping[str, Any] = {"kind": kind, "of": title, "settings": settings}
    forwards = _forwards(settings.get("generation"))
    sources, weights = builder.loaded(base)
    found: Reading | None = None
    if weights and there:
        try:
            found = read_images(module, builder.store, base, settings)
            identity = (
                module.identity(builder.store, base, settings) if found is None else found.identity
            )
        except PrerequisiteError as error:
            builder.missing.setdefault(purpose, error)
    evaluations, encoded = 0.0, ""
    if found is not None:
        count, evaluations = found.pairs, found.evaluations
        encoded = f"{count:,} pairs, {found.images:,} images of {found.side} pixels to encode"
        label += f": {encoded}"
    pairs, speed = count or 0, profile.speed
    draws = image_draws(kind, settings)
    times = 1 if draws is None else draws.latents_per_image
    more = f", {draws.words()}: {times} latents an image" if draws and times > 1 else ""
    latents, texts, rows = set_bytes(settings, pairs, speed, times)
    if kind in _MAY_ENCODE and not texts_fit(settings.get("texts", TEXTS_AUTO), texts):
        more += f", embeddings of texts made when read ({texts / 1e9:.1f} GB, not stored)"
        texts = 0
    elif texts > _NAMED_BYTES:
        more += f", {texts / 1e9:.0f} GB of it embeddings of texts"
    step = PairStep(
        name=artifact_name(title),
        identity=identity,
        sources=sources,
        weights=weights,
        data_kind=kind,
        settings=settings,
        checkpoint=base,
        pairs=count,
        encoded=encoded,
        label=(label or f"{pairs} preference pairs") + more,
        seconds=5.0 + (2 * pairs * forwards + evaluations) * _forward(profile, settings),
        bytes=latents + texts + rows,
    )
    return builder.graph.add(step)


def set_bytes(
    settings: Mapping[str, Any], pairs: int, speed: Speed, times: int
) -> tuple[int, int, int]:
    """Return what a set takes on disk: latents, embeddings of texts, and rows.

    Args:
        settings: of its kind.
        pairs: how many it has.
        speed: sizes of one latent and one text.
        times: latents that it holds of an image.
    """
    generation = settings.get("generation")
    made_in = generation if isinstance(generation, Mapping) else settings
    each = 2 if made_in.get("dtype") == "float16" else 4
    single = settings.get("losers") is False or settings.get("loser") == "none"
    sides = 1 if single or settings.get("unpaired") else 2
    texts = 2 if "perturbation" in settings else 1  # a degraded prompt is another one
    return (
        pairs * sides * times * speed.latent_numbers * each,
        pairs * texts * speed.text_numbers * each,
        pairs * _ROW_BYTES,
    )


def _settled(
    builder: GraphBuilder, purpose: str, given: Mapping[str, Any]
) -> tuple[dict[str, Any], int | None, bool]:
    """Return a kind's settings with prompts and sampling read, the number of prompts, and whether
    all that they name is there.
    """
    where = f"profile {builder.profile.name}: {purpose}"
    settings, count, there = dict(given), None, True
    try:
        settings = {
            k: v if k == "suite" else expand(v, f"{where}.{k}") for k, v in settings.items()
        }
    except PrerequisiteError as error:
        builder.missing.setdefault(purpose, error)
        there = False
    if settings.get("suite") is not None:
        suite = _suite(builder, read_suite(settings["suite"], f"{where}.suite"), purpose)
        there = there and suite is not None
        settings["suite"] = None if suite is None else suite_json(suite)
        count = None if suite is None else len(suite)
    if settings.get("generation") is not None:
        entry = mapping(settings["generation"], f"{where}.generation")
        settings["generation"] = read_generation(entry, f"{where}.generation").identity()
    return settings, count, there


def _suite(builder: GraphBuilder, spec: SuiteSpec, purpose: str) -> PromptSuite | None:
    try:
        return load_suite(spec, None)
    except PrerequisiteError as error:
        builder.missing.setdefault(purpose, error)
        return None


def _forward(profile: Profile, settings: Mapping[str, Any]) -> float:
    """Seconds of one forward for one image."""
    generation = settings.get("generation")
    half = isinstance(generation, Mapping) and generation.get("dtype") != "float32"
    return cost_of(profile).forward(half=half, batch=int(profile.batch_sizes.get("generation", 1)))


def _forwards(generation: Any) -> int:
    """Network evaluations for one image; 0 where nothing is sampled."""
    if not isinstance(generation, Mapping):
        return 0
    return int(generation["steps"]) * (2 if generation["cfg_scale"] != 1.0 else 1)
