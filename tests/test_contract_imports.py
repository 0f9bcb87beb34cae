"""The house's arrows: who may import whom, who imports no torch, who prints, who unpickles.

`ALLOWED` is the rule; docs/architecture.md explains it. A new arrow is a decision: add it here
with the change that needs it.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bench.api.registry import EVALUATORS, METHODS

ROOT = Path(__file__).parents[1]
INTERNAL = ("bench", "methods", "evaluators")

# part -> the parts it may import, beside itself. The longest matching part rules.
ALLOWED: dict[str, set[str]] = {
    "bench": {"bench.cli"},  # __main__ starts the command line
    "bench.api": {"bench.read"},
    # what users bring: read here and nowhere else (`tests/test_contract_reading.py`)
    "bench.read": set(),
    "bench.stats": {"bench.api"},
    # files of others, fetched with the store's write seam; a suite's reader is found by name
    "bench.assets": {"bench.api", "bench.store", "bench.network", "bench.config"},
    # chat completions, asked by perturbations and by judges
    "bench.endpoint": {"bench.api", "bench.network"},
    "bench.suites": {"bench.api", "bench.store", "bench.assets", "bench.config"},
    "bench.store": {"bench.api"},
    "bench.backbones": {"bench.api", "bench.store"},
    "bench.training": {"bench.api", "bench.store", "bench.backbones", "bench.config"},
    # generation loads what training exports, and finds the shipped checkpoints
    "bench.generation": {
        "bench.api",
        "bench.store",
        "bench.backbones",
        "bench.config",
        "bench.training",
        "bench.tiny",
        "bench.data.perturbation",  # rules on texts: what negative prompts are made by
    },
    # data fills the training loop's PairSource and shares its random streams; prompts of the tiny
    # world are degraded by its own grammar
    "bench.data": {
        "bench.api",
        "bench.store",
        "bench.backbones",
        "bench.generation",
        "bench.training",
        "bench.tiny",
        "bench.endpoint",
        "bench.config",
    },
    # pairs whose truth is the tiny world's
    **{
        f"bench.data.{part}": {
            "bench.api",
            "bench.store",
            "bench.data",
            "bench.backbones",
            "bench.generation",
            "bench.training",
            "bench.tiny",
        }
        for part in ("picks", "rendered", "oracle")
    },
    "bench.tiny": {"bench.api"},
    # a recipe writes the keys that an adapter reads in a checkpoint's index
    "bench.tiny.build": {"bench.api", "bench.tiny", "bench.backbones"},
    # true scenes are image sets like any other
    "bench.tiny.truth": {
        "bench.api",
        "bench.store",
        "bench.backbones",
        "bench.generation",
        "bench.tiny",
    },
    # configuration: YAML into dataclasses
    "bench.config": {"bench.api"},
    # servers that nobody has to trust
    "bench.network": set(),
    # published hyperparameters are data, read as tables are
    "bench.published": {"bench.api", "bench.training.beta", "bench.config"},
    # what is asked for
    "bench.spec": {"bench.api", "bench.config", "bench.published", "bench.training"},
    # how each artifact is made
    "bench.steps": {
        "bench.assets.places",  # where stored references lie
        "bench.api",
        "bench.store",
        "bench.config",
        "bench.spec",
        "bench.backbones",
        "bench.training",
        "bench.generation",
        "bench.data",
        "bench.tiny",
    },
    # who makes them
    "bench.executors": {"bench.api", "bench.store", "bench.steps"},
    # seconds of work by the operations of published backbones
    "bench.steps.cost": {"bench.api", "bench.published", "bench.spec"},
    # what of a plan's trainings is far from what was published
    "bench.executors.published": {
        "bench.executors",
        "bench.published",
        "bench.spec",
        "bench.steps",
    },
    # a training before it starts: the published sizes of its network
    "bench.executors.estimate": {
        "bench.api",
        "bench.steps",
        "bench.spec",
        "bench.generation",
        "bench.training",
        "bench.published",
    },
    # committed scores of the evaluators, measured again
    "bench.check": {
        "bench.api",
        "bench.store",
        "bench.spec",
        "bench.steps",
        "bench.executors",
        "bench.generation",
    },
    # the installation: what is shipped, and how tables were published
    "bench.check.installation": {"bench.api", "bench.store", "bench.tiny"},
    "bench.check.published": {"bench.api", "bench.store", "bench.report", "bench.check"},
    # two systems' images side by side, and what judges and people said of them
    "bench.votes": {"bench.api", "bench.store", "bench.steps", "bench.generation"},
    "bench.report": {
        "bench.api",
        "bench.stats",
        "bench.store",
        "bench.spec",
        "bench.steps",
        "bench.executors",
    },
    # two measured tables side by side
    "bench.compare": {"bench.api", "bench.stats", "bench.report"},
    # the sheet of samples opens image sets
    "bench.report.samples": {"bench.api", "bench.store", "bench.generation", "bench.report"},
    # a world of points, trained by the harness's own loop
    "bench.toy": {
        "bench.api",
        "bench.config",
        "bench.store",
        "bench.training",
        "bench.spec",
        "bench.steps",
    },
    # the door from Python: whatever a verb does
    "bench.harness": {
        "bench.api",
        "bench.store",
        "bench.stats",
        "bench.suites",
        "bench.spec",
        "bench.steps",
        "bench.executors",
        "bench.generation",
        "bench.training.config",  # the names of settings, for suggestions
        "bench.votes",
        "bench.report",
        "bench.compare",
        "bench.check",
        "bench.data.curation",
        "bench.assets",
        "bench.tiny.assets",
        "bench.tiny.build",
        "bench.published",
        "bench.backbones",  # their names
        "bench.validate",
        "evaluators.isolated",  # environments of back-ends are built
    },
    # who judges is said in a file that the panel of judges reads
    "bench.harness.votes": {
        "bench.api",
        "bench.steps",
        "bench.generation",
        "bench.votes",
        "evaluators.models.judge_settings",
    },
    # plug-ins of every kind, run on a little of everything
    "bench.validate": {
        "bench.api",
        "bench.store",
        "bench.backbones",
        "bench.spec",
        "bench.steps",
        "bench.tiny",
    },
    # arguments and printing: what is done is done by the door
    "bench.cli": {
        "bench.api",
        "bench.spec",
        "bench.harness",
        "bench.report.sealed",
        "bench.report.stored",
        "bench.report.words",
    },
    "methods": {
        "bench.api",
        "bench.training.objective",
        "bench.training.links",
        "bench.training.beta",
    },
    "evaluators": {"bench.api", "bench.stats"},
    # prompts of others' folders: matched with the official suite, or parsed and kept in the cache
    "evaluators.compbench.annotation": {
        "bench.api",
        "bench.store",
        "bench.suites",
        "bench.assets.places",
        "evaluators",
    },
    # environments lie in the user's cache and are written through the one seam
    "evaluators.isolated": {"bench.api", "bench.store", "bench.assets.places", "evaluators"},
    # run in other Python environments: nothing of the house but each other
    "evaluators.workers": set(),
    # the judges of the tiny world prefer by its truth
    "evaluators.models.judge_tiny": {
        "bench.api",
        "evaluators",
        "bench.tiny",
        "bench.data.oracle",
    },
    # a YAML file of the user's
    "evaluators.models.judge_settings": {"bench.api", "bench.config", "evaluators"},
    # raw replies are kept beside other files of the user's
    "evaluators.models.judge_endpoint": {"bench.endpoint", "evaluators"},
    "evaluators.models.judge_cache": {"bench.api", "bench.assets.places"},
    "evaluators.models.blip_vqa": {"bench.api", "bench.assets.places", "evaluators"},
    "evaluators.models": {"bench.api", "evaluators", "bench.tiny"},
}
# the package itself: it sets up the process and has the version
EVERYBODY = {"bench", "bench.environment", "bench.errors", "bench.torchvision_guard"}
# files of users are read by whoever needs them, but not in other Python environments
READERS = "bench.read"
NO_READERS = ("evaluators.workers", "bench.network")

TORCH_FREE = (
    "bench.api",
    "bench.read",
    "bench.stats",
    "bench.store",
    "bench.assets",
    "bench.endpoint",
    "bench.suites",
    "bench.report",
    "bench.compare",
    "bench.harness",
    "bench.cli",
)
LONGEST = 400


@cache
def modules() -> dict[str, ast.Module]:
    """Return the parsed modules of the project by dotted name."""
    found = {}
    for top in INTERNAL:
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    return found


def imports(name: str) -> Iterator[tuple[str, int]]:
    """Yield the internal modules that module `name` imports anywhere, with the line."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: write imports in full"
            base = node.module or ""
            full = [f"{base}.{alias.name}" for alias in node.names]
            targets = [f if f in modules() else base for f in full]
        else:
            continue
        yield from ((t, node.lineno) for t in targets if t.partition(".")[0] in INTERNAL)


