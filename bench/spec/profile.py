"""A profile: which checkpoint, back-ends, sizes and hyperparameters a table is made with.

The shipped ones lie in `profiles/`; `--profile` also takes the path of a file of the user's own,
which may extend another one (`bench.spec.inheritance`).
The code is the same for all: a profile only holds data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.api.errors import UsageError, did_you_mean, unknown
from bench.api.evaluator import Evaluator
from bench.api.generation import GenerationSpec
from bench.api.registry import EVALUATORS
from bench.config import construct, mapping, override, sequence
from bench.spec.head import ProfileHead
from bench.spec.inheritance import FOLDER as FOLDER
from bench.spec.inheritance import profile_file, profile_name, read_chain
from bench.spec.inheritance import profile_names as profile_names
from bench.spec.noise import NOISES
from bench.spec.overrides import asked_of
from bench.spec.protocol import (
    ColumnProtocol,
    StoredName,
    SuiteSpec,
    read_generation,
    read_protocol,
    read_suite,
)
from bench.spec.table import ColumnSpec, TableSpec
from bench.spec.training import DataSpec, Training, read_data, read_training

CHECKPOINT_KINDS = ("shipped", "path", "hub")
STANDS_FOR: Mapping[str, str] = {"fid-statistics": "fid"}
"""Evaluators that take the place of another one where its reference is stored statistics."""


@dataclass(frozen=True, kw_only=True)
class CheckpointSpec:
    """The base checkpoint: `kind` is one of `CHECKPOINT_KINDS`.

    Attributes:
        location: name of a shipped asset, folder, or hub id `owner/name`.
        revision: hub revision; None takes the one the cache's default branch names.
    """

    kind: str
    location: str
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in CHECKPOINT_KINDS:
            hint = did_you_mean(str(self.kind), CHECKPOINT_KINDS)
            raise UsageError(f"unknown kind of checkpoint {self.kind!r}.{hint}")


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """How preference pairs are made; see `bench.data.pairs`.

    Attributes:
        suite: prompts.
        generation: how winners and losers are sampled.
        min_words: shorter prompts are left out.
        perturbation: the rule that degrades a prompt.
        seed: of perturbation and images.
        perturbation_options: settings of the rule, where it has any.
        losers: whether losers are sampled.
        texts: whether embeddings of texts are stored, see `bench.data.spec.TEXTS`.
    """

    suite: SuiteSpec
    generation: GenerationSpec
    min_words: int = 6
    perturbation: str = "rand-removal"
    seed: int = 0
    perturbation_options: Mapping[str, Any] = field(default_factory=dict)
    losers: bool = True
    texts: str = "auto"


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Rough speed of one worker, for the estimates of `plan` only.

    Attributes:
        image_step_seconds: one forward of the network for one image.
        pair_seconds: one pair of full Diffusion-DPO in one optimiser step.
        predict_seconds: by role, one image; `default` for the others.
        image_bytes, checkpoint_bytes: on disk.
        latent_numbers, text_numbers: in one image's latent, and in one text's embedding; a set
            holds them in 2 bytes each where it is made in float16, else in 4.
        gpu: that is budgeted with in place of these seconds, a name of `bench.published.gpus`,
            where the base is a published backbone or `backbone` names one.
        backbone: the published backbone that the base takes as many operations as.
        activation_bytes: what a training keeps for the backward of one image, in float32; 0 where
            that is not known, or the published backbone says it.
    """

    image_step_seconds: float = 0.005
    pair_seconds: float = 0.04
    predict_seconds: Mapping[str, float] = field(default_factory=dict)
    image_bytes: int = 4000
    latent_numbers: int = 256
    text_numbers: int = 3072
    checkpoint_bytes: int = 20_000_000
    gpu: str | None = None
    backbone: str | None = None
    activation_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Profile(ProfileHead):
    """A profile of images; see the module's docstring, and `ProfileHead` for what is not here.

    Attributes:
        checkpoint: what is aligned.
        backends: by evaluator role, registry name or path of the model that plays it; a role
            without one gives cells that are `n/a`.
        evaluator_backends: by evaluator name, what plays its roles in place of `backends`.
        evaluators: by evaluator name, its settings, e.g. `{t2i-compbench: {profile: clean}}`.
        references: by evaluator name, the stored reference in place of its protocol's.
        pairs, training: how the methods are trained.
        data: more data sets by name, for methods and rows that name one.
        protocols: by protocol name, then evaluator name.
        generation: changes to the sampling settings of all columns.
        renderer: module that renders true scenes of prompts, or None.
        speed: for estimates.
        asked: what `--set` changed, nested: it wins over what is more special in the file.
    """

    checkpoint: CheckpointSpec
    pairs: PairSettings
    training: Training
    data: Mapping[str, DataSpec] = field(default_factory=dict)
    backends: Mapping[str, str] = field(default_factory=dict)
    evaluator_backends: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    evaluators: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)
    protocols: Mapping[str, Mapping[str, ColumnProtocol]] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    renderer: str | None = None
    speed: Speed = field(default_factory=Speed)
    asked: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def asked_training(self) -> Training:
        """The training settings that `--set` gave."""
        where = f"profile {self.name}: training"
        return read_training(self.asked.get("training", {}), where)

    @cached_property
    def stem(self) -> str:
        """The name in the names of artifacts."""
        return "".join(c if c.isalnum() or c in "._-" else "-" for c in self.name)

    def protocol_of(self, table: TableSpec, column: ColumnSpec) -> ColumnProtocol | None:
        """Return how `column`'s images are made in this profile; None where it does not say.

        The table's own entry comes first, then the profile's for the column's evaluator.

        Raises:
            UsageError: neither knows the protocol.
        """
        known = {*table.protocols, *self.protocols}
        if self.protocol not in known:
            raise unknown("protocol", self.protocol, known)
        found = table.protocols.get(self.protocol, {}).get(column.key)
        if found is None:
            found = self.protocols.get(self.protocol, {}).get(column.evaluator)
        if found is not None and column.evaluator in self.references:
            named = StoredName(name=self.references[column.evaluator])
            found = replace(found, reference=named)
        if found is None or not self.generation:
            return found
        asked = self.asked
        for key in ("protocols", self.protocol, column.evaluator, "generation"):
            asked = asked.get(key) or {}
        general = self.asked.get("generation", {})
        changed = {**asdict(found.generation), **self.generation, **asked, **general}
        where = f"profile {self.name}: generation"
        return replace(found, generation=read_generation(changed, where))

    def of_evaluator(self, name: str) -> Profile:
        """Return the profile with the back-ends that play the roles of evaluator `name`."""
        special = STANDS_FOR.get(name, name)
        own = self.evaluator_backends.get(name) or self.evaluator_backends.get(special) or {}
        asked = self.asked.get("evaluator_backends", {})
        told = {**(asked.get(special) or {}), **(asked.get(name) or {})}
        own = {**own, **self.asked.get("backends", {}), **told} if own else {}
        return replace(self, backends={**self.backends, **own}) if own else self

    def evaluator(self, name: str) -> Evaluator:
        """Return evaluator `name` with the profile's settings.

        Raises:
            UsageError: it is unknown, has no such setting, or refuses the value.
        """
        cls: Any = EVALUATORS.load(name)
        settings = self.evaluators.get(name)
        where = f"profile {self.name}: evaluators.{name}"
        if settings and not is_dataclass(cls):
            raise UsageError(f"{where}: {name} has no settings, found {', '.join(settings)}.")
        found: Evaluator = construct(cls, settings, where) if settings else cls()
        return found

    def to_json(self) -> dict[str, Any]:
        """Return what a table says of its profile."""
        base, location = self.checkpoint, self.checkpoint.location
        name = location.rpartition("/")[2] if base.kind == "path" else location
        return {**super().to_json(), "checkpoint": name}


