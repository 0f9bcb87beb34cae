"""Finding plug-ins by name, without importing them before they are used.

A plug-in is found in one of three ways:

- built in: a placeholder `"module:attribute"` in the tables below;
- an entry point of an installed package, in the group `bench.methods`, `bench.evaluators`,
  `bench.backends`, `bench.suites`, `bench.backbones` (registry in `bench.backbones`) or
  `bench.tables` (in `bench.spec.table`); the name of the entry point is the name of the plug-in;
- a dotted path `pkg.mod:Class`, or a file `path/to/file.py:Class`, in place of a name.

A name has one owner: two plug-ins of one name are refused, whichever came first.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bench.api.errors import ContractError, UsageError, unknown
from bench.api.evaluator import Backend, Evaluator
from bench.api.loading import import_target as import_target
from bench.api.loading import module_of_file
from bench.api.method import Method
from bench.api.stages import StagedMethod

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


@lru_cache(maxsize=64)
def _points(group: str, places: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Entry points of a group; reading those of all packages takes 10 ms. `places`: `sys.path`."""
    from importlib.metadata import entry_points  # slow to import, and needed by few

    return tuple(sorted(entry_points(group=group), key=lambda p: (p.name, p.value)))


_DOTTED_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A plug-in that is known by name and has not been imported.

    Attributes:
        name: the name it is asked for by.
        target: `"module:attribute"`.
        origin: `"built-in"`, `"<distribution> <version>"`, or `"path"`.
    """

    name: str
    target: str
    origin: str

    @property
    def module(self) -> str:
        """The module's dotted name."""
        return self.target.partition(":")[0]

    @property
    def attribute(self) -> str:
        """The attribute in the module, e.g. a class name."""
        return self.target.partition(":")[2]


class Registry(Generic[T]):
    """The plug-ins of one kind.

    Args:
        kind: what one is called in messages, e.g. `"method"`.
        bases: the classes of which every plug-in of this kind derives from one.
        built_in: placeholders by name.
        group: the entry-point group.
    """

    def __init__(
        self, *, kind: str, bases: tuple[type[Any], ...], built_in: Mapping[str, str], group: str
    ) -> None:
        self.kind = kind
        self.bases = bases
        self.group = group
        self._built_in = dict(built_in)

    def entries(self) -> dict[str, Entry]:
        """Return what is known by name, built-in ones first. Nothing is imported.

        Raises:
            UsageError: two plug-ins have one name.
        """
        found = {
            name: Entry(name=name, target=target, origin="built-in")
            for name, target in self._built_in.items()
        }
        for point in _points(self.group, tuple(sys.path)):
            origin = f"{point.dist.name} {point.dist.version}" if point.dist else "entry point"
            target = point.value.partition("[")[0].replace(" ", "")
            entry = Entry(name=point.name, target=target, origin=origin)
            other = found.setdefault(entry.name, entry)
            if other.target != entry.target:
                raise UsageError(
                    f"two {self.kind}s are named {entry.name!r}: {other.target} ({other.origin}) "
                    f"and {entry.target} ({entry.origin}). A name has one owner: rename the entry "
                    f"point in group {self.group!r}, or uninstall its package."
                )
        return found

    def known(self, text: str) -> bool:
        """Whether a text runs no code that nobody registered.

        That is a name, whether there is such a plug-in or not, or the target of a registered one.
        """
        return ":" not in text or text in {entry.target for entry in self.entries().values()}

    def names(self) -> list[str]:
        """Return all known names, built-in ones first."""
        return list(self.entries())

    def entry(self, name: str) -> Entry:
        """Return the entry of a name, of `pkg.mod:Class` or of `path/to/file.py:Class`.

        Raises:
            UsageError: the name is unknown (the nearest known ones are named), or there is no
                such file.
        """
        if ":" in name:
            file, _, attribute = name.rpartition(":")
            if file.endswith(".py"):
                target = f"{module_of_file(Path(file))}:{attribute}"
                return Entry(name=name, target=target, origin="path")
            if not _DOTTED_PATH.fullmatch(name):
                raise UsageError(
                    f"{name!r} is not a dotted path; expected pkg.mod:Class, or file.py:Class."
                )
            return Entry(name=name, target=name, origin="path")
        known = self.entries()
        if name in known:
            return known[name]
        module, _, attribute = name.rpartition(".")
        if module:
            raise UsageError(
                f"unknown {self.kind} {name!r}. A dotted path has a colon before the class: "
                f"{module}:{attribute}"
            )
        raise unknown(self.kind, name, known)

    def load(self, name: str) -> type[T]:
        """Import and return the class behind a name or a path; see `entry`.

        Raises:
            UsageError: the name, the module or the attribute does not exist.
            PrerequisiteError: the module imports a package that is not installed.
            ContractError: importing the module fails, or what is found there is not a class of
                this kind.
        """
        entry = self.entry(name)
        found = import_target(entry.target, kind=self.kind)
        if not (isinstance(found, type) and issubclass(found, self.bases)):
            what = f"the class {found.__qualname__}" if isinstance(found, type) else repr(found)
            expected = " or ".join(f"{b.__module__}.{b.__qualname__}" for b in self.bases)
            raise ContractError(
                f"{self.kind} {name!r}: {entry.target} is {what}; expected a subclass of "
                f"{expected}. Derive the class from it, or name another attribute."
            )
        return found