def within(module: str, part: str) -> bool:
    return module == part or module.startswith(part + ".")


def part_of(module: str) -> str:
    """Return the longest key of ALLOWED that holds `module`."""
    return max((part for part in ALLOWED if within(module, part)), key=len)


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_follow_the_arrows(part: str) -> None:
    wrong = []
    for name in modules():
        if part_of(name) != part:
            continue
        own = [] if part == "bench" else [part]
        own += [] if part in NO_READERS else [READERS]
        for target, line in imports(name):
            allowed = target in EVERYBODY or any(within(target, p) for p in (*own, *ALLOWED[part]))
            if not allowed:
                wrong.append(f"{name}:{line} imports {target}")
    assert not wrong, "\n".join(wrong)


# a benchmark and its own extension
EXTENSIONS = {("evaluators.compbench.plus", "evaluators.compbench.metric")}


def test_a_plug_in_imports_no_other_plug_in() -> None:
    plug_ins = {e.module for r in (METHODS, EVALUATORS) for e in r.entries().values()}
    wrong = [
        f"{name}:{line} imports {target}"
        for name in modules()
        if part_of(name).partition(".")[0] in ("methods", "evaluators")
        for target, line in imports(name)
        if target in plug_ins and (name, target) not in EXTENSIONS
    ]
    assert not wrong, "\n".join(wrong)