def load_profile(
    name: str,
    *,
    table: TableSpec | None = None,
    overrides: Sequence[str] = (),
    protocol: str | None = None,
    trust: bool = False,
) -> Profile:
    """Read a profile.

    Args:
        name: a shipped profile, or the path of a YAML file, which may extend another one.
        table: with what this table changes in a profile of that name, or in one it extends.
        overrides: `"key.key=value"`, applied before the file is checked.
        protocol: in place of the profile's own.
        trust: whether the user's file may name code that nobody registered.

    Raises:
        UsageError: it is unknown, the file or an override is wrong (the key is named), or the
            table has no images.
    """
    if table is not None and table.world is not None:
        raise UsageError(f"table {table.name} is of {table.world}: it has settings, no profile.")
    path = profile_file(name)
    changes = {} if table is None else table.profiles
    data = read_chain(
        name,
        trust=trust,
        change=lambda stem: changes[stem].settings if stem in changes else {},
    )
    for assignment in overrides:
        override(data, assignment)
    if protocol is not None:
        data["protocol"] = protocol
    asked = asked_of(overrides)
    return read_profile(
        profile_name(path), data, overrides=tuple(overrides), asked=asked, folder=path.parent
    )


def read_profile(
    name: str,
    data: Mapping[str, Any],
    *,
    overrides: tuple[str, ...] = (),
    asked: Mapping[str, Any] | None = None,
    folder: Path,
) -> Profile:
    """Make a Profile of what a YAML file holds (UsageError naming the key otherwise)."""
    where = f"profile {name}"
    found = mapping(data, where)
    checkpoint = construct(CheckpointSpec, found.pop("checkpoint", None), f"{where}: checkpoint")
    if checkpoint.kind == "path" and not Path(checkpoint.location).expanduser().is_absolute():
        checkpoint = replace(checkpoint, location=str(folder / checkpoint.location))
    pairs = mapping(found.pop("pairs", None), f"{where}: pairs")
    protocols = mapping(found.pop("protocols", {}), f"{where}: protocols")
    given: dict[str, Any] = {
        "name": name,
        "overrides": overrides,
        "asked": asked or {},
        "checkpoint": checkpoint,
        "pairs": construct(
            PairSettings,
            {k: v for k, v in pairs.items() if k not in ("suite", "generation")},
            f"{where}: pairs",
            suite=read_suite(pairs.get("suite"), f"{where}: pairs.suite"),
            generation=read_generation(pairs.get("generation"), f"{where}: pairs.generation"),
        ),
        "training": read_training(found.pop("training", {}), f"{where}: training"),
        "data": read_data(found.pop("data", {}), f"{where}: data"),
        "protocols": {
            protocol: {
                evaluator: read_protocol(entry, f"{where}: protocols.{protocol}.{evaluator}")
                for evaluator, entry in mapping(e, f"{where}: protocols.{protocol}").items()
            }
            for protocol, e in protocols.items()
        },
        "speed": construct(Speed, found.pop("speed", {}), f"{where}: speed"),
    }
    for key in ("overrides", "asked"):
        if key in found:
            raise UsageError(f"{where}: unknown key {key!r}.")
    profile = construct(Profile, found, where, **given)
    _check(profile, where)
    return profile