METHODS: Registry[Method | StagedMethod] = Registry(
    kind="method",
    bases=(Method, StagedMethod),
    group="bench.methods",
    built_in={
        "sft": "methods.sft:SFT",
        "diffusion-dpo": "methods.diffusion_dpo:DiffusionDPO",
        "diffusion-kto": "methods.diffusion_kto:DiffusionKTO",
        "ddspo": "methods.ddspo:DDSPO",
        "realalign": "methods.realalign:RealAlign",
        "realalign-stage1": "methods.realalign:RealAlignStage1",
        "realalign-stage2": "methods.realalign:RealAlignStage2",
        "ddspo-efficient": "methods.ddspo_efficient:DDSPOEfficient",
        "ddspo-not-paired": "methods.ddspo_efficient:DDSPONotPaired",
        "ddspo-rand-positive": "methods.ddspo_efficient:DDSPORandPositive",
        "ddspo-one-image": "methods.ddspo_efficient:DDSPOOneImage",
        "ddspo-dd-cpp": "methods.ddspo_dd_cpp:DDSPODataDriven",
        "guidance-distillation": "methods.guidance_distillation:GuidanceDistillation",
    },
)

EVALUATORS: Registry[Evaluator] = Registry(
    kind="evaluator",
    bases=(Evaluator,),
    group="bench.evaluators",
    built_in={
        "geneval": "evaluators.geneval.metric:GenEval",
        "t2i-compbench": "evaluators.compbench.metric:CompBench",
        "t2i-compbench-plus": "evaluators.compbench.plus:CompBenchPlus",
        "fid": "evaluators.fid.metric:FID",
        "fid-statistics": "evaluators.fid.statistics:FIDOfStatistics",
        "inception-score": "evaluators.fid.inception_score:InceptionScore",
        "kid": "evaluators.fid.kid:KID",
        "precision-recall": "evaluators.fid.precision_recall:PrecisionRecall",
        "clip-fid": "evaluators.fid.clip_fid:ClipFID",
        "oneig": "evaluators.oneig.metric:OneIG",
        "hpsv2": "evaluators.rewards.hpsv2:HPSv2",
        "pickscore": "evaluators.rewards.pickscore:PickScore",
        "imagereward": "evaluators.rewards.imagereward:ImageReward",
        "aesthetic": "evaluators.rewards.aesthetic:Aesthetic",
        "realism": "evaluators.rewards.realism:Realism",
        "hpsv3": "evaluators.rewards.hpsv3:HPSv3",
        "deqa": "evaluators.rewards.deqa:DeQA",
        "unifiedreward": "evaluators.rewards.unifiedreward:UnifiedReward",
        "dpg": "evaluators.dpg.metric:DPG",
        "vlm-judge": "evaluators.votes.vlm_judge:VLMJudge",
        "human": "evaluators.votes.human:HumanStudy",
    },
)