SHARED = ("models", "isolated", "workers")


def package_of(module: str) -> str | None:
    """Return the package of metrics that a module belongs to, e.g. `"evaluators.geneval"`."""
    parts = module.split(".")
    inside = parts[0] == "evaluators" and len(parts) > 1 and parts[1] not in SHARED
    folder = ".".join(parts[:2])
    return folder if inside and (ROOT / "evaluators" / parts[1]).is_dir() else None


def test_a_package_of_metrics_imports_no_other() -> None:
    wrong = [
        f"{name}:{line} imports {target}"
        for name in modules()
        if package_of(name) is not None
        for target, line in imports(name)
        if package_of(target) not in (None, package_of(name))
    ]
    assert not wrong, "put what both need beside the packages: " + ", ".join(wrong)
    assert {package_of(e.module) for e in EVALUATORS.entries().values()} >= {
        "evaluators.geneval",
        "evaluators.fid",
    }


def test_the_command_line_is_one_file_a_verb() -> None:
    helpers = {file.stem for file in (ROOT / "bench" / "cli").glob("_*.py")} - {"__init__"}
    assert helpers == {"_parser", "_output", "_progress", "_verbs", "_request"}


def test_the_command_line_names_no_evaluator() -> None:
    """What differs from metric to metric is in its class: folders, results, references, people."""
    known = {e.name for e in EVALUATORS.entries().values() if e.origin == "built-in"}
    wrong = []
    for name, tree in modules().items():
        if not within(name, "bench.cli"):
            continue
        wrong += [f"{name}:{n} imports {t}" for t, n in imports(name) if package_of(t) is not None]
        wrong += [
            f"{name}:{node.lineno} names {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and node.value in known
        ]
    assert not wrong, ", ".join(wrong)


@pytest.mark.parametrize("part", TORCH_FREE)
def test_importing_it_imports_no_torch(part: str) -> None:
    names = [name for name in modules() if within(name, part)]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def circles() -> set[frozenset[str]]:
    """Return the sets of files that import each other, directly or by way of others."""
    arrows = {
        name: {t for t, _ in imports(name) if t in modules() and t != name} for name in modules()
    }
    reached: dict[str, set[str]] = {}
    for name in arrows:
        found: set[str] = set()
        queue = list(arrows[name])
        while queue:
            target = queue.pop()
            if target not in found:
                found.add(target)
                queue += arrows[target]
        reached[name] = found
    return {
        frozenset(other for other in reached[name] | {name} if name in reached[other])
        for name in arrows
        if name in reached[name]
    }


def test_no_files_import_each_other() -> None:
    assert not circles()


def below_the_command_line() -> list[str]:
    return [name for name in modules() if not within(name, "bench.cli")]


def test_nothing_below_the_command_line_prints() -> None:
    wrong = []
    for name in below_the_command_line():
        for node in ast.walk(modules()[name]):
            printing = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("print", "pprint")
            )
            # sys.stderr itself may be handed to logging
            stream = isinstance(node, ast.Attribute) and ast.unparse(node) in (
                "sys.stdout",
                "sys.stderr.write",
            )
            if printing or stream:
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong, "use logging: " + ", ".join(wrong)


def test_nothing_unpickles() -> None:
    wrong = []
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                # the error a refused file ends with is no unpickling
                error_only = [alias.name for alias in node.names] == ["UnpicklingError"]
                names = set() if error_only else {node.module}
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                safe = any(
                    k.arg == "weights_only" and ast.unparse(k.value) == "True"
                    for k in node.keywords
                )
                names = set() if safe else {"pickle"}
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                names = set() if ast.unparse(node.value) == "False" else {"pickle"}
            elif isinstance(node, ast.Attribute) and ast.unparse(node) in (
                "yaml.unsafe_load",
                "yaml.full_load",
                "yaml.UnsafeLoader",
                "yaml.FullLoader",
            ):
                names = {"pickle"}
            else:
                continue
            if names & {"pickle", "cloudpickle", "dill", "joblib", "shelve"}:
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong, "safetensors, JSON, safe YAML, torch.load(weights_only=True): " + str(wrong)


def test_files_stay_short() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for top in INTERNAL
        for file in (ROOT / top).rglob("*.py")
    }
    assert not {file: lines for file, lines in lengths.items() if lines > LONGEST}


def test_the_rules_would_catch_something() -> None:
    """The walk sees imports inside functions and under their full names."""
    assert ("bench.cli", 5) in set(imports("bench.__main__"))
    assert any(t == "bench.validate.method" for t, _ in imports("bench.validate.run"))
    assert part_of("evaluators.models.clip") == "evaluators.models"
    assert part_of("bench.environment") == "bench"