def _check(profile: Profile, where: str) -> None:
    for key in ("evaluator_backends", "evaluators", "references"):
        for name in mapping(getattr(profile, key), f"{where}: {key}"):
            if name not in EVALUATORS.entries():
                raise unknown(f"evaluator in {where}: {key}", name, EVALUATORS.entries())
    for key in ("evaluator_backends", "evaluators"):
        for name, entry in getattr(profile, key).items():
            mapping(entry, f"{where}: {key}.{name}")
    for key in profile.batch_sizes:
        if key not in ("generation", "prediction"):
            hint = did_you_mean(key, ("generation", "prediction"))
            raise UsageError(f"{where}: unknown key 'batch_sizes.{key}'.{hint}")
    read_generation(
        {"steps": 1, "cfg_scale": 1, "height": 8, "width": 8, **profile.generation},
        f"{where}: generation",
    )
    sequence(list(profile.overrides), where)
    if profile.noise not in NOISES:
        hint = did_you_mean(str(profile.noise), NOISES)
        raise UsageError(f"{where}: unknown noise {profile.noise!r}.{hint}")
    if profile.device not in ("auto", "cpu", "cuda"):
        hint = did_you_mean(str(profile.device), ("auto", "cpu", "cuda"))
        raise UsageError(f"{where}: unknown device {profile.device!r}.{hint}")