DEFAULT_EVALUATOR = "geneval"
"""What images are scored by where no evaluator is named."""

DEFAULT_PROFILE = "tiny"
"""What a verb is about where no profile is named."""

BACKENDS: Registry[Backend] = Registry(
    kind="back-end",
    bases=(Backend,),
    group="bench.backends",
    built_in={
        "tiny-detector": "evaluators.models.tiny_detector:TinyDetector",
        "tiny-vqa": "evaluators.models.tiny_vqa:TinyVQA",
        "tiny-clip": "evaluators.models.clip:TinyClip",
        "tiny-features": "evaluators.models.tiny_features:TinyFeatures",
        "tiny-clip-features": "evaluators.models.clip_features:TinyClipFeatures",
        "fid-bksdm-30k": "evaluators.models.inception:Bksdm30K",
        "fid-ddspo-30k": "evaluators.models.inception:Ddspo30K",
        "fid-gigagan-30k": "evaluators.models.inception:Gigagan30K",
        "fid-clean": "evaluators.models.inception:CleanFid",
        "fid-pytorch-fid": "evaluators.models.inception:PytorchFid",
        "fid-tensorflow": "evaluators.models.inception:TensorflowFid",
        "clean-fid": "evaluators.models.clean_fid:CleanFidPackage",
        "clean-fid-legacy-pytorch": "evaluators.models.clean_fid:CleanFidLegacyPytorch",
        "clean-fid-legacy-tensorflow": "evaluators.models.clean_fid:CleanFidLegacyTensorflow",
        "clip-features": "evaluators.models.clip_features:ClipImageFeatures",
        "geneval-hf": "evaluators.models.mask2former:Mask2FormerDetector",
        "geneval-yolo": "evaluators.models.yolo_onnx:YoloDetector",
        "clip": "evaluators.models.clip:ClipCosine",
        "hpsv2-v2.0": "evaluators.models.hpsv2:HPSv20",
        "hpsv2-v2.1": "evaluators.models.hpsv2:HPSv21",
        "hpsv2-v2.0-2023": "evaluators.models.hpsv2:HPSv20Of2023",
        "hpsv2-v2.1-2023": "evaluators.models.hpsv2:HPSv21Of2023",
        "pickscore": "evaluators.models.pickscore:PickScorer",
        "pickscore-realism": "evaluators.models.pickscore:RealismScorer",
        "imagereward": "evaluators.models.imagereward:ImageRewardScorer",
        "aesthetic": "evaluators.models.aesthetic:AestheticScorer",
        "laplacian": "evaluators.models.texture:LaplacianVariance",
        "tiny-hpsv2": "evaluators.models.tiny_rewards:TinyHPSv2",
        "tiny-pickscore": "evaluators.models.tiny_rewards:TinyPickScore",
        "tiny-realism": "evaluators.models.tiny_rewards:TinyRealism",
        "tiny-aesthetic": "evaluators.models.tiny_rewards:TinyAesthetic",
        "tiny-imagereward": "evaluators.models.tiny_readers:TinyImageReward",
        "tiny-hpsv3": "evaluators.models.tiny_readers:TinyHPSv3",
        "tiny-unifiedreward": "evaluators.models.tiny_readers:TinyUnifiedReward",
        "tiny-deqa": "evaluators.models.tiny_readers:TinyDeQA",
        "blip-vqa": "evaluators.models.blip_vqa:BlipVqa",
        "blip-vqa-hf": "evaluators.models.blip_vqa:BlipVqaHub",
        "dpt-depth": "evaluators.models.depth:DptDepth",
        "compbench-ovd": "evaluators.models.ovd_detector:OpenVocabularyDetector",
        "tile-check": "evaluators.models.tile_check:TileCheck",
        "hpsv2-package-v2.0": "evaluators.isolated.rewards:HPSv20Package",
        "hpsv2-package-v2.1": "evaluators.isolated.rewards:HPSv21Package",
        "hpsv3-package": "evaluators.isolated.rewards:HPSv3Package",
        "deqa-mix3": "evaluators.isolated.rewards:DeQAScorer",
        "unifiedreward-qwen-7b": "evaluators.isolated.rewards:UnifiedRewardJudge",
        "geneval-mmdet": "evaluators.isolated.detectors:MMDetDetector",
        "compbench-unidet": "evaluators.isolated.detectors:UniDetDetector",
        "oneig-csd-se": "evaluators.models.oneig_style:OneIGStyle",
        "dreamsim": "evaluators.models.dreamsim:DreamSim",
        "llm2clip": "evaluators.isolated.reasoning:LLM2CLIPScorer",
        "qwen2.5-vl-answers": "evaluators.models.qwen_vl:QwenAnswers",
        "qwen2.5-vl-reader": "evaluators.models.qwen_vl:QwenReader",
        "dpg-qwen2.5-vl": "evaluators.models.qwen_vl:QwenForDPG",
        "dpg-mplug": "evaluators.isolated.questions:MPlugAnswers",
        "oneig-text-rapidocr": "evaluators.isolated.reading:RapidOCRReader",
        "tiny-sign-reader": "evaluators.models.tiny_sign_reader:TinySignReader",
        "tiny-style": "evaluators.models.tiny_style:TinyStyle",
        "tiny-diversity": "evaluators.models.tiny_style:TinyDiversity",
        "tiny-truth-judge": "evaluators.models.judge_tiny:TinyTruthJudge",
        "vlm-judge": "evaluators.models.judge_panel:JudgePanel",
    },
)


class FunctionRegistry(Registry[Any]):
    """Plug-ins that are functions, of which no base class says what they are."""

    def load(self, name: str) -> Any:
        """Import and return the function behind a name or a path.

        Raises:
            UsageError, PrerequisiteError, ContractError: as `Registry.load`.
        """
        entry = self.entry(name)
        found = import_target(entry.target, kind=self.kind)
        if not callable(found):
            raise ContractError(f"{self.kind} {name!r}: {entry.target} is {found!r}; no function.")
        return found


SUITES = FunctionRegistry(
    kind="prompt suite",
    bases=(),
    group="bench.suites",
    built_in={
        "catalogued": "bench.suites:suite",
        "captions": "bench.suites.files:captions",
        "geneval": "evaluators.geneval.prompts:geneval_suite",
        "compbench-official": "evaluators.compbench.prompts:read_official",
        "dpg-official": "evaluators.dpg.prompts:official_suite",
        "oneig-official": "evaluators.oneig.prompts:official_suite",
        "geneval-tiny": "bench.tiny.suites:geneval_tiny",
        "compbench-tiny": "bench.tiny.suites:compbench_tiny",
        "compbench-plus-tiny": "bench.tiny.plus_suites:compbench_plus_tiny",
        "geneval-tiny-live": "bench.tiny.live_suites:geneval_tiny_live",
        "geneval-tiny-hard": "bench.tiny.live_suites:geneval_tiny_hard",
        "compbench-tiny-live": "bench.tiny.live_suites:compbench_tiny_live",
        "compbench-tiny-hard": "bench.tiny.live_suites:compbench_tiny_hard",
        "captions-tiny": "bench.tiny.suites:captions_tiny",
        "pair-prompts-tiny": "bench.tiny.suites:pair_prompts_tiny",
        "oneig-tiny": "bench.tiny.graph_suites:oneig_tiny",
        "dpg-tiny": "bench.tiny.graph_suites:dpg_tiny",
    },
)
"""What `suite: {function: ...}` of a YAML file may name."""
